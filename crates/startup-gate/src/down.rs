//! The way down, one type a step.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::caught::caught;
use crate::core::{Core, Life};
use crate::handle::Handle;
use crate::machine::Event;
use crate::report::Report;
use crate::serving::Serving;
use crate::stage::{Step, StepEnd};
use crate::startup::Confirmers;
use crate::unit::Unit;

/// Next: hand over. The port serves.
#[derive(Debug)]
pub struct HandOver {
    confirmers: Confirmers,
}

/// Next: close. The port serves.
#[derive(Debug)]
pub struct Close {
    confirmers: Confirmers,
}

/// Next: flush. The port is closed.
#[derive(Debug)]
pub struct Flush(());

/// Next: unload.
#[derive(Debug)]
pub struct Unload(());

/// A node on its way down. `S` names the step that comes next; each method
/// consumes it and returns the following one, so steps in the wrong order do
/// not compile.
///
/// A step never fails: its work is dropped at its deadline
/// ([`DownDeadlines`](crate::DownDeadlines)) or by
/// [`Handle::hurry`](crate::Handle::hurry), and the next step begins. The
/// report says how each one ended.
///
/// Dropping it half-way counts as stopped.
#[derive(Debug)]
#[must_use = "the way down is not finished"]
pub struct Down<U: Unit, S> {
    life: Life<U>,
    state: S,
}

impl<U: Unit, S> Down<U, S> {
    /// The view that everybody may hold.
    pub fn handle(&self) -> Handle<U> {
        Handle::new(Arc::clone(&self.life.core))
    }
}

impl<U: Unit> Down<U, HandOver> {
    pub(crate) async fn begin<F>(life: Life<U>, confirmers: Confirmers, notice: F) -> Self
    where
        F: Future<Output = ()>,
    {
        let bound = life.core.config.down.notice;
        step(&life.core, Step::Notice, bound, notice).await;
        Self { life, state: HandOver { confirmers } }
    }

    /// Moves leaderships away while the port still serves: a client that asks
    /// meanwhile is answered, and never meets a leader behind a closed port.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node counts as stopped.
    pub async fn hand_over<F: Future<Output = ()>>(self, work: F) -> Down<U, Close> {
        let bound = self.life.core.config.down.hand_over;
        step(&self.life.core, Step::HandOver, bound, work).await;
        Down { life: self.life, state: Close { confirmers: self.state.confirmers } }
    }

    /// Takes the node back into service.
    pub fn resume(self) -> Serving<U> {
        resume(self.life, self.state.confirmers)
    }
}

impl<U: Unit> Down<U, Close> {
    /// Finishes what is in flight and closes the port. `work` must leave the
    /// port closed even when it is dropped half-way.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node counts as stopped.
    pub async fn close<F: Future<Output = ()>>(self, work: F) -> Down<U, Flush> {
        let bound = self.life.core.config.down.close;
        step(&self.life.core, Step::Close, bound, work).await;
        drop(self.state.confirmers);
        Down { life: self.life, state: Flush(()) }
    }

    /// Takes the node back into service: the port is still open.
    pub fn resume(self) -> Serving<U> {
        resume(self.life, self.state.confirmers)
    }
}

impl<U: Unit> Down<U, Flush> {
    pub(crate) fn unwind(life: Life<U>) -> Self {
        Self { life, state: Flush(()) }
    }

    /// Makes volatile state durable, so that the next load replays nothing.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node counts as stopped.
    pub async fn flush<F: Future<Output = ()>>(self, work: F) -> Down<U, Unload> {
        let bound = self.life.core.config.down.flush;
        step(&self.life.core, Step::Flush, bound, work).await;
        Down { life: self.life, state: Unload(()) }
    }
}

impl<U: Unit> Down<U, Unload> {
    /// Releases everything. The node is [`Stage::Stopped`](crate::Stage::Stopped);
    /// the report is its last.
    ///
    /// # Cancel safety
    /// Dropped half-way, the node counts as stopped.
    pub async fn unload<F: Future<Output = ()>>(self, work: F) -> Report {
        let bound = self.life.core.config.down.unload;
        step(&self.life.core, Step::Unload, bound, work).await;
        self.life.core.report()
    }
}

fn resume<U: Unit>(life: Life<U>, confirmers: Confirmers) -> Serving<U> {
    life.core.apply_with(Event::Resume, |inner| {
        inner.cut = tokio_util::sync::CancellationToken::new();
    });
    Serving::new(life, confirmers)
}

/// Runs one step's work within its bounds.
async fn step<U: Unit>(
    core: &Core<U>,
    step: Step,
    bound: Option<Duration>,
    work: impl Future<Output = ()>,
) {
    core.apply(Event::StepBegan(step));
    let cut = core.with(|inner| inner.cut.clone());
    let may_be_cut = step < Step::Flush;
    let end = tokio::select! {
        biased;
        () = cut.cancelled(), if may_be_cut => StepEnd::Cut,
        end = caught(work) => match end {
            Ok(()) => StepEnd::Done,
            Err(message) => {
                tracing::error!(target: "startup_gate", %step, message, "a step down panicked");
                StepEnd::Panicked
            }
        },
        () = sleep(bound.unwrap_or_default()), if bound.is_some() => StepEnd::TimedOut,
    };
    core.apply(Event::StepEnded(step, end));
}

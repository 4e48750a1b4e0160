//! The view of a gate that everybody may hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use crate::core::{Core, Life};
use crate::down::{Down, Flush};
use crate::fault::UnitFault;
use crate::machine::Event;
use crate::report::Report;
use crate::stage::Stage;
use crate::unit::{Counts, Priority, Unit, UnitState};

/// The view of a gate that everybody may hold: admin pages, health checks,
/// signal handlers. It mints no rights. Cheap to clone.
pub struct Handle<U: Unit> {
    core: Arc<Core<U>>,
}

impl<U: Unit> Handle<U> {
    pub(crate) fn new(core: Arc<Core<U>>) -> Self {
        Self { core }
    }

    /// How far the node has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.core.with(|inner| inner.machine.stage())
    }

    /// Whether the gate is open: [`Stage::Serving`]. The port opens a moment
    /// before, so code behind the port must not refuse by this.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage() == Stage::Serving
    }

    /// How far a unit has come; `None` if the gate does not know it.
    #[must_use]
    pub fn state_of(&self, unit: &U) -> Option<UnitState> {
        self.core.with(|inner| inner.machine.state_of(unit).cloned())
    }

    /// How many units are in each state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.core.with(|inner| inner.machine.counts())
    }

    /// Where the start stands. Costs time in proportion to the number of units.
    #[must_use]
    pub fn report(&self) -> Report {
        self.core.report()
    }

    /// Changes with every transition; the value is their number so far. Read
    /// [`Handle::report`] when it did, not more often than you need.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.core.version.subscribe()
    }

    /// Counts transitions and [`Progress`](crate::Progress) ticks: a watchdog
    /// may extend its patience whenever this grew.
    #[must_use]
    pub fn progress_count(&self) -> u64 {
        self.core.ticks.load(Ordering::Relaxed)
    }

    /// Takes a waiting unit earlier. A lower priority than it has is ignored.
    pub fn raise(&self, unit: &U, priority: Priority) {
        self.core.apply(Event::Raise(unit.clone(), priority));
    }

    /// Says that a unit is confirmed that the gate does not ask about, for it was
    /// [deferred](crate::NotConfirmed::Deferred), or is about to be. Returns whether that
    /// was news.
    pub fn confirm(&self, unit: &U) -> bool {
        let is_open = self.core.with(|inner| {
            let state = inner.machine.state_of(unit);
            matches!(
                state,
                Some(UnitState::Electing | UnitState::Waived { .. } | UnitState::Deferred)
            )
        });
        self.core.apply(Event::Confirmed(unit.clone()));
        is_open
    }

    /// Quarantines a unit in any stage, e.g. because its disk failed while it
    /// served. Returns whether the unit was known and not quarantined before.
    ///
    /// Rights that it was granted are not taken back by this: their holder
    /// learns of it as an [`Observer`](crate::Observer), or is the caller.
    pub fn quarantine(&self, unit: &U, fault: UnitFault) -> bool {
        let is_new = self.core.with(|inner| {
            let state = inner.machine.state_of(unit);
            state.is_some_and(|state| !matches!(state, UnitState::Quarantined { .. }))
        });
        self.core.apply(Event::Faulted(unit.clone(), fault));
        is_new
    }

    /// Forgets a unit that was deleted, in any stage but
    /// [`Stage::Stopped`](crate::Stage::Stopped): it counts in nothing any more, and
    /// the gate waits for it no longer. Returns whether the gate knew it.
    pub fn remove(&self, unit: &U) -> bool {
        self.core.remove(unit)
    }

    /// Stops a start in any stage: its present call returns
    /// [`StartError::Cancelled`](crate::StartError::Cancelled), or the next one
    /// if there is none at present.
    ///
    /// Returns whether there was a start to stop. Once the gate is open this
    /// does nothing: a node that serves is stopped by its owner, with
    /// [`Serving::drain`](crate::Serving::drain).
    pub fn cancel(&self) -> bool {
        let mut starting = false;
        self.core.apply_with(Event::Cancel, |inner| starting = inner.machine.stage().is_starting());
        starting
    }

    /// Cuts the way down short, e.g. at a second signal: the present step and
    /// those that follow are dropped, up to [`Step::Flush`](crate::Step::Flush),
    /// which and whose successor wait for nobody else.
    ///
    /// Returns whether the node is on its way down from serving.
    pub fn hurry(&self) -> bool {
        self.core.with(|inner| {
            let draining = inner.machine.stage() == Stage::Draining;
            if draining {
                inner.cut.cancel();
            }
            draining
        })
    }

    /// Waits until the gate is open.
    ///
    /// # Errors
    /// The start failed or the node goes down.
    ///
    /// # Cancel safety
    /// Safe to drop at any time.
    pub async fn opened(&self) -> Result<(), NotOpened> {
        let mut version = self.subscribe();
        loop {
            match self.stage() {
                Stage::Serving => return Ok(()),
                stage @ (Stage::Draining | Stage::Stopped) => return Err(NotOpened { stage }),
                _ => {}
            }
            version.changed().await.expect("the core, which holds the sender, is held by self");
        }
    }

    /// Records work that belongs to no unit (opening a disk) on the time-line,
    /// until the guard is dropped. While the node serves nothing is recorded.
    #[must_use = "the span ends when the guard is dropped"]
    pub fn span(&self, name: impl Into<String>) -> SpanGuard {
        let core = Arc::clone(&self.core);
        let at = core.zero.elapsed();
        let index = core.with(|inner| inner.timeline.begin_span(name.into(), at));
        let end = index.map(|index| -> Box<dyn FnOnce() + Send + Sync> {
            Box::new(move || {
                let at = core.zero.elapsed();
                core.with(|inner| inner.timeline.end_span(index, at));
            })
        });
        SpanGuard { end }
    }

    /// The way down for a start that failed or was cancelled, from
    /// [`Step::Flush`](crate::Step::Flush) on: there is nothing to hand over or
    /// to close. `None` before the failed call returned, and after it was taken
    /// and used.
    #[must_use]
    pub fn unwind(&self) -> Option<Down<U, Flush>> {
        let possible = self.core.with(|inner| inner.machine.can_unwind());
        possible.then(|| Down::unwind(Life { core: Arc::clone(&self.core) }))
    }
}

impl<U: Unit> Clone for Handle<U> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<U: Unit> fmt::Debug for Handle<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("stage", &self.stage()).finish_non_exhaustive()
    }
}

/// The gate will not open any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the gate does not open: the node is {stage}")]
pub struct NotOpened {
    /// Where the node is instead.
    pub stage: Stage,
}

/// Ends a span when dropped, see [`Handle::span`].
#[must_use = "the span ends when the guard is dropped"]
pub struct SpanGuard {
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl fmt::Debug for SpanGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanGuard").finish_non_exhaustive()
    }
}

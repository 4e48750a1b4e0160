//! The stage *elect*: every unit is confirmed, or waived for now.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::{Elect, Listen, Startup, ended};
use crate::caught::caught;
use crate::config::Policy;
use crate::core::Core;
use crate::error::StartError;
use crate::fault::{FaultKind, UnitFault};
use crate::machine::Event;
use crate::meter::Meter;
use crate::right::CampaignRight;
use crate::stage::Stage;
use crate::ticket::{Confirm, NotConfirmed};
use crate::unit::{Unit, UnitState};

/// The longest pause between two questions, in multiples of the first.
const SLOWEST: u32 = 20;

/// The tasks that ask for confirmation. They end with this.
#[derive(Debug)]
pub(crate) struct Confirmers {
    _tasks: JoinSet<()>,
}

impl<U: Unit> Startup<U, Elect<U>> {
    /// Gives every checked unit its right to campaign, in order of priority,
    /// then asks `confirm` about each, all at once and again and again, until
    /// it is confirmed or [`Config::elect_timeout`](crate::Config::elect_timeout)
    /// is over. Units that are not confirmed then are waived: `confirm` goes on
    /// being called for them in the background, and they turn
    /// [`UnitState::Ready`] without a restart.
    ///
    /// `confirm` should itself wait a bounded time for its answer, so that an
    /// answer is noticed when it comes, and should prove the leader by what
    /// happened since the process started, never by what is remembered.
    /// If it finds the unit faulty, the unit is quarantined although it may
    /// campaign already: an [`Observer`](crate::Observer) must fence it again.
    /// If it finds that the unit is not to be here any more, it deletes it and says
    /// [`NotConfirmed::Gone`]; the gate forgets it. If nobody needs the unit and it is not
    /// to be confirmed before somebody does, it says [`NotConfirmed::Deferred`].
    ///
    /// # Errors
    /// [`StartError::Cancelled`]; [`StartError::OverBudget`] or
    /// [`StartError::Strict`] when `confirm` found faults.
    ///
    /// # Panics
    /// If `unfence` does; the start is cancelled then.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the start.
    pub async fn elect<G, C, CF>(
        self,
        mut unfence: G,
        confirm: C,
    ) -> Result<Startup<U, Listen>, StartError>
    where
        G: FnMut(CampaignRight<U>),
        C: Fn(Confirm<U>) -> CF + Send + Sync + 'static,
        CF: Future<Output = Result<(), NotConfirmed>> + Send + 'static,
    {
        let core = &self.life.core;
        let confirm = Arc::new(confirm);
        let mut tasks = JoinSet::new();
        for right in self.state.rights {
            // It may have been quarantined since the right was minted.
            let Some(meter) = meter(core, right.unit()) else { continue };
            let unit = right.unit().clone();
            unfence(right);
            let span = tracing::debug_span!(target: "startup_gate", "elect", %unit);
            let asking = ask(Arc::clone(core), unit, meter, Arc::clone(&confirm));
            tasks.spawn(asking.instrument(span));
        }
        // A strict machine ignores it.
        let mut timeout = Some(core.config.elect_timeout);
        let began = Instant::now();
        while core.with(|inner| inner.machine.stage()) == Stage::Elect {
            let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
            tokio::select! {
                biased;
                () = core.stop.cancelled() => break,
                () = core.work.notified() => {}
                _ = super::elapsed(left) => {
                    timeout = None;
                    core.apply(Event::ElectDeadline);
                }
            }
        }
        if core.with(|inner| inner.machine.stage()) != Stage::Listen {
            tasks.shutdown().await;
            return Err(ended(core));
        }
        let state = Listen { confirmers: Confirmers { _tasks: tasks } };
        Ok(Startup { life: self.life, state })
    }
}

fn meter<U: Unit>(core: &Core<U>, unit: &U) -> Option<Arc<Meter>> {
    core.with(|inner| {
        if inner.machine.state_of(unit) != Some(&UnitState::Electing) {
            return None;
        }
        let meter = Arc::new(Meter::new(core.zero, &core.stop));
        inner.meters.insert(unit.clone(), Arc::clone(&meter));
        Some(meter)
    })
}

/// Asks until there is a final answer, or nobody wants it any more.
async fn ask<U, C, CF>(core: Arc<Core<U>>, unit: U, meter: Arc<Meter>, confirm: Arc<C>)
where
    U: Unit,
    C: Fn(Confirm<U>) -> CF,
    CF: Future<Output = Result<(), NotConfirmed>>,
{
    let began = Instant::now();
    let shortest = core.config.confirm_interval;
    let mut pause = shortest;
    for attempt in 0_u32.. {
        let question = Confirm { unit: unit.clone(), attempt, waited: began.elapsed() };
        let answer = tokio::select! {
            biased;
            () = meter.withdrawn() => return,
            answer = caught(async { confirm(question).await }) => answer,
        };
        let last = match answer {
            Ok(Ok(())) => Event::Confirmed(unit.clone()),
            Ok(Err(NotConfirmed::Fault(fault))) => Event::Faulted(unit.clone(), fault),
            Ok(Err(NotConfirmed::Gone)) => Event::Remove(unit.clone()),
            Ok(Err(NotConfirmed::Deferred)) if core.config.policy != Policy::Strict => {
                Event::Deferred(unit.clone())
            }
            Ok(Err(NotConfirmed::Deferred)) => {
                core.apply(Event::Pending(unit.clone(), "is idle".into()));
                rest(&meter, pause).await;
                pause = (pause * 2).min(shortest * SLOWEST);
                continue;
            }
            Err(panic) => {
                let fault = UnitFault::new(FaultKind::Panicked, panic);
                Event::Faulted(unit.clone(), fault)
            }
            Ok(Err(NotConfirmed::Pending { reason })) => {
                core.apply(Event::Pending(unit.clone(), reason.into()));
                rest(&meter, pause).await;
                pause = (pause * 2).min(shortest * SLOWEST);
                continue;
            }
        };
        core.apply_with(last, |inner| drop(inner.meters.remove(&unit)));
        return;
    }
}

async fn rest(meter: &Meter, pause: Duration) {
    tokio::select! {
        () = meter.withdrawn() => {}
        () = sleep(pause) => {}
    }
}

//! What the gate hands to the code that joins, loads, checks and confirms a unit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::core::{Core, Grant};
use crate::fault::{FaultKind, UnitFault};
use crate::machine::Event;
use crate::meter::Meter;
use crate::right::VoteRight;
use crate::unit::Unit;

/// Goes with the join of one unit, see [`Startup::load_joined`](crate::Startup::load_joined).
pub struct JoinTicket<U: Unit> {
    unit: U,
    lane: usize,
    progress: Progress,
    core: Arc<Core<U>>,
}

impl<U: Unit> JoinTicket<U> {
    pub(crate) fn new(unit: U, lane: usize, meter: Arc<Meter>, core: Arc<Core<U>>) -> Self {
        let progress = Progress::new(meter, &core);
        Self { unit, lane, progress, core }
    }

    /// The unit to join.
    pub fn unit(&self) -> &U {
        &self.unit
    }

    /// Its lane.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Where to tell progress. Clone it before [`JoinTicket::log_readable`].
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Says that the unit's vote and log are durable and readable, and gets the
    /// right to vote for it, before its state is loaded. The unit keeps the
    /// right even if its load or check fails and it is quarantined: an intact
    /// vote and log are all that a vote needs.
    ///
    /// # Errors
    /// [`FaultKind::Withdrawn`] if the gate has given up on the unit or stopped,
    /// or if the ticket was kept until the join was over.
    pub fn log_readable(self) -> Result<VoteRight<U>, UnitFault> {
        vote_right(&self.core, &self.unit).ok_or_else(withdrawn)
    }
}

impl<U: Unit> fmt::Debug for JoinTicket<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTicket").field("unit", &self.unit).finish_non_exhaustive()
    }
}

/// The right to vote, if the machine grants it.
fn vote_right<U: Unit>(core: &Core<U>, unit: &U) -> Option<VoteRight<U>> {
    match core.apply(Event::LogReadable(unit.clone())).into_iter().next() {
        Some(Grant::Vote(unit)) => Some(VoteRight::mint(unit)),
        _ => None,
    }
}

/// The fault of work that nobody waits for.
pub(crate) fn withdrawn() -> UnitFault {
    UnitFault::new(FaultKind::Withdrawn, "the gate waits for it no more")
}

/// Goes with the load of one unit.
pub struct LoadTicket<U: Unit> {
    unit: U,
    lane: usize,
    progress: Progress,
    core: Arc<Core<U>>,
}

impl<U: Unit> LoadTicket<U> {
    pub(crate) fn new(unit: U, lane: usize, meter: Arc<Meter>, core: Arc<Core<U>>) -> Self {
        let progress = Progress::new(meter, &core);
        Self { unit, lane, progress, core }
    }

    /// The unit to load.
    pub fn unit(&self) -> &U {
        &self.unit
    }

    /// Its lane.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Where to tell progress. Clone it before [`LoadTicket::log_readable`].
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Says that the unit's vote and log are durable and readable, and gets the
    /// right to vote for it, while its state may still be loading. The unit
    /// keeps the right even if it is quarantined later: an intact vote and log
    /// are all that a vote needs.
    ///
    /// # Errors
    /// [`FaultKind::Withdrawn`] if the gate has given up on the unit or stopped.
    /// [`FaultKind::Failed`] in [`Startup::load_joined`](crate::Startup::load_joined),
    /// where the right is granted in the join or not at all.
    pub fn log_readable(self) -> Result<VoteRight<U>, UnitFault> {
        vote_right(&self.core, &self.unit).ok_or_else(|| {
            if self.core.with(|inner| inner.machine.joins()) {
                UnitFault::failed("the right to vote is granted in the join, before the load")
            } else {
                withdrawn()
            }
        })
    }
}

impl<U: Unit> fmt::Debug for LoadTicket<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadTicket").field("unit", &self.unit).finish_non_exhaustive()
    }
}

/// Goes with the check of one unit.
#[derive(Debug)]
pub struct CheckTicket<U> {
    unit: U,
    lane: usize,
    progress: Progress,
}

impl<U: Unit> CheckTicket<U> {
    pub(crate) fn new(unit: U, lane: usize, meter: Arc<Meter>, core: &Core<U>) -> Self {
        let progress = Progress::new(meter, core);
        Self { unit, lane, progress }
    }

    /// The unit to check.
    pub fn unit(&self) -> &U {
        &self.unit
    }

    /// Its lane.
    pub fn lane(&self) -> usize {
        self.lane
    }

    /// Where to tell progress.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Where a join, a load or a check tells that it moves. Cheap to clone; may be used
/// from blocking threads.
#[derive(Debug, Clone)]
pub struct Progress {
    meter: Arc<Meter>,
    ticks: Arc<AtomicU64>,
}

impl Progress {
    fn new<U: Unit>(meter: Arc<Meter>, core: &Core<U>) -> Self {
        Self { meter, ticks: Arc::clone(&core.ticks) }
    }

    /// Something was done: the stall clock starts again.
    pub fn tick(&self) {
        self.meter.tick();
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the gate wants no more of this work. Blocking code should ask
    /// now and then, since it cannot be dropped from outside.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.meter.is_withdrawn()
    }

    /// Waits until the gate wants no more of this work.
    ///
    /// # Cancel safety
    /// Safe to drop at any time.
    pub async fn withdrawn(&self) {
        self.meter.withdrawn().await;
    }
}

/// Asks once whether a unit is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm<U> {
    /// Which unit.
    pub unit: U,
    /// How often it was asked before.
    pub attempt: u32,
    /// Since the unit was first asked.
    pub waited: Duration,
}

/// Why a unit is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// Not yet: ask again.
    #[error("{reason}")]
    Pending {
        /// What it waits for, e.g. `no leader: waiting for node 3`.
        reason: String,
    },
    /// Nobody needs it: the gate opens without it and does not ask again. Whoever finds it
    /// confirmed later tells [`Handle::confirm`](crate::Handle::confirm). A strict gate
    /// takes it for [`NotConfirmed::Pending`].
    #[error("is deferred until somebody needs it")]
    Deferred,
    /// Never: quarantine it.
    #[error(transparent)]
    Fault(#[from] UnitFault),
    /// Never: it is not to be here any more, and was deleted. The gate forgets it;
    /// it counts as neither faulty nor waived.
    #[error("is gone")]
    Gone,
}

impl NotConfirmed {
    /// Not yet.
    pub fn pending(reason: impl fmt::Display) -> Self {
        Self::Pending { reason: reason.to_string() }
    }
}

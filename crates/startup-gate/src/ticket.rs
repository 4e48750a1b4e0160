//! What the gate hands to the code that loads, checks and confirms a unit.

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

/// Goes with the load of one unit.
pub struct LoadTicket<U: Unit> {
    unit: U,
    lane: usize,
    progress: Progress,
    core: Arc<Core<U>>,
}

impl<U: Unit> LoadTicket<U> {
    pub(crate) fn new(unit: U, lane: usize, meter: Arc<Meter>, core: Arc<Core<U>>) -> Self {
        let progress = Progress { meter, ticks: Arc::clone(&core.ticks) };
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
    pub fn log_readable(self) -> Result<VoteRight<U>, UnitFault> {
        let grants = self.core.apply(Event::LogReadable(self.unit.clone()));
        match grants.into_iter().next() {
            Some(Grant::Vote(unit)) => Ok(VoteRight::mint(unit)),
            _ => Err(UnitFault::new(FaultKind::Withdrawn, "the gate waits for it no more")),
        }
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
        let progress = Progress { meter, ticks: Arc::clone(&core.ticks) };
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

/// Where a load or a check tells that it moves. Cheap to clone; may be used
/// from blocking threads.
#[derive(Debug, Clone)]
pub struct Progress {
    meter: Arc<Meter>,
    ticks: Arc<AtomicU64>,
}

impl Progress {
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
    /// Never: quarantine it.
    #[error(transparent)]
    Fault(#[from] UnitFault),
}

impl NotConfirmed {
    /// Not yet.
    pub fn pending(reason: impl fmt::Display) -> Self {
        Self::Pending { reason: reason.to_string() }
    }
}

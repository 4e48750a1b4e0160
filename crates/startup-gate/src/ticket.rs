//! What the gate hands to the code that loads, checks and confirms a unit.
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::fault::UnitFault;
use crate::right::VoteRight;
use crate::unit::Unit;

/// Goes with the load of one unit.
#[derive(Debug)]
pub struct LoadTicket<U: Unit> {
    unit: U,
    lane: usize,
    progress: Progress,
}

impl<U: Unit> LoadTicket<U> {
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
    /// right to vote for it. The unit keeps the right even if it is
    /// quarantined later.
    ///
    /// # Errors
    /// [`FaultKind::Withdrawn`](crate::FaultKind::Withdrawn) if the gate has
    /// given up on the unit or stopped.
    pub fn log_readable(self) -> Result<VoteRight<U>, UnitFault> {
        todo!()
    }
}

/// Goes with the check of one unit.
#[derive(Debug)]
pub struct CheckTicket<U: Unit> {
    unit: U,
    lane: usize,
    progress: Progress,
}

impl<U: Unit> CheckTicket<U> {
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
    stop: CancellationToken,
}

impl Progress {
    /// Something was done: the stall clock starts again.
    pub fn tick(&self) {
        todo!()
    }

    /// Whether the gate wants no more of this work. Blocking code should ask
    /// now and then, since it cannot be dropped from outside.
    pub fn is_withdrawn(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// Asks once whether a unit is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm<U> {
    /// Which unit.
    pub unit: U,
    /// How often it was asked before.
    pub attempt: u32,
    /// Since the barrier.
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
    pub fn pending(reason: impl std::fmt::Display) -> Self {
        Self::Pending { reason: reason.to_string() }
    }
}

//! The view of a gate that everybody may hold.
use std::marker::PhantomData;

use tokio::sync::watch;

use crate::down::{Down, Flush};
use crate::fault::UnitFault;
use crate::report::Report;
use crate::stage::Stage;
use crate::unit::{Counts, Priority, Unit, UnitState};

/// The view of a gate that everybody may hold: admin pages, health checks,
/// signal handlers. It mints no rights. Cheap to clone.
#[derive(Debug)]
pub struct Handle<U: Unit> {
    _unit: PhantomData<U>,
}

impl<U: Unit> Clone for Handle<U> {
    fn clone(&self) -> Self {
        Self { _unit: PhantomData }
    }
}

impl<U: Unit> Handle<U> {
    /// How far the node has come.
    pub fn stage(&self) -> Stage {
        todo!()
    }

    /// Whether the gate is open: [`Stage::Serving`].
    pub fn is_open(&self) -> bool {
        todo!()
    }

    /// How far a unit has come; `None` if the gate does not know it.
    pub fn state_of(&self, _unit: &U) -> Option<UnitState> {
        todo!()
    }

    /// How many units are in each state.
    pub fn counts(&self) -> Counts {
        todo!()
    }

    /// Where the start stands. Costs time in proportion to the number of units.
    pub fn report(&self) -> Report {
        todo!()
    }

    /// Changes with every transition; the value is their number so far. Read
    /// [`Handle::report`] when it did, not more often than you need.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        todo!()
    }

    /// Counts transitions and [`Progress`](crate::Progress) ticks: a watchdog
    /// may extend its patience whenever this grew.
    pub fn progress_count(&self) -> u64 {
        todo!()
    }

    /// Takes a waiting unit earlier. A lower priority than it has is ignored.
    pub fn raise(&self, _unit: &U, _priority: Priority) {
        todo!()
    }

    /// Quarantines a unit in any stage, e.g. because its disk failed while it served.
    /// Returns whether the unit was known and not quarantined before.
    pub fn quarantine(&self, _unit: &U, _fault: UnitFault) -> bool {
        todo!()
    }

    /// Stops a start in any stage: its present call returns
    /// [`StartError::Cancelled`](crate::StartError::Cancelled). On the way down
    /// it cuts the present step and those before [`Step::Flush`](crate::Step::Flush)
    /// short. While serving it does nothing.
    pub fn cancel(&self) {
        todo!()
    }

    /// Waits until the gate is open.
    ///
    /// # Errors
    /// The start failed or the node goes down.
    ///
    /// # Cancel safety
    /// Safe to drop at any time.
    pub async fn opened(&self) -> Result<(), NotOpened> {
        todo!()
    }

    /// Records work that belongs to no unit (opening a disk) on the time-line,
    /// until the guard is dropped.
    #[must_use]
    pub fn span(&self, _name: impl Into<String>) -> SpanGuard {
        todo!()
    }

    /// The way down for a start that failed or was cancelled, from
    /// [`Step::Flush`](crate::Step::Flush) on: there is nothing to hand over or
    /// to close. `None` before that, and after it was taken.
    pub fn unwind(&self) -> Option<Down<U, Flush>> {
        todo!()
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
#[derive(Debug)]
pub struct SpanGuard {}

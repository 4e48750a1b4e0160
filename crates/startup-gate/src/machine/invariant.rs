//! What holds in every reachable state, whatever the order of events.

use std::fmt;

use super::Machine;
use crate::stage::Stage;
use crate::unit::{Counts, Unit, UnitState};

/// An invariant that does not hold: a bug in this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is violated{}", .unit.as_ref().map(|u| format!(" by {u}")).unwrap_or_default())]
pub struct Violation {
    /// The invariant in words.
    pub invariant: &'static str,
    /// The unit that violates it, if it is about one.
    pub unit: Option<String>,
}

fn node(invariant: &'static str, holds: bool) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, unit: None }) }
}

fn of_unit(
    invariant: &'static str,
    unit: &impl fmt::Display,
    holds: bool,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { invariant, unit: Some(unit.to_string()) }) }
}

impl<U: Unit> Machine<U> {
    /// Checks every invariant; costs time in proportion to the number of units.
    ///
    /// # Errors
    /// The first one that does not hold.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        let mut counts = Counts::default();
        for (unit, record) in &self.units {
            *counts.slot(&record.state) += 1;
            let behind_barrier = matches!(
                record.state,
                UnitState::Electing
                    | UnitState::Ready
                    | UnitState::Waived { .. }
                    | UnitState::Deferred
            );
            of_unit(
                "no unit votes before its vote and log are opened",
                unit,
                record.state != UnitState::Waiting || !record.votes,
            )?;
            of_unit(
                "no unit campaigns before the barrier",
                unit,
                self.barrier_passed || !record.campaigns,
            )?;
            of_unit(
                "a unit behind the barrier may campaign",
                unit,
                record.campaigns || !behind_barrier,
            )?;
            of_unit(
                "a strict gate defers nothing",
                unit,
                record.state != UnitState::Deferred || !self.rules.strict,
            )?;
            of_unit(
                "when the gate opens every unit is ready, waived, deferred or quarantined",
                unit,
                record.state.is_settled() || !matches!(self.stage, Stage::Listen | Stage::Serving),
            )?;
        }
        node("counts are exact", counts == self.counts)?;
        node("joins are bounded in each lane and overall", self.join_queue.is_bounded())?;
        node("loads are bounded in each lane and overall", self.load_queue.is_bounded())?;
        node("checks are bounded in each lane and overall", self.check_queue.is_bounded())?;
        node("every join holds one slot", self.join_queue.running() == counts.joining)?;
        node("every load holds one slot", self.load_queue.running() == counts.loading)?;
        node("every check holds one slot", self.check_queue.running() == counts.checking)?;
        let (to_join, to_load) =
            if self.joins { (counts.waiting, counts.joined) } else { (0, counts.waiting) };
        node("who waits to be joined is queued", self.join_queue.waiting() == to_join)?;
        node("who waits to be loaded is queued", self.load_queue.waiting() == to_load)?;
        node(
            "nobody joins in a start that does not join",
            self.joins || counts.joining + counts.joined == 0,
        )?;
        node("who waits to be checked is queued", self.check_queue.waiting() == counts.loaded)?;
        node(
            "nothing joins or loads behind the stage load",
            self.stage != Stage::Check || counts.before_loaded() == 0,
        )?;
        let at_work = counts.joining + counts.loading + counts.checking;
        node(
            "a gate that waits for units works on one of them",
            !matches!(self.stage, Stage::Load | Stage::Check)
                || self.before_barrier() == 0
                || at_work > 0,
        )?;
        node(
            "the right to serve is granted in listen, last of all",
            !self.serve_granted || self.barrier_passed && self.stage >= Stage::Listen,
        )?;
        node("who serves holds the right to", self.stage != Stage::Serving || self.serve_granted)?;
        node("a start that failed is stopped", self.end.is_none() || self.stage == Stage::Stopped)
    }
}

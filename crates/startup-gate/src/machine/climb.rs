//! Transitions of single units: join, load, check, faults, coming and going.

use std::sync::Arc;

use super::queue::Queue;
use super::{Effect, Machine, Record};
use crate::fault::{FaultKind, UnitFault};
use crate::observer::Transition;
use crate::stage::Stage;
use crate::unit::{Priority, Unit, UnitSpec, UnitState};

/// Fewer stalls in a row do not condemn a lane, however few slots it has.
const STALLS_MIN: usize = 2;

impl<U: Unit> Machine<U> {
    pub(super) fn begin(&mut self, specs: Vec<UnitSpec<U>>, joins: bool, out: &mut Vec<Effect<U>>) {
        if self.begun || self.stage != Stage::Load {
            return;
        }
        self.begun = true;
        self.joins = joins;
        for spec in specs {
            self.add(&spec, UnitState::Waiting, out);
        }
        self.fill(out);
        self.advance(out);
    }

    pub(super) fn log_readable(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get(unit) else { return };
        let reads = if self.joins { UnitState::Joining } else { UnitState::Loading };
        if self.stage == Stage::Load && record.state == reads && !record.votes {
            self.grant_vote(unit, out);
        }
    }

    pub(super) fn joined(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get(unit) else { return };
        if self.stage == Stage::Stopped || record.state != UnitState::Joining {
            return;
        }
        let (lane, priority, seq) = (record.lane, record.priority, record.seq);
        self.answered(lane);
        self.join_queue.release(lane);
        self.set(unit, UnitState::Joined, out);
        self.load_queue.push(lane, priority, seq, unit.clone());
        self.fill(out);
    }

    pub(super) fn loaded(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get(unit) else { return };
        if self.stage == Stage::Stopped || record.state != UnitState::Loading {
            return;
        }
        let (lane, priority, seq) = (record.lane, record.priority, record.seq);
        self.answered(lane);
        self.load_queue.release(lane);
        self.set(unit, UnitState::Loaded, out);
        self.check_queue.push(lane, priority, seq, unit.clone());
        self.fill(out);
        self.advance(out);
    }

    pub(super) fn checked(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get(unit) else { return };
        if self.stage == Stage::Stopped || record.state != UnitState::Checking {
            return;
        }
        let lane = record.lane;
        self.answered(lane);
        self.check_queue.release(lane);
        self.set(unit, UnitState::Checked, out);
        self.fill(out);
        self.advance(out);
    }

    pub(super) fn faulted(&mut self, unit: &U, fault: &UnitFault, out: &mut Vec<Effect<U>>) {
        let at_work = self.lane_at_work(unit);
        if self.stage == Stage::Stopped || !self.quarantine(unit, fault, out) {
            return;
        }
        if let Some(lane) = at_work {
            self.answered(lane);
        }
        self.fill(out);
        self.advance(out);
        self.settle(out);
    }

    /// A unit that stalls is given up, and its lane begins nothing new until
    /// somebody else in it gets an answer. If nobody does, the lane itself is
    /// taken for dead: otherwise a hung disk would cost one stall timeout for
    /// every few units behind it. A single stall never condemns a lane.
    pub(super) fn stalled(&mut self, unit: &U, fault: &UnitFault, out: &mut Vec<Effect<U>>) {
        let Some(lane) = self.lane_at_work(unit) else { return };
        if self.stage == Stage::Stopped {
            return;
        }
        let stalls = self.stalls.entry(lane).or_insert(0);
        *stalls += 1;
        let loads = self.load_queue.slots_in_lane();
        // Join slots are many; a dead lane may never have filled them all.
        let slots = if self.joins { loads.min(self.join_queue.slots_in_lane()) } else { loads };
        let enough = *stalls >= slots.max(STALLS_MIN);
        self.quarantine(unit, fault, out);
        let at_work: usize = self.queues().map(|queue| queue.running_in(lane)).sum();
        self.hold(lane, at_work > 0);
        if at_work == 0 && enough {
            let fault = UnitFault::new(FaultKind::LaneStalled, format_args!("after {unit}"));
            self.quarantine_where(&fault, out, |record| {
                record.lane == lane
                    && matches!(
                        record.state,
                        UnitState::Waiting | UnitState::Joined | UnitState::Loaded
                    )
            });
        }
        self.fill(out);
        self.advance(out);
    }

    /// Somebody in the lane got an answer, good or bad: it lives.
    fn answered(&mut self, lane: usize) {
        self.stalls.remove(&lane);
        self.hold(lane, false);
    }

    fn hold(&mut self, lane: usize, held: bool) {
        for queue in self.queues_mut() {
            queue.hold(lane, held);
        }
    }

    pub(super) fn load_deadline(&mut self, out: &mut Vec<Effect<U>>) {
        if !matches!(self.stage, Stage::Load | Stage::Check) {
            return;
        }
        let fault = UnitFault::new(FaultKind::TimedOut, "not loaded and checked by the deadline");
        self.quarantine_where(&fault, out, |record| record.state.is_before_barrier());
        self.advance(out);
    }

    pub(super) fn raise(&mut self, unit: &U, priority: Priority) {
        let Some(record) = self.units.get_mut(unit) else { return };
        let (lane, seq, before) = (record.lane, record.seq, record.priority);
        if priority <= before {
            return;
        }
        record.priority = priority;
        for queue in self.queues_mut() {
            if queue.withdraw(lane, before, seq, unit) {
                queue.push(lane, priority, seq, unit.clone());
            }
        }
    }

    pub(super) fn admit(&mut self, unit: &U, lane: usize, out: &mut Vec<Effect<U>>) {
        if self.stage != Stage::Serving || self.units.contains_key(unit) {
            return;
        }
        self.add(&UnitSpec::new(unit.clone()).lane(lane), UnitState::Ready, out);
        self.grant_vote(unit, out);
        self.grant_campaign(unit, out);
    }

    /// On its way up a unit that leaves is as one that never was: nobody waits
    /// for it, and it counts in no budget.
    pub(super) fn remove(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        if self.stage == Stage::Stopped {
            return;
        }
        let at_work = self.lane_at_work(unit);
        self.leave_queue(unit);
        let Some(record) = self.units.remove(unit) else { return };
        *self.counts.slot(&record.state) -= 1;
        out.push(Effect::Abandon(unit.clone()));
        let from = Some(record.state);
        out.push(Effect::Changed(Transition::Unit { unit: unit.clone(), from, to: None }));
        if let Some(lane) = at_work {
            self.answered(lane);
        }
        self.fill(out);
        self.advance(out);
        self.settle(out);
    }

    fn add(&mut self, spec: &UnitSpec<U>, state: UnitState, out: &mut Vec<Effect<U>>) {
        if self.units.contains_key(&spec.unit) {
            return;
        }
        let UnitSpec { unit, lane, priority } = spec.clone();
        let seq = self.units.len();
        if state == UnitState::Waiting {
            self.first_queue().push(lane, priority, seq, unit.clone());
        }
        *self.counts.slot(&state) += 1;
        let to = Some(state.clone());
        let pending = Arc::from("");
        let record = Record { lane, priority, seq, state, votes: false, campaigns: false, pending };
        self.units.insert(unit.clone(), record);
        out.push(Effect::Changed(Transition::Unit { unit, from: None, to }));
    }

    /// Whether the unit was there and not quarantined before.
    fn quarantine(&mut self, unit: &U, fault: &UnitFault, out: &mut Vec<Effect<U>>) -> bool {
        let state = self.units.get(unit).map(|record| &record.state);
        if matches!(state, None | Some(UnitState::Quarantined { .. })) {
            return false;
        }
        self.leave_queue(unit);
        out.push(Effect::Abandon(unit.clone()));
        self.set(unit, UnitState::Quarantined { fault: fault.clone() }, out);
        true
    }

    /// Gives back the slot of a unit, or its place in a queue.
    fn leave_queue(&mut self, unit: &U) {
        let Some(record) = self.units.get(unit) else { return };
        let (lane, priority, seq) = (record.lane, record.priority, record.seq);
        match record.state {
            UnitState::Waiting => {
                self.first_queue().withdraw(lane, priority, seq, unit);
            }
            UnitState::Joining => self.join_queue.release(lane),
            UnitState::Joined => {
                self.load_queue.withdraw(lane, priority, seq, unit);
            }
            UnitState::Loading => self.load_queue.release(lane),
            UnitState::Loaded => {
                self.check_queue.withdraw(lane, priority, seq, unit);
            }
            UnitState::Checking => self.check_queue.release(lane),
            UnitState::Checked
            | UnitState::Electing
            | UnitState::Ready
            | UnitState::Waived { .. }
            | UnitState::Deferred
            | UnitState::Quarantined { .. } => {}
        }
    }

    fn quarantine_where(
        &mut self,
        fault: &UnitFault,
        out: &mut Vec<Effect<U>>,
        which: impl Fn(&Record) -> bool,
    ) {
        let units: Vec<U> =
            self.units.iter().filter(|(_, r)| which(r)).map(|(unit, _)| unit.clone()).collect();
        for unit in units {
            self.quarantine(&unit, fault, out);
        }
    }

    /// Where a unit waits first.
    fn first_queue(&mut self) -> &mut Queue<U> {
        if self.joins { &mut self.join_queue } else { &mut self.load_queue }
    }

    fn queues(&self) -> impl Iterator<Item = &Queue<U>> {
        [&self.join_queue, &self.load_queue, &self.check_queue].into_iter()
    }

    fn queues_mut(&mut self) -> [&mut Queue<U>; 3] {
        [&mut self.join_queue, &mut self.load_queue, &mut self.check_queue]
    }

    /// Begins what slots are free for. Joins, loads and checks have their own
    /// slots and run beside each other.
    fn fill(&mut self, out: &mut Vec<Effect<U>>) {
        while let Some(unit) = self.join_queue.pop() {
            self.set(&unit, UnitState::Joining, out);
            out.push(Effect::Join(unit));
        }
        while let Some(unit) = self.check_queue.pop() {
            self.set(&unit, UnitState::Checking, out);
            out.push(Effect::Check(unit));
        }
        while let Some(unit) = self.load_queue.pop() {
            self.set(&unit, UnitState::Loading, out);
            out.push(Effect::Load(unit));
        }
    }

    /// From load to check, as soon as nothing waits to be loaded.
    fn advance(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage == Stage::Load && self.begun && self.counts.before_loaded() == 0 {
            self.set_stage(Stage::Check, out);
        }
    }
}

//! Transitions of the node on its way up: the barrier, elect, listen, failure.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{Effect, End, Machine};
use crate::fault::UnitFault;
use crate::observer::Transition;
use crate::stage::Stage;
use crate::unit::{Unit, UnitState};

impl<U: Unit> Machine<U> {
    /// The barrier. Before it nobody campaigns; behind it every good unit may.
    pub(super) fn node_checked(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage != Stage::Check || self.before_barrier() > 0 {
            return;
        }
        if let Some(end) = self.verdict() {
            return self.stop(end, out);
        }
        self.barrier_passed = true;
        self.set_stage(Stage::Elect, out);
        let mut checked: Vec<_> = self
            .units
            .iter()
            .filter(|(_, record)| record.state == UnitState::Checked)
            .map(|(unit, record)| (Reverse(record.priority), record.seq, unit.clone()))
            .collect();
        checked.sort_unstable();
        for (_, _, unit) in checked {
            self.set(&unit, UnitState::Electing, out);
            self.grant_campaign(&unit, out);
        }
        self.settle(out);
    }

    pub(super) fn confirmed(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let state = self.state_of(unit);
        let is_awaited = matches!(
            state,
            Some(UnitState::Electing | UnitState::Waived { .. } | UnitState::Deferred)
        );
        if !is_awaited {
            return;
        }
        self.set(unit, UnitState::Ready, out);
        self.settle(out);
    }

    /// A strict gate opens for nothing less than a confirmation.
    pub(super) fn deferred(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let is_asked = self.state_of(unit) == Some(&UnitState::Electing);
        if is_asked && !self.rules.strict {
            self.set(unit, UnitState::Deferred, out);
            self.settle(out);
        }
    }

    /// Not a transition: only what the report says changes.
    pub(super) fn pending(&mut self, unit: &U, reason: Arc<str>) {
        let Some(record) = self.units.get_mut(unit) else { return };
        if let UnitState::Waived { reason: shown } = &mut record.state {
            *shown = Arc::clone(&reason);
        }
        record.pending = reason;
    }

    pub(super) fn elect_deadline(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage != Stage::Elect || self.rules.strict {
            return;
        }
        let electing: Vec<(U, Arc<str>)> = self
            .units
            .iter()
            .filter(|(_, record)| record.state == UnitState::Electing)
            .map(|(unit, record)| (unit.clone(), Arc::clone(&record.pending)))
            .collect();
        for (unit, pending) in electing {
            let reason = if pending.is_empty() { "never answered".into() } else { pending };
            self.set(&unit, UnitState::Waived { reason }, out);
        }
        self.settle(out);
    }

    pub(super) fn open(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage == Stage::Listen && !self.serve_granted {
            self.serve_granted = true;
            out.push(Effect::GrantServe);
            out.push(Effect::Changed(Transition::ServeGranted));
        }
    }

    pub(super) fn opened(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage == Stage::Listen && self.serve_granted {
            self.set_stage(Stage::Serving, out);
        }
    }

    pub(super) fn failed(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage.is_starting() {
            self.stop(End::Failed { stage: self.stage }, out);
        }
    }

    pub(super) fn cancel(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage.is_starting() {
            self.stop(End::Cancelled { stage: self.stage }, out);
        }
    }

    /// Moves on when the gate waits for nobody any more, and stops when a fault
    /// behind the barrier exceeds what the policy allows.
    pub(super) fn settle(&mut self, out: &mut Vec<Effect<U>>) {
        if !matches!(self.stage, Stage::Elect | Stage::Listen) {
            return;
        }
        if let Some(end) = self.verdict() {
            return self.stop(end, out);
        }
        if self.stage == Stage::Elect && self.counts.electing == 0 {
            self.set_stage(Stage::Listen, out);
        }
    }

    pub(super) fn before_barrier(&self) -> usize {
        let counts = &self.counts;
        counts.before_loaded() + counts.loaded + counts.checking
    }

    /// Whether the quarantined units forbid to go on.
    fn verdict(&self) -> Option<End<U>> {
        let quarantined = self.counts.quarantined;
        let (first, fault) = self.first_quarantined()?;
        if self.rules.strict {
            return Some(End::Strict { quarantined, first, fault });
        }
        let allowed = self.rules.allowed(self.units.len());
        let over = quarantined > allowed && !self.rules.accept_degraded;
        over.then_some(End::OverBudget { quarantined, allowed, first, fault })
    }

    fn first_quarantined(&self) -> Option<(U, UnitFault)> {
        if self.counts.quarantined == 0 {
            return None;
        }
        self.units.iter().find_map(|(unit, record)| match &record.state {
            UnitState::Quarantined { fault } => Some((unit.clone(), fault.clone())),
            _ => None,
        })
    }

    fn stop(&mut self, end: End<U>, out: &mut Vec<Effect<U>>) {
        self.end = Some(end);
        self.set_stage(Stage::Stopped, out);
    }
}

//! Transitions on the way down, and the way back from half of it.

use super::{Effect, Machine};
use crate::observer::Transition;
use crate::stage::{Stage, Step, StepEnd};
use crate::unit::Unit;

impl<U: Unit> Machine<U> {
    pub(super) fn drain(&mut self, out: &mut Vec<Effect<U>>) {
        if self.stage == Stage::Serving {
            self.set_stage(Stage::Draining, out);
        }
    }

    /// Steps come in order and one at a time. A failed start has nothing to
    /// hand over and no port to close: it enters at flush.
    pub(super) fn step_began(&mut self, step: Step, out: &mut Vec<Effect<U>>) {
        let in_order = match self.stage {
            Stage::Draining => self.step.map_or(Step::Notice, next) == step,
            Stage::Stopped if self.end.is_some() && self.released => {
                self.step.map_or(Step::Flush, next) == step
            }
            _ => false,
        };
        if in_order && !self.step_running && self.step != Some(Step::Unload) {
            self.step = Some(step);
            self.step_running = true;
            out.push(Effect::Changed(Transition::StepBegan { step }));
        }
    }

    pub(super) fn step_ended(&mut self, step: Step, end: StepEnd, out: &mut Vec<Effect<U>>) {
        if self.step != Some(step) || !self.step_running {
            return;
        }
        self.step_running = false;
        out.push(Effect::Changed(Transition::StepEnded { step, end }));
        if step == Step::Unload && self.stage == Stage::Draining {
            self.set_stage(Stage::Stopped, out);
        }
    }

    /// Possible while the port is open.
    pub(super) fn resume(&mut self, out: &mut Vec<Effect<U>>) {
        let port_is_open = self.step.is_none_or(|step| step <= Step::HandOver);
        if self.stage == Stage::Draining && !self.step_running && port_is_open {
            self.step = None;
            self.set_stage(Stage::Serving, out);
        }
    }

    /// The owner is gone. What it left half-done is stopped.
    pub(super) fn release(&mut self, out: &mut Vec<Effect<U>>) {
        self.cancel(out);
        self.released = true;
        if matches!(self.stage, Stage::Serving | Stage::Draining) {
            self.set_stage(Stage::Stopped, out);
        }
    }
}

fn next(step: Step) -> Step {
    match step {
        Step::Notice => Step::HandOver,
        Step::HandOver => Step::Close,
        Step::Close => Step::Flush,
        Step::Flush | Step::Unload => Step::Unload,
    }
}

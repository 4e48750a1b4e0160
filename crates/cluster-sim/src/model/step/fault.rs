//! Crashes, starts and signals.

use super::super::action::Action;
use super::super::gates::GateEvent;
use super::super::rules::Mutation;
use super::super::world::World;
use super::{Model, Next, end};
use startup_gate::Stage;

impl Model {
    pub(super) fn fault_steps(&mut self, world: &World, n: usize, out: &mut Next) {
        if !world.nodes[n].up {
            if world.left.restarts > 0 {
                let mut next = *world;
                next.left.restarts -= 1;
                self.start(&mut next, n);
                out.push((Action::Restart { n }, next));
            }
            return;
        }
        if world.left.crashes > 0 {
            let mut next = *world;
            next.left.crashes -= 1;
            end(&mut next, n, self.rules.broken(Mutation::VoteForgotten));
            out.push((Action::Crash { n }, next));
        }
        if world.left.signals > 0 {
            self.signal(world, n, out);
        }
    }

    fn signal(&mut self, world: &World, n: usize, out: &mut Next) {
        let mut next = *world;
        next.left.signals -= 1;
        let stage = self.facts(world, n).stage;
        if stage.is_starting() && self.gate(&mut next, n, GateEvent::Cancel) {
            out.push((Action::Cancel { n }, next));
        } else if stage == Stage::Serving && self.gate(&mut next, n, GateEvent::HandOver) {
            next.nodes[n].draining = true;
            for group in &mut next.groups {
                if !self.rules.broken(Mutation::DrainUnfenced) {
                    group.replicas[n].fence.draining = true;
                    group.replicas[n].timer = false;
                }
            }
            out.push((Action::HandOver { n }, next));
        }
    }
}

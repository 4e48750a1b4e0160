//! Steps of one node's gate, up and down.
//!
//! The load of a node without a flaw is taken in two steps. It starts with all
//! votes and logs readable: before that it is to everybody what a node is that
//! is still down. Then all partitions are loaded and checked and the node is
//! behind the barrier: what lies between cannot be seen by anybody, for the
//! fence is closed, a probe's answer is the same, and a crash in between leaves
//! what a crash before leaves. Where a scenario has a flaw, its node goes step
//! by step.

use raft_glue::protocol::{self, Follower, Target};
use startup_gate::Stage;

use super::super::action::Action;
use super::super::gates::GateEvent;
use super::super::rules::Mutation;
use super::super::scenario::Flaw;
use super::super::world::{NODES, Role, World};
use super::{Model, Next, end};

impl Model {
    pub(super) fn gate_steps(&mut self, world: &World, n: usize, out: &mut Next) {
        if !world.nodes[n].up {
            return;
        }
        let stage = self.facts(world, n).stage;
        if let Some((bad, p, Flaw::Late)) = self.scenario.flaw
            && bad == n
            && (Stage::Elect..=Stage::Serving).contains(&stage)
        {
            self.told(world, n, GateEvent::Faulted(p as u8), Action::GoesBad { n, p }, out);
        }
        match stage {
            Stage::Load | Stage::Check => self.load_steps(world, n, out),
            Stage::Elect => {
                if self.scenario.deadline {
                    self.told(world, n, GateEvent::ElectDeadline, Action::ElectDeadline { n }, out);
                }
                if self.rules.broken(Mutation::ListenBeforeElect) {
                    let mut next = *world;
                    next.nodes[n].listening = true;
                    out.push((Action::Open { n }, next));
                }
            }
            // One task does both, without a pause in between.
            Stage::Listen => {
                let mut next = *world;
                if self.gate(&mut next, n, GateEvent::Open)
                    && self.gate(&mut next, n, GateEvent::Opened)
                {
                    out.push((Action::Open { n }, next));
                }
            }
            Stage::Serving => {}
            Stage::Draining => self.down_steps(world, n, out),
            Stage::Stopped => self.exit(world, n, out),
        }
    }

    /// A step of the gate that is nothing but its own.
    fn told(&mut self, world: &World, n: usize, event: GateEvent, action: Action, out: &mut Next) {
        let mut next = *world;
        if self.gate(&mut next, n, event) {
            out.push((action, next));
        }
    }

    fn load_steps(&mut self, world: &World, n: usize, out: &mut Next) {
        if self.goes_step_by_step(n) {
            for p in 0..self.scenario.partitions {
                self.careful_load(world, n, p, out);
            }
            self.told(world, n, GateEvent::NodeChecked, Action::NodeChecked { n }, out);
            return;
        }
        let units = 0..self.scenario.partitions as u8;
        let mut next = *world;
        for p in units {
            self.gate(&mut next, n, GateEvent::Loaded(p));
            self.gate(&mut next, n, GateEvent::Checked(p));
            let ghost = &mut next.replica_mut(p as usize, n).ghost;
            (ghost.loaded, ghost.checked) = (true, true);
        }
        self.gate(&mut next, n, GateEvent::NodeChecked);
        out.push((Action::Load { n }, next));
    }

    fn careful_load(&mut self, world: &World, n: usize, p: usize, out: &mut Next) {
        let flaw = self.scenario.flaw.filter(|(_, bad, _)| *bad == p).map(|(_, _, flaw)| flaw);
        let has = |set: u8| set & 1 << p > 0;
        let facts = self.facts(world, n);
        let (joining, loading) = (has(facts.joining), has(facts.loading));
        let checking = has(facts.checking);
        let votes = has(facts.may_vote);
        let unit = p as u8;
        let mut push = |event, action| {
            let mut next = *world;
            match action {
                Action::Loaded { .. } => next.replica_mut(p, n).ghost.loaded = true,
                Action::Checked { .. } => next.replica_mut(p, n).ghost.checked = true,
                _ => {}
            }
            if self.gate(&mut next, n, event) {
                out.push((action, next));
            }
        };
        if joining && flaw == Some(Flaw::Unloadable) {
            return push(GateEvent::Faulted(unit), Action::Faulted { n, p });
        }
        if joining && !votes {
            push(GateEvent::LogReadable(unit), Action::LogReadable { n, p });
        }
        if joining && votes {
            push(GateEvent::Joined(unit), Action::Joined { n, p });
        }
        if loading {
            push(GateEvent::Loaded(unit), Action::Loaded { n, p });
        }
        if checking && flaw == Some(Flaw::Corrupt) {
            return push(GateEvent::Faulted(unit), Action::Faulted { n, p });
        }
        if checking {
            push(GateEvent::Checked(unit), Action::Checked { n, p });
        }
        if (joining || loading || checking) && flaw == Some(Flaw::Slow) {
            push(GateEvent::Stalled(unit), Action::Stalled { n, p });
        }
    }

    fn down_steps(&mut self, world: &World, n: usize, out: &mut Next) {
        if !world.nodes[n].listening {
            return self.exit(world, n, out);
        }
        let groups = 0..self.scenario.partitions;
        let by_choice = |p: &usize| {
            let others = (0..NODES).filter(|to| *to != n);
            world.leads(*p, n)
                && others
                    .into_iter()
                    .any(|to| !matches!(self.target(world, *p, n, to), Target::Nobody { .. }))
        };
        let led = groups.clone().filter(by_choice).count();
        let campaigns =
            |p: &usize| matches!(world.replica(*p, n).role, Role::PreCandidate | Role::Candidate);
        let candidates = groups.filter(campaigns).count();
        let in_time = !protocol::drain_goes_on(led, candidates)
            || self.rules.broken(Mutation::ClosedTooEarly);
        let mut next = *world;
        if self.gate(&mut next, n, GateEvent::Close { in_time }) {
            next.nodes[n].listening = false;
            out.push((Action::Close { n, in_time }, next));
        }
    }

    /// What the leader `n` finds when it looks at node `to` alone.
    pub(crate) fn target(&self, world: &World, p: usize, n: usize, to: usize) -> Target {
        let voice = self.voice(world, p, to);
        let has_all = world.replica(p, n).support & 1 << to > 0;
        let id = partition_types::NodeId::new(to as u64 + 1).expect("above 0");
        let follower = Follower { id, lag: u64::from(!has_all) };
        protocol::choose_target(&[follower], &[voice], &[])
    }

    fn exit(&mut self, world: &World, n: usize, out: &mut Next) {
        let mut next = *world;
        end(&mut next, n, false);
        out.push((Action::Exit { n }, next));
    }
}

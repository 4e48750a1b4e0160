//! All next states of a state, by kind of step. Shared by them: how an
//! effect of a gate is carried out, and what a state is trimmed of.

mod confirm;
mod fault;
mod gate;
mod raft;

use raft_glue::protocol::Fence;

use super::action::Action;
use super::gates::{Facts, GateEvent, Gates, Granted};
use super::rules::{Mutation, Rules};
use super::scenario::{Flaw, Scenario};
use super::world::{Ballot, Ghost, Log, NODES, Node, Replica, Role, Sent, World};

/// A scenario with its rules and its gates.
pub(crate) struct Model {
    pub(crate) scenario: Scenario,
    pub(crate) rules: Rules,
    pub(crate) gates: Gates,
}

/// Where next states are put.
pub(crate) type Next = Vec<(Action, World)>;

impl Model {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let gates = Gates::new(scenario.partitions, scenario.strict);
        Self { scenario, rules: Rules(scenario.mutation), gates }
    }

    /// The cluster at first: the nodes that serve have come up before.
    pub(crate) fn first(&mut self) -> World {
        let mut world = self.scenario.first();
        let (serving, starting) = (self.scenario.serving, self.scenario.starting);
        for n in (0..NODES).filter(|n| serving & 1 << n > 0) {
            self.start(&mut world, n);
            let units = 0..self.scenario.partitions as u8;
            let mut way = Vec::new();
            for event in [GateEvent::Loaded, GateEvent::Checked] {
                way.extend(units.clone().map(event));
            }
            way.push(GateEvent::NodeChecked);
            way.extend(units.map(GateEvent::Confirmed));
            way.extend([GateEvent::Open, GateEvent::Opened]);
            for event in way {
                assert!(self.gate(&mut world, n, event), "a good start goes its way");
            }
            for p in 0..self.scenario.partitions {
                let ghost = &mut world.replica_mut(p, n).ghost;
                (ghost.loaded, ghost.checked) = (true, true);
            }
        }
        for n in (0..NODES).filter(|n| starting & 1 << n > 0) {
            self.start(&mut world, n);
        }
        self.trim(&mut world);
        world
    }

    /// Every step that is possible, and where it leads.
    pub(crate) fn next(&mut self, world: &World, out: &mut Next) {
        out.clear();
        for n in 0..NODES {
            self.gate_steps(world, n, out);
            self.fault_steps(world, n, out);
            for p in 0..self.scenario.partitions {
                self.confirm_steps(world, n, p, out);
                self.raft_steps(world, n, p, out);
            }
        }
        for (_, next) in out.iter_mut() {
            self.trim(next);
        }
        // A step that changes nothing is none.
        out.retain(|(_, next)| next != world);
    }

    pub(crate) fn facts(&self, world: &World, n: usize) -> &Facts {
        self.gates.facts(world.nodes[n].gate)
    }

    /// Whether the node's load is taken apart, because of a flaw in it.
    fn goes_step_by_step(&self, n: usize) -> bool {
        let flaw = self.scenario.flaw;
        flaw.is_some_and(|(node, _, flaw)| node == n && flaw != Flaw::Late)
    }

    /// Whether the load of a replica can only fail.
    pub(crate) fn is_unloadable(&self, n: usize, p: usize) -> bool {
        self.scenario.flaw == Some((n, p, Flaw::Unloadable))
    }

    /// A process starts. Where nothing is wrong its votes and logs are readable
    /// at once: see `gate`.
    fn start(&mut self, world: &mut World, n: usize) {
        world.nodes[n].up = true;
        world.nodes[n].gate = self.gates.begun();
        let units =
            if self.goes_step_by_step(n) { 0..0 } else { 0..self.scenario.partitions as u8 };
        for p in units {
            self.gate(world, n, GateEvent::LogReadable(p));
            self.gate(world, n, GateEvent::Joined(p));
        }
    }

    /// Tells a node's gate something and carries out what it asks for. False:
    /// the gate ignores it.
    fn gate(&mut self, world: &mut World, n: usize, event: GateEvent) -> bool {
        let Some((gate, granted)) = self.gates.step(world.nodes[n].gate, event) else {
            return false;
        };
        world.nodes[n].gate = gate;
        if event == GateEvent::Opened {
            world.nodes[n].serving = true;
        }
        if granted.serve {
            world.nodes[n].listening = true;
        }
        for p in 0..self.scenario.partitions {
            self.carry_out(world, n, p, granted);
            let peer_port_opens =
                event == GateEvent::Opened && self.rules.broken(Mutation::PeerPortLast);
            world.replica_mut(p, n).runs |= peer_port_opens;
            if event == GateEvent::Opened {
                self.enable_timer(world, n, p);
            }
        }
        true
    }

    fn carry_out(&self, world: &mut World, n: usize, p: usize, granted: Granted) {
        let has = |set: u8| set & 1 << p > 0;
        let replica = world.replica_mut(p, n);
        if has(granted.vote) && !self.rules.broken(Mutation::PeerPortLast) {
            replica.runs = true;
            let led = replica.accepted && replica.vote != Ballot::NONE && replica.vote.node() == n;
            if led && self.rules.broken(Mutation::LeaderRestored) {
                replica.role = Role::Leader;
                replica.support = 1 << n;
            }
            self.enable_timer(world, n, p);
        }
        let replica = world.replica_mut(p, n);
        if has(granted.campaign) {
            replica.fence.open = true;
            self.enable_timer(world, n, p);
        }
        let replica = world.replica_mut(p, n);
        if has(granted.quarantined) && !self.rules.broken(Mutation::QuarantineUnfenced) {
            replica.fence.quarantined = true;
            replica.timer = false;
        }
    }

    /// As the host does it: on where it may run, and otherwise as it was.
    fn enable_timer(&self, world: &mut World, n: usize, p: usize) {
        let serving = world.nodes[n].serving;
        let replica = world.replica_mut(p, n);
        replica.timer |= self.rules.timer_may_run(replica.fence, serving);
    }

    /// Forgets what nothing will ever look at again, so that states that differ
    /// in it only are one: messages that nobody would react to any more, and
    /// what was needed for a question that is answered.
    fn trim(&self, world: &mut World) {
        for p in 0..self.scenario.partitions {
            for n in 0..NODES {
                let settled = {
                    let facts = self.facts(world, n);
                    (facts.ready | facts.quarantined) & 1 << p > 0
                };
                let node = world.nodes[n];
                let replica = world.replica_mut(p, n);
                if settled || !node.up {
                    replica.applied = Ballot::NONE;
                    // Both answers of a voter that serves mean the same.
                    replica.heard = false;
                    replica.polled = 0;
                    replica.catching_up = Ballot::NONE;
                    replica.ghost.overlooked = false;
                    replica.ghost.leader_was_real = false;
                }
                if matches!(replica.role, Role::Follower | Role::PreCandidate) {
                    replica.support = 0;
                }
                if node.listening {
                    replica.ghost.verified = false;
                }
                if node.listening || replica.role == Role::Follower {
                    replica.ghost.usurps = false;
                }
            }
            for n in 0..NODES {
                self.trim_sent(world, p, n);
            }
        }
    }

    fn trim_sent(&self, world: &mut World, p: usize, n: usize) {
        let group = &world.groups[p];
        let others = || (0..NODES).filter(|v| *v != n).map(|v| &group.replicas[v]);
        let sent = group.sent[n];
        let asks = |(ballot, _): (Ballot, Log)| {
            let sender = &group.replicas[n];
            let counts = sender.role == Role::Candidate && sender.vote == ballot;
            counts || self.scenario.fine && others().any(|v| v.vote < ballot)
        };
        let tells = |(ballot, _, committed): (Ballot, Log, bool)| {
            let sender = &group.replicas[n];
            let leads = sender.role == Role::Leader && sender.vote == ballot;
            let news = |v: &Replica| {
                let lacks = !v.accepted || !v.log.has(ballot) || committed && v.applied < ballot;
                v.vote < ballot || v.vote == ballot && lacks
            };
            leads || others().any(news)
        };
        let hands = |(ballot, to): (Ballot, u8)| group.replicas[to as usize].vote <= ballot;
        let kept = Sent {
            vote_request: sent.vote_request.filter(|sent| asks(*sent)),
            append: sent.append.filter(|sent| tells(*sent)),
            transfer: sent.transfer.filter(|sent| hands(*sent)),
        };
        world.groups[p].sent[n] = kept;
    }
}

/// The process ends, in whatever way: what was in memory is gone.
fn end(world: &mut World, n: usize, vote_forgotten: bool) {
    world.nodes[n] = Node::default();
    for group in &mut world.groups {
        let Replica { vote, accepted, log, .. } = group.replicas[n];
        let (vote, accepted) =
            if vote_forgotten { (Ballot::NONE, false) } else { (vote, accepted) };
        group.replicas[n] = Replica {
            vote,
            accepted,
            log,
            fence: Fence::default(),
            ghost: Ghost::default(),
            ..Replica::default()
        };
    }
}

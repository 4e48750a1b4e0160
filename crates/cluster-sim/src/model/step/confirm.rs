//! The stage *elect*, and who is waived: the voters are asked for the leader,
//! and a node that is needed campaigns.
//!
//! Both other voters are asked at once and answer when they do. An answer
//! *serving* leads to nothing that a new poll would not lead to, so only the
//! other kind is remembered between two answers. Where a scenario is not fine,
//! those who do not lead answer in one moment.

use raft_glue::protocol::{Answer, Poll, Standing, Verdict, Voice};
use startup_gate::Stage;

use super::super::action::Action;
use super::super::gates::GateEvent;
use super::super::rules::Mutation;
use super::super::world::{Ballot, NODES, Role, World};
use super::{Model, Next};

impl Model {
    /// What node `n` answers when it is asked for the leader of `p`. `None`: nothing.
    pub(super) fn answer(&self, world: &World, p: usize, n: usize) -> Option<Answer> {
        let node = &world.nodes[n];
        if !node.up {
            return None;
        }
        let replica = world.replica(p, n);
        let mut fence = replica.fence;
        fence.quarantined |= self.facts(world, n).quarantined & 1 << p > 0;
        Some(self.rules.answer(Standing {
            leads: replica.role == Role::Leader && world.quorum_confirms(p, n),
            draining: node.draining,
            serving: node.serving,
            fence,
            knows_leader: replica.heard,
            // Logs are too short here to lag behind.
            lags: false,
        }))
    }

    /// The same, as it comes to the one who asked.
    pub(super) fn voice(&self, world: &World, p: usize, n: usize) -> Voice {
        let answer = self.answer(world, p, n);
        answer.map_or(Voice::Silent, |answer| {
            answer.reason().map_or(Voice::Leader, Voice::of_refusal)
        })
    }

    pub(super) fn confirm_steps(&mut self, world: &World, n: usize, p: usize, out: &mut Next) {
        let facts = self.facts(world, n);
        let asks = matches!(facts.stage, Stage::Elect | Stage::Listen | Stage::Serving)
            && facts.unconfirmed & 1 << p > 0;
        if !world.hears(p, n) || !asks {
            return;
        }
        let replica = world.replica(p, n);
        if replica.accepted && self.rules.broken(Mutation::LeaderRemembered) {
            let mut next = *world;
            next.replica_mut(p, n).catching_up = replica.vote;
            return self.confirmed(next, n, p, Action::CaughtUp { n, p }, out);
        }
        if replica.catching_up != Ballot::NONE && replica.applied >= replica.catching_up {
            self.confirmed(*world, n, p, Action::CaughtUp { n, p }, out);
        }
        if replica.heard && replica.role == Role::Follower {
            let mut next = *world;
            let replica = next.replica_mut(p, n);
            replica.catching_up = replica.vote;
            // It led when it sent what was heard.
            replica.ghost.leader_was_real = world.groups[p].won & replica.vote.bit() > 0;
            self.confirmed(next, n, p, Action::HeardLeader { n, p }, out);
        }
        if replica.role == Role::Leader {
            if world.quorum_confirms(p, n) && replica.applied >= replica.vote {
                let mut next = *world;
                let was_real = leads_in_truth(world, p, n);
                let replica = next.replica_mut(p, n);
                replica.catching_up = replica.vote;
                replica.ghost.leader_was_real = was_real;
                self.confirmed(next, n, p, Action::ConfirmSelf { n, p }, out);
            }
            return;
        }
        for from in (0..NODES).filter(|from| *from != n) {
            let mut heard = *world;
            if !self.scenario.fine {
                let (other, overlooked) = self.other_voice(world, p, NODES - n - from);
                if other == Voice::Serving || other == Voice::Leader {
                    // It is the other one's answer that ends this poll.
                    if self.voice(world, p, from) != Voice::Leader {
                        continue;
                    }
                } else {
                    let replica = heard.replica_mut(p, n);
                    replica.polled = (NODES - n - from) as u8 + 1;
                    replica.ghost.overlooked = overlooked;
                }
            }
            self.hear(&heard, n, p, from, out);
        }
    }

    /// What a voter says, and whether it could lead although it says otherwise.
    fn other_voice(&self, world: &World, p: usize, other: usize) -> (Voice, bool) {
        let voice = self.voice(world, p, other);
        (voice, voice != Voice::Serving && world.could_serve_and_lead(p, other))
    }

    fn confirmed(&mut self, mut next: World, n: usize, p: usize, action: Action, out: &mut Next) {
        let acknowledged = next.groups[p].acknowledged;
        let replica = next.replica_mut(p, n);
        let before = acknowledged & (replica.catching_up.bit() | (replica.catching_up.bit() - 1));
        replica.ghost.verified = replica.ghost.leader_was_real && replica.log.covers(before);
        if self.gate(&mut next, n, GateEvent::Confirmed(p as u8)) {
            out.push((action, next));
        }
    }

    /// One voter's answer, or its silence.
    fn hear(&mut self, world: &World, n: usize, p: usize, from: usize, out: &mut Next) {
        let voice = self.voice(world, p, from);
        let action = Action::Hear { n, p, from };
        if voice == Voice::Leader {
            let mut next = *world;
            let leader = world.replica(p, from).vote;
            let was_real = leads_in_truth(world, p, from);
            let replica = next.replica_mut(p, n);
            (replica.polled, replica.ghost.overlooked) = (0, false);
            replica.catching_up = leader;
            replica.ghost.leader_was_real = was_real;
            out.push((action, next));
            return;
        }
        // A voter that says it cannot lead, and could: property `unserved`.
        let overlooked = voice != Voice::Serving && world.could_serve_and_lead(p, from);
        self.heard(world, (n, p, from), (voice, overlooked, action), out);
        if voice == Voice::Serving && world.left.lost_probes > 0 {
            let mut next = *world;
            next.left.lost_probes -= 1;
            // Nobody can be blamed for not counting a voter that is out of reach.
            let lost = (Voice::Silent, false, Action::LoseProbe { n, p, from });
            self.heard(&next, (n, p, from), lost, out);
        }
    }

    fn heard(
        &mut self,
        world: &World,
        (n, p, from): (usize, usize, usize),
        (voice, overlooked, action): (Voice, bool, Action),
        out: &mut Next,
    ) {
        let polled = world.replica(p, n).polled;
        if polled == 0 || polled as usize == from + 1 {
            if voice != Voice::Serving || self.rules.broken(Mutation::PollIgnored) {
                let mut next = *world;
                let replica = next.replica_mut(p, n);
                replica.polled = from as u8 + 1;
                replica.ghost.overlooked =
                    overlooked || voice == Voice::Serving && world.could_serve_and_lead(p, from);
                out.push((action, next));
            }
            return;
        }
        let mut poll = Poll::default();
        poll.hear(Voice::Starting);
        poll.hear(voice);
        // The protocol takes it that those who serve and can win have won after
        // one long election's time; so as long as one of them could, that time
        // is not over.
        let could = |v: &usize| *v != n && world.could_serve_and_lead(p, *v);
        let waited_long = voice == Voice::Serving && !(0..NODES).any(|v| could(&v));
        let overlooked = overlooked
            || world.replica(p, n).ghost.overlooked
            || voice == Voice::Serving && world.could_serve_and_lead(p, from);
        let mut next = *world;
        let replica = next.replica_mut(p, n);
        (replica.polled, replica.ghost.overlooked) = (0, false);
        if self.rules.verdict(poll, waited_long) == Verdict::Needed {
            self.campaign(next, (n, p), overlooked, action, out);
        } else {
            out.push((action, next));
        }
    }

    /// The host wants an election. The delay by rank and the pause may always
    /// be over; that they are not yet is the same as a later poll.
    fn campaign(
        &self,
        mut next: World,
        (n, p): (usize, usize),
        usurps: bool,
        action: Action,
        out: &mut Next,
    ) {
        let replica = *next.replica(p, n);
        let has_turn = self.scenario.turns[p] & 1 << n > 0;
        if !has_turn || !self.rules.passes(replica.fence) {
            return out.push((action, next));
        }
        if self.rules.broken(Mutation::TimerRunsOn) {
            next.replica_mut(p, n).timer = true;
        }
        if matches!(replica.role, Role::Follower | Role::Candidate) {
            let usurps = usurps && !next.nodes[n].listening;
            let granted = self.begin_campaign(&next, (n, p), usurps, |_| (action, next));
            granted.into_iter().for_each(|step| out.push(step));
        }
        // Or the pre-votes are lost.
        out.push((action, next));
    }
}

/// Whether replica `n` leads, and nobody later was elected yet.
fn leads_in_truth(world: &World, p: usize, n: usize) -> bool {
    let ballot = world.replica(p, n).vote;
    let later = !(ballot.bit() | (ballot.bit() - 1));
    world.leads(p, n) && world.groups[p].won & later == 0
}

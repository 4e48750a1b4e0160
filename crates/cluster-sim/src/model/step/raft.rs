//! Raft, abstract: timers, votes, entries, and hand-overs.
//!
//! A message is in flight until its sender sends another of its kind; until
//! then each node may get it at any time, several times, or never. A reply
//! changes nothing until it completes a quorum, so replies are gathered where
//! they were given: that a candidate knows of a quorum, or a leader that its
//! entry is committed, happens at any later time or never. A pre-vote writes
//! nothing anywhere, so its round is one step.

use raft_glue::protocol::Target;

use super::super::action::Action;
use super::super::rules::Mutation;
use super::super::world::{Ballot, NODES, Role, World, is_quorum};
use super::{Model, Next};

/// How a round of pre-votes can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreVote {
    Refused,
    Granted,
    /// Only by voters that take a living leader for dead.
    Mistaken,
}

impl Model {
    pub(super) fn raft_steps(&mut self, world: &World, n: usize, p: usize, out: &mut Next) {
        if !world.hears(p, n) {
            return;
        }
        self.election_steps(world, n, p, out);
        self.leader_steps(world, n, p, out);
        for from in (0..NODES).filter(|from| *from != n) {
            self.receive(world, n, p, from, out);
        }
    }

    fn election_steps(&self, world: &World, n: usize, p: usize, out: &mut Next) {
        let replica = world.replica(p, n);
        match replica.role {
            Role::Follower | Role::Candidate if replica.timer => {
                let usurps = self.is_usurper(world, n, p);
                self.begin_campaign(world, (n, p), usurps, |suspects| {
                    (Action::Timer { n, p, suspects }, *world)
                })
                .into_iter()
                .for_each(|step| out.push(step));
            }
            Role::PreCandidate => {
                let mut next = *world;
                if self.raise_term(&mut next, n, p) {
                    out.push((Action::RaiseTerm { n, p }, next));
                }
            }
            _ => {}
        }
        if replica.role == Role::Candidate
            && is_quorum(replica.support)
            && self.rules.grant_counts(replica.fence)
        {
            let mut next = *world;
            let group = &mut next.groups[p];
            let replica = &mut group.replicas[n];
            let ballot = replica.vote;
            replica.role = Role::Leader;
            replica.accepted = true;
            replica.log = replica.log.with(ballot);
            replica.support = 1 << n;
            group.won |= ballot.bit();
            group.sent[n].append = Some((ballot, replica.log, false));
            out.push((Action::Win { n, p }, next));
        }
    }

    /// Whether a node that does not listen would campaign although somebody
    /// who does could lead.
    fn is_usurper(&self, world: &World, n: usize, p: usize) -> bool {
        let other = |v: usize| v != n && world.could_serve_and_lead(p, v);
        !world.nodes[n].listening && (0..NODES).any(other)
    }

    /// The next states in which replica `n`'s pre-vote was granted.
    pub(super) fn begin_campaign(
        &self,
        world: &World,
        (n, p): (usize, usize),
        usurps: bool,
        step: impl Fn(bool) -> (Action, World),
    ) -> Option<(Action, World)> {
        if world.replica(p, n).vote.term() >= self.scenario.terms[p] {
            return None;
        }
        let suspects = match self.pre_vote(world, n, p) {
            PreVote::Granted => false,
            PreVote::Mistaken if world.left.suspicions > 0 => true,
            _ => return None,
        };
        let (action, mut next) = step(suspects);
        next.left.suspicions -= u8::from(suspects);
        let replica = next.replica_mut(p, n);
        replica.role = Role::PreCandidate;
        replica.ghost.usurps = usurps;
        if !self.scenario.fine {
            self.raise_term(&mut next, n, p);
        }
        Some((action, next))
    }

    fn pre_vote(&self, world: &World, n: usize, p: usize) -> PreVote {
        let mine = world.replica(p, n);
        if !self.rules.passes(mine.fence) {
            return PreVote::Refused;
        }
        let (mut grants, mut honest) = (0, 0);
        for v in (0..NODES).filter(|v| world.hears(p, *v)) {
            let voter = world.replica(p, v);
            if !mine.log.is_as_new_as(voter.log) && !self.rules.broken(Mutation::LogIgnored) {
                continue;
            }
            grants |= 1 << v;
            // A voter that hears of a leader keeps to it.
            let leader = voter.accepted.then(|| voter.vote.node());
            let living = |l: usize| {
                world.hears(p, l) && world.leads(p, l) && world.replica(p, l).vote == voter.vote
            };
            if !leader.is_some_and(living) {
                honest |= 1 << v;
            }
        }
        match (is_quorum(honest) && honest & 1 << n > 0, is_quorum(grants)) {
            (true, _) => PreVote::Granted,
            (false, true) => PreVote::Mistaken,
            (false, false) => PreVote::Refused,
        }
    }

    /// A new term, its own vote, and requests for those of the others, if the
    /// fence lets them out. False: the last term is reached.
    fn raise_term(&self, next: &mut World, n: usize, p: usize) -> bool {
        let group = &mut next.groups[p];
        let replica = &mut group.replicas[n];
        let mut term = replica.vote.term() + 1;
        let is_own = replica.vote != Ballot::NONE && replica.vote.node() == n;
        if is_own && self.rules.broken(Mutation::TermReused) {
            term -= 1;
        }
        if term > self.scenario.terms[p] {
            return false;
        }
        replica.vote = Ballot::new(term, n);
        (replica.accepted, replica.heard) = (false, false);
        replica.role = Role::Candidate;
        replica.support = 1 << n;
        let passes = self.rules.passes(replica.fence);
        group.sent[n].vote_request = passes.then_some((replica.vote, replica.log));
        true
    }

    fn leader_steps(&self, world: &World, n: usize, p: usize, out: &mut Next) {
        let replica = world.replica(p, n);
        if replica.role != Role::Leader {
            return;
        }
        let ballot = replica.vote;
        if is_quorum(replica.support) && world.groups[p].acknowledged & ballot.bit() == 0 {
            let mut next = *world;
            let group = &mut next.groups[p];
            group.acknowledged |= ballot.bit();
            group.sent[n].append = Some((ballot, replica.log, true));
            group.replicas[n].applied = ballot;
            out.push((Action::Commit { n, p }, next));
        }
        if !world.nodes[n].draining && !replica.fence.quarantined {
            return;
        }
        for to in (0..NODES).filter(|to| *to != n) {
            if matches!(self.target(world, p, n, to), Target::Ready(_)) {
                let mut next = *world;
                next.groups[p].sent[n].transfer = Some((ballot, to as u8));
                out.push((Action::Tell { n, p, to }, next));
            }
        }
    }

    /// What node `from` sent, or answers, arrives at `n`.
    fn receive(&self, world: &World, n: usize, p: usize, from: usize, out: &mut Next) {
        let group = &world.groups[p];
        let (mine, sent) = (group.replicas[n], group.sent[from]);
        if let Some((ballot, log)) = sent.vote_request {
            let log_is_fine = log.is_as_new_as(mine.log) || self.rules.broken(Mutation::LogIgnored);
            let repeated = ballot == mine.vote && !mine.accepted;
            if log_is_fine && (ballot > mine.vote || repeated) {
                let mut next = *world;
                adopt(&mut next, n, p, ballot, false);
                let candidate = next.replica_mut(p, from);
                if candidate.role == Role::Candidate && candidate.vote == ballot {
                    candidate.support |= 1 << n;
                }
                out.push((Action::VoteRequest { p, from, to: n }, next));
            }
        }
        if let Some((ballot, log, committed)) = sent.append
            && ballot >= mine.vote
        {
            let mut next = *world;
            adopt(&mut next, n, p, ballot, true);
            let replica = next.replica_mut(p, n);
            replica.log = log;
            if committed {
                replica.applied = replica.applied.max(ballot);
            }
            let leader = next.replica_mut(p, from);
            if leader.role == Role::Leader && leader.vote == ballot {
                leader.support |= 1 << n;
            }
            out.push((Action::Append { p, from, to: n }, next));
        }
        if let Some((ballot, to)) = sent.transfer
            && to as usize == n
            && mine.vote == ballot
            && mine.accepted
            && mine.log.has(ballot)
            && self.rules.takes_over(mine.fence, world.nodes[n].serving)
        {
            let mut next = *world;
            let usurps = self.is_usurper(world, n, p);
            if self.raise_term(&mut next, n, p) {
                next.replica_mut(p, n).ghost.usurps = usurps;
                out.push((Action::TakeOver { p, from, to: n }, next));
            }
        }
        let theirs = group.replicas[from].vote;
        if matches!(mine.role, Role::Leader | Role::Candidate)
            && world.hears(p, from)
            && theirs > mine.vote
        {
            let mut next = *world;
            adopt(&mut next, n, p, theirs, false);
            out.push((Action::HigherVote { n, p, from }, next));
        }
    }
}

/// Takes a ballot that is not below the replica's own.
fn adopt(next: &mut World, n: usize, p: usize, ballot: Ballot, accepted: bool) {
    let replica = next.replica_mut(p, n);
    if ballot > replica.vote {
        replica.role = Role::Follower;
        replica.support = 0;
        replica.accepted = false;
        replica.heard = false;
    } else if accepted {
        // Its own campaign cannot have this ballot: it is another node's.
        replica.role = Role::Follower;
    }
    replica.vote = ballot;
    replica.accepted |= accepted;
    replica.heard |= accepted;
}

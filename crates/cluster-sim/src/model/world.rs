//! The state of the modelled cluster: plain, small, copied for each step.
//!
//! Raft is abstract here. A *ballot* is openraft's leader id, a term and a
//! node, in that order; a log is the set of ballots whose leader's entries it
//! has: each leader writes once when it wins, and that write stands for all of
//! its term. Logs that end alike are alike, so a set is a whole log.

use raft_glue::protocol::Fence;

/// Nodes of the cluster; each has a replica of every partition.
pub(crate) const NODES: usize = 3;
/// The most partitions a scenario has.
pub(crate) const PARTITIONS: usize = 2;
/// The most terms a scenario may have: a log is a set of 16 bits.
pub(crate) const TERMS_MAX: u8 = 5;

/// A set of nodes.
pub(crate) type NodeSet = u8;

/// Whether most of the nodes are in the set.
pub(crate) fn is_quorum(set: NodeSet) -> bool {
    set.count_ones() as usize * 2 > NODES
}

/// Who wants to lead, or leads, in which term; 0 is nobody in term 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Ballot(u8);

impl Ballot {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn new(term: u8, node: usize) -> Self {
        debug_assert!((1..=TERMS_MAX).contains(&term) && node < NODES);
        Self((term - 1) * NODES as u8 + node as u8 + 1)
    }

    pub(crate) fn term(self) -> u8 {
        self.0.div_ceil(NODES as u8)
    }

    /// Of a ballot that is somebody's.
    pub(crate) fn node(self) -> usize {
        debug_assert!(self != Self::NONE);
        (self.0 as usize - 1) % NODES
    }

    pub(crate) fn bit(self) -> u16 {
        if self == Self::NONE { 0 } else { 1 << (self.0 - 1) }
    }
}

/// A replica's log: the ballots whose entries it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Log(u16);

impl Log {
    pub(crate) fn of(ballots: &[Ballot]) -> Self {
        Self(ballots.iter().fold(0, |set, ballot| set | ballot.bit()))
    }

    pub(crate) fn with(self, ballot: Ballot) -> Self {
        Self(self.0 | ballot.bit())
    }

    pub(crate) fn has(self, ballot: Ballot) -> bool {
        self.0 & ballot.bit() == ballot.bit()
    }

    /// Whether everything in `set` is in the log.
    pub(crate) fn covers(self, set: u16) -> bool {
        self.0 & set == set
    }

    /// Raft's order: by the last entry. Logs that end alike are alike.
    pub(crate) fn is_as_new_as(self, other: Self) -> bool {
        self.0.leading_zeros() <= other.0.leading_zeros()
    }
}

/// What a replica is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Role {
    #[default]
    Follower,
    /// Its pre-vote was granted; the term is not raised yet.
    PreCandidate,
    Candidate,
    Leader,
}

/// One replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Replica {
    // Durable.
    pub(crate) vote: Ballot,
    /// The vote's ballot is known to have won: it is the leader's.
    pub(crate) accepted: bool,
    pub(crate) log: Log,
    // Volatile.
    /// Its Raft runs: it votes and appends.
    pub(crate) runs: bool,
    pub(crate) role: Role,
    /// Who granted its vote, or as leader who has all its entries.
    pub(crate) support: NodeSet,
    pub(crate) fence: Fence,
    /// The election timer runs.
    pub(crate) timer: bool,
    /// A message of the vote's ballot as leader was accepted since the start.
    pub(crate) heard: bool,
    /// Everything up to this leader's write is applied.
    pub(crate) applied: Ballot,
    /// One voter was asked in this poll and is not serving: which, plus 1.
    pub(crate) polled: u8,
    /// A leader was verified; this replica catches up with it.
    pub(crate) catching_up: Ballot,
    // For the properties only.
    pub(crate) ghost: Ghost,
}

/// What really is or was, for the properties to compare; no decision reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ghost {
    pub(crate) loaded: bool,
    pub(crate) checked: bool,
    /// The leader that is being caught up with really led when it said so.
    pub(crate) leader_was_real: bool,
    /// The gate was told of a leader that really led, and this replica had
    /// everything that leader had acknowledged.
    pub(crate) verified: bool,
    /// A serving replica that could have led was asked in this poll.
    pub(crate) overlooked: bool,
    /// This candidate or leader began its campaign although one could have.
    pub(crate) usurps: bool,
}

/// A message that a node sent last to the other replicas of a partition: any of
/// them may get it at any later time, again, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Sent {
    pub(crate) vote_request: Option<(Ballot, Log)>,
    /// Entries up to the leader's own, and whether they are committed.
    pub(crate) append: Option<(Ballot, Log, bool)>,
    /// As the leader of this ballot, to this node: take over.
    pub(crate) transfer: Option<(Ballot, u8)>,
}

/// One partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Group {
    pub(crate) replicas: [Replica; NODES],
    /// By sender.
    pub(crate) sent: [Sent; NODES],
    /// Ballots that won, as a set of bits.
    pub(crate) won: u16,
    /// Ballots whose writes were acknowledged to clients.
    pub(crate) acknowledged: u16,
}

/// One node as a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node {
    pub(crate) up: bool,
    /// Its gate, a real one; see `gates`.
    pub(crate) gate: u16,
    /// The client port takes connections.
    pub(crate) listening: bool,
    /// The host was told so.
    pub(crate) serving: bool,
    /// The host gives its leaderships away.
    pub(crate) draining: bool,
}

/// What may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    pub(crate) crashes: u8,
    pub(crate) restarts: u8,
    pub(crate) signals: u8,
    /// Followers that take a living leader for dead.
    pub(crate) suspicions: u8,
    /// Probes that get no answer from a node that is up.
    pub(crate) lost_probes: u8,
}

/// The whole cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct World {
    pub(crate) nodes: [Node; NODES],
    pub(crate) groups: [Group; PARTITIONS],
    pub(crate) left: Budget,
}

impl World {
    pub(crate) fn replica(&self, p: usize, n: usize) -> &Replica {
        &self.groups[p].replicas[n]
    }

    pub(crate) fn replica_mut(&mut self, p: usize, n: usize) -> &mut Replica {
        &mut self.groups[p].replicas[n]
    }

    /// Whether replica `n` gets messages: its node is up and its Raft runs.
    pub(crate) fn hears(&self, p: usize, n: usize) -> bool {
        self.nodes[n].up && self.replica(p, n).runs
    }

    pub(crate) fn leads(&self, p: usize, n: usize) -> bool {
        self.replica(p, n).role == Role::Leader
    }

    /// Whether a quorum could elect replica `n` now, by who is up and what
    /// their logs have; whatever the rules say about `n` itself.
    pub(crate) fn could_win(&self, p: usize, n: usize) -> bool {
        let mine = self.replica(p, n).log;
        let grants = |v: &usize| self.hears(p, *v) && mine.is_as_new_as(self.replica(p, *v).log);
        is_quorum((0..NODES).filter(grants).fold(0, |set, v| set | 1 << v))
    }

    /// Whether replica `n` serves clients and could lead now.
    pub(crate) fn could_serve_and_lead(&self, p: usize, n: usize) -> bool {
        let node = &self.nodes[n];
        node.up
            && node.serving
            && !node.draining
            && self.replica(p, n).fence.may_lead()
            && self.could_win(p, n)
    }

    /// Whether a quorum still follows replica `n`, which leads by its own word.
    pub(crate) fn quorum_confirms(&self, p: usize, n: usize) -> bool {
        let ballot = self.replica(p, n).vote;
        let follows = |v: &usize| self.hears(p, *v) && self.replica(p, *v).vote <= ballot;
        is_quorum((0..NODES).filter(follows).fold(0, |set, v| set | 1 << v))
    }
}

//! Positions in a Raft log, votes, and entries.
//!
//! The watermarks of a replica, and the only words used for them:
//! `purged ≤ snapshot ≤ applied ≤ committed ≤ last`.

use std::fmt;

use crate::{Command, Membership, NodeId};

/// Names an entry of a group's log: the leader that proposed it and its index.
///
/// Ordered by term, then leader, then index. The leader is part of the order
/// because a term may see more than one (openraft's `leader_id_adv`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId {
    /// The term of the leader that proposed the entry.
    pub term: u64,
    /// That leader; `None` only in the log id that `initialize` writes.
    pub leader: Option<NodeId>,
    /// Position in the log, from 0.
    pub index: u64,
}

impl LogId {
    /// Whether both were proposed by one leader, in one term of it. All entries between them were
    /// too: the ids of a log never go back.
    #[must_use]
    pub fn is_by_leader_of(self, other: Self) -> bool {
        (self.term, self.leader) == (other.term, other.leader)
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leader = self.leader.map_or(0, NodeId::get);
        write!(f, "T{}-N{leader}.{}", self.term, self.index)
    }
}

/// A replica's vote: durable before anything is answered on its strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// The term voted in.
    pub term: u64,
    /// For whom; `None` only before the first vote.
    pub voted_for: Option<NodeId>,
    /// Whether a quorum is known to have given the same vote.
    pub committed: bool,
}

/// One entry of a group's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its position.
    pub log_id: LogId,
    /// What it says.
    pub payload: Payload,
}

impl Entry {
    /// About how many bytes it takes in memory and on the wire.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        const FIXED: usize = 64;
        FIXED
            + match &self.payload {
                Payload::Blank => 0,
                Payload::Command(command) => command.op.data_len_bytes(),
                Payload::Membership(membership) => 128 * membership.members.len(),
            }
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A change of the state.
    Command(Command),
    /// A change of the group.
    Membership(Membership),
}

//! One replica as its node sees it.

use partition_types::{LogId, Membership, NodeId, PartitionId};

/// The state of a replica, for people and tools; a copy, gone stale as it is read.
#[derive(Debug, Clone)]
pub struct PartitionStatus {
    /// Which partition.
    pub id: PartitionId,
    /// What the replica may do.
    pub state: ReplicaState,
    /// Its part in the group.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads, by live knowledge.
    pub leader: Option<NodeId>,
    /// `purged ≤ snapshot ≤ applied ≤ committed ≤ last`.
    pub last: Option<LogId>,
    /// Known to be committed.
    pub committed: Option<LogId>,
    /// In the state.
    pub applied: Option<LogId>,
    /// Covered by the last snapshot.
    pub snapshot: Option<LogId>,
    /// Gone from the log.
    pub purged: Option<LogId>,
    /// Live bytes of its extents.
    pub size_bytes: u64,
    /// Visible extents.
    pub extent_count: u64,
    /// The path of the disk it lives on.
    pub disk: String,
    /// Voters and learners.
    pub membership: Membership,
    /// Where that stands in the log: the epoch of its route.
    pub membership_log_id: Option<LogId>,
    /// Why it is quarantined.
    pub cause: Option<String>,
}

/// What a replica may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// Votes and appends; may not campaign.
    Fenced,
    /// May do everything; no leader is verified yet.
    Electing,
    /// May do everything, under a verified leader; or has all that it knows of, is not in
    /// memory, and looks for a leader when somebody needs one.
    Ready,
    /// Bad: never leads and never serves.
    Quarantined,
}

/// A replica's part in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Proposes.
    Leader,
    /// Votes.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Follows without a vote.
    Learner,
}

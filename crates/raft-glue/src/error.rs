//! What can go wrong, by what the caller must do about it.

use partition_types::{Member, NodeId, PartitionId};

/// Why a command or a read was not carried out.
///
/// All but [`ProposeError::OutcomeUnknown`] mean: surely not applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads: go there.
    #[error("not the leader in term {term}")]
    NotLeader {
        /// Who leads, if known.
        leader: Option<(NodeId, Member)>,
        /// This replica's term.
        term: u64,
    },
    /// Nobody leads at the moment: try again.
    #[error("the partition has no leader")]
    NoLeader,
    /// This node goes down and takes nothing new.
    #[error("the node is draining")]
    Draining,
    /// The disk is down to its reserve.
    #[error("the disk is full")]
    DiskFull,
    /// Too much is in flight already: try again.
    #[error("too many commands are in flight")]
    Overloaded,
    /// Appended, and then lost sight of: it may be applied, now or later.
    #[error("the outcome is not known")]
    OutcomeUnknown,
    /// This replica is bad and out of service.
    #[error("the partition is quarantined: {cause}")]
    Quarantined {
        /// What was found.
        cause: String,
    },
    /// The group was shut down here.
    #[error("the partition is stopped")]
    Stopped,
}

/// Why a partition could not be loaded. The partition is quarantined then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadFault {
    /// The manifest has it and the disk does not, or the other way round.
    #[error("partition {0} is missing")]
    Missing(PartitionId),
    /// Its log or state cannot be understood.
    #[error("partition {id} is corrupt: {what}")]
    Corrupt {
        /// Which one.
        id: PartitionId,
        /// What was found.
        what: String,
    },
    /// The disk failed, or the group did not start.
    #[error("partition {id} failed to load: {what}")]
    Failed {
        /// Which one.
        id: PartitionId,
        /// What happened.
        what: String,
    },
}

impl LoadFault {
    pub(crate) fn of_io(id: PartitionId, error: &std::io::Error) -> Self {
        let what = error.to_string();
        match error.kind() {
            std::io::ErrorKind::InvalidData => Self::Corrupt { id, what },
            _ => Self::Failed { id, what },
        }
    }
}

/// Why a partition did not pass its check. The partition is quarantined then.
#[derive(Debug, Clone, thiserror::Error)]
#[error("partition {id} failed its check: {what}")]
pub struct CheckFault {
    /// Which one.
    pub id: PartitionId,
    /// What was found.
    pub what: String,
}

/// Why no leader is verified yet.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct NotYet {
    /// For the start-up report.
    pub reason: String,
    /// No peer that could lead was reached, or none of them can without this
    /// replica: somebody has to [campaign](crate::PartitionHost::campaign).
    pub needs_us: bool,
    /// Its group has a leader and removed this replica: it is to be
    /// [let go](crate::PartitionHost::let_go).
    pub removed: Option<crate::Removal>,
    /// Its group is not in memory and nobody needs it: its leader is looked for when
    /// somebody does. See [`PartitionHost::on_confirmed`](crate::PartitionHost::on_confirmed).
    pub deferred: bool,
}

impl NotYet {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), needs_us: false, removed: None, deferred: false }
    }
}

/// Why a replica was not made, initialised or deleted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateError {
    /// It is there with other members.
    #[error("partition {0} exists with other members")]
    Exists(PartitionId),
    /// There is no such replica here.
    #[error("partition {0} is not here")]
    NotFound(PartitionId),
    /// The fence is closed: no right to campaign was given.
    #[error("partition {0} may not campaign yet")]
    Fenced(PartitionId),
    /// This replica is bad and out of service.
    #[error("the partition is quarantined: {cause}")]
    Quarantined {
        /// What was found.
        cause: String,
    },
    /// The node goes down.
    #[error("the node is draining")]
    Draining,
    /// The disk failed, or the group did not start.
    #[error("partition {id} failed: {what}")]
    Failed {
        /// Which one.
        id: PartitionId,
        /// What happened.
        what: String,
    },
}

/// Why the members were not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MembershipError {
    /// See [`ProposeError`].
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Another change is under way.
    #[error("a membership change is under way")]
    InProgress,
    /// A new replica has not caught up: try again.
    #[error("node {0} has not caught up")]
    LearnerLags(NodeId),
    /// There would be no voters, or a voter that is no member.
    #[error("the new membership is not possible: {0}")]
    Invalid(String),
}

/// Why the leadership was not handed over.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransferError {
    /// See [`ProposeError`].
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The target is no voter of the group.
    #[error("node {0} is no voter")]
    NotAVoter(NodeId),
    /// No other voter has everything and was heard of lately.
    #[error("no other voter has caught up")]
    NoTarget,
    /// This replica is the only voter.
    #[error("this is the only voter")]
    SoleVoter,
    /// Every other voter is unreachable, draining or bad.
    #[error("no other voter is up")]
    Alone,
    /// Nobody took over in time; this replica leads again, or nobody does.
    #[error("nobody took over in time")]
    Timeout,
}

/// Why no snapshot was taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SnapshotError {
    /// See [`ProposeError`].
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The disk failed.
    #[error("snapshot failed: {0}")]
    Failed(String),
}

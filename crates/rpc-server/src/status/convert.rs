//! The errors of the crates below as failures.

use partition_store::ReadError;
use partition_types::{InvalidId, PartitionId, Reason, Rejection};
use raft_glue::ProposeError;

use super::Failure;
use crate::peer::NoRoute;

impl From<InvalidId> for Failure {
    fn from(invalid: InvalidId) -> Self {
        Self::field(invalid.field, invalid.problem)
    }
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        let failure = Self::new(rejection.reason(), rejection.to_string());
        match rejection {
            Rejection::ExtentNotFound(id)
            | Rejection::ExtentSealed(id)
            | Rejection::TooLarge(id)
            | Rejection::StagedMismatch(id) => failure.with("extent_id", id),
            Rejection::OffsetOutOfRange { extent_id, offset, size } => {
                failure.with("extent_id", extent_id).with("offset", offset).with("size", size)
            }
        }
    }
}

impl Failure {
    /// Why a replica here did not carry out a command or read.
    pub(crate) fn of_propose(id: PartitionId, error: &ProposeError) -> Self {
        let message = format!("partition {id}: {error}");
        let reason = match error {
            ProposeError::NotLeader { .. } => Reason::NotLeader,
            ProposeError::NoLeader => Reason::NoLeader,
            // A stopped group is one of a node that goes down.
            ProposeError::Draining | ProposeError::Stopped => Reason::Draining,
            ProposeError::DiskFull => Reason::DiskFull,
            ProposeError::Overloaded => Reason::Overloaded,
            ProposeError::OutcomeUnknown => Reason::OutcomeUnknown,
            ProposeError::Quarantined { .. } => Reason::Quarantined,
        };
        let failure = Self::new(reason, message).with("partition_id", id);
        match error {
            ProposeError::NotLeader { leader, term } => {
                let failure = failure.with("term", term);
                match leader {
                    Some((node_id, member)) => failure
                        .with("leader_id", node_id)
                        .with("leader_address", &member.client_address),
                    None => failure,
                }
            }
            ProposeError::Quarantined { cause } => failure.with("cause", cause),
            _ => failure,
        }
    }

    /// Why a replica here could not read its state.
    pub(crate) fn of_read(id: PartitionId, error: &ReadError) -> Self {
        let message = format!("partition {id}: {error}");
        match error {
            ReadError::ExtentNotFound(extent_id) => {
                Self::new(Reason::ExtentNotFound, message).with("extent_id", extent_id)
            }
            ReadError::OffsetOutOfRange { size, .. } => {
                Self::new(Reason::OffsetOutOfRange, message).with("size", size)
            }
            ReadError::ChecksumMismatch { .. } => Self::new(Reason::ChecksumMismatch, message),
            // A disk that cannot be read is the node's own fault.
            _ => Self::new(Reason::Internal, message),
        }
        .with("partition_id", id)
    }

    /// Why a call finds no way to a partition.
    pub(crate) fn no_route(id: PartitionId, why: NoRoute) -> Self {
        match why {
            NoRoute::Unknown => Self::partition_not_found(id),
            NoRoute::NobodyAnswers => {
                let message = format!("partition {id} is not here, and no other node answers");
                Self::new(Reason::NodeUnreachable, message).with("partition_id", id)
            }
        }
    }

    /// No reachable node knows the partition.
    pub(crate) fn partition_not_found(id: PartitionId) -> Self {
        Self::new(Reason::PartitionNotFound, format!("partition {id} is not known"))
            .with("partition_id", id)
    }
}

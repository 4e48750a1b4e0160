//! One row a reason. The first rule: UNAVAILABLE is for what was surely not
//! applied, because stock clients repeat that one by themselves.

use std::time::Duration;

use partition_types::Reason;
use tonic::Code;

/// What the contract says of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its gRPC code.
    pub(crate) code: Code,
    /// What a repeat may do.
    pub(crate) repeat: Repeat,
    /// `RetryInfo` and `grpc-retry-pushback-ms`, where waiting helps.
    pub(crate) retry_after: Option<Duration>,
}

/// What a repeat of a failed request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It would fail again, or nobody can say.
    Pointless,
    /// Surely not applied: another node, or the same one later, may take it.
    Safe,
    /// Surely not applied, and this node will not take it: only another one.
    Elsewhere,
    /// May be applied: only under the same request id.
    UnderRequestId,
}

/// The row of a reason.
pub(crate) const fn row(reason: Reason) -> Row {
    use Repeat::{Elsewhere, Pointless, Safe, UnderRequestId};
    let (code, repeat, retry_after_ms) = match reason {
        Reason::NotLeader => (Code::FailedPrecondition, Safe, 0),
        Reason::NoLeader => (Code::Unavailable, Safe, 250),
        Reason::Draining => (Code::Unavailable, Safe, 250),
        Reason::Overloaded => (Code::Unavailable, Safe, 100),
        Reason::OutcomeUnknown => (Code::Unknown, UnderRequestId, 0),
        Reason::Starting => (Code::Unavailable, Safe, 1000),
        Reason::PartitionNotFound => (Code::NotFound, Elsewhere, 0),
        Reason::ExtentNotFound => (Code::NotFound, Pointless, 0),
        Reason::NodeNotFound => (Code::NotFound, Pointless, 0),
        Reason::NodeUnreachable => (Code::Unavailable, Safe, 500),
        Reason::OffsetOutOfRange => (Code::OutOfRange, Pointless, 0),
        Reason::ExtentSealed => (Code::FailedPrecondition, Pointless, 0),
        Reason::InvalidRequest => (Code::InvalidArgument, Pointless, 0),
        Reason::MessageTooLarge => (Code::InvalidArgument, Pointless, 0),
        Reason::RequestChecksumMismatch => (Code::InvalidArgument, Pointless, 0),
        Reason::DiskFull => (Code::ResourceExhausted, Pointless, 0),
        Reason::ChecksumMismatch => (Code::DataLoss, Elsewhere, 0),
        Reason::Quarantined => (Code::Unavailable, Elsewhere, 1000),
        Reason::PartitionExists => (Code::AlreadyExists, Pointless, 0),
        Reason::IncarnationMismatch => (Code::FailedPrecondition, Pointless, 0),
        Reason::ChangeInProgress => (Code::Aborted, Pointless, 500),
        Reason::DeadlineExceeded => (Code::DeadlineExceeded, UnderRequestId, 0),
        // INTERNAL, and what a newer version of the types may add.
        _ => (Code::Internal, Pointless, 0),
    };
    let retry_after = match retry_after_ms {
        0 => None,
        ms => Some(Duration::from_millis(ms)),
    };
    Row { code, repeat, retry_after }
}

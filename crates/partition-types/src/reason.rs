//! The reasons of the error contract: the words of `ErrorInfo.reason`.

use std::fmt;
use std::str::FromStr;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// Why a request failed, in the words of the contract. Codes and
        /// details for each are in `rpc-server`'s table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The word on the wire, UPPER_SNAKE.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => $text,)*
                }
            }
        }

        impl FromStr for Reason {
            type Err = UnknownReason;

            fn from_str(text: &str) -> Result<Self, UnknownReason> {
                match text {
                    $($text => Ok(Reason::$name),)*
                    _ => Err(UnknownReason),
                }
            }
        }
    };
}

/// A word that is no reason this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reason of the datanode error table")]
pub struct UnknownReason;

reasons! {
    /// This node does not lead the partition and did not forward; surely not applied.
    NotLeader => "NOT_LEADER",
    /// The partition has no leader yet; surely not applied.
    NoLeader => "NO_LEADER",
    /// The node goes down; surely not applied.
    Draining => "DRAINING",
    /// A queue is full; surely not applied.
    Overloaded => "OVERLOADED",
    /// Proposed, and then lost sight of: repeat only under the same request id.
    OutcomeUnknown => "OUTCOME_UNKNOWN",
    /// The gate is not open yet.
    Starting => "STARTING",
    /// No reachable node knows the partition.
    PartitionNotFound => "PARTITION_NOT_FOUND",
    /// The partition has no such extent.
    ExtentNotFound => "EXTENT_NOT_FOUND",
    /// The cluster has no such node, or the group no such member.
    NodeNotFound => "NODE_NOT_FOUND",
    /// A node that the call needs does not answer; safe to send again.
    NodeUnreachable => "NODE_UNREACHABLE",
    /// Beyond the end, or would leave a hole.
    OffsetOutOfRange => "OFFSET_OUT_OF_RANGE",
    /// The extent takes no more writes.
    ExtentSealed => "EXTENT_SEALED",
    /// A field of the request is not as it must be.
    InvalidRequest => "INVALID_REQUEST",
    /// The message is larger than `limits.max_message`.
    MessageTooLarge => "MESSAGE_TOO_LARGE",
    /// The data is not what its checksum says; safe to send again.
    RequestChecksumMismatch => "REQUEST_CHECKSUM_MISMATCH",
    /// The disk is down to its reserve.
    DiskFull => "DISK_FULL",
    /// Stored bytes do not match their checksum.
    ChecksumMismatch => "CHECKSUM_MISMATCH",
    /// This replica is bad and out of service.
    Quarantined => "QUARANTINED",
    /// The partition exists with other replicas.
    PartitionExists => "PARTITION_EXISTS",
    /// A node's data directory is not the one the group knows.
    IncarnationMismatch => "INCARNATION_MISMATCH",
    /// A membership change is under way already.
    ChangeInProgress => "CHANGE_IN_PROGRESS",
    /// The caller's time was up.
    DeadlineExceeded => "DEADLINE_EXCEEDED",
    /// A fault of the node itself.
    Internal => "INTERNAL",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

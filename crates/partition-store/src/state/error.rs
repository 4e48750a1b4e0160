//! What can go wrong below the state machine. Rejections of commands are no
//! errors: they are outcomes, and the same on every replica.

use std::fmt;
use std::io;

use partition_types::{ExtentId, LogId, PartitionId};

use crate::codec::CodecError;
use crate::engine::EngineError;

/// Stored bytes are not what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// In which partition.
    pub partition_id: PartitionId,
    /// In which extent.
    pub extent_id: ExtentId,
    /// Where in the extent the damaged piece begins, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// How stored bytes can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Their CRC-32C is another one.
    Checksum,
    /// They are not there.
    Missing,
    /// There are more or fewer than there should be.
    Length,
    /// The record that describes them cannot be read.
    Record,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self.problem {
            Problem::Checksum => "stored bytes do not match their checksum",
            Problem::Missing => "stored bytes are missing",
            Problem::Length => "stored bytes have the wrong length",
            Problem::Record => "the record cannot be read",
        };
        write!(
            f,
            "{problem}: partition {}, extent {}, offset {}",
            self.partition_id, self.extent_id, self.offset
        )
    }
}

/// A fault of the replica, never of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("access data/")]
    Engine(#[from] EngineError),
    #[error("decode {what} of partition {partition_id}")]
    Record {
        what: &'static str,
        partition_id: PartitionId,
        #[source]
        source: CodecError,
    },
    #[error("{0}")]
    Damaged(Damage),
    #[error("the payload of entry {0} does not match its checksum")]
    Payload(LogId),
    #[error("entry {entry} comes after {applied}, which is applied")]
    OutOfOrder { entry: LogId, applied: LogId },
    #[error("an earlier write to data/ failed")]
    Failed,
    #[error("the partition is deleted")]
    Closed,
}

impl From<StateError> for io::Error {
    fn from(error: StateError) -> Self {
        let kind = match &error {
            StateError::Record { .. } | StateError::Damaged(_) | StateError::Payload(_) => {
                io::ErrorKind::InvalidData
            }
            StateError::OutOfOrder { .. } => io::ErrorKind::InvalidInput,
            StateError::Engine(_) | StateError::Failed | StateError::Closed => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

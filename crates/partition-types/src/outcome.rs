//! What became of a command: the same on every replica.

use std::fmt;

use crate::{Crc32c, ExtentId, Reason};

/// The outcome of an applied command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do: a blank or membership entry.
    Nothing,
    /// An empty or staged extent was created.
    Created {
        /// The new extent.
        extent_id: ExtentId,
    },
    /// An extent was stored whole and is sealed.
    Stored {
        /// The new extent.
        extent_id: ExtentId,
        /// In bytes.
        size: u64,
        /// Of the whole.
        crc32c: Crc32c,
    },
    /// Bytes were written.
    Written {
        /// Where they begin.
        offset: u64,
        /// Size of the extent after it.
        size: u64,
    },
    /// The extent is sealed; sealing again has the same outcome.
    Sealed {
        /// In bytes.
        size: u64,
        /// Of the whole.
        crc32c: Crc32c,
    },
    /// One result an id, in the order of the command.
    Deleted(Vec<Deleted>),
    /// Nothing was changed.
    Rejected(Rejection),
}

/// What became of one id of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// The id.
    pub extent_id: ExtentId,
    /// Whether it was there.
    pub found: bool,
}

/// Why the state machine changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// There is no such extent (or it is staged and the command is for others,
    /// or the other way round).
    #[error("extent {0} not found")]
    ExtentNotFound(ExtentId),
    /// It takes no more writes.
    #[error("extent {0} is sealed")]
    ExtentSealed(ExtentId),
    /// The write would leave a hole.
    #[error("offset {offset} is beyond the end of extent {extent_id} of {size} bytes")]
    OffsetOutOfRange {
        /// Which extent.
        extent_id: ExtentId,
        /// Where the write was to begin.
        offset: u64,
        /// What the extent has.
        size: u64,
    },
    /// The extent would not fit into 2⁶⁴ bytes.
    #[error("extent {0} would be larger than 2^64 bytes")]
    TooLarge(ExtentId),
    /// A staged extent has a gap, or another size or checksum than was claimed.
    #[error("staged extent {0} is not what its upload claims")]
    StagedMismatch(ExtentId),
}

impl Rejection {
    /// The reason a client is told.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Rejection::ExtentNotFound(_) => Reason::ExtentNotFound,
            Rejection::ExtentSealed(_) => Reason::ExtentSealed,
            Rejection::OffsetOutOfRange { .. } | Rejection::TooLarge(_) => Reason::OffsetOutOfRange,
            Rejection::StagedMismatch(_) => Reason::RequestChecksumMismatch,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Nothing => f.write_str("nothing"),
            Outcome::Created { extent_id } => write!(f, "created extent {extent_id}"),
            Outcome::Stored { extent_id, size, .. } => {
                write!(f, "stored extent {extent_id} of {size} bytes")
            }
            Outcome::Written { offset, size } => write!(f, "written at {offset}, size {size}"),
            Outcome::Sealed { size, .. } => write!(f, "sealed at {size} bytes"),
            Outcome::Deleted(results) => write!(f, "deleted of {} ids", results.len()),
            Outcome::Rejected(rejection) => write!(f, "rejected: {rejection}"),
        }
    }
}

/// What is known of an extent without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentInfo {
    /// Which one.
    pub extent_id: ExtentId,
    /// In bytes.
    pub size: u64,
    /// Of the whole; set exactly when the extent is sealed.
    pub sealed_crc32c: Option<Crc32c>,
    /// In milliseconds since the Unix epoch, by the proposer's clock.
    pub created_at_ms: u64,
    /// Likewise; the last write or the sealing.
    pub modified_at_ms: u64,
}

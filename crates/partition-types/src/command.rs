//! What is replicated: changes to a partition's extents.

use std::fmt;

use bytes::Bytes;

use crate::{Crc32c, ExtentId, RequestId};

/// One change of a partition's state, as its leader proposed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Known outcomes are returned again instead of being applied again.
    pub request_id: Option<RequestId>,
    /// The proposer's clock, in milliseconds since the Unix epoch: what extents tell of
    /// their times. The state machine knows no other clock, and measures time only
    /// between two commands of one leader in one term.
    pub at_ms: u64,
    /// The change.
    pub op: Op,
}

/// The changes. Each is applied whole or rejected whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Creates an empty extent.
    Create,
    /// Creates, writes and seals an extent.
    Put {
        /// Its whole content.
        data: Bytes,
        /// Of `data`.
        crc32c: Crc32c,
    },
    /// Writes at the end.
    Append {
        /// To which extent.
        extent_id: ExtentId,
        /// What.
        data: Bytes,
        /// Of `data`.
        crc32c: Crc32c,
    },
    /// Overwrites from `offset` on, extending where it goes past the end.
    Write {
        /// To which extent.
        extent_id: ExtentId,
        /// At most the extent's size.
        offset: u64,
        /// What.
        data: Bytes,
        /// Of `data`.
        crc32c: Crc32c,
    },
    /// Ends all writing and fixes the whole checksum.
    Seal {
        /// Which extent.
        extent_id: ExtentId,
    },
    /// Deletes extents.
    Delete {
        /// Which ones; staged ones too.
        extent_ids: Vec<ExtentId>,
    },
    /// Creates a staged extent: one that nobody sees before [`Op::Publish`].
    Stage,
    /// Writes a part of a staged extent. Parts may come in any order and come
    /// twice; they do not overlap otherwise.
    StagePart {
        /// Which staged extent.
        extent_id: ExtentId,
        /// Where the part begins.
        offset: u64,
        /// What.
        data: Bytes,
        /// Of `data`.
        crc32c: Crc32c,
    },
    /// Seals a staged extent and makes it visible, if its parts are gapless
    /// and add up to `size` and `crc32c`; rejected otherwise.
    Publish {
        /// Which staged extent.
        extent_id: ExtentId,
        /// Of the whole, in bytes.
        size: u64,
        /// Of the whole.
        crc32c: Crc32c,
    },
    /// Drops the staged extents that nothing was written to since.
    ExpireStaged {
        /// By the clocks of those who proposed the writes, in milliseconds since the Unix
        /// epoch. Who proposes this must know what those clocks can have shown.
        before_ms: u64,
    },
}

impl Op {
    /// The payload it carries, in bytes.
    #[must_use]
    pub fn data_len_bytes(&self) -> usize {
        match self {
            Op::Put { data, .. }
            | Op::Append { data, .. }
            | Op::Write { data, .. }
            | Op::StagePart { data, .. } => data.len(),
            Op::Delete { extent_ids } => 8 * extent_ids.len(),
            Op::Create
            | Op::Seal { .. }
            | Op::Stage
            | Op::Publish { .. }
            | Op::ExpireStaged { .. } => 0,
        }
    }

    /// Its name, for logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Create => "create",
            Op::Put { .. } => "put",
            Op::Append { .. } => "append",
            Op::Write { .. } => "write",
            Op::Seal { .. } => "seal",
            Op::Delete { .. } => "delete",
            Op::Stage => "stage",
            Op::StagePart { .. } => "stage_part",
            Op::Publish { .. } => "publish",
            Op::ExpireStaged { .. } => "expire_staged",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.op.name(), self.op.data_len_bytes())
    }
}

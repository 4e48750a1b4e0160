//! What a partition's state is made of, as plain values. How they look on disk
//! is `codec/state.rs`, under which keys they stand is `keys.rs`.

use std::sync::Arc;

use partition_types::{Crc32c, ExtentId, ExtentInfo, LogId, Membership, RequestId};

use super::window::WindowClock;

/// The longest chunk: what one write stores under one key at most.
///
/// Long enough that a chunk is one sequential read and one blob, short enough
/// that a partial overwrite leaves little dead weight behind.
pub(crate) const CHUNK_LEN_MAX: usize = 128 * 1024;

/// Whether an extent is there for everybody, or is an upload under way that
/// nobody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Visibility {
    Visible,
    Staged,
}

/// The one record that says how far the state is; it is written with every
/// batch that changes anything.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StateRecord {
    /// The last entry that is part of the state.
    pub(crate) applied: Option<LogId>,
    /// The entry that brought `membership`.
    pub(crate) membership_log_id: Option<LogId>,
    /// Shared with what is published of the state.
    pub(crate) membership: Arc<Membership>,
    pub(crate) next_extent_id: u64,
    pub(crate) extent_count: u64,
    pub(crate) staged_count: u64,
    /// Stored payload of visible and staged extents.
    pub(crate) size_bytes: u64,
    /// The largest `Command::at_ms` seen: a hint of when it was used last. Decides
    /// nothing: it is the clock of the proposer that is furthest ahead.
    pub(crate) latest_at_ms: u64,
    /// What decides when outcomes are forgotten.
    pub(crate) window: WindowClock,
    /// Remembered outcomes.
    pub(crate) request_count: u64,
    /// No outcome of an entry before this log index is remembered; a scan for
    /// the oldest one starts here instead of at the tombstones before it.
    pub(crate) request_floor: u64,
}

impl StateRecord {
    /// Of a partition that nothing was applied to.
    pub(crate) fn empty() -> Self {
        Self {
            applied: None,
            membership_log_id: None,
            membership: Arc::default(),
            next_extent_id: 1,
            extent_count: 0,
            staged_count: 0,
            size_bytes: 0,
            latest_at_ms: 0,
            window: WindowClock::default(),
            request_count: 0,
            request_floor: 0,
        }
    }
}

/// One extent, visible or staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtentRecord {
    /// End of the last written byte.
    pub(crate) size: u64,
    /// Bytes that runs cover; less than `size` only while a staged extent has
    /// gaps.
    pub(crate) stored_bytes: u64,
    /// Chunk ids are never used again, so a chunk's bytes never change.
    pub(crate) next_chunk_id: u64,
    /// The sum of bytes 0 to `size` as long as every write was at the end:
    /// then sealing reads nothing.
    pub(crate) running_crc32c: Option<Crc32c>,
    /// Of the whole; set exactly when the extent is sealed.
    pub(crate) sealed_crc32c: Option<Crc32c>,
    pub(crate) created_at_ms: u64,
    pub(crate) modified_at_ms: u64,
}

impl ExtentRecord {
    /// A new, empty one.
    pub(crate) fn empty(at_ms: u64) -> Self {
        Self {
            size: 0,
            stored_bytes: 0,
            next_chunk_id: 1,
            running_crc32c: Some(Crc32c::EMPTY),
            sealed_crc32c: None,
            created_at_ms: at_ms,
            modified_at_ms: at_ms,
        }
    }

    /// As the world sees it.
    pub(crate) fn info(&self, extent_id: ExtentId) -> ExtentInfo {
        ExtentInfo {
            extent_id,
            size: self.size,
            sealed_crc32c: self.sealed_crc32c,
            created_at_ms: self.created_at_ms,
            modified_at_ms: self.modified_at_ms,
        }
    }
}

/// Says where the bytes of an extent from the key's offset on are: `len` bytes
/// of chunk `chunk_id`, from its byte `skip` on.
///
/// A chunk never moves: the run's offset less `skip` is where the chunk was
/// once written, and every run of a chunk lies inside that range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunRecord {
    /// Above 0.
    pub(crate) len: u32,
    pub(crate) chunk_id: u64,
    pub(crate) skip: u32,
    /// Of the chunk as stored.
    pub(crate) chunk_len: u32,
    /// Of the chunk as stored.
    pub(crate) chunk_crc32c: Crc32c,
}

impl RunRecord {
    /// Whether it maps all of its chunk.
    pub(crate) fn is_whole_chunk(&self) -> bool {
        self.len == self.chunk_len
    }

    /// The end of a run that begins at `offset`.
    pub(crate) fn end(&self, offset: u64) -> u64 {
        offset.saturating_add(u64::from(self.len))
    }

    /// Where the chunk of a run at `offset` was written: begin and end.
    pub(crate) fn chunk_range(&self, offset: u64) -> (u64, u64) {
        let begin = offset.saturating_sub(u64::from(self.skip));
        (begin, begin.saturating_add(u64::from(self.chunk_len)))
    }
}

/// Which request an entry was, in the order of the log: the order in which
/// outcomes are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestRecord {
    pub(crate) request_id: RequestId,
    /// What `StateRecord::window` showed then.
    pub(crate) at_ms: u64,
}

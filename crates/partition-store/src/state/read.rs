//! Reading a range of an extent as frames that carry their checksums.
//!
//! Every byte is checked against the sum it was stored with before it leaves.
//! A frame is a whole chunk with its stored sum where it can be, a part of one
//! with the part's sum where it must be; neighbouring small pieces are joined,
//! so that an extent of many small appends is not read as many small frames.

use std::io;
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use partition_types::{Crc32c, ExtentId};

use super::error::{Damage, Problem, StateError};
use super::record::{CHUNK_LEN_MAX, Visibility};
use super::view::View;

/// The longest range one read returns, in bytes.
pub const READ_LEN_MAX: u64 = 1024 * 1024;

/// Pieces shorter than this are joined with their neighbours.
const FRAME_LEN_MIN: usize = 16 * 1024;

/// A piece of an extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where in the extent it begins, in bytes.
    pub offset: u64,
    /// Its bytes; never empty.
    pub data: Bytes,
    /// Of `data`.
    pub crc32c: Crc32c,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Gapless and in order, from the offset asked for on; none at the end.
    pub frames: Vec<Frame>,
    /// Of the extent, in bytes.
    pub size: u64,
    /// The state that was read has at least the entries up to this index.
    pub applied_index: u64,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such visible extent.
    #[error("extent {0} not found")]
    ExtentNotFound(ExtentId),
    /// The offset is beyond the end.
    #[error("the offset is beyond the end of the extent of {size} bytes")]
    OffsetOutOfRange {
        /// Of the extent, in bytes.
        size: u64,
    },
    /// Stored bytes are not what was stored: this replica must not serve.
    #[error("{0}")]
    ChecksumMismatch(Damage),
    /// The disk, or a record of the partition that cannot be read.
    #[error("read data/")]
    Io(#[from] io::Error),
}

impl From<StateError> for ReadError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Damaged(damage) => Self::ChecksumMismatch(damage),
            other => Self::Io(other.into()),
        }
    }
}

/// Reads up to `max_len` bytes (at most [`READ_LEN_MAX`]) from `offset` on;
/// returns the frames and the extent's size.
pub(crate) fn read(
    view: View<'_>,
    id: ExtentId,
    offset: u64,
    max_len: u64,
) -> Result<(Vec<Frame>, u64), ReadError> {
    let Some(extent) = view.extent(id, Visibility::Visible)? else {
        return Err(ReadError::ExtentNotFound(id));
    };
    let size = extent.size;
    if offset > size {
        return Err(ReadError::OffsetOutOfRange { size });
    }
    let end = offset.saturating_add(max_len.min(READ_LEN_MAX)).min(size);
    let mut frames = Frames::new(offset);
    view.each_run_over(id, offset..end, |begin, run| {
        let from = begin.max(offset);
        if from != frames.end {
            return Err(view.damaged(id, frames.end, Problem::Missing));
        }
        let bytes = view.run_bytes(id, begin, &run)?;
        let len = run.end(begin).min(end) - from;
        let skip = from - begin;
        if skip == 0 && len == u64::from(run.chunk_len) {
            frames.push(bytes, Some(run.chunk_crc32c));
        } else {
            frames.push(bytes.slice(index(skip)..index(skip + len)), None);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if frames.end != end {
        return Err(view.damaged(id, frames.end, Problem::Missing).into());
    }
    Ok((frames.finish(), size))
}

/// A position inside a run, which is at most a chunk long.
fn index(position: u64) -> usize {
    usize::try_from(position).expect("a run is no longer than its chunk")
}

/// Frames in the making.
struct Frames {
    done: Vec<Frame>,
    small: Vec<(Bytes, Option<Crc32c>)>,
    small_len: usize,
    /// Where the next piece goes.
    end: u64,
}

impl Frames {
    fn new(offset: u64) -> Self {
        Self { done: Vec::new(), small: Vec::new(), small_len: 0, end: offset }
    }

    /// Adds the next piece; `crc32c` where it is known.
    fn push(&mut self, data: Bytes, crc32c: Option<Crc32c>) {
        let len = data.len();
        if len >= FRAME_LEN_MIN || self.small_len + len > CHUNK_LEN_MAX {
            self.join();
        }
        if len < FRAME_LEN_MIN {
            self.small.push((data, crc32c));
            self.small_len += len;
        } else {
            let crc32c = crc32c.unwrap_or_else(|| Crc32c::of(&data));
            self.done.push(Frame { offset: self.end, data, crc32c });
        }
        self.end += len as u64;
    }

    /// Makes one frame of the small pieces.
    fn join(&mut self) {
        let offset = self.end - self.small_len as u64;
        let (data, crc32c) = match self.small.as_slice() {
            [] => return,
            [(only, crc32c)] => (only.clone(), *crc32c),
            pieces => {
                let mut joined = BytesMut::with_capacity(self.small_len);
                for (piece, _) in pieces {
                    joined.extend_from_slice(piece);
                }
                (joined.freeze(), None)
            }
        };
        let crc32c = crc32c.unwrap_or_else(|| Crc32c::of(&data));
        self.done.push(Frame { offset, data, crc32c });
        self.small.clear();
        self.small_len = 0;
    }

    fn finish(mut self) -> Vec<Frame> {
        self.join();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[usize], expected: &[usize]) {
        let mut frames = Frames::new(7);
        let mut whole = Vec::new();
        for (i, len) in (0u8..).zip(pieces) {
            let piece = vec![i; *len];
            whole.extend_from_slice(&piece);
            let crc = (i % 2 == 0).then(|| Crc32c::of(&piece));
            frames.push(piece.into(), crc);
        }
        let frames = frames.finish();
        let lens: Vec<usize> = frames.iter().map(|f| f.data.len()).collect();
        assert_eq!(lens, expected, "of pieces {pieces:?}");
        let mut at = 7;
        for frame in &frames {
            assert_eq!(frame.offset, at);
            assert_eq!(frame.crc32c, Crc32c::of(&frame.data));
            at += frame.data.len() as u64;
        }
        let joined: Vec<u8> = frames.iter().flat_map(|f| f.data.to_vec()).collect();
        assert_eq!(joined, whole);
    }

    #[test]
    fn small_pieces_are_joined_and_large_ones_kept() {
        const KIB: usize = 1024;
        check(&[], &[]);
        check(&[1], &[1]);
        check(&[1, 2, 3], &[6]);
        check(&[128 * KIB, 128 * KIB], &[128 * KIB, 128 * KIB]);
        check(&[1, 16 * KIB, 2, 3], &[1, 16 * KIB, 5]);
        check(&[15 * KIB; 10], &[120 * KIB, 30 * KIB]);
    }
}

//! How much a log database held when it was last looked at.

use bytes::Bytes;

use super::{CodecError, frame};

const VERSION: u8 = 1;

/// Length of an encoded [`MarkRecord`]: all have the same.
pub(crate) const MARK_LEN: usize = 1 + 3 * 8 + 4;

/// What a log database is known to hold durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkRecord {
    /// The number of its last change.
    pub(crate) sequence: u64,
    /// The number of its newest write-ahead log.
    pub(crate) wal_number: u64,
    /// How long that file was, in bytes.
    pub(crate) wal_len: u64,
}

pub(crate) fn encode_mark(record: &MarkRecord) -> Bytes {
    frame::seal(VERSION, |out| {
        out.raw(&record.sequence.to_le_bytes());
        out.raw(&record.wal_number.to_le_bytes());
        out.raw(&record.wal_len.to_le_bytes());
    })
}

pub(crate) fn decode_mark(record: &Bytes) -> Result<MarkRecord, CodecError> {
    frame::open(record, VERSION, |_, body| {
        Ok(MarkRecord {
            sequence: u64::from_le_bytes(body.array()?),
            wal_number: u64::from_le_bytes(body.array()?),
            wal_len: u64::from_le_bytes(body.array()?),
        })
    })
}

/// How often a log database was opened: the first thing that is written to it
/// each time.
pub(crate) fn encode_opens(opens: u64) -> Bytes {
    frame::seal(VERSION, |out| out.varint(opens))
}

pub(crate) fn decode_opens(record: &Bytes) -> Result<u64, CodecError> {
    frame::open(record, VERSION, |_, body| body.varint())
}

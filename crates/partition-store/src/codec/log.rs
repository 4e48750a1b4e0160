//! What a log keeps beside its entries: vote, bounds, leaders, commit index.

use bytes::Bytes;
use partition_types::{LogId, NodeId, Vote};

use super::{CodecError, frame};

const VERSION: u8 = 1;
/// 1: no leader has a record.
const BOUNDS_VERSION: u8 = 2;

/// Where a log begins and ends. Kept as a record, because finding the ends by
/// looking for them means walking over what was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The last entry that was purged.
    pub(crate) purged: Option<LogId>,
    /// The first and the last entry that are there.
    pub(crate) entries: Option<(u64, LogId)>,
    /// From here on the first entry of each leader has a record.
    pub(crate) leaders_from: u64,
}

impl Bounds {
    /// The last entry, purged or not.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.map(|(_, last)| last).or(self.purged)
    }

    /// One past the last entry.
    pub(crate) fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index.saturating_add(1))
    }
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    frame::seal(VERSION, |out| {
        out.varint(vote.term);
        out.varint(vote.voted_for.map_or(0, NodeId::get));
        out.bool(vote.committed);
    })
}

pub(crate) fn decode_vote(record: &Bytes) -> Result<Vote, CodecError> {
    frame::open(record, VERSION, |_, body| {
        let term = body.varint()?;
        // Node ids begin at 1: 0 is nobody.
        let voted_for = NodeId::new(body.varint()?).ok();
        Ok(Vote { term, voted_for, committed: body.bool()? })
    })
}

pub(crate) fn encode_bounds(bounds: &Bounds) -> Bytes {
    frame::seal(BOUNDS_VERSION, |out| {
        out.option(bounds.purged, |out, purged| out.log_id(purged));
        out.option(bounds.entries, |out, (first_index, last)| {
            out.varint(first_index);
            out.log_id(last);
        });
        out.varint(bounds.leaders_from);
    })
}

/// What a program wrote that did not record leaders.
#[cfg(test)]
pub(crate) fn encode_bounds_v1(bounds: &Bounds) -> Bytes {
    frame::seal(1, |out| {
        out.option(bounds.purged, |out, purged| out.log_id(purged));
        out.option(bounds.entries, |out, (first_index, last)| {
            out.varint(first_index);
            out.log_id(last);
        });
    })
}

pub(crate) fn decode_bounds(record: &Bytes) -> Result<Bounds, CodecError> {
    frame::open(record, BOUNDS_VERSION, |version, body| {
        let purged = body.option(|body| body.log_id())?;
        let entries = body.option(|body| Ok((body.varint()?, body.log_id()?)))?;
        let mut bounds = Bounds { purged, entries, leaders_from: 0 };
        bounds.leaders_from = if version < 2 { bounds.next_index() } else { body.varint()? };
        Ok(bounds)
    })
}

pub(crate) fn encode_leader(first: LogId) -> Bytes {
    frame::seal(VERSION, |out| out.log_id(first))
}

pub(crate) fn decode_leader(record: &Bytes) -> Result<LogId, CodecError> {
    frame::open(record, VERSION, |_, body| body.log_id())
}

pub(crate) fn encode_committed(committed: LogId) -> Bytes {
    frame::seal(VERSION, |out| out.log_id(committed))
}

pub(crate) fn decode_committed(record: &Bytes) -> Result<LogId, CodecError> {
    frame::open(record, VERSION, |_, body| body.log_id())
}

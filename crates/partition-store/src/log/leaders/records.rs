//! The records of where each leader began.

use std::fmt::Display;
use std::io;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use partition_types::{LogId, PartitionId};

use super::Leaders;
use super::search::{damaged, read_id};
use crate::codec::{self, Bounds, CodecError};
use crate::engine::{EngineError, Read, Table};
use crate::keys;

/// The first entry of each leader in a range of keys, or why one cannot be read.
pub(crate) fn first_of_leaders(
    raft: &dyn Read,
    range: &Range<Vec<u8>>,
) -> Result<Result<Vec<LogId>, CodecError>, EngineError> {
    let (mut firsts, mut problem) = (Vec::new(), None);
    raft.scan(Table::LogMeta, &range.start..&range.end, &mut |key, record| {
        match decode(key, record) {
            Ok(first) => firsts.push(first),
            Err(error) => problem = Some(error),
        }
        if problem.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(problem.map_or(Ok(firsts), Err))
}

fn decode(key: &[u8], record: &[u8]) -> Result<LogId, CodecError> {
    let index = keys::index_of_leader(key)?;
    let first = codec::decode_leader(&Bytes::copy_from_slice(record))?;
    if first.index == index { Ok(first) } else { Err(CodecError::Invalid("log index")) }
}

/// Sees the last entry of each leader of a range, which is not empty and recorded.
pub(super) fn read(
    raft: &dyn Read,
    id: PartitionId,
    bounds: &Bounds,
    indexes: Range<u64>,
    leaders: &mut Leaders,
) -> io::Result<()> {
    let mut firsts: Vec<LogId> = before(raft, id, bounds)?.into_iter().collect();
    let from = firsts.first().map_or(0, |before| before.index + 1);
    let recorded = first_of_leaders(raft, &keys::leaders(id, from..indexes.end))?;
    let wrong = |what: &dyn Display| damaged(id, format_args!("first entry of a leader: {what}"));
    firsts.extend(recorded.map_err(|problem| wrong(&problem))?);
    if let Some([before, first]) = firsts.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(wrong(&format_args!("{first} after {before}")));
    }
    let before_start = firsts.partition_point(|first| first.index <= indexes.start);
    let Some(leader_at_start) = before_start.checked_sub(1) else {
        return Err(damaged(id, format_args!("no record of who wrote entry {}", indexes.start)));
    };
    let ends = firsts[before_start..].iter().map(|next| next.index).chain([indexes.end]);
    for (first, end) in firsts[leader_at_start..].iter().zip(ends) {
        leaders.see(LogId { index: end - 1, ..*first });
    }
    match (bounds.entries, leaders.0.last()) {
        (Some((_, last)), Some(found)) if found.index == last.index && *found != last => {
            Err(damaged(id, format_args!("it ends with {last}, and {found} by its records")))
        }
        _ => Ok(()),
    }
}

/// The last entry before those that have records: its leader may have gone on.
fn before(raft: &dyn Read, id: PartitionId, bounds: &Bounds) -> io::Result<Option<LogId>> {
    let first_index = bounds.purged.map_or(0, |purged| purged.index.saturating_add(1));
    match bounds.leaders_from.checked_sub(1) {
        Some(index) if index >= first_index => read_id(raft, id, index).map(Some),
        _ => Ok(bounds.purged),
    }
}

//! Reading entries: from memory where it has them, from the disk where not.

use std::io;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use partition_types::{Entry, PartitionId};

use super::inner::{LogInner, State};
use crate::codec::{CodecError, decode_entry};
use crate::engine::{Read, Table};
use crate::keys;

/// How a read is done.
pub(super) enum Plan {
    /// Memory has it.
    Ready(Vec<Entry>),
    /// It begins with what only the disk has.
    FromDisk(FromDisk),
}

/// A part of the log that only the disk has.
pub(super) struct FromDisk {
    pub(super) indexes: Range<u64>,
    /// Of the log when it was looked at.
    epoch: u64,
}

impl LogInner {
    pub(super) fn plan(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Plan> {
        let state = self.state.lock();
        let Some((first_index, _)) = state.bounds.entries else {
            return Ok(Plan::Ready(Vec::new()));
        };
        let (from, to) = (range.start.max(first_index), range.end.min(state.next_index()));
        if from >= to {
            return Ok(Plan::Ready(Vec::new()));
        }
        let tail_index = state.tail_index();
        if from < tail_index {
            let indexes = from..to.min(tail_index);
            return Ok(Plan::FromDisk(FromDisk { indexes, epoch: state.epoch }));
        }
        let mut entries = Vec::new();
        take_tail(&state, from..to, &mut entries, 0, max_bytes);
        Ok(Plan::Ready(entries))
    }

    /// Adds what memory has to what the disk had; `None` when the log was cut
    /// meanwhile, so that the two may not go together.
    pub(super) fn complete(
        &self,
        asked: &FromDisk,
        found: Found,
        end: u64,
        max_bytes: usize,
    ) -> io::Result<Option<Vec<Entry>>> {
        let state = self.state.lock();
        if state.epoch != asked.epoch {
            return Ok(None);
        }
        let Found { mut entries, len_bytes, problem } = found;
        if let Some(problem) = problem {
            let text = format!("log of partition {}: {problem}", self.id);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let next = asked.indexes.start + entries.len() as u64;
        if next < asked.indexes.end {
            if len_bytes >= max_bytes {
                return Ok(Some(entries));
            }
            let text = format!("log of partition {}: entry {next} is missing", self.id);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        // The tail may begin later by now, but then the next read finds the rest.
        if state.tail_index() == next && len_bytes < max_bytes {
            take_tail(&state, next..end, &mut entries, len_bytes, max_bytes);
        }
        Ok(Some(entries))
    }
}

/// Adds entries of the tail until there are `max_bytes`.
fn take_tail(
    state: &State,
    indexes: Range<u64>,
    entries: &mut Vec<Entry>,
    mut len_bytes: usize,
    max_bytes: usize,
) {
    let skipped = usize::try_from(indexes.start - state.tail_index()).unwrap_or(usize::MAX);
    let tail = state.tail.iter().skip(skipped);
    for entry in tail.take_while(|entry| entry.log_id.index < indexes.end) {
        if !entries.is_empty() && len_bytes >= max_bytes {
            return;
        }
        len_bytes += entry.len_bytes();
        entries.push(entry.clone());
    }
}

/// What a look at the disk found.
#[derive(Default)]
pub(super) struct Found {
    /// Without a gap from the first index asked for.
    pub(super) entries: Vec<Entry>,
    pub(super) len_bytes: usize,
    /// Why there are no more, if it is not that there were enough.
    pub(super) problem: Option<CodecError>,
}

/// Reads entries from the disk, in order and without a gap, up to about
/// `max_bytes`.
pub(super) fn read(
    raft: &dyn Read,
    id: PartitionId,
    indexes: Range<u64>,
    max_bytes: usize,
) -> io::Result<Found> {
    let mut found = Found::default();
    let mut next = indexes.start;
    let range = keys::log_entries(id, indexes);
    raft.scan(Table::Log, &range.start..&range.end, &mut |key, value| {
        match keys::index_of_log_entry(key) {
            Ok(index) if index == next => {}
            // A gap: what is missing is for the caller to say.
            _ => return ControlFlow::Break(()),
        }
        match decode_entry(Bytes::copy_from_slice(value)) {
            Ok(entry) if entry.log_id.index == next => {
                next += 1;
                found.len_bytes += entry.len_bytes();
                found.entries.push(entry);
            }
            Ok(_) => found.problem = Some(CodecError::Invalid("log index")),
            Err(problem) => found.problem = Some(problem),
        }
        if found.problem.is_some() || found.len_bytes >= max_bytes {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

//! Who wrote entries of which no record says it: those of a program before such records were
//! kept.
//!
//! Between two entries of one leader there are only its own, and a long log of few leaders is
//! known from a few of its entries. The log of a group that nobody writes to is the other way
//! round: each start and each hand-over left it one entry of one more leader. So long spans are
//! halved, and short ones read through; and the end of the log comes first, for that is where
//! such entries follow a long span.

use std::fmt::Display;
use std::io;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use partition_types::{LogId, PartitionId};

use super::Leaders;
use crate::codec::decode_entry;
use crate::engine::{Read, Table};
use crate::keys;
use crate::log::read::{self, Found};

/// Entries of a span that is read through.
const SHORT: u64 = 64;
/// No more is read through at a time, should the entries be large.
const SHORT_BYTES: usize = 64 << 10;

/// The leaders of entries on the disk, all of which must be there. Blocks.
pub(super) fn search(raft: &dyn Read, id: PartitionId, indexes: Range<u64>) -> io::Result<Leaders> {
    let mut leaders = Leaders::default();
    let Some(last_index) = indexes.end.checked_sub(1).filter(|last| *last >= indexes.start) else {
        return Ok(leaders);
    };
    let id_at = |index| read_id(raft, id, index);
    let first = id_at(indexes.start)?;
    let (until, at_end) = read_back(raft, id, first, last_index)?;
    let mut spans = vec![(first, until)];
    // In order: of two halves the first one is on top.
    while let Some((first, last)) = spans.pop() {
        leaders.see(first);
        if first.is_by_leader_of(last) {
            leaders.see(last);
        } else if last.index - first.index > SHORT {
            let middle = id_at(first.index.midpoint(last.index))?;
            spans.extend([(middle, last), (first, middle)]);
        } else {
            let until = read_through(raft, id, first.index + 1..last.index + 1, &mut leaders)?;
            if until.index < last.index {
                spans.push((until, last));
            }
        }
    }
    at_end.0.into_iter().for_each(|entry| leaders.see(entry));
    Ok(leaders)
}

/// Looks at the last entries, down to one that was written by the leader of the first one if it is
/// not far. Returns the one at which it stopped, and the leaders from there on.
fn read_back(
    raft: &dyn Read,
    id: PartitionId,
    first: LogId,
    last_index: u64,
) -> io::Result<(LogId, Leaders)> {
    let (mut seen, mut len_bytes, mut problem) = (Vec::new(), 0, None);
    let mut index = last_index;
    let range = keys::log_entries(id, first.index..last_index + 1);
    raft.scan_back(Table::Log, &range.start..&range.end, &mut |key, value| {
        if keys::index_of_log_entry(key).ok() != Some(index) {
            return ControlFlow::Break(());
        }
        match decode(id, index, Bytes::copy_from_slice(value)) {
            Ok(entry) => seen.push(entry),
            Err(error) => problem = Some(error),
        }
        len_bytes += value.len();
        let is_enough = seen.len() as u64 > SHORT || len_bytes >= SHORT_BYTES;
        let is_known = seen.last().is_none_or(|entry| entry.is_by_leader_of(first));
        if is_known || is_enough || problem.is_some() {
            return ControlFlow::Break(());
        }
        index -= 1;
        ControlFlow::Continue(())
    })?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    let until = seen.last().filter(|until| until.index == index);
    let until = *until.ok_or_else(|| missing(id, index))?;
    let mut leaders = Leaders::default();
    seen.into_iter().rev().for_each(|entry| leaders.see(entry));
    Ok((until, leaders))
}

pub(super) fn read_id(raft: &dyn Read, id: PartitionId, index: u64) -> io::Result<LogId> {
    let key = keys::log_entry(id, index);
    let record = raft.get(Table::Log, &key)?.ok_or_else(|| missing(id, index))?;
    decode(id, index, record)
}

/// Sees the entries of a range, which is not empty, or of its beginning. Returns the last one.
fn read_through(
    raft: &dyn Read,
    id: PartitionId,
    indexes: Range<u64>,
    leaders: &mut Leaders,
) -> io::Result<LogId> {
    let Found { entries, len_bytes, problem } = read::read(raft, id, indexes.clone(), SHORT_BYTES)?;
    let next = indexes.start + entries.len() as u64;
    if let Some(problem) = problem {
        return Err(damaged(id, format_args!("entry {next}: {problem}")));
    }
    if next < indexes.end && len_bytes < SHORT_BYTES {
        return Err(missing(id, next));
    }
    entries.iter().for_each(|entry| leaders.see(entry.log_id));
    entries.last().map(|entry| entry.log_id).ok_or_else(|| missing(id, next))
}

fn decode(id: PartitionId, index: u64, record: Bytes) -> io::Result<LogId> {
    match decode_entry(record) {
        Ok(entry) if entry.log_id.index == index => Ok(entry.log_id),
        Ok(entry) => Err(damaged(id, format_args!("entry {} stands at {index}", entry.log_id))),
        Err(problem) => Err(damaged(id, format_args!("entry {index}: {problem}"))),
    }
}

pub(super) fn missing(id: PartitionId, index: u64) -> io::Error {
    damaged(id, format_args!("entry {index} is missing"))
}

pub(super) fn damaged(id: PartitionId, what: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log of partition {id}: {what}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use partition_types::{Command, Crc32c, Entry, NodeId, Op, Payload};
    use proptest::prelude::*;

    use super::*;
    use crate::codec::encode_entry;
    use crate::engine::image::Image;
    use crate::engine::memory::MemoryEngine;
    use crate::engine::{Change, Value};

    pub(in crate::log::leaders) fn id() -> PartitionId {
        PartitionId::new(7).unwrap()
    }

    fn put(index: u64, entry: &Entry) -> Change {
        let value = Value::from(encode_entry(entry));
        Change::Put { table: Table::Log, key: keys::log_entry(id(), index), value }
    }

    /// A log that begins at `first`: so many entries of each leader, with so many bytes each.
    pub(in crate::log::leaders) fn log(
        first: u64,
        runs: &[(u64, usize)],
    ) -> (Arc<MemoryEngine>, Vec<LogId>) {
        let engine = MemoryEngine::open(Image::default());
        let mut ids: Vec<LogId> = Vec::new();
        for (at, (count, len_bytes)) in runs.iter().enumerate() {
            // Two leaders of one term follow each other, the higher id last.
            let leader = Some(NodeId::new(at as u64 % 2 + 1).unwrap());
            for _ in 0..*count {
                let index = first + ids.len() as u64;
                let data = Bytes::from(vec![7; *len_bytes]);
                let op = Op::Put { crc32c: Crc32c::of(&data), data };
                let payload = Payload::Command(Command { request_id: None, at_ms: 1, op });
                let log_id = LogId { term: at as u64 / 2 + 1, leader, index };
                engine.tamper(&put(index, &Entry { log_id, payload }));
                ids.push(log_id);
            }
        }
        (engine, ids)
    }

    /// The same, one entry after the other.
    pub(in crate::log::leaders) fn plainly(ids: &[LogId]) -> Vec<LogId> {
        let is_last =
            |at: usize| ids.get(at + 1).is_none_or(|next| !ids[at].is_by_leader_of(*next));
        (0..ids.len()).filter(|at| is_last(*at)).map(|at| ids[at]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn finds_the_last_entry_of_each(
            first in 0..100u64,
            runs in prop::collection::vec(
                (prop_oneof![4 => 1..4u64, 1 => 1..400u64], prop_oneof![9 => Just(3), 1 => Just(20_000)]),
                1..60,
            ),
        ) {
            let (engine, ids) = log(first, &runs);
            let all = first..first + ids.len() as u64;
            let found = search(engine.as_ref(), id(), all).unwrap().0;
            prop_assert_eq!(found, plainly(&ids));
        }
    }

    #[test]
    fn finds_nobody_where_there_is_nothing() {
        let (engine, _) = log(0, &[]);
        assert_eq!(search(engine.as_ref(), id(), 5..5).unwrap().0, []);
    }

    #[test]
    fn says_what_is_missing_or_damaged() {
        let fails = |change: &dyn Fn(&MemoryEngine)| {
            let (engine, _) = log(1, &[(1, 3); 40]);
            change(engine.as_ref());
            let error = search(engine.as_ref(), id(), 1..41).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            error.to_string()
        };
        let lost = |index| {
            let key = keys::log_entry(id(), index);
            fails(&|engine| engine.tamper(&Change::Delete { table: Table::Log, key: key.clone() }))
        };
        assert_eq!(lost(1), "log of partition 7: entry 1 is missing");
        assert_eq!(lost(2), "log of partition 7: entry 2 is missing");
        assert_eq!(lost(20), "log of partition 7: entry 20 is missing");
        assert_eq!(lost(40), "log of partition 7: entry 40 is missing");
        let blank = |index| {
            let log_id = LogId { term: 1, leader: None, index };
            Entry { log_id, payload: Payload::Blank }
        };
        let swapped = fails(&|engine| engine.tamper(&put(20, &blank(21))));
        assert!(swapped.ends_with("stands at 20"), "{swapped}");
        let swapped = fails(&|engine| engine.tamper(&put(40, &blank(41))));
        assert!(swapped.ends_with("stands at 40"), "{swapped}");
        let value = Value::from(Bytes::from_static(b"?"));
        let change = Change::Put { table: Table::Log, key: keys::log_entry(id(), 20), value };
        let damaged = fails(&|engine| engine.tamper(&change));
        assert!(damaged.starts_with("log of partition 7: entry 20: "), "{damaged}");
    }
}

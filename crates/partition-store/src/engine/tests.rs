//! The memory engine and RocksDB are the same engine: what the tests of states
//! prove on one holds on the other.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::memory::{Image, MemoryEngine};
use super::rocks::{Kind, Mode, Rocks};
use super::{Batch, Durability, Engine, Read, Table};
use crate::lock::DirLock;

#[derive(Debug, Clone)]
enum Change {
    Put(Table, Vec<u8>, usize),
    Delete(Table, Vec<u8>),
    DeleteRange(Table, Vec<u8>, Vec<u8>),
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Change>),
    Flush,
    /// Reads now, through a view from before the last write, and all after it.
    Look(Table, Vec<u8>, Vec<u8>, usize),
    /// Closes without a word, or after a flush.
    Reopen(bool),
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![Just(Table::StateMeta), Just(Table::Chunk)]
}

/// Few and short, so that they meet; 255 at the end, so that ranges are odd.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![0..4u8, Just(255)], 1..4)
}

fn change() -> impl Strategy<Value = Change> {
    let len = prop_oneof![0..20usize, Just(5000)];
    prop_oneof![
        6 => (table(), key(), len).prop_map(|(table, key, len)| Change::Put(table, key, len)),
        2 => (table(), key()).prop_map(|(table, key)| Change::Delete(table, key)),
        1 => (table(), key(), key()).prop_map(|(table, a, b)| {
            let (from, to) = if a < b { (a, b) } else { (b, a) };
            Change::DeleteRange(table, from, to)
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(change(), 1..8).prop_map(Step::Write),
        1 => Just(Step::Flush),
        6 => (table(), key(), key(), 1..6usize)
            .prop_map(|(table, from, to, limit)| Step::Look(table, from, to, limit)),
        1 => any::<bool>().prop_map(Step::Reopen),
    ]
}

fn batch(changes: &[Change]) -> Batch {
    let mut batch = Batch::default();
    for (nth, change) in (0u8..).zip(changes) {
        match change.clone() {
            Change::Put(table, key, len) => batch.put(table, key, vec![nth; len]),
            Change::Delete(table, key) => batch.delete(table, key),
            Change::DeleteRange(table, from, to) => batch.delete_range(table, &from, &to),
        }
    }
    batch
}

type Seen = Vec<(Vec<u8>, Bytes)>;

/// Up to `limit` keys of a range upwards, downwards, and the range's start.
fn look(
    read: &dyn Read,
    table: Table,
    range: Range<&[u8]>,
    limit: usize,
) -> (Seen, Seen, Option<Bytes>) {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let visit = |seen: &mut Seen, key: &[u8], value: &[u8]| {
        seen.push((key.to_vec(), Bytes::copy_from_slice(value)));
        if seen.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    read.scan(table, range.clone(), &mut |key, value| visit(&mut up, key, value)).unwrap();
    read.scan_back(table, range.clone(), &mut |key, value| visit(&mut down, key, value)).unwrap();
    (up, down, read.get(table, range.start).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_are_one(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let lock = Arc::new(DirLock::acquire(dir.path()).unwrap());
        let open = || Rocks::open(dir.path(), Kind::Data, Mode::Create, Arc::clone(&lock)).unwrap();
        let mut rocks = open();
        let mut memory = MemoryEngine::open(Image::default());
        for step in steps {
            match step {
                Step::Write(changes) => {
                    let before = (rocks.snapshot(), memory.snapshot());
                    let batch = batch(&changes);
                    rocks.write(&batch, Durability::Buffered).unwrap();
                    memory.write(&batch, Durability::Buffered).unwrap();
                    for table in [Table::StateMeta, Table::Chunk] {
                        let all: Range<&[u8]> = &[]..&[255; 9];
                        let (a, b) = (before.0.as_ref(), before.1.as_ref());
                        prop_assert_eq!(
                            look(a, table, all.clone(), 1000),
                            look(b, table, all, 1000)
                        );
                    }
                }
                Step::Flush => {
                    rocks.flush().unwrap();
                    memory.flush().unwrap();
                }
                Step::Look(table, from, to, limit) => {
                    let range = || from.as_slice()..to.as_slice();
                    prop_assert_eq!(
                        look(&rocks, table, range(), limit),
                        look(memory.as_ref(), table, range(), limit)
                    );
                }
                Step::Reopen(is_flushed) => {
                    if is_flushed {
                        rocks.flush().unwrap();
                        memory.flush().unwrap();
                    }
                    drop(rocks);
                    rocks = open();
                    memory = MemoryEngine::open(memory.durable_image());
                }
            }
        }
    }
}

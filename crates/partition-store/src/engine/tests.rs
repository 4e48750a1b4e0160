//! The engines in memory and RocksDB are the same engine: what the tests of states
//! and the simulated cluster prove on one holds on the other, crashes included.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::image::Image;
use super::memory::MemoryEngine;
use super::rocks::Rocks;
use super::simulated::MemoryDisk;
use super::{Batch, Durability, Engine, Kind, Mode, Read, Table};
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
        let open = || {
            let rocks =
                Rocks::open(dir.path(), Kind::Data, Mode::Create, Arc::clone(&lock)).unwrap();
            rocks.wind_up();
            rocks
        };
        let mut rocks = open();
        let mut memory = MemoryEngine::open(Image::default());
        let disk = MemoryDisk::new(0);
        let mut simulated = disk.open(Kind::Data);
        for step in steps {
            match step {
                Step::Write(changes) => {
                    let before = (rocks.snapshot(), memory.snapshot(), simulated.snapshot());
                    let batch = batch(&changes);
                    for engine in [&rocks as &dyn Engine, memory.as_ref(), &simulated] {
                        engine.write(&batch, Durability::Buffered).unwrap();
                    }
                    for table in [Table::StateMeta, Table::Chunk] {
                        let all: Range<&[u8]> = &[]..&[255; 9];
                        let seen = look(before.0.as_ref(), table, all.clone(), 1000);
                        for read in [before.1.as_ref(), before.2.as_ref()] {
                            prop_assert_eq!(&seen, &look(read, table, all.clone(), 1000));
                        }
                    }
                }
                Step::Flush => {
                    for engine in [&rocks as &dyn Engine, memory.as_ref(), &simulated] {
                        engine.flush().unwrap();
                    }
                }
                Step::Look(table, from, to, limit) => {
                    let range = || from.as_slice()..to.as_slice();
                    let seen = look(&rocks, table, range(), limit);
                    prop_assert_eq!(&seen, &look(memory.as_ref(), table, range(), limit));
                    prop_assert_eq!(&seen, &look(&simulated, table, range(), limit));
                }
                Step::Reopen(is_flushed) => {
                    if is_flushed {
                        for engine in [&rocks as &dyn Engine, memory.as_ref(), &simulated] {
                            engine.flush().unwrap();
                        }
                    }
                    drop(rocks);
                    rocks = open();
                    memory = MemoryEngine::open(memory.durable_image());
                    // Dropped without being closed, RocksDB keeps what was flushed.
                    disk.cut(|_| 0);
                    simulated = disk.open(Kind::Data);
                }
            }
        }
    }
}

/// What a log writer does with `raft/`: synced and unsynced batches, and crashes.
#[derive(Debug, Clone)]
enum LogStep {
    Write(Vec<Change>, bool),
    Crash,
}

fn log_step() -> impl Strategy<Value = LogStep> {
    let change = change().prop_map(|change| match change {
        Change::Put(table, key, len) => Change::Put(log_table(table), key, len),
        Change::Delete(table, key) => Change::Delete(log_table(table), key),
        Change::DeleteRange(table, from, to) => Change::DeleteRange(log_table(table), from, to),
    });
    prop_oneof![
        8 => (prop::collection::vec(change, 1..6), any::<bool>())
            .prop_map(|(changes, synced)| LogStep::Write(changes, synced)),
        1 => Just(LogStep::Crash),
    ]
}

fn log_table(table: Table) -> Table {
    match table {
        Table::StateMeta => Table::Log,
        _ => Table::LogMeta,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A process that dies leaves all that it wrote to `raft/`, synced or not; so
    /// does a simulated one that is cut off with everything kept.
    #[test]
    fn a_dead_process_leaves_the_same_log(
        steps in prop::collection::vec(log_step(), 1..60)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let lock = Arc::new(DirLock::acquire(dir.path()).unwrap());
        let open = || Rocks::open(dir.path(), Kind::Raft, Mode::Create, Arc::clone(&lock)).unwrap();
        let mut rocks = open();
        let disk = MemoryDisk::new(0);
        let mut simulated = disk.open(Kind::Raft);
        for step in steps {
            match step {
                LogStep::Write(changes, synced) => {
                    let batch = batch(&changes);
                    let durability = match synced {
                        true => Durability::Synced,
                        false => Durability::Buffered,
                    };
                    rocks.write(&batch, durability).unwrap();
                    simulated.write(&batch, durability).unwrap();
                }
                LogStep::Crash => {
                    drop(rocks);
                    rocks = open();
                    disk.cut(|unsynced| unsynced);
                    simulated = disk.open(Kind::Raft);
                }
            }
            for table in [Table::Log, Table::LogMeta] {
                let all: Range<&[u8]> = &[]..&[255; 9];
                prop_assert_eq!(
                    look(&rocks, table, all.clone(), 1000),
                    look(&simulated, table, all, 1000)
                );
            }
        }
    }
}

/// A power cut takes what was not synced from its end on, and nothing else; and
/// who had the disk open before it writes no more.
#[test]
fn a_power_cut_leaves_a_beginning_of_what_was_not_synced() {
    let put = |key: u8| {
        let mut batch = Batch::default();
        batch.put(Table::Log, vec![key], vec![key]);
        batch
    };
    for kept in 0..=3usize {
        let disk = MemoryDisk::new(0);
        let engine = disk.open(Kind::Raft);
        engine.write(&put(0), Durability::Buffered).unwrap();
        engine.write(&put(1), Durability::Synced).unwrap();
        for key in 2..5 {
            engine.write(&put(key), Durability::Buffered).unwrap();
        }
        let mut batch = Batch::default();
        batch.delete_range(Table::Log, &[0], &[2]);
        engine.write(&batch, Durability::Buffered).unwrap();
        let lost = disk.cut(|unsynced| if unsynced > 0 { kept } else { 0 });
        assert_eq!(lost.log_writes, 4 - kept);
        engine.write(&put(9), Durability::Synced).unwrap_err();
        let (seen, _, _) = look(&disk.open(Kind::Raft), Table::Log, &[]..&[255], 100);
        let keys: Vec<u8> = seen.iter().map(|(key, _)| key[0]).collect();
        let expected: Vec<u8> = (0..2 + u8::try_from(kept).unwrap()).collect();
        assert_eq!(keys, expected);
    }
}

/// What would take disk and processors from a start.
#[test]
fn nothing_is_compacted_before_it_is_wound_up() {
    let dir = tempfile::tempdir().unwrap();
    let lock = Arc::new(DirLock::acquire(dir.path()).unwrap());
    let open = || Rocks::open(dir.path(), Kind::Data, Mode::Create, Arc::clone(&lock)).unwrap();
    let files = || {
        let files = std::fs::read_dir(dir.path().join(Kind::Data.dir())).unwrap();
        let is_table = |file: &std::fs::DirEntry| file.path().extension() == Some("sst".as_ref());
        files.filter(|file| is_table(file.as_ref().unwrap())).count()
    };
    let rocks = open();
    for _ in 0..8 {
        let mut batch = Batch::default();
        for key in [1, 9] {
            batch.put(Table::StateMeta, vec![key], Bytes::from_static(&[7; 100]));
        }
        rocks.write(&batch, Durability::Synced).unwrap();
    }
    drop(rocks);
    let rocks = open();
    // Four are enough for RocksDB to begin.
    assert_eq!(files(), 8);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(files(), 8, "it is left alone");
    assert!(rocks.usage().compaction_pending > 0, "and it is told");
    rocks.wind_up();
    let began = Instant::now();
    while files() > 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} files are left", files());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_it_takes_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let lock = Arc::new(DirLock::acquire(dir.path()).unwrap());
    let rocks = Rocks::open(dir.path(), Kind::Data, Mode::Create, lock).unwrap();
    let before = rocks.usage();
    assert_eq!(before.table_readers, 0, "there is no file");
    let mut batch = Batch::default();
    for key in 0..200_u8 {
        batch.put(Table::StateMeta, vec![key], Bytes::from(vec![key; 1000]));
    }
    rocks.write(&batch, Durability::Buffered).unwrap();
    let written = rocks.usage();
    assert!(written.memtables >= before.memtables + 200_000, "{before:?} {written:?}");
    rocks.flush().unwrap();
    let flushed = rocks.usage();
    assert!(flushed.memtables < written.memtables, "{written:?} {flushed:?}");
    assert!(flushed.table_readers > 0, "{flushed:?}");
    rocks.get(Table::StateMeta, &[7]).unwrap().unwrap();
    let read = rocks.usage();
    assert!(read.block_cache > flushed.block_cache, "{flushed:?} {read:?}");
}

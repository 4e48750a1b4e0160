//! States on RocksDB: crashes, reopening, space.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use partition_store::{PartitionState, ReadError, Verify};
use partition_types::{Entry, Op, RequestId};

use crate::fixture::{self, Node, SOON, log_id};
use crate::ops::{append, at, bytes, delete, extent, named, put, read, write};

/// A log with all kinds of ops, the same at every call.
fn log() -> Vec<Entry> {
    let mut ops = vec![Op::Create, Op::Create, Op::Stage, Op::Create];
    for n in 0..60u64 {
        let len = usize::try_from(n * n * 97 % 300_000).unwrap();
        ops.push(append(1 + n % 2, &bytes(n, len)));
        ops.push(write(1, n * 7919 % (n + 1), &bytes(n + 1000, len / 3)));
        if n % 5 == 0 {
            ops.push(put(&bytes(n, len)));
        }
        if n % 7 == 0 {
            ops.push(delete([n + 1, n + 2, 4 + n / 5]));
            ops.push(Op::Create);
        }
    }
    (0..).zip(ops).map(|(index, op)| at(index, op)).collect()
}

async fn apply(state: &PartitionState, log: &[Entry], range: Range<usize>) {
    for batch in log[range].chunks(5) {
        state.apply(batch.to_vec()).await.unwrap();
    }
}

fn next(state: &PartitionState) -> usize {
    state.applied().map_or(0, |log_id| usize::try_from(log_id.index).unwrap() + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_takes_what_was_not_flushed_and_replay_brings_it_back() {
    let log = log();
    let expected = {
        let node = Node::new(1);
        let (_store, partition) = node.open_with(1);
        partition.state().apply(log.clone()).await.unwrap();
        partition.state().sum().await.unwrap()
    };
    let node = Node::new(1);
    let third = log.len() / 3;
    {
        let (_store, partition) = node.open_with(1);
        apply(partition.state(), &log, 0..third).await;
        partition.state().flush().await.unwrap();
        assert_eq!(partition.state().durable_applied(), Some(log_id(2, third as u64 - 1)));
        apply(partition.state(), &log, third..2 * third).await;
        assert_eq!(partition.state().durable_applied(), Some(log_id(2, third as u64 - 1)));
        // Dropped without a word: as after a crash.
    }
    {
        let (store, partition) = node.open_with(1);
        assert_eq!(next(partition.state()), third, "back at the flush");
        assert_eq!(partition.state().durable_applied(), partition.state().applied());
        apply(partition.state(), &log, third..2 * third).await;
        drop(partition);
        store.close().unwrap();
    }
    let (_store, partition) = node.open_with(1);
    assert_eq!(next(partition.state()), 2 * third, "closed, so all of it");
    apply(partition.state(), &log, 2 * third..log.len()).await;
    assert_eq!(partition.state().sum().await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_known_after_a_restart() {
    let node = Node::new(1);
    let id = RequestId::random();
    let first = {
        let (store, partition) = node.open_with(1);
        let entries = vec![at(0, Op::Create), named(1, Some(id), append(1, &bytes(1, 10)))];
        let outcomes = partition.state().apply(entries).await.unwrap();
        drop(partition);
        store.close().unwrap();
        outcomes[1].clone()
    };
    let (_store, partition) = node.open_with(1);
    let repeat = named(2, Some(id), append(1, &bytes(1, 10)));
    assert_eq!(partition.state().apply(vec![repeat]).await.unwrap(), [first]);
    assert_eq!(read(partition.state(), 1).await, bytes(1, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_partition_passes_every_check() {
    let node = Node::new(1);
    let (_store, partition) = node.open_with(1);
    partition.check(Verify::Full).unwrap();
    let log = log();
    fixture::append(partition.log(), log.clone());
    partition.state().apply(log).await.unwrap();
    for verify in [Verify::None, Verify::Sample, Verify::Full] {
        partition.check(verify).unwrap();
    }
}

/// Overwrites bytes in the middle of the largest file of a directory that has an
/// extension.
fn damage(dir: &Path, extension: &str) {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let largest = files
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .expect("there is one");
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 16].fill(0xa5);
    std::fs::write(&largest, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_disk_is_named_and_never_served() {
    let node = Node::new(1);
    let (store, partition) = node.open_with(7);
    // The middle of the blob file is in the second of three.
    let log: Vec<Entry> = (0..3).map(|n| at(n, put(&bytes(n, 1_000_000)))).collect();
    fixture::append(partition.log(), log.clone());
    partition.state().apply(log).await.unwrap();
    drop(partition);
    store.close().unwrap();
    damage(&node.disk(0).join("data"), "blob");

    let (_store, partition) = node.open_with(7);
    assert_eq!(read(partition.state(), 1).await, bytes(0, 1_000_000));
    assert_eq!(read(partition.state(), 3).await, bytes(2, 1_000_000));
    let error = partition.state().read(extent(2), 0, u64::MAX).await.unwrap_err();
    let ReadError::ChecksumMismatch(found) = error else { panic!("{error}") };
    assert_eq!((found.partition_id, found.extent_id), (fixture::partition(7), extent(2)));
    assert_eq!(found.offset % 131_072, 0, "the chunk at {}", found.offset);
    // Only the chunk is lost.
    let offset = found.offset + 131_072;
    partition.state().read(extent(2), offset, u64::MAX).await.unwrap();
    partition.check(Verify::None).unwrap();
    partition.check(Verify::Full).unwrap_err();
    assert!(partition.state().sum().await.is_err());
}

/// Bytes of all files below a directory.
fn disk_usage(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
            Ok(meta) => meta.len(),
            // It was compacted away just now.
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => panic!("{error}"),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_extents_give_the_disk_back_its_space() {
    const EXTENT_LEN: usize = 1 << 20;
    let node = Node::new(1);
    let (store, partition) = node.open_with(1);
    store.wind_up();
    let state = partition.state();
    let mut index = 0;
    let mut apply = async |ops: Vec<Op>| {
        let entries: Vec<Entry> = (index..).zip(ops).map(|(i, op)| at(i, op)).collect();
        index += entries.len() as u64;
        state.apply(entries).await.unwrap();
    };
    for n in 0..8 {
        apply((0..8).map(|m| put(&bytes(n * 8 + m, EXTENT_LEN))).collect()).await;
        state.flush().await.unwrap();
    }
    let full = disk_usage(&node.disk(0).join("data"));
    assert!(full > 64 << 20, "{full} bytes hold 64 MiB");
    apply(vec![delete(1..=60)]).await;
    let began = Instant::now();
    let mut left = full;
    while left >= full / 2 {
        // What is tidied up in the background has what processor is left.
        assert!(began.elapsed() < SOON, "{left} of {full} bytes are left");
        // Life goes on, in small steps.
        apply(vec![put(&bytes(7, 1000))]).await;
        state.flush().await.unwrap();
        left = disk_usage(&node.disk(0).join("data"));
    }
}

//! Many appends and votes of many partitions share one synced write.

use std::sync::mpsc;

use partition_store::{LogWrites, PartitionStore, Store};
use partition_types::Vote;

use crate::fixture::{Node, SOON, append, entry, indexes, log_id, members, partition};

fn writes(store: &Store) -> LogWrites {
    store.disks()[0].log_writes
}

/// Keeps the log writer busy until the returned sender is used.
fn hold_writer(replica: &PartitionStore) -> mpsc::Sender<()> {
    let (held, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let hold = move |result: std::io::Result<()>| {
        result.unwrap();
        held.send(()).unwrap();
        released.recv_timeout(SOON).unwrap();
    };
    let next = replica.log().bounds().last.map_or(0, |last| last.index + 1);
    replica.log().append(vec![entry(1, next, 10)], hold).unwrap();
    is_held.recv_timeout(SOON).unwrap();
    release
}

#[test]
fn what_is_queued_together_is_synced_together() {
    const PARTITIONS: u64 = 20;
    const APPENDS: u64 = 5;
    let node = Node::new(1);
    let store = node.open();
    let replicas: Vec<_> = (1..=PARTITIONS)
        .map(|id| {
            store.create(partition(id), members()).unwrap();
            store.load(partition(id)).unwrap()
        })
        .collect();
    let release = hold_writer(&replicas[0]);
    let before = writes(&store);

    let (send, receive) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for index in 1..=APPENDS {
        for replica in &replicas {
            let next = replica.log().bounds().last.map_or(0, |last| last.index + 1);
            let (id, send) = (replica.id(), send.clone());
            let done = move |result: std::io::Result<()>| {
                result.unwrap();
                send.send((id, index)).unwrap();
            };
            replica.log().append(vec![entry(1, next, 100), entry(1, next + 1, 100)], done).unwrap();
        }
    }
    let vote = Vote { term: 7, voted_for: None, committed: true };
    let voter = replicas[3].log().clone();
    let mut voting = std::pin::pin!(voter.save_vote(vote));
    // Queued by the first poll.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(voting.as_mut().poll(&mut context).is_pending());

    release.send(()).unwrap();
    runtime.block_on(voting).unwrap();
    let after = writes(&store);
    assert_eq!(after.operations - before.operations, PARTITIONS * APPENDS + 1);
    assert_eq!(after.entries - before.entries, PARTITIONS * APPENDS * 2);
    assert_eq!(after.syncs - before.syncs, 1, "one sync for all of them");

    // In the order of the appends, all of them before the vote that came later.
    let called: Vec<_> = receive.try_iter().collect();
    let expected: Vec<_> = (1..=APPENDS)
        .flat_map(|index| (1..=PARTITIONS).map(move |id| (partition(id), index)))
        .collect();
    assert_eq!(called, expected);
}

#[test]
fn a_group_is_bounded_in_bytes() {
    const APPENDS: u64 = 12;
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let release = hold_writer(&replica);
    let before = writes(&store);
    let (send, receive) = mpsc::channel();
    for index in 1..=APPENDS {
        let send = send.clone();
        let done = move |result: std::io::Result<()>| send.send(result).unwrap();
        replica.log().append(vec![entry(1, index, 1 << 20)], done).unwrap();
    }
    release.send(()).unwrap();
    for _ in 0..APPENDS {
        receive.recv_timeout(SOON).unwrap().unwrap();
    }
    // 12 MiB in groups of 4 MiB, each with the append that reaches the bound.
    assert_eq!(writes(&store).syncs - before.syncs, APPENDS / 4);
}

#[test]
fn truncations_and_purges_wait_for_no_sync() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let log = replica.log();
    append(log, (0..10).map(|index| entry(1, index, 10)).collect());
    let before = writes(&store);
    drop(log.truncate_after(Some(log_id(1, 8))));
    drop(log.purge(log_id(1, 4)));
    append(log, vec![entry(2, 9, 10)]);
    assert_eq!(writes(&store).syncs - before.syncs, 1, "the one of the append");
    drop(log.purge(log_id(1, 5)));
    store.flush().unwrap();
    assert_eq!(writes(&store).syncs - before.syncs, 2, "and the one of the flush");
    assert_eq!(indexes(log), [6, 7, 8, 9]);
}

//! Snapshots between stores on RocksDB.

use std::time::Duration;

use partition_store::{OpenError, PartitionState, PartitionStore, SnapshotReader, Store, Verify};
use partition_types::{Op, Outcome, RequestId};

use crate::fixture::{Node, append as append_to};
use crate::ops::{append, at, bytes, delete, extent, named, put, read, write};

/// Opens a directory that a thread of its last user may still hold.
async fn reopen(node: &Node) -> (Store, PartitionStore) {
    while let Err(error) = node.try_open().map(drop) {
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.open_with(7)
}

/// Streams a snapshot into another state and installs it.
async fn copy(mut reader: SnapshotReader, to: &PartitionState) {
    let mut sink = to.begin_install().await.unwrap();
    while let Some(chunk) = reader.next_chunk().await.unwrap() {
        sink.write(chunk).await.unwrap();
    }
    let staged = sink.finish().await.unwrap();
    let (last, membership_log_id) = (reader.last, reader.membership_log_id);
    to.install(staged, last, membership_log_id, reader.membership).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_consistent_while_entries_are_applied() {
    let (nodes, id) = ([Node::new(1), Node::new(1)], RequestId::random());
    let (_from_store, from) = nodes[0].open_with(7);
    let mut entries = vec![
        at(0, Op::Create),
        at(1, append(1, &bytes(1, 9_000_000))),
        at(2, write(1, 4_000_000, &bytes(2, 1_000_000))),
        named(3, Some(id), Op::Create),
    ];
    entries.extend((4..40).map(|n| at(n, put(&bytes(n, 50_000)))));
    from.state().apply(entries).await.unwrap();
    let before = from.state().sum().await.unwrap();
    let reader = from.state().snapshot().open().await.unwrap();

    // A writer changes everything while the stream is read.
    let writer = from.state().clone();
    let writing = tokio::spawn(async move {
        for n in 40..140 {
            let ops = [write(1, n * 1000, &bytes(n, 70_000)), delete([n - 37]), put(&bytes(n, 9))];
            let entries = (0..).zip(ops).map(|(i, op)| at(n * 3 - 80 + i, op)).collect();
            writer.apply(entries).await.unwrap();
        }
    });
    let (to_store, to) = nodes[1].open_with(7);
    copy(reader, to.state()).await;
    writing.await.unwrap();
    assert_eq!(to.state().sum().await.unwrap(), before);
    assert_ne!(from.state().sum().await.unwrap(), before);

    // It is durable, and it is the same after a restart.
    assert_eq!(to.state().durable_applied(), to.state().applied());
    drop((to, to_store));
    let (_to_store, to) = reopen(&nodes[1]).await;
    assert_eq!(to.state().sum().await.unwrap(), before);
    // A request of before is known.
    let repeat = to.state().apply(vec![named(40, Some(id), Op::Create)]).await.unwrap();
    assert_eq!(repeat, [Outcome::Created { extent_id: extent(2) }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_that_is_cut_off_leaves_the_old_state() {
    let nodes = [Node::new(1), Node::new(1)];
    let (_from_store, from) = nodes[0].open_with(7);
    from.state().apply(vec![at(0, put(&bytes(1, 20_000_000)))]).await.unwrap();
    {
        let (_store, to) = nodes[1].open_with(7);
        let small = vec![at(0, put(&bytes(2, 1000)))];
        append_to(to.log(), small.clone());
        to.state().apply(small).await.unwrap();
        let mut reader = from.state().snapshot().open().await.unwrap();
        let mut sink = to.state().begin_install().await.unwrap();
        for _ in 0..10 {
            sink.write(reader.next_chunk().await.unwrap().unwrap()).await.unwrap();
        }
        // What is staged so far reaches the disk, and then the process is gone.
        to.state().flush().await.unwrap();
    }
    let (_store, to) = reopen(&nodes[1]).await;
    to.check(Verify::Full).unwrap();
    assert_eq!(read(to.state(), 1).await, bytes(2, 1000));
    copy(from.state().snapshot().open().await.unwrap(), to.state()).await;
    assert_eq!(read(to.state(), 1).await, bytes(1, 20_000_000));
}

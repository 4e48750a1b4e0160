//! What a new leader sends to its followers.

use std::sync::atomic::Ordering;

use partition_types::PartitionId;

use crate::cluster::{Cluster, node, read, write};

const ENTRY_BYTES: usize = 10_000;

async fn hand_over(cluster: &Cluster, id: PartitionId, from: u64, to: u64) {
    cluster.replica(from, id).transfer_leader(node(to)).await.unwrap();
    assert_eq!(cluster.await_leader(id, &[1, 2, 3]).await, to);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_are_not_sent_what_they_have() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let leader = cluster.await_leader(id, &[1, 2, 3]).await;
    if leader != 1 {
        hand_over(&cluster, id, leader, 1).await;
    }
    for at in 0..200u8 {
        write(&cluster, id, &[at; ENTRY_BYTES]).await;
    }
    // With the log in memory, and with a log of which a part was written by others still.
    hand_over(&cluster, id, 1, 2).await;
    write(&cluster, id, &[1; ENTRY_BYTES]).await;
    hand_over(&cluster, id, 2, 3).await;
    write(&cluster, id, &[2; ENTRY_BYTES]).await;
    // With the log on the disk.
    cluster.stop(1).await;
    cluster.boot([1]).await;
    hand_over(&cluster, id, 3, 1).await;
    let last = write(&cluster, id, &[3; ENTRY_BYTES]).await;
    for on in 1..=3 {
        assert_eq!(read(&cluster.replica(on, id), last).await, [3; ENTRY_BYTES]);
    }
    for on in 1..=3 {
        // In its present life.
        let sent = cluster.net.entry_bytes_of(node(on));
        // Its own write to two followers, perhaps twice, of two hundred.
        assert!(sent < 5 * ENTRY_BYTES as u64, "node {on} sent {sent} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lacks_what_earlier_leaders_wrote_is_sent_it() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let leader = cluster.await_leader(id, &[1, 2, 3]).await;
    if leader != 1 {
        hand_over(&cluster, id, leader, 1).await;
    }
    let mut extents = Vec::new();
    for at in 0..50u8 {
        extents.push(write(&cluster, id, &[at; ENTRY_BYTES]).await);
    }
    cluster.net.starve(node(3));
    // More than goes into one message.
    for at in 50..200u8 {
        extents.push(write(&cluster, id, &[at; ENTRY_BYTES]).await);
    }
    hand_over(&cluster, id, 1, 2).await;
    for at in 200..220u8 {
        extents.push(write(&cluster, id, &[at; ENTRY_BYTES]).await);
    }
    hand_over(&cluster, id, 2, 1).await;
    cluster.net.feed(node(3));
    let replica = cluster.replica(3, id);
    for (at, extent) in (0u8..).zip(&extents) {
        assert_eq!(read(&replica, *extent).await, [at; ENTRY_BYTES]);
    }
    assert_eq!(cluster.net.snapshots.load(Ordering::Relaxed), 0, "the logs have it all");
}

//! Coming back after having been away.

use std::sync::atomic::Ordering;

use crate::cluster::{Cluster, eventually, read, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catches_up_from_the_log() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let mut extents = vec![write(&cluster, id, b"before").await];
    cluster.stop(3).await;
    for at in 0..20u8 {
        extents.push(write(&cluster, id, &[at; 1000]).await);
    }
    cluster.boot([3]).await;
    for (at, extent) in (0u8..).zip(&extents) {
        let wanted = if at == 0 { b"before".to_vec() } else { vec![at - 1; 1000] };
        assert_eq!(read(&cluster.replica(3, id), *extent).await, wanted);
    }
    assert_eq!(cluster.net.snapshots.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn catches_up_by_a_snapshot_when_the_log_is_purged() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let before = write(&cluster, id, b"before").await;
    cluster.stop(3).await;
    let mut extents = Vec::new();
    for at in 0..30u8 {
        extents.push(write(&cluster, id, &vec![at; 100_000]).await);
    }
    for on in [1, 2] {
        let upto = cluster.replica(on, id).snapshot().await.unwrap();
        let status = cluster.replica(on, id).status();
        assert_eq!(status.purged.map(|id| id.index), Some(upto));
        assert!(status.purged <= status.snapshot && status.snapshot <= status.applied);
    }
    // More comes while the snapshot is on its way.
    let late = write(&cluster, id, b"late").await;
    cluster.boot([3]).await;
    assert!(cluster.net.snapshots.load(Ordering::Relaxed) > 0);
    let replica = cluster.replica(3, id);
    for (at, extent) in (0u8..).zip(&extents) {
        assert_eq!(read(&replica, *extent).await, vec![at; 100_000]);
    }
    assert_eq!(read(&replica, before).await, b"before");
    assert_eq!(read(&replica, late).await, b"late");

    let sums = eventually("replicas at one index", || async {
        let mut sums = Vec::new();
        for on in 1..=3 {
            sums.push(cluster.replica(on, id).state().unwrap().sum().await.unwrap());
        }
        sums.windows(2).all(|two| two[0].applied_index == two[1].applied_index).then_some(sums)
    })
    .await;
    assert!(sums.windows(2).all(|two| two[0].crc32c == two[1].crc32c), "{sums:?}");
    // What came by snapshot is there after the next restart too.
    drop(replica);
    cluster.stop(3).await;
    cluster.boot([3]).await;
    assert_eq!(read(&cluster.replica(3, id), late).await, b"late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let extent = write(&cluster, id, b"x").await;
    cluster.stop(1).await;
    let leader = cluster.await_other_leader(id, &[2, 3], 1).await;
    let meanwhile = write(&cluster, id, b"meanwhile").await;
    cluster.boot([1]).await;
    assert_eq!(cluster.await_leader(id, &[1, 2, 3]).await, leader);
    assert_eq!(read(&cluster.replica(1, id), extent).await, b"x");
    assert_eq!(read(&cluster.replica(1, id), meanwhile).await, b"meanwhile");
}

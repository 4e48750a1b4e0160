//! Replicas that are removed while their node cannot be told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use partition_types::{Incarnation, PartitionId};
use raft_glue::{ProbeAnswer, Removal};

use crate::cluster::{Cluster, eventually, node, partition, read, write};
use crate::members::change;

/// What the host of `on` says to a node in one of its lives.
async fn answer(
    cluster: &Cluster,
    on: u64,
    id: PartitionId,
    from: u64,
    life: Incarnation,
) -> ProbeAnswer {
    let answers = cluster.node(on).host.answer_probes(node(from), life, vec![id]).await;
    assert_eq!(answers.len(), 1);
    answers[0].answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_confirmed_leader_says_who_is_no_member() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let leader = cluster.await_leader(id, &[1, 2, 3]).await;
    let other = if leader == 1 { 2 } else { 1 };
    let life = |of: u64| cluster.node(of).store.incarnation();
    let stranger = Incarnation::random();

    let to_member = answer(&cluster, leader, id, other, life(other)).await;
    assert!(matches!(to_member, ProbeAnswer::Leads { .. }), "{to_member:?}");
    let at = cluster.replica(leader, id).status().membership_log_id.unwrap();
    for (from, life) in [(9, stranger), (other, stranger), (other, life(leader))] {
        let said = answer(&cluster, leader, id, from, life).await;
        assert!(
            matches!(said, ProbeAnswer::Removed { at: said, .. } if said == at),
            "node {from}: {said:?}"
        );
    }
    let of_follower = answer(&cluster, other, id, 9, stranger).await;
    assert_eq!(of_follower, ProbeAnswer::Serves);

    // It believes that it leads, and nobody confirms it.
    cluster.net.isolate(node(leader));
    for (from, life) in [(other, life(other)), (9, stranger)] {
        let said = answer(&cluster, leader, id, from, life).await;
        assert!(
            !matches!(said, ProbeAnswer::Leads { .. } | ProbeAnswer::Removed { .. }),
            "node {from}: {said:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_removed_while_its_node_was_down_goes_at_the_start() {
    let mut cluster = Cluster::start(3).await;
    let kept = cluster.create(1, &[1, 2, 3]).await;
    let removed = cluster.create(2, &[1, 2, 3]).await;
    write(&cluster, removed, b"was on three").await;
    cluster.stop(3).await;
    change(&cluster, removed, &[1, 2], &[]).await;
    let extent = write(&cluster, removed, b"is on two").await;

    let since = Instant::now();
    cluster.boot([3]).await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(15), "it was waited for: {took:?}");
    let here = cluster.node(3);
    assert!(here.host.get(removed).is_none());
    let ids: Vec<_> = here.store.manifest().iter().map(|entry| entry.partition_id).collect();
    assert_eq!(ids, [kept], "its data is gone, and only its");
    assert_eq!(here.serving.handle().counts().total(), 1);

    // As a new one it comes back.
    assert!(cluster.create_replica(3, removed, &[]).await);
    change(&cluster, removed, &[1, 2, 3], &[]).await;
    assert_eq!(read(&cluster.replica(3, removed), extent).await, b"is on two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_cut_off_finds_out_and_goes() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let gone = Arc::clone(&told);
    cluster.node(3).host.on_removed(move |id| gone.lock().push(id));
    cluster.net.isolate(node(3));
    change(&cluster, id, &[1, 2], &[]).await;
    // Nobody tells it: it stays as long as it may be wrong.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(cluster.node(3).host.get(id).is_some());
    assert!(cluster.replica(3, id).is_lost());
    cluster.net.heal();
    eventually("the replica to go", || async {
        cluster.node(3).host.get(id).is_none().then_some(())
    })
    .await;
    eventually("the word of it", || async { (*told.lock() == [id]).then_some(()) }).await;
    assert!(cluster.node(3).store.manifest().is_empty());
    write(&cluster, id, b"goes on").await;
}

/// Asks until node 3 hears that its replica was removed.
async fn removal(cluster: &Cluster, id: PartitionId) -> Removal {
    eventually("the word of its leader", || async {
        cluster.node(3).host.confirm_leader(id).await.err()?.removed
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_added_again_meanwhile_stays() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    // No look of its own disturbs the order.
    cluster.node(3).host.set_serving(false);
    cluster.net.isolate(node(3));
    change(&cluster, id, &[1, 2], &[]).await;
    cluster.net.heal();

    // Somebody is about to add it.
    let known = removal(&cluster, id).await;
    assert_eq!(known.id(), id);
    assert!(cluster.replica(3, id).keep());
    assert!(!cluster.node(3).host.let_go(known).await.unwrap());

    // It was added, as it was, and what it acknowledged since counts.
    let late = removal(&cluster, id).await;
    change(&cluster, id, &[1, 2, 3], &[]).await;
    let extent = write(&cluster, id, b"on three again").await;
    assert!(!cluster.node(3).host.let_go(late).await.unwrap());
    assert_eq!(read(&cluster.replica(3, id), extent).await, b"on three again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_being_made_is_nobodys_to_remove() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2]).await;
    assert!(cluster.create_replica(3, id, &[]).await);
    // Its leader says so, and it is true; but the replica is not old, it is new.
    let life = cluster.node(3).store.incarnation();
    let leader = cluster.await_leader(id, &[1, 2]).await;
    let said = answer(&cluster, leader, id, 3, life).await;
    assert!(matches!(said, ProbeAnswer::Removed { .. }), "{said:?}");
    let not_yet = cluster.node(3).host.confirm_leader(id).await.unwrap_err();
    assert!(not_yet.removed.is_none(), "{not_yet:?}");
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(cluster.node(3).host.get(id).is_some(), "looks delete what is being made");
    change(&cluster, id, &[1, 2, 3], &[]).await;
    assert!(cluster.node(3).host.get(partition(1)).is_some());
}

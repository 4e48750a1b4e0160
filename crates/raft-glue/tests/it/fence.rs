//! Nobody leads without the right to, on any path.

use std::sync::Arc;

use partition_types::Vote;
use raft_glue::protocol::Path;
use raft_glue::{CreateError, PartitionHost, RaftReply, RaftRequest, ReplicaState, Role};
use startup_gate::{NodeFault, NotConfirmed, UnitSpec};

use crate::cluster::{Cluster, ELECTION, eventually, gate, load_one, node, partition, write};

/// Loads everything on a stopped node and goes no further.
async fn load_only(cluster: &Cluster, id: u64) -> (partition_store::Store, PartitionHost) {
    let (store, host) = cluster.open(id).await;
    let units = store.manifest().into_iter().map(|entry| UnitSpec::new(entry.partition_id));
    let loader = host.clone();
    let load = move |ticket: startup_gate::LoadTicket<_>| {
        let host = loader.clone();
        async move { load_one(&host, ticket).await }
    };
    let checked = gate(&store).load(units, load, |_ticket, _loaded| async { Ok(()) }).await;
    drop(checked.unwrap());
    (store, host)
}

/// Long enough for every timer to fire.
async fn wait_for_timers() {
    tokio::time::sleep(ELECTION.1 * 3).await;
}

/// No election came as far as the network adapter: no path above it leaked.
fn assert_no_leak(host: &PartitionHost) {
    for path in [Path::Vote, Path::PreVote] {
        assert_eq!(host.suppressed_elections(path), 0, "{}", path.as_str());
    }
}

/// Path 1, the election timer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_timer_fires_behind_the_fence() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    // It followed when it stopped, and hears of nobody.
    let (store, host) = load_only(&cluster, 3).await;
    let replica = host.get(id).unwrap();
    let term = replica.status().term;
    wait_for_timers().await;
    assert_eq!(replica.status().role, Role::Follower);
    assert_eq!(replica.status().term, term);
    assert_eq!(cluster.net.votes_of(node(3)), 0);
    assert_no_leak(&host);
    drop(replica);
    cluster.close(3, store, host).await;
}

/// Path 2, a leadership restored from the vote on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_leadership_is_restored_from_the_vote_on_disk() {
    let mut cluster = Cluster::start(1).await;
    let id = cluster.create(1, &[1]).await;
    let extent = write(&cluster, id, b"x").await;
    cluster.stop(1).await;

    // It led when it stopped, and needs nobody's vote: only the fence is there.
    let (store, host) = load_only(&cluster, 1).await;
    let replica = host.get(id).unwrap();
    assert_eq!(replica.status().state, ReplicaState::Fenced);
    wait_for_timers().await;
    assert!(!replica.is_leader());
    assert_eq!(replica.leader(), None);
    drop(replica);
    cluster.close(1, store, host).await;

    cluster.boot([1]).await;
    assert_eq!(crate::cluster::read(&cluster.replica(1, id), extent).await, b"x");
}

/// Path 3, a leader that wants this replica to take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_replica_takes_nothing_over() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    cluster.stop(3).await;
    let (store, host) = load_only(&cluster, 3).await;
    let replica = host.get(id).unwrap();
    let refused = cluster.replica(1, id).transfer_leader(node(3)).await;
    assert!(refused.is_err() || refused.as_ref().is_ok_and(|to| *to == node(2)), "{refused:?}");

    // Ordered all the same.
    let leader = cluster.await_leader(id, &[1, 2]).await;
    let status = cluster.replica(leader, id).status();
    let from = Vote { term: status.term, voted_for: Some(node(leader)), committed: true };
    let order = RaftRequest::Transfer { from, to: node(3), last: status.last };
    let answer = host.handle(node(leader), id, order).await.unwrap();
    assert!(matches!(answer, RaftReply::Transfer { accepted: false, .. }), "{answer:?}");
    assert_eq!(host.suppressed_elections(Path::Transfer), 1);
    tokio::time::sleep(ELECTION.0).await;
    assert!(!replica.is_leader());
    assert_no_leak(&host);
    drop(replica);
    cluster.close(3, store, host).await;
}

/// Path 4, an election that the host itself wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_replica_does_not_campaign_when_it_is_told_to() {
    let mut cluster = Cluster::start(1).await;
    let id = cluster.create(1, &[1]).await;
    cluster.stop(1).await;
    let (store, host) = load_only(&cluster, 1).await;
    let replica = host.get(id).unwrap();
    host.campaign(id).await;
    assert!(host.confirm_leader(id).await.is_err());
    assert!(host.suppressed_elections(Path::Trigger) > 0);
    assert!(!replica.is_leader());
    drop(replica);
    cluster.close(1, store, host).await;
}

/// What the fence leaves open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_replica_votes_and_appends() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    cluster.stop(3).await;
    let (store, host) = load_only(&cluster, 3).await;
    // Appends: with node 2 away, a write needs it.
    cluster.net.isolate(node(2));
    write(&cluster, id, b"with the fenced one").await;
    // Votes: it makes node 2 leader when node 1 is away.
    cluster.net.heal();
    eventually("node 2 to catch up", || async { cluster.replica(2, id).read_barrier().await.ok() })
        .await;
    cluster.net.isolate(node(1));
    assert_eq!(cluster.await_other_leader(id, &[2], 1).await, 2);
    cluster.net.heal();
    cluster.close(3, store, host).await;
}

/// Path 5, the first membership of a group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_not_initialised_behind_the_fence() {
    let mut cluster = Cluster::start(1).await;
    let id = partition(1);
    assert!(cluster.create_replica(1, id, &[1]).await);
    assert!(!cluster.create_replica(1, id, &[1]).await, "made twice");
    let members = cluster.members(&[1]);
    cluster.stop(1).await;
    let (store, host) = load_only(&cluster, 1).await;
    let refused = host.initialize(id, members.clone()).await;
    assert!(matches!(refused, Err(CreateError::Fenced(_))), "{refused:?}");
    cluster.close(1, store, host).await;

    let (store, host) = cluster.open(1).await;
    let opened = open_gate(&store, &host).await;
    assert!(host.initialize(id, members.clone()).await.unwrap());
    assert!(!host.initialize(id, members).await.unwrap(), "initialised twice");
    drop(opened);
    cluster.close(1, store, host).await;
}

/// Runs the gate for a group that has no members yet: nobody can lead it, so
/// it is waived as soon as it was asked for.
async fn open_gate(
    store: &partition_store::Store,
    host: &PartitionHost,
) -> startup_gate::Serving<partition_types::PartitionId> {
    let units = store.manifest().into_iter().map(|entry| UnitSpec::new(entry.partition_id));
    let loader = host.clone();
    let load = move |ticket: startup_gate::LoadTicket<_>| {
        let host = loader.clone();
        async move { load_one(&host, ticket).await }
    };
    let config = startup_gate::Config {
        elect_timeout: std::time::Duration::from_millis(100),
        ..startup_gate::Config::default()
    };
    let startup = startup_gate::Startup::new(config, Vec::new()).unwrap();
    let startup = startup.load(units, load, |_ticket, _loaded| async { Ok(()) }).await.unwrap();
    let startup = startup.check(async { Ok::<(), NodeFault>(()) }).await.unwrap();
    let unfence = host.clone();
    let waits = Arc::new(());
    let startup = startup
        .elect(
            move |right| unfence.unfence(right),
            move |_ask| {
                let _ = Arc::clone(&waits);
                async { Err(NotConfirmed::pending("no members yet")) }
            },
        )
        .await
        .unwrap();
    let open = host.clone();
    let listened = startup.listen(move |_right| async move {
        open.set_serving(true);
        Ok(())
    });
    listened.await.unwrap().0
}

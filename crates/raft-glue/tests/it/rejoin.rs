//! A replica takes part in its group while its state is still being loaded.

use std::collections::BTreeSet;
use std::time::Duration;

use partition_store::Store;
use partition_types::PartitionId;
use raft_glue::{PartitionHost, Want};
use startup_gate::{
    Concurrency, Config, LoadTicket, NotConfirmed, Priority, Startup, UnitFault, UnitSpec,
};

use crate::cluster::{Cluster, eventually, gate, load_one, node, partition, put, read, write};

/// Longer than any test: a load that does not end by itself.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// A bug that keeps something from ending fails here instead of hanging.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it ends soon")
}

/// Begins the start of a node whose loads do not end; all its partitions join.
async fn join_only(
    cluster: &Cluster,
    id: u64,
) -> (Store, PartitionHost, tokio::task::JoinHandle<()>) {
    let (store, host) = cluster.open(id).await;
    let units: Vec<_> =
        store.manifest().into_iter().map(|entry| UnitSpec::new(entry.partition_id)).collect();
    let ids: Vec<PartitionId> = units.iter().map(|spec| spec.unit).collect();
    let (startup, loader) = (gate(&store), host.clone());
    let load = move |ticket: LoadTicket<PartitionId>| {
        let host = loader.clone();
        async move { load_one(&host, ticket).await }
    };
    let loading = tokio::spawn(async move {
        let loaded = startup.load(units, load, |_ticket, ()| async { Ok(()) }).await;
        drop(loaded);
    });
    eventually("all partitions to join", || async {
        ids.iter().all(|id| host.get(*id).is_some()).then_some(())
    })
    .await;
    (store, host, loading)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_votes_and_appends_while_it_loads() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    write(&cluster, id, b"before").await;
    cluster.stop(3).await;
    cluster.load_delays.insert(3, FOR_EVER);
    let (store, host, loading) = join_only(&cluster, 3).await;
    let replica = host.get(id).unwrap();
    let applied = replica.status().applied;

    // Appends: with node 2 away a write needs it.
    cluster.net.isolate(node(2));
    let extent = write(&cluster, id, b"with the one that loads").await;
    eventually("the entry", || async { (replica.status().last > applied).then_some(()) }).await;
    assert_eq!(replica.status().applied, applied, "nothing is applied before it is loaded");
    // Votes: with node 1 away the others elect node 2, if this one votes.
    cluster.net.heal();
    eventually("node 2 to catch up", || async { cluster.replica(2, id).read_barrier().await.ok() })
        .await;
    cluster.net.isolate(node(1));
    assert_eq!(cluster.await_other_leader(id, &[2], 1).await, 2);
    cluster.net.heal();
    assert!(!replica.is_leader());

    loading.abort();
    let _ = loading.await;
    drop(replica);
    cluster.close(3, store, host).await;
    cluster.load_delays.clear();
    cluster.boot([3]).await;
    assert_eq!(read(&cluster.replica(3, id), extent).await, b"with the one that loads");
}

/// A peer says at each stage how far it is. With a thousand groups what all of them said
/// then was what clients of a rolling restart waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_up_is_told_what_it_was_not_told_yet() {
    let cluster = Cluster::start(3).await;
    let mut ids = Vec::new();
    for id in 1..=8 {
        ids.push(cluster.create(id, &[1, 2, 3]).await);
    }
    for id in &ids {
        cluster.await_leader(*id, &[1]).await;
    }
    let say = |is_loaded| cluster.node(1).host.peer_is_back(node(3), is_loaded);
    let in_contact = || async { (say(true) == 0).then_some(()) };
    eventually("all of them to be in contact", in_contact).await;

    cluster.net.isolate(node(3));
    eventually("none of them", || async { (say(true) == ids.len()).then_some(()) }).await;
    assert_eq!(say(false), 0, "a peer that loads would refuse");
    cluster.net.heal_unseen();
    say(true);
    eventually("all of them to be in contact again", in_contact).await;

    cluster.net.starve(node(3));
    write(&cluster, ids[5], b"it lacks this").await;
    assert_eq!((say(true), say(false)), (1, 0));
    cluster.net.feed(node(3));
    eventually("it to have that too", in_contact).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_during_a_load_is_applied_by_its_end() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    write(&cluster, id, b"before").await;
    cluster.stop(3).await;
    cluster.load_delays.insert(3, Duration::from_millis(600));
    let (store, host, loading) = join_only(&cluster, 3).await;
    let mut extents = Vec::new();
    for at in 0..10u8 {
        extents.push(write(&cluster, id, &[at; 1000]).await);
    }
    soon(loading).await.unwrap();
    let replica = host.get(id).unwrap();
    for (at, extent) in (0u8..).zip(&extents) {
        assert_eq!(soon(read(&replica, *extent)).await, vec![at; 1000]);
    }
    drop(replica);
    cluster.close(3, store, host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_replayed_from_the_log_without_a_leader() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let mut extents = Vec::new();
    for at in 0..40u8 {
        extents.push(write(&cluster, id, &vec![at; 50_000]).await);
    }
    // A member that joins is in the log and, after the crash, not in the state.
    let members = cluster.replica(3, id).status().membership;
    // The last write is acknowledged without this replica, which may not have heard of it yet.
    let written = extents.len() as u64;
    let committed = eventually("the last commit to be heard of", || async {
        let status = cluster.replica(3, id).status();
        (status.extent_count >= written).then_some(status.committed)
    })
    .await;
    cluster.crash(3).await;
    cluster.net.isolate(node(3));

    let (store, host) = cluster.open(3).await;
    cluster.net.isolate(node(3));
    let behind = store.load(id).unwrap().state().applied();
    let units = [UnitSpec::new(id)];
    let loader = host.clone();
    let load = move |ticket: LoadTicket<PartitionId>| {
        let host = loader.clone();
        async move { load_one(&host, ticket).await }
    };
    let loaded = gate(&store).load(units, load, |_ticket, ()| async { Ok::<(), UnitFault>(()) });
    let loaded = loaded.await.unwrap();
    let replica = host.get(id).unwrap();
    let status = replica.status();
    assert!(status.applied > behind, "{behind:?} {status:?}");
    assert_eq!(status.membership, members);
    // The commit index is a hint that is saved with the next entry.
    let lacks = committed.unwrap().index - status.applied.unwrap().index;
    assert!(lacks <= 1, "{lacks} entries were not replayed");
    let state = replica.state().unwrap();
    for (at, extent) in (0u8..).zip(&extents).take(39) {
        let outcome = state.read(*extent, 0, 1 << 20).await.unwrap();
        let bytes: Vec<u8> = outcome.frames.iter().flat_map(|f| f.data.to_vec()).collect();
        assert_eq!(bytes, vec![at; 50_000]);
    }

    // With the others back, it follows where it stands.
    cluster.net.heal();
    let (unfence, confirm) = (host.clone(), host.clone());
    let checked = loaded.check(async { Ok::<(), startup_gate::NodeFault>(()) }).await.unwrap();
    let elected =
        checked.elect(
            move |right| unfence.unfence(right),
            move |ask| {
                let host = confirm.clone();
                async move {
                    host.confirm_leader(ask.unit).await.map(drop).map_err(NotConfirmed::pending)
                }
            },
        );
    drop(elected.await.unwrap());
    assert_eq!(read(&replica, extents[39]).await, vec![39; 50_000]);
    drop(replica);
    cluster.close(3, store, host).await;
}

/// One at a time, in the order of their ids, unless somebody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_quorum_or_a_client_waits_for_is_loaded_first() {
    let mut cluster = Cluster::start(3).await;
    for id in 1..=6 {
        let members: &[u64] = if id == 5 { &[1, 2, 3] } else { &[2, 1, 3] };
        cluster.create(id, members).await;
    }
    cluster.stop(3).await;
    let (store, host) = cluster.open(3).await;
    let config = Config { load_concurrency: Concurrency::new(1, 1), ..Config::default() };
    let startup = Startup::new(config, Vec::new()).unwrap();
    let gate = startup.handle();
    let (raised, mut wants) = tokio::sync::mpsc::unbounded_channel();
    host.on_wanted(move |id, want| {
        let priority = match want {
            Want::Quorum => Priority::QUORUM,
            Want::Awaited => Priority::AWAITED,
        };
        gate.raise(&id, priority);
        let _ = raised.send((id.get(), want));
    });
    let (release, released) = tokio::sync::watch::channel(false);
    let (begun, mut order) = tokio::sync::mpsc::unbounded_channel();
    let units: Vec<_> =
        store.manifest().into_iter().map(|entry| UnitSpec::new(entry.partition_id)).collect();
    let loader = host.clone();
    let loading = tokio::spawn(async move {
        let load = move |ticket: LoadTicket<PartitionId>| {
            begun.send(ticket.unit().get()).unwrap();
            let (host, mut released) = (loader.clone(), released.clone());
            async move {
                released.wait_for(|released| *released).await.unwrap();
                load_one(&host, ticket).await
            }
        };
        drop(startup.load(units, load, |_ticket, ()| async { Ok(()) }).await);
    });
    assert_eq!(order.recv().await, Some(1));
    // A write needs this node's replica of 6; then a group looks for a leader.
    cluster.net.isolate(node(1));
    let waiting = cluster.replica(2, partition(6));
    let write = tokio::spawn(async move { waiting.propose(put(b"needs node 3")).await });
    let mut missing = BTreeSet::from([(5, Want::Quorum), (6, Want::Awaited)]);
    while !missing.is_empty() {
        missing.remove(&soon(wants.recv()).await.unwrap());
    }
    release.send(true).unwrap();
    assert_eq!([soon(order.recv()).await, soon(order.recv()).await], [Some(5), Some(6)]);
    cluster.net.heal();
    write.await.unwrap().unwrap();
    soon(loading).await.unwrap();
    cluster.close(3, store, host).await;
}

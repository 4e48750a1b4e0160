//! What a proposal brings, and what is known when it brings nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use partition_types::{Outcome, Reason};
use raft_glue::{ProposeError, RaftRequest};

use crate::cluster::{Cluster, ELECTION, eventually, node, partition, put, put_once, read, stored};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_applied_on_all_and_read_on_followers() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let data = vec![7u8; 300_000];
    let extent = stored(cluster.replica(1, id).propose(put(&data)).await.unwrap());
    for on in 1..=3 {
        assert_eq!(read(&cluster.replica(on, id), extent).await, data, "node {on}");
    }
    let status = cluster.replica(2, id).status();
    assert_eq!(status.leader, Some(node(1)));
    assert!(status.purged <= status.applied && status.applied <= status.committed);
    assert!(status.committed <= status.last);
    assert_eq!((status.extent_count, status.size_bytes), (1, 300_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_names_the_leader_and_applies_nothing() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    match cluster.replica(2, id).propose(put(b"x")).await {
        Err(ProposeError::NotLeader { leader: Some((leader, member)), term }) => {
            assert_eq!((leader, term), (node(1), 1));
            assert_eq!(member.client_address, "node-1:17310");
        }
        other => panic!("{other:?}"),
    }
    cluster.replica(2, id).read_barrier().await.unwrap();
    assert_eq!(cluster.replica(2, id).status().extent_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_after_a_leader_change_brings_the_first_outcome() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let command = put_once(b"once");
    let first = cluster.replica(1, id).propose(command.clone()).await.unwrap();
    assert_eq!(cluster.replica(1, id).transfer_leader(node(2)).await.unwrap(), node(2));
    let again = eventually("the new leader", || async {
        cluster.replica(2, id).propose(command.clone()).await.ok()
    })
    .await;
    assert_eq!(again, first);
    assert_eq!(cluster.replica(2, id).status().extent_count, 1);
    let other = cluster.replica(2, id).propose(put_once(b"other")).await.unwrap();
    assert_ne!(stored(other), stored(first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cut_off_leader_appended_is_unknown_and_what_it_refused_is_not() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let old = cluster.replica(1, id);
    cluster.net.isolate(node(1));
    // Its lease runs still: the entry goes into its own log and no further.
    let lost = {
        let old = old.clone();
        tokio::spawn(async move { old.propose(put(b"lost")).await })
    };
    let new = cluster.await_other_leader(id, &[2, 3], 1).await;
    let kept = eventually("a write by the new leader", || async {
        cluster.replica(new, id).propose(put(b"kept")).await.ok()
    })
    .await;
    // By now no quorum has acknowledged it for longer than its lease.
    let refused = old.propose(put(b"refused")).await;
    assert!(matches!(refused, Err(ProposeError::NoLeader)), "{refused:?}");
    assert!(old.read_barrier().await.is_err(), "a stale read");

    cluster.net.heal();
    let lost = lost.await.unwrap();
    assert!(matches!(lost, Err(ProposeError::OutcomeUnknown)), "{lost:?}");
    assert_eq!(read(&old, stored(kept)).await, b"kept");
    assert_eq!(old.status().extent_count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_when_the_group_stops_is_unknown() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let leader = cluster.replica(1, id);
    cluster.net.isolate(node(1));
    let pending = {
        let leader = leader.clone();
        tokio::spawn(async move { leader.propose(put(b"x")).await })
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    cluster.stop(1).await;
    let pending = pending.await.unwrap();
    assert!(matches!(pending, Err(ProposeError::OutcomeUnknown)), "{pending:?}");
    let after = leader.propose(put(b"y")).await;
    assert!(matches!(after, Err(ProposeError::Stopped)), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_replica_gives_its_leadership_away_and_shows_nothing() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let extent = stored(cluster.replica(1, id).propose(put(b"x")).await.unwrap());
    cluster.node(1).host.quarantine(id, "a flipped bit");
    let bad = cluster.replica(1, id);
    assert!(matches!(bad.propose(put(b"y")).await, Err(ProposeError::Quarantined { .. })));
    assert!(matches!(bad.state(), Err(ProposeError::Quarantined { .. })));
    let leader = cluster.await_other_leader(id, &[2, 3], 1).await;
    assert_eq!(read(&cluster.replica(leader, id), extent).await, b"x");
    // It votes on, so the group has its redundancy; it does not lead again.
    let mut term = 0;
    for _ in 0..2 {
        tokio::time::sleep(ELECTION.1).await;
        assert!(!bad.is_leader());
        term = bad.status().term;
    }
    assert!(term >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantine_is_told_once_whoever_found_it() {
    let cluster = Cluster::start(1).await;
    let (one, two) = (cluster.create(1, &[1]).await, cluster.create(2, &[1]).await);
    let host = cluster.node(1).host.clone();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, listener) = (Arc::clone(&told), host.clone());
    host.on_quarantine(move |id, cause| {
        heard.lock().unwrap().push((id, cause.to_owned()));
        // As a gate's observer does: it must end there.
        listener.quarantine(id, "told back");
    });
    host.quarantine(one, "a flipped bit");
    host.quarantine(one, "another");
    cluster.replica(1, two).quarantine("a bad disk");
    let expected = [(one, "a flipped bit".to_owned()), (two, "a bad disk".to_owned())];
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(cluster.replica(1, one).cause().as_deref(), Some("a flipped bit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_for_others_are_refused() {
    let cluster = Cluster::start(1).await;
    let id = cluster.create(1, &[1]).await;
    let host = &cluster.node(1).host;
    let refused = host.handle(node(2), partition(9), RaftRequest::ReadIndex).await;
    assert_eq!(refused.unwrap_err().reason, Reason::PartitionNotFound);
    let vote = partition_types::Vote { term: 9, voted_for: Some(node(3)), committed: true };
    let forged = RaftRequest::Append { vote, prev: None, entries: vec![], committed: None };
    let refused = host.handle(node(2), id, forged).await;
    assert_eq!(refused.unwrap_err().reason, Reason::InvalidRequest);
    assert!(cluster.replica(1, id).is_leader());
    let outcome = cluster.replica(1, id).propose(put(b"x")).await.unwrap();
    assert!(matches!(outcome, Outcome::Stored { .. }));
}

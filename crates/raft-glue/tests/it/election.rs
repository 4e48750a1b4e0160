//! Verified leaders, and who campaigns when nobody leads.

use std::time::{Duration, Instant};

use partition_types::{ExtentId, LogId, PartitionId, Vote};
use raft_glue::{RaftReply, RaftRequest};

use crate::cluster::{Cluster, ELECTION, PATIENT, eventually, node, partition, read, write};

/// A heartbeat interval that nobody waits for within a test.
const LATE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_elects_the_preferred_replicas() {
    let mut cluster = Cluster::start(3).await;
    let orders = [[1, 2, 3], [2, 3, 1], [3, 1, 2]];
    let mut ids = Vec::new();
    for (at, order) in orders.iter().cycle().take(9).enumerate() {
        ids.push((cluster.create(at as u64 + 1, order).await, order[0]));
    }
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    cluster.boot(1..=3).await;
    let mut as_preferred = 0;
    for (id, preferred) in &ids {
        as_preferred += u32::from(cluster.await_leader(*id, &[1, 2, 3]).await == *preferred);
    }
    // All of them on a quiet machine; a node that was slow to load may lose some.
    assert!(as_preferred >= 6, "{as_preferred} of 9");
}

/// In a start of many groups the nodes are not equally fast.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_waits_for_a_preferred_replica_whose_load_is_late() {
    let mut cluster = Cluster::start_with(3, PATIENT).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    // Later than the next one would campaign where nothing is heard of the first.
    cluster.election = (Duration::from_secs(4), Duration::from_secs(8));
    cluster.load_delays.insert(1, Duration::from_secs(3));
    cluster.boot(1..=3).await;
    assert_eq!(cluster.await_leader(id, &[1, 2, 3]).await, 1);
}

/// Who asks for votes and has too few entries to win says so by that: nobody waits for it, and
/// nobody leaves it to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_waits_for_no_replica_that_lacks_entries() {
    let (mut cluster, id, extent) = two_know_more_than_node_1().await;
    for id in [2, 3, 1] {
        cluster.stop(id).await;
    }
    cluster.net.heal_unseen();
    let began = Instant::now();
    cluster.boot(1..=3).await;
    assert_ne!(cluster.await_leader(id, &[1, 2, 3]).await, 1);
    assert!(began.elapsed() < LATE / 4, "{:?}", began.elapsed());
    assert_eq!(read(&cluster.replica(1, id), extent).await, b"without node 1");
}

/// Likewise, where that one's node serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_waits_for_no_replica_that_serves_and_lacks_entries() {
    let (mut cluster, id, extent) = two_know_more_than_node_1().await;
    for id in [2, 3] {
        cluster.stop(id).await;
    }
    cluster.net.heal_unseen();
    for id in [2, 3] {
        cluster.node(1).host.peer_is_gone(node(id));
    }
    let began = Instant::now();
    cluster.boot([2]).await;
    assert_eq!(cluster.await_leader(id, &[1, 2]).await, 2);
    assert!(began.elapsed() < LATE / 4, "{:?}", began.elapsed());
    assert_eq!(read(&cluster.replica(1, id), extent).await, b"without node 1");
}

/// A group in which node 1, which is to lead, is cut off and lacks an entry; nodes that are
/// booted from now on have more patience than a test.
async fn two_know_more_than_node_1() -> (Cluster, PartitionId, ExtentId) {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    cluster.net.isolate(node(1));
    cluster.await_other_leader(id, &[2, 3], 1).await;
    let extent = write(&cluster, id, b"without node 1").await;
    cluster.election = (LATE, LATE * 2);
    (cluster, id, extent)
}

/// Whoever was voted for in an earlier life is not about to win in this one: a vote is waited
/// for as long as a heartbeat takes to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_waits_for_no_vote_of_an_earlier_life() {
    let mut cluster = Cluster::start_with(3, PATIENT).await;
    for id in 1..=9 {
        cluster.create(id, &[1, 2, 3]).await;
    }
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    (cluster.heartbeat, cluster.election) = (LATE, (LATE * 4, LATE * 8));
    cluster.hibernate_after = LATE;
    let began = Instant::now();
    cluster.boot([1, 2, 3]).await;
    assert!(began.elapsed() < LATE / 2, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_never_leads_from_behind_a_closed_port() {
    let mut cluster = Cluster::start(3).await;
    let mut ids = Vec::new();
    for id in 1..=4 {
        ids.push(cluster.create(id, &[1, 2, 3]).await);
    }
    for restarted in 1..=3 {
        cluster.node(restarted).host.drain().await;
        cluster.stop(restarted).await;
        write(&cluster, ids[0], b"meanwhile").await;
        cluster.boot([restarted]).await;
        let host = &cluster.node(restarted).host;
        assert_eq!(host.leader_unserved(), Duration::ZERO);
        assert_eq!(cluster.net.votes_of(node(restarted)), 0, "it campaigned");
        for id in &ids {
            assert!(cluster.replica(restarted, *id).leader().is_some(), "verified, and forgotten");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remembered_leader_is_no_leader() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    // One of three up: whoever its persisted vote names, nobody leads.
    let (store, host) = cluster.open(2).await;
    let admitted = admitted(id).await;
    host.join(host.open(id).await.unwrap(), admitted.vote).await.unwrap();
    host.load(id, || ()).await.unwrap();
    host.unfence(admitted.campaign);
    let replica = host.get(id).unwrap();
    assert_eq!(replica.leader(), None);
    let not_yet = host.confirm_leader(id).await.unwrap_err();
    assert!(not_yet.needs_us, "{not_yet}");
    assert!(not_yet.reason.contains("waiting for node"), "{not_yet}");
    tokio::time::sleep(ELECTION.1).await;
    assert_eq!(replica.leader(), None);
    assert!(replica.read_barrier().await.is_err());

    // The others come: a quorum, and a leader.
    cluster.boot([1]).await;
    let leader = eventually("a leader", || async {
        host.confirm_leader(id).await.ok().map(|verified| verified.leader)
    })
    .await;
    assert!([node(1), node(2)].contains(&leader));
    drop(replica);
    cluster.close(2, store, host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_a_peer_asks_about_all_shared_partitions() {
    const PARTITIONS: u64 = 30;
    let mut cluster = Cluster::start(3).await;
    let mut ids = Vec::new();
    for id in 1..=PARTITIONS {
        ids.push(cluster.create(id, &[1, 2, 3]).await);
    }
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    // Nobody answers: each question takes its whole time, and is asked again.
    let (store, host) = cluster.open(3).await;
    for id in &ids {
        let admitted = admitted(*id).await;
        host.join(host.open(*id).await.unwrap(), admitted.vote).await.unwrap();
        host.load(*id, || ()).await.unwrap();
    }
    let asked = ids.iter().map(|id| host.confirm_leader(*id));
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(Result::is_err));
    let calls = cluster.net.probes_of(node(3));
    // About 20 rounds in a second, two peers each; alone each partition would
    // have made as many.
    assert!((2..2 * 20 * PARTITIONS / 4).contains(&calls), "{calls} calls");
    cluster.close(3, store, host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_was_only_half_made_says_so() {
    let cluster = Cluster::start(3).await;
    let (half, joining) = (partition(1), partition(2));
    assert!(cluster.create_replica(1, half, &[1, 2, 3]).await);
    assert!(cluster.create_replica(1, joining, &[]).await);
    let host = &cluster.node(1).host;
    let not_yet = host.confirm_leader(half).await.unwrap_err();
    let said = "never initialised: made for nodes 1, 2, 3, and told of no members since (";
    assert!(not_yet.reason.starts_with(said), "{not_yet}");
    assert!(not_yet.reason.contains("create it again with the same replicas"), "{not_yet}");
    let not_yet = host.confirm_leader(joining).await.unwrap_err();
    assert!(not_yet.reason.starts_with("never initialised: made to join"), "{not_yet}");

    // What it advises helps.
    for on in [2, 3] {
        assert!(cluster.create_replica(on, half, &[1, 2, 3]).await);
    }
    assert!(host.initialize(half, cluster.members(&[1, 2, 3])).await.unwrap());
    cluster.await_leader(half, &[1, 2, 3]).await;
    host.confirm_leader(half).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_node_does_not_depose_the_leader() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let term = cluster.replica(1, id).status().term;
    cluster.net.isolate(node(3));
    tokio::time::sleep(ELECTION.1 * 3).await;
    cluster.net.heal();
    tokio::time::sleep(ELECTION.1).await;
    assert_eq!(cluster.await_leader(id, &[1, 2, 3]).await, 1);
    assert_eq!(cluster.replica(3, id).status().term, term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_is_gone_is_succeeded_before_its_time_is_up() {
    // No timer helps within the time of a test.
    let never = (Duration::from_secs(600), Duration::from_secs(1200));
    let mut cluster = Cluster::start_with(3, never).await;
    let mut ids = Vec::new();
    for id in 1..=8 {
        ids.push(cluster.create(id, &[1, 2, 3]).await);
    }
    write(&cluster, ids[0], b"before").await;
    cluster.crash(1).await;
    for on in [2, 3] {
        cluster.node(on).host.peer_is_gone(node(1));
    }
    for id in &ids {
        assert_ne!(cluster.await_leader(*id, &[2, 3]).await, 1);
        write(&cluster, *id, b"after").await;
    }
}

/// A connection, a refused port, the next process: all of them tell, of each group.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_gone_again_and_again_has_one_successor() {
    const GROUPS: u64 = 24;
    let never = (Duration::from_secs(600), Duration::from_secs(1200));
    let mut cluster = Cluster::start_with(3, never).await;
    let mut ids = Vec::new();
    for id in 1..=GROUPS {
        ids.push(cluster.create(id, &[1, 2, 3]).await);
    }
    let term = |cluster: &Cluster, id| cluster.replica(2, id).status().term;
    let before: Vec<u64> = ids.iter().map(|id| term(&cluster, *id)).collect();
    cluster.crash(1).await;
    for _ in 0..10 {
        for on in [2, 3] {
            cluster.node(on).host.peer_is_gone(node(1));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for id in &ids {
        cluster.await_leader(*id, &[2, 3]).await;
        write(&cluster, *id, b"after").await;
    }
    let elections = ids.iter().zip(&before).map(|(id, before)| term(&cluster, *id) - before);
    let elections: u64 = elections.sum();
    // A vote may be lost on a busy machine, and asked for again.
    assert!((GROUPS..=GROUPS + 2).contains(&elections), "{elections} elections of {GROUPS} groups");
}

/// A candidate that does not win takes a leader down all the same. In a cold start that
/// one's node may not serve yet, and then it may not look for a successor yet either. Those
/// who do serve heard of it a moment ago, and are content until they are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_deposed_before_its_node_serves_is_succeeded_by_those_who_do() {
    let (cluster, id) = led_without_timers(&[1]).await;
    depose(&cluster, id, 1).await;
    assert_ne!(cluster.await_other_leader(id, &[1, 2, 3], 1).await, 1);
    write(&cluster, id, b"after").await;
}

/// Those who may not lead yet voted in a later term than the one who serves and is to lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_deposed_in_a_later_term_is_succeeded_by_one_who_did_not_vote_in_it() {
    let (cluster, id) = led_without_timers(&[1, 3]).await;
    let term = cluster.replica(1, id).status().term;
    claim_vote(
        &cluster,
        id,
        3,
        Vote { term: term + 1, voted_for: Some(node(1)), committed: false },
    )
    .await;
    depose(&cluster, id, 1).await;
    assert_eq!(cluster.await_leader(id, &[1, 2, 3]).await, 2);
    write(&cluster, id, b"after").await;
}

/// They were not told: then it is up to the one that was deposed, when its node serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_deposed_before_its_node_serves_is_succeeded_when_it_does() {
    let (cluster, id) = led_without_timers(&[1]).await;
    cluster.net.isolate(node(1));
    depose(&cluster, id, 1).await;
    tokio::time::sleep(ELECTION.0).await;
    assert_eq!(cluster.replica(1, id).leader(), None, "led behind a closed port");
    cluster.net.heal_unseen();
    cluster.node(1).host.set_serving(true);
    cluster.await_leader(id, &[1, 2, 3]).await;
    write(&cluster, id, b"after").await;
}

/// Where nobody serves yet, nobody else would look for a successor. Of two who ask for votes in
/// the same term the one with the higher id deposes the other, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_deposed_in_a_cold_start_is_succeeded_before_anybody_serves() {
    for later in [0, 1] {
        let (cluster, id) = led_without_timers(&[1, 2, 3]).await;
        depose(&cluster, id, later).await;
        cluster.await_leader(id, &[1, 2, 3]).await;
        write(&cluster, id, b"after").await;
    }
}

/// A group that node 1 leads and no timer helps; these nodes do not serve.
async fn led_without_timers(starting: &[u64]) -> (Cluster, PartitionId) {
    let never = (Duration::from_secs(600), Duration::from_secs(1200));
    let cluster = Cluster::start_with(3, never).await;
    let id = cluster.create_led_by(1, 1).await;
    starting.iter().for_each(|on| cluster.node(*on).host.set_serving(false));
    (cluster, id)
}

/// Takes its leader, node 1, down by a candidate that does not win, so many terms later.
async fn depose(cluster: &Cluster, id: PartitionId, later: u64) {
    let term = cluster.replica(1, id).status().term + later;
    claim_vote(cluster, id, 1, Vote { term, voted_for: Some(node(3)), committed: false }).await;
}

/// Has a node vote for a candidate that never wins.
async fn claim_vote(cluster: &Cluster, id: PartitionId, of: u64, vote: Vote) {
    let candidate = vote.voted_for.unwrap();
    let request = RaftRequest::Vote {
        vote,
        last: Some(LogId { term: vote.term, leader: Some(candidate), index: 1_000 }),
        leadership_transfer: true,
        leader_gone: false,
    };
    let granted = cluster.node(of).host.handle(candidate, id, request).await;
    assert!(matches!(granted, Ok(RaftReply::Vote { granted: true, .. })), "{granted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lives_is_not_succeeded() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let term = cluster.replica(1, id).status().term;
    // One voter is mistaken; the other one still hears the leader.
    cluster.node(3).host.peer_is_gone(node(1));
    tokio::time::sleep(ELECTION.1).await;
    assert_eq!(cluster.await_leader(id, &[1, 2, 3]).await, 1);
    assert_eq!(cluster.replica(1, id).status().term, term);
}

/// The rights for a partition, from a gate that has nothing else to do.
async fn admitted(id: PartitionId) -> startup_gate::Admitted<PartitionId> {
    use startup_gate::{Config, NodeFault, NotConfirmed, Startup, UnitFault};
    let startup = Startup::new(Config::default(), Vec::new()).unwrap();
    let startup = startup
        .load([], |_| async { Ok::<(), UnitFault>(()) }, |_, ()| async { Ok(()) })
        .await
        .unwrap();
    let startup = startup.check(async { Ok::<(), NodeFault>(()) }).await.unwrap();
    let startup = startup.elect(drop, |_| async { Ok::<(), NotConfirmed>(()) }).await.unwrap();
    let (serving, ()) = startup.listen(|_right| async { Ok(()) }).await.unwrap();
    serving.admission().admit(id, 0).unwrap()
}

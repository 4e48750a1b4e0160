//! Idle groups sleep, cost nothing, and wake when they are needed.

use std::time::Duration;

use partition_types::{PartitionId, Vote};
use raft_glue::{PeerState, ProposeError, RaftReply, RaftRequest, Role};

use crate::cluster::{Cluster, ELECTION, eventually, node, put, read, write};

/// Long enough for a heartbeat to tell everybody what is committed.
const IDLE: Duration = Duration::from_millis(300);
/// No timer of openraft or of the driver helps within the time of a test.
const NEVER: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(1200));

async fn sleepy(election: (Duration, Duration)) -> (Cluster, Vec<PartitionId>) {
    let cluster = Cluster::start_sleepy(3, election, IDLE).await;
    let ids = create(&cluster).await;
    (cluster, ids)
}

/// Groups that sleep only because any number of them is a crowd.
async fn crowd(election: (Duration, Duration)) -> (Cluster, Vec<PartitionId>) {
    let mut cluster = Cluster::unstarted(election, Duration::from_secs(600));
    cluster.crowd = 0;
    cluster.boot([1, 2, 3]).await;
    let ids = create(&cluster).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    (cluster, ids)
}

async fn create(cluster: &Cluster) -> Vec<PartitionId> {
    let mut ids = Vec::new();
    for id in 1..=6 {
        ids.push(cluster.create(id, &[1, 2, 3]).await);
    }
    ids
}

async fn await_sleep(cluster: &Cluster, ids: &[PartitionId], on: &[u64]) {
    eventually("all to sleep", || async {
        let asleep = |on: &u64, id: &PartitionId| cluster.replica(*on, *id).is_asleep();
        ids.iter().all(|id| on.iter().all(|on| asleep(on, id))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_group_says_nothing_and_its_leader_is_known() {
    let (cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let messages =
        |cluster: &Cluster| -> u64 { (1..=3).map(|id| cluster.net.messages_of(node(id))).sum() };
    let before = messages(&cluster);
    tokio::time::sleep(ELECTION.1 * 3).await;
    assert_eq!(messages(&cluster), before, "it should be quiet");
    for id in &ids {
        for on in 1..=3 {
            let replica = cluster.replica(on, *id);
            assert_eq!(replica.leader(), Some(node(1)), "on {on}");
            assert!(replica.is_asleep());
            assert_eq!(replica.status().term, cluster.replica(1, *id).status().term);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_write_and_the_first_read_after_sleep_succeed() {
    let (cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    // Every lease is over.
    tokio::time::sleep(ELECTION.1).await;
    let leader = cluster.replica(1, ids[0]);
    let outcome = leader.propose(put(b"first")).await.expect("the first write");
    let extent = crate::cluster::stored(outcome);
    // A follower of another group asks its leader.
    cluster.replica(2, ids[1]).read_barrier().await.expect("the first read");
    assert!(cluster.replica(3, ids[2]).is_asleep(), "nobody needed it");
    assert_eq!(read(&cluster.replica(3, ids[0]), extent).await, b"first");
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    assert_eq!(read(&cluster.replica(2, ids[0]), extent).await, b"first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_serves_nothing_when_it_wakes() {
    let (cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    cluster.net.isolate(node(1));
    // The others notice that its node is silent and go on without it.
    let new = cluster.await_other_leader(ids[0], &[2, 3], 1).await;
    assert_ne!(new, 1);
    write(&cluster, ids[0], b"without it").await;
    let old = cluster.replica(1, ids[0]);
    assert_eq!(old.status().role, Role::Leader, "it has not heard of anything");
    assert!(old.read_barrier().await.is_err(), "a stale read");
    let refused = old.propose(put(b"stale")).await;
    assert!(matches!(refused, Err(ProposeError::NoLeader)), "{refused:?}");
    cluster.net.heal();
    cluster.await_other_leader(ids[0], &[1, 2, 3], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sleeps_under_a_silent_node_gets_another_leader() {
    let (mut cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    // It vanishes without a word: nobody is told that it is gone.
    cluster.crash(1).await;
    for id in &ids {
        assert_ne!(cluster.await_other_leader(*id, &[2, 3], 1).await, 1);
    }
    write(&cluster, ids[3], b"after").await;
    cluster.boot([1]).await;
    for id in &ids {
        cluster.await_leader(*id, &[1, 2, 3]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sleeps_under_a_node_that_is_gone_needs_no_timer() {
    let (mut cluster, ids) = sleepy(NEVER).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    cluster.crash(1).await;
    for on in [2, 3] {
        cluster.node(on).host.peer_is_gone(node(1));
    }
    for id in &ids {
        assert_ne!(cluster.await_leader(*id, &[2, 3]).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_started_anew_leads_nothing_that_slept() {
    let (mut cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    cluster.crash(1).await;
    cluster.boot([1]).await;
    for id in &ids {
        let leader = cluster.await_leader(*id, &[1, 2, 3]).await;
        let known = cluster.replica(leader, *id).status().term;
        for on in 1..=3 {
            assert_eq!(cluster.replica(on, *id).status().term, known);
        }
        write(&cluster, *id, b"after").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_comes_back_is_waited_for_and_all_sleep_again() {
    let (mut cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let term = cluster.replica(1, ids[0]).status().term;
    cluster.crash(3).await;
    write(&cluster, ids[0], b"while it is away").await;
    tokio::time::sleep(IDLE * 4).await;
    assert!(!cluster.replica(1, ids[0]).is_asleep(), "a follower lacks an entry");
    assert!(cluster.replica(1, ids[1]).is_asleep(), "nobody needed it");
    cluster.boot([3]).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    assert_eq!(cluster.replica(3, ids[0]).status().term, term, "no election was needed");
}

/// What woke together, for nobody's use, does not keep all awake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_crowd_only_those_that_are_used_stay_awake() {
    let (mut cluster, ids) = crowd(ELECTION).await;
    write(&cluster, ids[0], b"used").await;
    cluster.crash(3).await;
    cluster.boot([3]).await;
    await_sleep(&cluster, &ids[1..], &[1, 2, 3]).await;
    assert!(!cluster.replica(1, ids[0]).is_asleep(), "it is used");
}

/// Says to a node how its peers are.
fn tell(cluster: &Cluster, on: u64, away: &[u64]) {
    let state = |id| if away.contains(&id) { PeerState::Away } else { PeerState::Serving };
    let peers = (1..=3).filter(|id| *id != on).map(|id| (node(id), state(id)));
    cluster.node(on).host.set_peers(peers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_sleep_without_who_is_away_and_wake_for_what_it_lacks() {
    let (mut cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let term = cluster.replica(1, ids[0]).status().term;
    cluster.crash(3).await;
    [1, 2].iter().for_each(|on| tell(&cluster, *on, &[3]));
    let extent = write(&cluster, ids[0], b"while it is away").await;
    await_sleep(&cluster, &ids, &[1, 2]).await;
    // Neither a heartbeat nor a retry: the first few of those follow each other soon.
    tokio::time::sleep(ELECTION.1).await;
    let before = cluster.net.messages_of(node(1)) + cluster.net.messages_of(node(2));
    tokio::time::sleep(ELECTION.0).await;
    let after = cluster.net.messages_of(node(1)) + cluster.net.messages_of(node(2));
    assert!(after - before <= 1, "{} messages to nobody", after - before);
    // It takes writes and reads as ever, and sleeps again.
    write(&cluster, ids[1], b"and after sleep").await;
    cluster.replica(2, ids[2]).read_barrier().await.expect("a read after sleep");
    await_sleep(&cluster, &ids, &[1, 2]).await;

    cluster.boot([3]).await;
    (1..=3).for_each(|on| tell(&cluster, on, &[]));
    assert_eq!(read(&cluster.replica(3, ids[0]), extent).await, b"while it is away");
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    for id in &ids {
        let last = |on| cluster.replica(on, *id).status().last;
        assert_eq!(last(3), last(1), "{id} sleeps, and lacks something");
        assert_eq!(cluster.replica(3, *id).status().term, term, "no election was needed");
    }
}

/// It was cut off, and its process lives: no greeting says that it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_from_groups_that_sleep_is_found_by_their_beats() {
    let (cluster, ids) = sleepy(NEVER).await;
    cluster.net.isolate(node(3));
    [1, 2].iter().for_each(|on| tell(&cluster, *on, &[3]));
    write(&cluster, ids[0], b"while it is away").await;
    await_sleep(&cluster, &ids, &[1, 2]).await;
    cluster.net.heal_unseen();
    [1, 2].iter().for_each(|on| tell(&cluster, *on, &[]));
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let last = |on| cluster.replica(on, ids[0]).status().last;
    assert_eq!(last(3), last(1), "it sleeps, and lacks something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_slept_without_one_that_is_away_needs_it_when_another_is_lost() {
    let (mut cluster, ids) = sleepy(ELECTION).await;
    cluster.crash(3).await;
    [1, 2].iter().for_each(|on| tell(&cluster, *on, &[3]));
    let extent = write(&cluster, ids[0], b"while it is away").await;
    await_sleep(&cluster, &ids, &[1, 2]).await;
    cluster.crash(1).await;
    cluster.node(2).host.peer_is_gone(node(1));
    tell(&cluster, 2, &[1, 3]);
    tokio::time::sleep(IDLE * 2).await;
    assert!(!cluster.replica(2, ids[0]).is_asleep(), "nobody leads");
    cluster.boot([3]).await;
    [2, 3].iter().for_each(|on| tell(&cluster, *on, &[1]));
    for id in &ids {
        cluster.await_other_leader(*id, &[2, 3], 1).await;
    }
    assert_eq!(read(&cluster.replica(3, ids[0]), extent).await, b"while it is away");
    await_sleep(&cluster, &ids, &[2, 3]).await;
}

/// It waits for what it lacks before it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_is_not_slept_without() {
    let (mut cluster, ids) = sleepy(ELECTION).await;
    cluster.crash(3).await;
    write(&cluster, ids[0], b"while it starts").await;
    let peers = |on| [(node(3 - on), PeerState::Serving), (node(3), PeerState::Starting)];
    [1, 2].iter().for_each(|on| cluster.node(*on).host.set_peers(peers(*on)));
    tokio::time::sleep(IDLE * 4).await;
    assert!(!cluster.replica(1, ids[0]).is_asleep(), "it lacks an entry");
    cluster.boot([3]).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
}

/// A crowd does not wait for it: it is sent what it lacks when it asks who leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_gets_what_it_lacks_from_a_crowd_that_sleeps() {
    let (mut cluster, ids) = crowd(NEVER).await;
    cluster.crash(3).await;
    let peers = |on| [(node(3 - on), PeerState::Serving), (node(3), PeerState::Starting)];
    [1, 2].iter().for_each(|on| cluster.node(*on).host.set_peers(peers(*on)));
    // Another leader, whose first entry it lacks, and whom nobody used.
    for id in &ids {
        cluster.replica(1, *id).transfer_leader(node(2)).await.unwrap();
    }
    await_sleep(&cluster, &ids, &[1, 2]).await;
    let booted = tokio::time::timeout(Duration::from_secs(10), cluster.boot([3])).await;
    booted.expect("it waits for what nobody sends");
    let last = |on, id| cluster.replica(on, id).status().last;
    assert!(ids.iter().all(|id| last(3, *id) == last(2, *id)));
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_does_not_sleep() {
    let (mut cluster, ids) = sleepy(NEVER).await;
    write(&cluster, ids[0], b"before").await;
    cluster.crash(2).await;
    cluster.crash(3).await;
    tell(&cluster, 1, &[2, 3]);
    tokio::time::sleep(IDLE * 4).await;
    let asleep = ids.iter().filter(|id| cluster.replica(1, **id).is_asleep());
    assert_eq!(asleep.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sleeping_groups_are_drained_and_their_members_changed() {
    let (cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let moved = cluster.replica(1, ids[0]).transfer_leader(node(3)).await.unwrap();
    assert_eq!(moved, node(3));
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let outcome = cluster.node(1).host.drain().await;
    assert_eq!((outcome.before, outcome.after), (5, 0), "{outcome:?}");
    cluster.node(1).host.undrain();
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let leader = cluster.await_leader(ids[0], &[1, 2, 3]).await;
    let voters = cluster.members(&[leader, leader % 3 + 1]).into_iter().collect();
    let learners = std::collections::BTreeMap::new();
    cluster.replica(leader, ids[0]).change_membership(voters, learners).await.unwrap();
}

/// Whoever asks for votes while the leader sleeps gets none, and the leader is
/// heard of at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_elected_against_a_leader_that_sleeps() {
    let (cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    tokio::time::sleep(ELECTION.1).await;
    let status = cluster.replica(3, ids[0]).status();
    let vote = Vote { term: status.term + 1, voted_for: Some(node(3)), committed: false };
    for (on, leader_gone) in [(2, false), (2, true), (1, true), (1, false)] {
        let ask = RaftRequest::PreVote { vote, last: status.last, leader_gone };
        let answer = cluster.node(on).host.handle(node(3), ids[0], ask).await.unwrap();
        assert!(matches!(answer, RaftReply::Vote { granted: false, .. }), "{on} {answer:?}");
    }
    assert_eq!(cluster.await_leader(ids[0], &[1, 2, 3]).await, 1);
    assert_eq!(cluster.replica(1, ids[0]).status().term, status.term);
}

/// A follower that woke without its leader knowing asks before it campaigns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_wakes_alone_disturbs_nobody() {
    let (cluster, ids) = sleepy(ELECTION).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    let term = cluster.replica(1, ids[0]).status().term;
    let before = cluster.net.votes_of(node(3));
    // An old heartbeat comes late.
    let status = cluster.replica(1, ids[0]).status();
    let vote = Vote { term, voted_for: Some(node(1)), committed: true };
    let late =
        RaftRequest::Append { vote, prev: None, entries: Vec::new(), committed: status.committed };
    cluster.node(3).host.handle(node(1), ids[0], late).await.unwrap();
    assert!(!cluster.replica(3, ids[0]).is_asleep());
    assert!(cluster.replica(1, ids[0]).is_asleep());
    tokio::time::sleep(ELECTION.1 * 2).await;
    await_sleep(&cluster, &ids, &[1, 2, 3]).await;
    assert_eq!(cluster.net.votes_of(node(3)), before, "it campaigned");
    assert_eq!(cluster.replica(1, ids[0]).status().term, term);
}

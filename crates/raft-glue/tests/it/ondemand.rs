//! Groups that are not in memory: a node knows them from its disk, brings them up when
//! somebody needs them, and lets them go again.

use std::time::{Duration, Instant};

use futures::StreamExt;
use partition_types::{PartitionId, Vote};
use raft_glue::{Activation, PeerState, ProposeError, RaftReply, RaftRequest, ReplicaState, Role};

use crate::cluster::{
    Cluster, ELECTION, PATIENT, eventually, node, put, put_once, read, stored, write,
};

const IDLE: Duration = Duration::from_millis(300);
const UNLOAD: Duration = Duration::from_millis(300);
/// No timer helps within the time of a test.
const NEVER: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(1200));
/// A timer that does not help within the time that a request may take here.
const LATE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(40));

/// Six groups on three nodes, led by the first, and not in memory on the others.
async fn idle(election: (Duration, Duration)) -> (Cluster, Vec<PartitionId>) {
    many_idle(6, election).await
}

/// Likewise, so many of them.
async fn many_idle(count: u64, election: (Duration, Duration)) -> (Cluster, Vec<PartitionId>) {
    let (cluster, ids) = made(count, election, UNLOAD).await;
    await_unloaded(&cluster, &ids, &[2, 3]).await;
    (cluster, ids)
}

/// So many groups on three nodes, led by the first, which leave memory after `unload_after`.
async fn made(
    count: u64,
    election: (Duration, Duration),
    unload_after: Duration,
) -> (Cluster, Vec<PartitionId>) {
    let mut cluster = Cluster::unstarted(election, IDLE);
    cluster.activation = Activation::OnDemand;
    cluster.unload_after = unload_after;
    cluster.boot(1..=3).await;
    let make = |id| {
        let cluster = &cluster;
        async move {
            let id = cluster.create(id, &[1, 2, 3]).await;
            write(cluster, id, b"first").await;
            id
        }
    };
    let ids = futures::stream::iter(1..=count).map(make).buffered(8).collect().await;
    (cluster, ids)
}

fn loaded(cluster: &Cluster, on: u64, ids: &[PartitionId]) -> usize {
    ids.iter().filter(|id| !cluster.replica(on, **id).is_unloaded()).count()
}

fn led(cluster: &Cluster, on: u64, ids: &[PartitionId]) -> usize {
    ids.iter().filter(|id| cluster.replica(on, **id).leader().is_some()).count()
}

async fn await_unloaded(cluster: &Cluster, ids: &[PartitionId], on: &[u64]) {
    eventually("all to leave memory", || async {
        on.iter().all(|on| loaded(cluster, *on, ids) == 0).then_some(())
    })
    .await;
}

async fn await_asleep(cluster: &Cluster, ids: &[PartitionId], on: &[u64]) {
    eventually("all to sleep", || async {
        let asleep = |on: &u64, id: &PartitionId| cluster.replica(*on, *id).is_asleep();
        ids.iter().all(|id| on.iter().all(|on| asleep(on, id))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_follower_leaves_memory_and_is_known_all_the_same() {
    let (cluster, ids) = idle(ELECTION).await;
    assert_eq!(loaded(&cluster, 1, &ids), 6, "who leads stays");
    for id in &ids {
        let leader = cluster.replica(1, *id).status();
        let replica = cluster.replica(2, *id);
        let status = replica.status();
        assert_eq!((status.role, status.state), (Role::Follower, ReplicaState::Ready));
        assert_eq!((status.term, status.leader), (leader.term, Some(node(1))));
        assert_eq!((status.last, status.applied), (leader.last, leader.applied));
        assert_eq!(status.membership, leader.membership);
        assert_eq!(status.membership_log_id, leader.membership_log_id);
        assert_eq!(status.extent_count, 1);
        assert!(replica.is_asleep(), "it is covered by the beats of its leader's node");
    }
    // Nobody was brought up by looking.
    tokio::time::sleep(ELECTION.1 * 2).await;
    assert_eq!((loaded(&cluster, 2, &ids), loaded(&cluster, 3, &ids)), (0, 0));
    assert_eq!(cluster.replica(3, ids[5]).leader(), Some(node(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_write_and_the_first_read_bring_up_what_they_need() {
    let (cluster, ids) = idle(ELECTION).await;
    let leader = cluster.replica(1, ids[0]);
    let extent = stored(leader.propose(put(b"second")).await.expect("the first write"));
    assert_eq!(read(&cluster.replica(2, ids[0]), extent).await, b"second");
    // A follower asks its leader, and has what it needs on its disk.
    cluster.replica(3, ids[1]).read_barrier().await.expect("the first read");
    let refused = cluster.replica(3, ids[2]).propose(put(b"not here")).await;
    assert!(
        matches!(&refused, Err(ProposeError::NotLeader { leader: Some((id, _)), .. }) if *id == node(1)),
        "{refused:?}"
    );
    assert_eq!(loaded(&cluster, 3, &ids[2..]), 0, "nobody needed these");
    await_unloaded(&cluster, &ids, &[2, 3]).await;
    assert_eq!(read(&cluster.replica(3, ids[0]), extent).await, b"second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_started_anew_keeps_them_out_of_memory() {
    let (mut cluster, ids) = idle(ELECTION).await;
    await_asleep(&cluster, &ids, &[1, 2, 3]).await;
    let terms: Vec<_> = ids.iter().map(|id| cluster.replica(1, *id).status().term).collect();
    cluster.stop(3).await;
    cluster.boot([3]).await;
    // The leaders sleep, and offer it sleep as before.
    await_asleep(&cluster, &ids, &[3]).await;
    tokio::time::sleep(ELECTION.1 * 2).await;
    assert_eq!(loaded(&cluster, 3, &ids), 0);
    assert!(ids.iter().all(|id| cluster.replica(1, *id).is_asleep()), "nobody woke for it");
    let now: Vec<_> = ids.iter().map(|id| cluster.replica(1, *id).status().term).collect();
    assert_eq!(now, terms, "nobody was elected");
    let gate = cluster.node(3).serving.handle();
    assert_eq!((gate.counts().ready, gate.counts().deferred), (6, 0), "each has a leader");

    let extent = write(&cluster, ids[4], b"after").await;
    assert_eq!(read(&cluster.replica(3, ids[4]), extent).await, b"after");
    assert_eq!(loaded(&cluster, 3, &ids[..4]), 0);
}

/// One that missed something is brought up to date, and only that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_missed_while_it_was_away_wakes_its_leader() {
    let (mut cluster, ids) = idle(ELECTION).await;
    await_asleep(&cluster, &ids, &[1, 2, 3]).await;
    cluster.crash(3).await;
    let extent = write(&cluster, ids[0], b"while it was away").await;
    cluster.boot([3]).await;
    eventually("the state to be level", || async {
        let level = |on: u64| cluster.replica(on, ids[0]).status().applied;
        (level(3) == level(1)).then_some(())
    })
    .await;
    assert_eq!(read(&cluster.replica(3, ids[0]), extent).await, b"while it was away");
    await_unloaded(&cluster, &ids, &[3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_gets_a_vote_that_is_on_disk_and_only_one() {
    let (cluster, ids) = idle(NEVER).await;
    let (id, host) = (ids[0], &cluster.node(3).host);
    let status = cluster.replica(3, id).status();
    let ask = |from: u64, term: u64| {
        let vote = Vote { term, voted_for: Some(node(from)), committed: false };
        let (leadership_transfer, leader_gone, last) = (false, false, status.last);
        RaftRequest::Vote { vote, last, leadership_transfer, leader_gone }
    };
    let granted = |reply: RaftReply| matches!(reply, RaftReply::Vote { granted: true, .. });
    assert!(!granted(host.handle(node(2), id, ask(2, status.term - 1)).await.unwrap()));
    assert!(granted(host.handle(node(2), id, ask(2, status.term + 1)).await.unwrap()));
    assert!(!cluster.replica(3, id).is_unloaded());
    let stored = cluster.node(3).store.load(id).unwrap().log().vote().unwrap();
    assert_eq!((stored.term, stored.voted_for), (status.term + 1, Some(node(2))));
    assert!(!granted(host.handle(node(1), id, ask(1, status.term + 1)).await.unwrap()));
    assert_eq!(loaded(&cluster, 3, &ids[1..]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_node_is_gone_is_succeeded_from_disk() {
    let (mut cluster, ids) = idle(NEVER).await;
    cluster.crash(1).await;
    for on in [2, 3] {
        cluster.node(on).host.peer_is_gone(node(1));
    }
    for id in &ids {
        assert_ne!(cluster.await_leader(*id, &[2, 3]).await, 1);
    }
    write(&cluster, ids[3], b"after").await;
}

/// A node that led many is lost: those that nobody uses take turns, and who is asked for
/// meanwhile does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_asked_for_is_succeeded_before_the_idle() {
    const GROUPS: u32 = 128;
    let (mut cluster, ids) = many_idle(u64::from(GROUPS), PATIENT).await;
    cluster.crash(1).await;
    let began = Instant::now();
    for on in [2, 3] {
        cluster.node(on).host.peer_is_gone(node(1));
    }
    // The last one in their order.
    write(&cluster, ids[ids.len() - 1], b"now").await;
    assert_eq!(led(&cluster, 2, &ids), 1, "the others have time");
    for id in &ids {
        assert_ne!(cluster.await_leader(*id, &[2, 3]).await, 1);
    }
    // After five seconds for the node to serve again eight at a time on each of two nodes, a
    // tenth of a second each at least.
    let paced = Duration::from_secs(5) + Duration::from_millis(100) * (GROUPS / 16);
    assert!(began.elapsed() > paced, "all at once: {:?}", began.elapsed());
}

/// A process that is started again loads while nobody is elected that nobody asks for, whether
/// the groups that it led are in memory or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_groups_get_a_leader_when_the_one_they_lost_serves_again() {
    for unload_after in [UNLOAD, Duration::from_secs(600)] {
        let (mut cluster, ids) = made(6, NEVER, unload_after).await;
        await_asleep(&cluster, &ids, &[1, 2, 3]).await;
        if unload_after == UNLOAD {
            await_unloaded(&cluster, &ids, &[2, 3]).await;
        }
        cluster.crash(1).await;
        let tell = |state| {
            for (on, other) in [(2, 3), (3, 2)] {
                let peers = [(node(1), state), (node(other), PeerState::Serving)];
                cluster.node(on).host.set_peers(peers);
            }
        };
        tell(PeerState::Away);
        // Its connection breaks, and then its next process says who it is.
        for state in [PeerState::Away, PeerState::Starting] {
            for on in [2, 3] {
                cluster.node(on).host.peer_is_gone(node(1));
            }
            tell(state);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!((led(&cluster, 2, &ids), led(&cluster, 3, &ids)), (0, 0));
        write(&cluster, ids[2], b"now").await;
        assert_eq!(led(&cluster, 2, &ids), 1, "who is asked for does not wait");
        tell(PeerState::Serving);
        let began = Instant::now();
        for id in &ids {
            assert_ne!(cluster.await_leader(*id, &[2, 3]).await, 1);
        }
        assert!(began.elapsed() < Duration::from_secs(2), "it serves: {:?}", began.elapsed());
    }
}

/// Hundreds that wait for their turn to look for a successor do not keep their node up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_closes_looks_for_no_successors() {
    const GROUPS: u32 = 400;
    let (mut cluster, ids) = many_idle(u64::from(GROUPS), PATIENT).await;
    await_unloaded(&cluster, &ids, &[3]).await;
    for gone in [1, 2] {
        cluster.crash(gone).await;
        cluster.node(3).host.peer_is_gone(node(gone));
    }
    // They look for one when they believe that the lost nodes serve again.
    cluster.node(3).host.set_peers([1, 2].map(|id| (node(id), PeerState::Serving)));
    eventually("the first turn", || async { (loaded(&cluster, 3, &ids) > 0).then_some(()) }).await;
    let began = Instant::now();
    cluster.stop(3).await;
    // Eight at a time, each after a tenth of a second for the one before it.
    let turns = Duration::from_millis(100) * (GROUPS / 8);
    assert!(began.elapsed() < turns / 2, "it took its turns: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_node_falls_silent_is_succeeded_from_disk() {
    let (mut cluster, ids) = idle(ELECTION).await;
    cluster.crash(1).await;
    for id in &ids {
        assert_ne!(cluster.await_other_leader(*id, &[2, 3], 1).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_elects_nobody_until_somebody_asks() {
    let (mut cluster, ids) = idle(LATE).await;
    for on in 1..=3 {
        cluster.stop(on).await;
    }
    cluster.boot(1..=3).await;
    for on in 1..=3 {
        let counts = cluster.node(on).serving.handle().counts();
        assert_eq!((counts.deferred, counts.total()), (6, 6), "on {on}");
        assert_eq!(loaded(&cluster, on, &ids), 0);
        for id in &ids {
            let status = cluster.replica(on, *id).status();
            assert_eq!((status.state, status.leader), (ReplicaState::Ready, None));
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for on in 1..=3 {
        assert_eq!(cluster.net.votes_of(node(on)), 0, "nobody asked {on}");
    }

    // It comes to a replica that is not to lead.
    let began = Instant::now();
    let refused = cluster.replica(3, ids[0]).propose(put_once(b"first")).await;
    assert!(
        matches!(&refused, Err(ProposeError::NotLeader { leader: Some((id, _)), .. }) if *id == node(1)),
        "the preferred one leads by now: {refused:?}"
    );
    let extent = write(&cluster, ids[0], b"first").await;
    assert!(began.elapsed() < LATE.0 / 2, "it waited for a timer: {:?}", began.elapsed());
    assert_eq!(read(&cluster.replica(2, ids[0]), extent).await, b"first");
    cluster.replica(2, ids[1]).read_barrier().await.expect("the first read");
    for on in 1..=3 {
        assert_eq!(loaded(&cluster, on, &ids[2..]), 0, "nobody needed these, on {on}");
        let gate = cluster.node(on).serving.handle();
        eventually("the gate to hear of two leaders", || async {
            (gate.counts().ready == 2).then_some(())
        })
        .await;
    }
}

/// Who is to lead cannot be reached: the next one is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_one_leads_where_the_preferred_is_away() {
    let (mut cluster, ids) = idle(LATE).await;
    for on in 1..=3 {
        cluster.stop(on).await;
    }
    cluster.boot([2, 3]).await;
    let began = Instant::now();
    let extent = write(&cluster, ids[0], b"without it").await;
    assert!(began.elapsed() < LATE.0 / 2, "it waited for a timer: {:?}", began.elapsed());
    assert_eq!(cluster.await_leader(ids[0], &[2, 3]).await, 2);
    assert_eq!(read(&cluster.replica(3, ids[0]), extent).await, b"without it");
    let in_vain = || cluster.net.in_vain_of(node(2)) + cluster.net.in_vain_of(node(3));
    assert!(in_vain() > 0, "nobody had said that it is away");

    // Where that is known, it is not asked before those who are there.
    for (on, other) in [(2, 3), (3, 2)] {
        let peers = [(node(1), PeerState::Away), (node(other), PeerState::Serving)];
        cluster.node(on).host.set_peers(peers);
    }
    let before = in_vain();
    write(&cluster, ids[1], b"past it").await;
    assert_eq!(cluster.await_leader(ids[1], &[2, 3]).await, 2);
    assert_eq!(in_vain(), before);
}

/// A crash leaves entries that are not known to be committed: they are not left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_behind_its_log_is_warmed_up() {
    let (mut cluster, ids) = idle(ELECTION).await;
    let extent = write(&cluster, ids[0], b"not flushed").await;
    for on in 1..=3 {
        cluster.crash(on).await;
    }
    cluster.boot(1..=3).await;
    let leader = cluster.await_leader(ids[0], &[1, 2, 3]).await;
    assert_eq!(read(&cluster.replica(leader, ids[0]), extent).await, b"not flushed");
    await_unloaded(
        &cluster,
        &ids[..1],
        &[1, 2, 3].map(|on| if on == leader { on % 3 + 1 } else { on }),
    )
    .await;
}

/// Whoever gives up waiting leaves a group that the next one can use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gives_up_harms_nobody() {
    let (cluster, ids) = idle(ELECTION).await;
    for id in &ids {
        let replica = cluster.replica(2, *id);
        let first = tokio::spawn({
            let replica = replica.clone();
            async move { replica.activate().await }
        });
        tokio::task::yield_now().await;
        first.abort();
        replica.activate().await.expect("it comes up");
    }
    assert_eq!(loaded(&cluster, 2, &ids), 6);
    write(&cluster, ids[0], b"after").await;
    await_unloaded(&cluster, &ids, &[2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_brought_up_is_quarantined_with_the_reason() {
    let (cluster, ids) = idle(ELECTION).await;
    let node = cluster.node(3);
    let store = node.store.clone();
    let lost = ids[0];
    // Its log is taken from under it.
    tokio::task::spawn_blocking(move || store.delete(lost)).await.unwrap().unwrap();
    write(&cluster, lost, b"its leader wakes").await;
    let cause = eventually("the quarantine", || async { cluster.replica(3, lost).cause() }).await;
    assert!(cause.contains("log") || cause.contains("entry"), "{cause}");
    let replica = cluster.replica(3, lost);
    assert_eq!(replica.status().state, ReplicaState::Quarantined);
    let refused = replica.activate().await;
    assert!(matches!(refused, Err(ProposeError::Quarantined { .. })), "{refused:?}");
    write(&cluster, ids[1], b"the others serve").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_and_a_change_of_members_reach_them() {
    let (cluster, ids) = idle(ELECTION).await;
    let outcome = cluster.node(2).host.drain().await;
    assert_eq!((outcome.before, outcome.after), (0, 0), "there is nothing to hand over");
    assert_eq!(loaded(&cluster, 2, &ids), 0);
    cluster.node(2).host.undrain();
    let outcome = cluster.node(1).host.drain().await;
    assert_eq!((outcome.before, outcome.after), (6, 0), "{outcome:?}");
    cluster.node(1).host.undrain();
    let leader = cluster.await_leader(ids[0], &[1, 2, 3]).await;
    let voters = cluster.members(&[leader, leader % 3 + 1]).into_iter().collect();
    let learners = std::collections::BTreeMap::new();
    cluster.replica(leader, ids[0]).change_membership(voters, learners).await.unwrap();
    write(&cluster, ids[0], b"two are left").await;
}

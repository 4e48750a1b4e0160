//! Handing leaderships over, one or all of a node.

use std::time::{Duration, Instant};

use futures::future::join_all;
use raft_glue::{PeerState, TransferError};

use crate::cluster::{Cluster, ELECTION, PATIENT, eventually, node, put, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_where_it_was_told() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let mut leader = 1;
    for to in [2, 3, 1, 3] {
        let new = cluster.replica(leader, id).transfer_leader(node(to)).await.unwrap();
        assert_eq!(new, node(to));
        leader = cluster.await_leader(id, &[1, 2, 3]).await;
        assert_eq!(leader, to);
        write(&cluster, id, b"in between").await;
    }
    let same = cluster.replica(3, id).transfer_leader(node(3)).await.unwrap();
    assert_eq!(same, node(3));
}

/// The vote, and the first entry of the new term. That a quorum gave the same vote goes to the
/// disk with that one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_for_two_syncs_of_each_disk() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let mut leader = cluster.await_leader(id, &[1, 2, 3]).await;
    write(&cluster, id, b"before").await;
    let settled = || async {
        let all = [1, 2, 3].map(|on| cluster.replica(on, id).status());
        let same = all.iter().all(|one| one.applied == one.last && one.last == all[0].last);
        same.then_some(all[0].last)
    };
    for to in [2, 3] {
        let last = eventually("all of them to be level", settled).await;
        let syncs = |on| cluster.node(on).store.disks()[0].log_writes.syncs;
        let before = [1, 2, 3].map(syncs);
        let new = cluster.replica(leader, id).transfer_leader(node(to)).await.unwrap();
        assert_eq!(new, node(to));
        leader = to;
        eventually("the first entry of the new term", || async {
            settled().await.filter(|now| *now > last)
        })
        .await;
        let after = [1, 2, 3].map(syncs);
        let took: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert!(took.iter().all(|syncs| *syncs <= 2), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_to_another_voter_when_the_target_is_gone() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    cluster.net.isolate(node(2));
    let begin = Instant::now();
    let new = cluster.replica(1, id).transfer_leader(node(2)).await.unwrap();
    assert_eq!(new, node(3));
    assert!(begin.elapsed() < ELECTION.1, "took {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_what_cannot_be() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2]).await;
    let leader = cluster.replica(1, id);
    let refused = leader.transfer_leader(node(3)).await;
    assert!(matches!(refused, Err(TransferError::NotAVoter(_))), "{refused:?}");
    let refused = cluster.replica(2, id).transfer_leader(node(2)).await;
    assert!(matches!(refused, Err(TransferError::Propose(_))), "{refused:?}");
    // Nobody else is there: it must go on leading.
    cluster.net.isolate(node(2));
    let refused = leader.transfer_leader(node(2)).await;
    assert!(matches!(refused, Err(TransferError::Alone)), "{refused:?}");
    cluster.net.heal();
    write(&cluster, id, b"still here").await;
}

/// All nodes go down at once: nobody takes anything, and each finds that out for many
/// groups at the same time, well before its process would be cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_nobody_takes_anything_of_ends_soon() {
    const GROUPS: usize = 256;
    let cluster = Cluster::start_with(3, PATIENT).await;
    let ids: Vec<u64> = (1..=GROUPS as u64).collect();
    for some in ids.chunks(32) {
        join_all(some.iter().map(|id| cluster.create_led_by(1, *id))).await;
    }
    for on in [2, 3] {
        assert_eq!(cluster.node(on).host.drain().await.before, 0);
    }
    let began = Instant::now();
    let outcome = cluster.node(1).host.drain().await;
    assert_eq!(outcome.before, GROUPS);
    assert_eq!((outcome.alone.len(), outcome.after), (GROUPS, 0), "{outcome:?}");
    // Four at a time, as groups are handed over, it took ten.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Of thousands of groups not one asks those who said so: they may be too busy to answer, or
    // gone by then.
    let tell = |state| cluster.node(1).host.set_peers([2, 3].map(|peer| (node(peer), state)));
    tell(PeerState::Draining);
    [2, 3].iter().for_each(|peer| cluster.net.isolate(node(*peer)));
    for state in [PeerState::Draining, PeerState::Away] {
        tell(state);
        cluster.node(1).host.undrain();
        let before = cluster.net.probes_of(node(1));
        let outcome = cluster.node(1).host.drain().await;
        assert_eq!((outcome.alone.len(), outcome.after), (GROUPS, 0), "{state:?}: {outcome:?}");
        assert_eq!(cluster.net.probes_of(node(1)), before, "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_leaves_nothing_but_sole_voters() {
    let cluster = Cluster::start(3).await;
    let mut shared = Vec::new();
    for id in 1..=8 {
        shared.push(cluster.create(id, &[1, 2, 3]).await);
    }
    let alone = cluster.create(9, &[1]).await;
    let host = &cluster.node(1).host;
    let outcome = host.drain().await;
    assert_eq!(outcome.before, 9);
    assert_eq!(outcome.after, 0);
    assert_eq!(outcome.sole_voters, [alone]);
    assert!(host.is_draining());
    for id in &shared {
        let leader = cluster.await_leader(*id, &[1, 2, 3]).await;
        assert_ne!(leader, 1);
        // It cannot be given back while the node drains.
        let back = cluster.replica(leader, *id).transfer_leader(node(1)).await;
        assert!(back.is_ok_and(|to| to != node(1)));
    }
    tokio::time::sleep(ELECTION.1 + Duration::from_millis(200)).await;
    assert!(shared.iter().all(|id| !cluster.replica(1, *id).is_leader()));
    assert!(cluster.replica(1, alone).propose(put(b"x")).await.is_ok());

    host.undrain();
    let leader = cluster.await_leader(shared[0], &[1, 2, 3]).await;
    let back = cluster.replica(leader, shared[0]).transfer_leader(node(1)).await;
    assert_eq!(back.unwrap(), node(1));
}

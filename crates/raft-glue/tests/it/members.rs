//! Replicas that come and go.

use std::collections::BTreeMap;
use std::time::Instant;

use partition_types::{Member, NodeId, PartitionId, Reason, Vote};
use raft_glue::{AppendReply, CreateError, MembershipError, ProposeError, RaftReply, RaftRequest};

use crate::cluster::{Cluster, ELECTION, HEARTBEAT, eventually, node, partition, read, write};

fn map(cluster: &Cluster, ids: &[u64]) -> BTreeMap<NodeId, Member> {
    cluster.members(ids).into_iter().collect()
}

/// Changes the members wherever the leader is, until it is done.
pub(crate) async fn change(cluster: &Cluster, id: PartitionId, voters: &[u64], learners: &[u64]) {
    eventually("a membership change", || async {
        for node in cluster.nodes.values() {
            let Some(replica) = node.host.get(id) else { continue };
            let (voters, learners) = (map(cluster, voters), map(cluster, learners));
            match replica.change_membership(voters, learners).await {
                Ok(()) => return Some(()),
                Err(MembershipError::Invalid(problem)) => panic!("{problem}"),
                Err(_) => {}
            }
        }
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_moves_to_another_node() {
    let cluster = Cluster::start(4).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let extent = write(&cluster, id, b"moves along").await;
    assert!(cluster.create_replica(4, id, &[]).await);
    change(&cluster, id, &[1, 2, 4], &[]).await;
    let status = cluster.replica(1, id).status();
    let voters: Vec<_> = status.membership.voters().into_iter().map(NodeId::get).collect();
    assert_eq!(voters, [1, 2, 4]);
    assert!(!status.membership.is_joint());
    assert!(!status.membership.members.contains_key(&node(3)));
    assert_eq!(read(&cluster.replica(4, id), extent).await, b"moves along");

    assert!(cluster.node(3).host.delete(id).await.unwrap());
    assert!(!cluster.node(3).host.delete(id).await.unwrap(), "deleted twice");
    assert!(cluster.node(3).host.get(id).is_none());
    let gone = cluster.node(3).host.handle(node(1), id, RaftRequest::ReadIndex).await;
    assert_eq!(gone.unwrap_err().reason, Reason::PartitionNotFound);
}

/// It may stand where a member was removed, on which a voter that missed that
/// still counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_told_nothing_has_no_vote() {
    let cluster = Cluster::start(4).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    write(&cluster, id, b"not on node 4").await;
    assert!(cluster.create_replica(4, id, &[]).await);
    let vote = Vote { term: 99, voted_for: Some(node(2)), committed: false };
    let ask = || async {
        let pre = RaftRequest::PreVote { vote, last: None, leader_gone: false };
        let real =
            RaftRequest::Vote { vote, last: None, leadership_transfer: false, leader_gone: false };
        let host = &cluster.node(4).host;
        [host.handle(node(2), id, pre).await, host.handle(node(2), id, real).await]
    };
    for answer in ask().await {
        assert_eq!(answer.unwrap_err().reason, Reason::Starting);
    }
    change(&cluster, id, &[1, 2, 4], &[]).await;
    for answer in ask().await {
        // It has more than who asks.
        assert!(matches!(answer, Ok(RaftReply::Vote { granted: false, .. })), "{answer:?}");
    }
}

/// A replica moves from node 1 to node 4 while node 3 is away, and a write is acknowledged
/// by those who are there. Then node 1 is to have one again. It was told the beginning
/// only when the others are gone and node 3 is back, whose members are nodes 1, 2 and 3:
/// the two must not take themselves for a quorum, or the write would be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_made_again_has_no_voice_before_it_has_what_it_had() {
    let mut cluster = Cluster::start(4).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    write(&cluster, id, b"on all of them").await;
    let last = |cluster: &Cluster, on| cluster.replica(on, id).status().last.unwrap();
    eventually("equal logs", || async {
        ([1, 3].iter().all(|on| last(&cluster, *on) == last(&cluster, 2))).then_some(())
    })
    .await;
    let shared = last(&cluster, 3).index;
    cluster.net.isolate(node(3));
    let extent = write(&cluster, id, b"acknowledged without node 3").await;
    assert!(cluster.create_replica(4, id, &[]).await);
    change(&cluster, id, &[2, 3, 4], &[]).await;
    assert!(cluster.node(1).host.delete(id).await.unwrap());

    assert!(cluster.create_replica(1, id, &[]).await);
    let log = cluster.node(2).store.load(id).unwrap().log().clone();
    let entries = log.entries(0..shared + 1, 1 << 20).await.unwrap();
    let leader = cluster.await_leader(id, &[2, 4]).await;
    let term = cluster.replica(leader, id).status().term;
    let vote = Vote { term, voted_for: Some(node(leader)), committed: true };
    let committed = entries.last().map(|entry| entry.log_id);
    let append = RaftRequest::Append { vote, prev: None, entries, committed };
    let told = cluster.node(1).host.handle(node(leader), id, append).await.unwrap();
    assert!(matches!(told, RaftReply::Append(AppendReply::Success)), "{told:?}");
    drop(log);

    cluster.stop(2).await;
    cluster.stop(4).await;
    cluster.net.heal();
    let until = Instant::now() + 6 * ELECTION.1;
    while Instant::now() < until {
        for on in [1, 3] {
            let replica = cluster.replica(on, id);
            assert!(!replica.is_leader(), "node {on} leads without what was acknowledged");
        }
        tokio::time::sleep(HEARTBEAT / 2).await;
    }
    assert!(cluster.net.votes_of(node(3)) > 0, "node 3 tried");

    cluster.boot([2, 4]).await;
    cluster.await_leader(id, &[2, 3, 4]).await;
    let stored = read(&cluster.replica(3, id), extent).await;
    assert_eq!(stored, b"acknowledged without node 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_to_leave_hands_over_first() {
    let cluster = Cluster::start(4).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    assert!(cluster.create_replica(4, id, &[]).await);
    let (voters, learners) = (map(&cluster, &[2, 3, 4]), BTreeMap::new());
    let first = cluster.replica(1, id).change_membership(voters, learners).await;
    match first {
        Err(MembershipError::Propose(ProposeError::NotLeader { leader, .. })) => {
            assert!([node(2), node(3)].contains(&leader.unwrap().0));
        }
        other => panic!("{other:?}"),
    }
    change(&cluster, id, &[2, 3, 4], &[]).await;
    let leader = cluster.await_leader(id, &[2, 3, 4]).await;
    assert_ne!(leader, 1);
    write(&cluster, id, b"goes on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_is_another_replica() {
    let mut cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2, 3]).await;
    let extent = write(&cluster, id, b"survives").await;
    let former = cluster.members(&[3])[0].1.incarnation;
    cluster.wipe(3).await;
    cluster.boot([3]).await;
    assert!(cluster.node(3).host.get(id).is_none(), "made by a message");

    // As a member it is still the former life, and gets nothing.
    assert!(cluster.create_replica(3, id, &[]).await);
    write(&cluster, id, b"without it").await;
    assert_eq!(cluster.replica(3, id).status().last, None);

    change(&cluster, id, &[1, 2, 3], &[]).await;
    let membership = cluster.replica(1, id).status().membership;
    assert_ne!(membership.members[&node(3)].incarnation, former);
    assert_eq!(read(&cluster.replica(3, id), extent).await, b"survives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_what_cannot_be() {
    let cluster = Cluster::start(2).await;
    let id = cluster.create(1, &[1, 2]).await;
    let leader = cluster.replica(1, id);
    let none = leader.change_membership(BTreeMap::new(), BTreeMap::new()).await;
    assert!(matches!(none, Err(MembershipError::Invalid(_))), "{none:?}");
    let both = leader.change_membership(map(&cluster, &[1, 2]), map(&cluster, &[2])).await;
    assert!(matches!(both, Err(MembershipError::Invalid(_))), "{both:?}");
    let follower = cluster.replica(2, id);
    let elsewhere = follower.change_membership(map(&cluster, &[1]), BTreeMap::new()).await;
    assert!(
        matches!(elsewhere, Err(MembershipError::Propose(ProposeError::NotLeader { .. }))),
        "{elsewhere:?}"
    );

    let host = &cluster.node(1).host;
    assert!(cluster.create_replica(1, partition(7), &[]).await);
    // The same id with other members is another partition.
    cluster.node(1).serving.admission().remove(&partition(7));
    let again = cluster.node(1).serving.admission().admit(partition(7), 0).unwrap();
    let other = cluster.members(&[1, 2]);
    let exists = host.create(partition(7), other, again.vote, again.campaign).await;
    assert!(matches!(exists, Err(CreateError::Exists(_))), "{exists:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_follows_without_a_vote() {
    let cluster = Cluster::start(3).await;
    let id = cluster.create(1, &[1, 2]).await;
    assert!(cluster.create_replica(3, id, &[]).await);
    change(&cluster, id, &[1, 2], &[3]).await;
    let extent = write(&cluster, id, b"for the learner too").await;
    let learner = cluster.replica(3, id);
    assert_eq!(read(&learner, extent).await, b"for the learner too");
    assert_eq!(learner.status().role, raft_glue::Role::Learner);
    let refused = cluster.replica(1, id).transfer_leader(node(3)).await;
    assert!(matches!(refused, Err(raft_glue::TransferError::NotAVoter(_))), "{refused:?}");
}

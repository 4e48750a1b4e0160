//! Replicas that come and go.

use std::collections::BTreeMap;

use partition_types::{Member, NodeId, PartitionId, Reason};
use raft_glue::{CreateError, MembershipError, ProposeError, RaftRequest};

use crate::cluster::{Cluster, eventually, node, partition, read, write};

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

//! PartitionService: any node coordinates, every call may be repeated, and each
//! wrong one has its typed error.

use datanode_proto::v1;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::cluster::{Cluster, check, eventually, value};
use crate::extents::{content, put, read};

const PARTITION: u64 = 7;

/// Replicas by id alone: the nodes know each other.
fn replicas(node_ids: &[u64]) -> Vec<v1::PartitionReplica> {
    let replica = |node_id: &u64| v1::PartitionReplica { node_id: *node_id, ..Default::default() };
    node_ids.iter().map(replica).collect()
}

fn create(partition_id: u64, node_ids: &[u64]) -> v1::CreatePartitionRequest {
    v1::CreatePartitionRequest { partition_id, replicas: replicas(node_ids) }
}

fn change(voters: &[u64], learners: &[u64]) -> v1::ChangeReplicasRequest {
    v1::ChangeReplicasRequest {
        partition_id: PARTITION,
        voters: replicas(voters),
        learners: replicas(learners),
    }
}

fn ids(replicas: &[v1::PartitionReplica]) -> Vec<u64> {
    replicas.iter().map(|replica| replica.node_id).collect()
}

fn field(status: &Status) -> String {
    let bad = status.get_details_bad_request().expect("field violations");
    bad.field_violations[0].field.clone()
}

/// Three nodes that have met.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(3).await;
    cluster.create(1, &[1, 2, 3]).await;
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_again_is_fine_and_creating_otherwise_is_not() {
    let cluster = cluster().await;
    let first = cluster.node(2).partitions().create_partition(create(PARTITION, &[3, 1])).await;
    let first = first.expect("a new partition").into_inner();
    assert!(first.created);
    let partition = first.partition.expect("set");
    assert_eq!(ids(&partition.voters), [1, 3]);
    assert_eq!(partition.leader_node_id, 3, "the first replica is preferred");
    assert!(partition.replicas.iter().all(|replica| replica.state() == v1::PartitionState::Ready));

    // From every node, in any order of the replicas.
    for coordinator in 1..=3 {
        let mut admin = cluster.node(coordinator).partitions();
        let again = admin.create_partition(create(PARTITION, &[1, 3])).await.expect("it is there");
        assert!(!again.into_inner().created, "node {coordinator}");
        for others in [&[1, 2][..], &[1], &[1, 2, 3], &[2]] {
            let status = check(
                admin.create_partition(create(PARTITION, others)).await,
                Code::AlreadyExists,
                "PARTITION_EXISTS",
            );
            assert_eq!(value(&status, "partition_id"), Some(PARTITION.to_string()));
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_name_the_field() {
    let cluster = cluster().await;
    let mut admin = cluster.node(1).partitions();
    let cases = [
        (create(0, &[1]), "partition_id"),
        (create(PARTITION, &[]), "replicas"),
        (create(PARTITION, &[1, 0]), "replicas[1].node_id"),
        (create(PARTITION, &[1, 2, 1]), "replicas[2].node_id"),
    ];
    for (request, wrong) in cases {
        let created = admin.create_partition(request).await;
        assert_eq!(field(&check(created, Code::InvalidArgument, "INVALID_REQUEST")), wrong);
    }
    let cases = [
        (change(&[], &[]), "voters"),
        (change(&[1, 1], &[]), "voters[1].node_id"),
        (change(&[1], &[2, 1]), "learners[1].node_id"),
    ];
    for (request, wrong) in cases {
        let changed = admin.change_replicas(request).await;
        assert_eq!(field(&check(changed, Code::InvalidArgument, "INVALID_REQUEST")), wrong);
    }
    let token = v1::ListPartitionsRequest { page_size: 0, page_token: "x".to_owned() };
    check(admin.list_partitions(token).await, Code::InvalidArgument, "INVALID_REQUEST");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_things_are_not_found() {
    let cluster = cluster().await;
    let mut admin = cluster.node(1).partitions();
    let unknown_node = admin.create_partition(create(PARTITION, &[1, 99])).await;
    let status = check(unknown_node, Code::NotFound, "NODE_NOT_FOUND");
    assert_eq!(value(&status, "node_id").as_deref(), Some("99"));
    // Another node answers at the address of the one that was named.
    let mut wrong_address = create(PARTITION, &[1, 99]);
    wrong_address.replicas[1].peer_address = cluster.node(2).peer_address().to_owned();
    check(admin.create_partition(wrong_address).await, Code::NotFound, "NODE_NOT_FOUND");
    // Nothing of the failed calls is left.
    let request = v1::GetPartitionRequest { partition_id: PARTITION };
    check(admin.get_partition(request).await, Code::NotFound, "PARTITION_NOT_FOUND");
    let transfer =
        |partition_id, to_node_id| v1::TransferLeaderRequest { partition_id, to_node_id };
    check(
        admin.transfer_leader(transfer(PARTITION, 1)).await,
        Code::NotFound,
        "PARTITION_NOT_FOUND",
    );
    check(admin.transfer_leader(transfer(1, 99)).await, Code::NotFound, "NODE_NOT_FOUND");
    check(admin.change_replicas(change(&[1], &[])).await, Code::NotFound, "PARTITION_NOT_FOUND");
    let verify = v1::VerifyPartitionRequest { partition_id: PARTITION };
    check(admin.verify_partition(verify).await, Code::NotFound, "PARTITION_NOT_FOUND");
    let delete = v1::DeletePartitionRequest { partition_id: PARTITION };
    let deleted = admin.delete_partition(delete).await.expect("absent is fine").into_inner();
    assert!(deleted.node_ids.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_partition_is_gone_and_may_be_made_anew() {
    let cluster = cluster().await;
    for round in 0..2 {
        cluster.create(PARTITION, &[2, 3]).await;
        let mut client = cluster.node(2).extents();
        let extent_id = put(&mut client, PARTITION, content(1000)).await.extent_id;
        assert_eq!(extent_id, 1, "round {round}: nothing is left of the former one");
        // The coordinator has no replica itself.
        let request = v1::DeletePartitionRequest { partition_id: PARTITION };
        let deleted = cluster.node(1).partitions().delete_partition(request).await;
        assert_eq!(deleted.expect("deleted").into_inner().node_ids, [2, 3]);
        for node_id in 1..=3 {
            let request = v1::GetPartitionRequest { partition_id: PARTITION };
            let mut admin = cluster.node(node_id).partitions();
            check(admin.get_partition(request).await, Code::NotFound, "PARTITION_NOT_FOUND");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leadership_moves_where_it_is_told() {
    let cluster = cluster().await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    // Coordinated by the leader, by the target, by a third one.
    for to_node_id in [2, 3, 1, 1] {
        let request = v1::TransferLeaderRequest { partition_id: PARTITION, to_node_id };
        let mut admin = cluster.node(3).partitions();
        let moved = admin.transfer_leader(request).await.expect("it moves").into_inner();
        assert_eq!(moved.leader_node_id, to_node_id);
        // Others may hear of it a moment before its own Raft shows it.
        let leads = || cluster.leader_now(PARTITION) == Some(to_node_id);
        eventually("the leader to show it", leads).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_come_and_go_with_their_data() {
    let cluster = cluster().await;
    cluster.create(PARTITION, &[1, 2]).await;
    let data = content(100_000);
    let mut client = cluster.node(1).extents();
    let extent_id = put(&mut client, PARTITION, data.clone()).await.extent_id;
    let steps: [(&[u64], &[u64]); 5] =
        [(&[1, 2], &[3]), (&[1, 2, 3], &[]), (&[1, 2, 3], &[]), (&[2, 3], &[]), (&[3], &[])];
    for (voters, learners) in steps {
        let mut admin = cluster.node(1).partitions();
        let changed = admin.change_replicas(change(voters, learners)).await.expect("changed");
        let partition = changed.into_inner().partition.expect("set");
        assert_eq!(
            (ids(&partition.voters), ids(&partition.learners)),
            (voters.into(), learners.into())
        );
        for node_id in 1..=3 {
            let holds = cluster.node(node_id).host.list().iter().any(|p| p.id().get() == PARTITION);
            let member = voters.contains(&node_id) || learners.contains(&node_id);
            assert_eq!(holds, member, "node {node_id} after {voters:?} {learners:?}");
        }
        let back = read(&mut client, PARTITION, extent_id, 0, 0).await.expect("read");
        assert!(back == data, "after {voters:?} {learners:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_sum_up_to_the_same() {
    let cluster = cluster().await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let mut client = cluster.node(1).extents();
    for len in [0, 1, 100_000] {
        put(&mut client, PARTITION, content(len)).await;
    }
    let request = v1::VerifyPartitionRequest { partition_id: PARTITION };
    let lines = cluster.node(2).partitions().verify_partition(request).await.expect("a stream");
    let mut lines = lines.into_inner();
    let mut seen = Vec::new();
    while let Some(line) = lines.message().await.expect("a line") {
        assert_eq!((line.matches, line.error.as_str()), (true, ""), "{line:?}");
        assert_eq!((line.extent_count, line.size_bytes), (3, 100_001));
        seen.push(line.node_id);
    }
    assert_eq!(seen[0], cluster.leader(PARTITION), "the leader's line comes first");
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_rebuilt_from_its_group() {
    let cluster = cluster().await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let data = content(50_000);
    let mut client = cluster.node(1).extents();
    let extent_id = put(&mut client, PARTITION, data.clone()).await.extent_id;
    let leader = cluster.leader(PARTITION);
    let bad = leader % 3 + 1;
    let id = PARTITION.try_into().expect("above 0");
    cluster.node(bad).host.quarantine(id, "a block does not match");
    let request = v1::RecoverPartitionRequest { partition_id: PARTITION, node_id: bad };
    let recovered = cluster.node(leader).partitions().recover_partition(request).await;
    let partition = recovered.expect("rebuilt").into_inner().partition.expect("set");
    assert_eq!(ids(&partition.voters), [1, 2, 3]);
    let rebuilt = cluster.node(bad).host.get(id).expect("it is there again");
    let info = rebuilt.state().expect("it is sound").stat(extent_id.try_into().expect("above 0"));
    assert_eq!(info.await.expect("read").expect("it has the extent").size, data.len() as u64);

    // The only copy cannot be rebuilt from anywhere.
    cluster.create(9, &[1]).await;
    let request = v1::RecoverPartitionRequest { partition_id: 9, node_id: 1 };
    let refused = cluster.node(1).partitions().recover_partition(request).await;
    check(refused, Code::Unavailable, "QUARANTINED");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_pages_and_snapshots() {
    let cluster = Cluster::start(1).await;
    for id in [5, 3, 4, 1, 2] {
        cluster.create(id, &[1]).await;
    }
    let mut admin = cluster.node(1).partitions();
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListPartitionsRequest { page_size: 2, page_token };
        let page = admin.list_partitions(request).await.expect("a page").into_inner();
        seen.extend(page.partitions.iter().map(|partition| partition.partition_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5]);
    let mut client = cluster.node(1).extents();
    put(&mut client, 1, content(10)).await;
    let request = v1::SnapshotPartitionRequest { partition_id: 1 };
    let index = admin.snapshot_partition(request).await.expect("taken").into_inner().snapshot_index;
    let request = v1::GetPartitionRequest { partition_id: 1 };
    let partition = admin.get_partition(request).await.expect("there").into_inner().partition;
    let status = partition.expect("set").replicas[0].clone();
    assert!(status.snapshot_index >= index && index > 0, "{status:?}");
    let ordered = [
        status.purged_index,
        status.snapshot_index,
        status.applied_index,
        status.committed_index,
        status.last_index,
    ];
    assert!(ordered.is_sorted(), "{status:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_is_told_of_and_leaves_nothing_behind() {
    let mut cluster = cluster().await;
    cluster.nodes.pop().expect("three nodes").stop().await;
    let mut admin = cluster.node(1).partitions();
    let failed = admin.create_partition(create(PARTITION, &[1, 2, 3])).await;
    let status = check(failed, Code::Unavailable, "NODE_UNREACHABLE");
    assert_eq!(value(&status, "node_id").as_deref(), Some("3"));
    let other = admin.create_partition(create(PARTITION, &[1, 2])).await.expect("others will do");
    assert!(other.into_inner().created);
    let request = v1::GetPartitionRequest { partition_id: 1 };
    let partition = admin.get_partition(request).await.expect("there").into_inner().partition;
    let replicas = partition.expect("set").replicas;
    let away = replicas.iter().find(|replica| replica.node_id == 3).expect("it is counted on");
    assert_eq!(away.state(), v1::PartitionState::Unreachable);
    // Deleting would forget the copy on the node that is away.
    let delete = v1::DeletePartitionRequest { partition_id: 1 };
    check(admin.delete_partition(delete).await, Code::Unavailable, "NODE_UNREACHABLE");
    assert!(cluster.nodes.iter().all(|node| node.host.list().len() == 2), "nothing was deleted");
    cluster.stop().await;
}

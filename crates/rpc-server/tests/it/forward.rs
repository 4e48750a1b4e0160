//! Any node takes any call and forwards it once.

use bytes::Bytes;
use datanode_proto::v1;
use tonic::{Code, Request};

use crate::cluster::{Cluster, check, value};
use crate::extents::{content, put, read};

const PARTITION: u64 = 7;

fn request(data: Bytes) -> v1::PutExtentRequest {
    v1::PutExtentRequest { partition_id: PARTITION, data, crc32c: None, request_id: Bytes::new() }
}

fn not_forwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-datanode-no-forward", "1".parse().expect("ascii"));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_stores_and_reads() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    for (writer, len) in [(1, 1000), (2, 2000), (3, 3000)] {
        let data = content(len);
        let mut client = cluster.node(writer).extents();
        let extent_id = put(&mut client, PARTITION, data.clone()).await.extent_id;
        for reader in 1..=3 {
            let mut client = cluster.node(reader).extents();
            let back = read(&mut client, PARTITION, extent_id, 0, 0).await.expect("read");
            assert_eq!(back, data, "written by {writer}, read by {reader}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_replica_routes() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2]).await;
    let mut stranger = cluster.node(3).extents();
    let data = content(5000);
    let extent_id = put(&mut stranger, PARTITION, data.clone()).await.extent_id;
    assert_eq!(read(&mut stranger, PARTITION, extent_id, 0, 0).await.expect("read"), data);
    let list = v1::ListExtentsRequest { partition_id: PARTITION, ..Default::default() };
    let listed = stranger.list_extents(list).await.expect("listed").into_inner();
    assert_eq!(listed.extents.len(), 1);
    check(
        stranger.put_extent(not_forwarded(request(data))).await,
        Code::NotFound,
        "PARTITION_NOT_FOUND",
    );
    let mut other = request(content(1));
    other.partition_id = 99;
    check(stranger.put_extent(other).await, Code::NotFound, "PARTITION_NOT_FOUND");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_never_forwarded_twice() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let leader = cluster.leader(PARTITION);
    let address = cluster.node(leader).client_address().to_owned();
    for node_id in (1..=3).filter(|node_id| *node_id != leader) {
        let node = cluster.node(node_id);
        // On the client port its caller turns it off; on the peer port it is off.
        let answers = [
            node.extents().put_extent(not_forwarded(request(content(10)))).await,
            node.peer_extents().put_extent(request(content(10))).await,
        ];
        for answer in answers {
            let status = check(answer, Code::FailedPrecondition, "NOT_LEADER");
            assert_eq!(value(&status, "leader_id"), Some(leader.to_string()));
            assert_eq!(value(&status, "leader_address").as_ref(), Some(&address));
            assert!(value(&status, "term").is_some());
            let trailer = status.metadata().get("x-datanode-leader");
            assert_eq!(trailer.and_then(|text| text.to_str().ok()), Some(address.as_str()));
        }
    }
    let on_the_leader = cluster.node(leader).extents();
    let mut on_the_leader = on_the_leader;
    on_the_leader.put_extent(not_forwarded(request(content(10)))).await.expect("it leads");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_while_the_leader_goes_down() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let leader = cluster.leader(PARTITION);
    let mut nodes = cluster.nodes;
    let index = usize::try_from(leader - 1).expect("small");
    let leaving = nodes.remove(index);
    let mut client = nodes[0].extents();
    let writer = tokio::spawn(async move {
        let mut stored = Vec::new();
        for round in 0..60 {
            let data = content(round * 100);
            let answer = client.put_extent(request(data.clone())).await;
            let answer = answer.unwrap_or_else(|status| panic!("round {round}: {status:?}"));
            stored.push((answer.into_inner().extent_id, data));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        stored
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    leaving.host.drain().await;
    leaving.stop().await;
    let stored = writer.await.expect("no client error");
    let mut client = nodes[1].extents();
    for (extent_id, data) in &stored {
        let back = read(&mut client, PARTITION, *extent_id, 0, 0).await.expect("read");
        assert_eq!(back, *data, "extent {extent_id}");
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_in_the_trailers_of_a_success() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let leader = cluster.leader(PARTITION);
    let follower = leader % 3 + 1;
    let id = put(&mut cluster.node(leader).extents(), PARTITION, content(10)).await.extent_id;
    let message =
        v1::ReadExtentRequest { partition_id: PARTITION, extent_id: id, ..Default::default() };
    let mut client = cluster.node(follower).extents();
    let mut frames = client.read_extent(message).await.expect("read").into_inner();
    while frames.message().await.expect("a frame").is_some() {}
    let trailers = frames.trailers().await.expect("trailers").expect("some");
    let told = trailers.get("x-datanode-leader").and_then(|text| text.to_str().ok());
    assert_eq!(told, Some(cluster.node(leader).client_address()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_replica_sends_its_calls_to_a_sound_one() {
    let cluster = Cluster::start(3).await;
    cluster.create(PARTITION, &[1, 2, 3]).await;
    let id = partition_types::PartitionId::new(PARTITION).expect("above 0");
    let data = content(3000);
    let leader = cluster.leader(PARTITION);
    let extent_id =
        put(&mut cluster.node(leader).extents(), PARTITION, data.clone()).await.extent_id;
    // A quorum is left.
    let bad = leader % 3 + 1;
    cluster.node(bad).host.quarantine(id, "a test says so");
    let mut client = cluster.node(bad).extents();
    assert_eq!(read(&mut client, PARTITION, extent_id, 0, 0).await.expect("read"), data);
    put(&mut client, PARTITION, data.clone()).await;
    let stale = v1::StatExtentRequest {
        partition_id: PARTITION,
        extent_id,
        consistency: v1::Consistency::Stale.into(),
    };
    assert_eq!(client.stat_extent(stale).await.expect("there").into_inner().size, 3000);
    let status =
        check(client.stat_extent(not_forwarded(stale)).await, Code::Unavailable, "QUARANTINED");
    assert_eq!(value(&status, "cause").as_deref(), Some("a test says so"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_replica_that_is_bad_says_so_at_once() {
    let cluster = Cluster::single(PARTITION).await;
    let id = partition_types::PartitionId::new(PARTITION).expect("above 0");
    cluster.node(1).host.quarantine(id, "a test says so");
    let began = std::time::Instant::now();
    let answer = cluster.node(1).extents().put_extent(request(content(1))).await;
    check(answer, Code::Unavailable, "QUARANTINED");
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    cluster.stop().await;
}

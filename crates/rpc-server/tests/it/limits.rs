//! Limits of a message, deadlines, and a port that closes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use datanode_proto::v1;
use partition_types::PartitionId;
use tonic::{Code, Request};

use crate::cluster::{Cluster, MAX_MESSAGE, check, reason, value};
use crate::extents::content;

const PARTITION: u64 = 7;

fn put(len: usize) -> v1::PutExtentRequest {
    v1::PutExtentRequest {
        partition_id: PARTITION,
        data: content(len),
        crc32c: None,
        request_id: Bytes::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_above_the_limit_is_too_large() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    client.put_extent(put(MAX_MESSAGE)).await.expect("at the limit");
    // One byte; what the decoder refuses already; much more than that.
    for len in [MAX_MESSAGE + 1, MAX_MESSAGE + 64 * 1024, 4 * MAX_MESSAGE] {
        let status =
            check(client.put_extent(put(len)).await, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
        assert_eq!(value(&status, "limit"), Some(MAX_MESSAGE.to_string()));
        let size: usize = value(&status, "size").expect("told").parse().expect("a number");
        assert!((len..len + 100).contains(&size), "{size} for {len}");
    }
    client.put_extent(put(1)).await.expect("the connection lives on");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_a_call_waits_and_says_so() {
    let cluster = Cluster::start(2).await;
    cluster.create(PARTITION, &[1, 2]).await;
    let leader = cluster.leader(PARTITION);
    let survivor = 3 - leader;
    let mut nodes = cluster.nodes;
    let index = usize::try_from(leader - 1).expect("small");
    nodes.remove(index).stop().await;
    let node = &nodes[0];
    assert_eq!(node.host.list().len(), 1, "node {survivor} has the other replica");
    let mut client = node.extents();
    let began = Instant::now();
    let mut request = Request::new(put(10));
    request.set_timeout(Duration::from_secs(2));
    let status = client.put_extent(request).await.expect_err("no quorum");
    let took = began.elapsed();
    // A proposal may have been on its way while the leader left.
    assert!(
        matches!(reason(&status).as_str(), "NO_LEADER" | "DEADLINE_EXCEEDED"),
        "{status:?} after {took:?}"
    );
    assert!(took > Duration::from_millis(900), "it waits inside its time: {took:?}");
    assert!(took < Duration::from_millis(2500), "and not longer: {took:?}");
    nodes.remove(0).stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_watch_does_not_keep_the_port_open() {
    let cluster = Cluster::single(PARTITION).await;
    let mut watch = cluster
        .node(1)
        .routes()
        .watch_routes(v1::WatchRoutesRequest {})
        .await
        .expect("a stream")
        .into_inner();
    let first = watch.message().await.expect("a message").expect("all routes");
    assert_eq!(first.routes.len(), 1);
    assert!(cluster.node(1).host.get(PartitionId::new(PARTITION).expect("above 0")).is_some());
    // `stop` fails when closing takes ten seconds.
    cluster.stop().await;
    while let Ok(Some(_)) = watch.message().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_their_codes() {
    let cluster = Cluster::single(PARTITION).await;
    let mut client = cluster.node(1).extents();
    client.put_extent(put(10)).await.expect("stored");
    let absent = v1::StatExtentRequest { partition_id: PARTITION, extent_id: 99, consistency: 0 };
    client.stat_extent(absent).await.expect_err("absent");
    let page = cluster.node(1).metrics_page().await;
    let labels = |method, code| {
        format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"{method}\",\
             grpc_service=\"datanode.v1.ExtentService\"}}"
        )
    };
    for line in [
        labels("PutExtent", "OK"),
        labels("StatExtent", "NotFound"),
        "grpc_server_handling_seconds_bucket{".to_owned(),
        "grpc_server_started_total{".to_owned(),
    ] {
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
    cluster.stop().await;
}

//! RouteService: every node knows where partitions live.

use std::time::Duration;

use datanode_proto::v1;
use tonic::Code;

use crate::cluster::{Cluster, check};

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_the_route() {
    let cluster = Cluster::start(3).await;
    cluster.create(7, &[1, 2]).await;
    let leader = cluster.leader(7);
    for node_id in 1..=3 {
        let mut routes = cluster.node(node_id).routes();
        let request = v1::GetRouteRequest { partition_id: 7 };
        let route = loop {
            let route = routes.get_route(request).await.expect("known").into_inner().route;
            let route = route.expect("set");
            // A node without a replica may have been told of the group before
            // it had a leader; the news is on its way.
            if route.leader_node_id != 0 {
                break route;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(route.partition_id, 7);
        let replicas: Vec<_> = route
            .replicas
            .iter()
            .map(|replica| (replica.node_id, replica.client_address.as_str(), replica.learner))
            .collect();
        let address = |id| cluster.node(id).client_address();
        assert_eq!(replicas, [(1, address(1), false), (2, address(2), false)], "node {node_id}");
        assert_eq!(route.leader_node_id, leader, "node {node_id}");
        assert!(route.epoch > 0);
        let absent = routes.get_route(v1::GetRouteRequest { partition_id: 99 }).await;
        check(absent, Code::NotFound, "PARTITION_NOT_FOUND");
        let nothing = routes.get_route(v1::GetRouteRequest { partition_id: 0 }).await;
        check(nothing, Code::InvalidArgument, "INVALID_REQUEST");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_pages_and_watches_changes() {
    let cluster = Cluster::start(1).await;
    let mut routes = cluster.node(1).routes();
    let watch = routes.watch_routes(v1::WatchRoutesRequest {}).await.expect("a stream");
    let mut watch = watch.into_inner();
    let first = watch.message().await.expect("a message").expect("the first one");
    assert!(first.routes.is_empty() && first.removed_partition_ids.is_empty());
    for id in [3, 1, 2] {
        cluster.create(id, &[1]).await;
    }
    let mut told = std::collections::BTreeMap::new();
    let all_led = async {
        while told.len() < 3 || told.values().any(|leader| *leader == 0) {
            let message = watch.message().await.expect("a message").expect("no end");
            told.extend(message.routes.iter().map(|one| (one.partition_id, one.leader_node_id)));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_led).await.expect("each change is told");
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListRoutesRequest { page_size: 2, page_token };
        let page = routes.list_routes(request).await.expect("a page").into_inner();
        seen.extend(page.routes.iter().map(|route| route.partition_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, [1, 2, 3]);
    let foreign = v1::ListRoutesRequest { page_size: 0, page_token: "x".to_owned() };
    check(routes.list_routes(foreign).await, Code::InvalidArgument, "INVALID_REQUEST");
    cluster.stop().await;
}

//! Stop tokens: of the nodes of one group, one is stopped at a time.

use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1;
use datanode_proto::v1::node_service_client::NodeServiceClient;
use futures::future::join_all;
use tonic::Code;

use crate::cluster::{Cluster, check};

const NODES: [u64; 3] = [1, 2, 3];

/// Three nodes of one group, and a fourth one that has no part in it.
async fn cluster() -> Cluster {
    let cluster = Cluster::start(4).await;
    cluster.create(7, &NODES).await;
    for node_id in NODES {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
        while !ask(&cluster, 1, node_id, None).await.safe {
            assert!(tokio::time::Instant::now() < give_up, "node {node_id} is needed for ever");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    cluster
}

fn hold(holder: &str, ttl_ms: u64) -> Option<v1::StopHold> {
    Some(v1::StopHold { holder: holder.to_owned(), ttl_ms, ..v1::StopHold::default() })
}

fn again(holder: &str, token: &Bytes, release: bool) -> Option<v1::StopHold> {
    let holder = holder.to_owned();
    Some(v1::StopHold { holder, ttl_ms: 60_000, token: token.clone(), release })
}

/// Asks node `asked` about node `node_id`.
async fn ask(
    cluster: &Cluster,
    asked: u64,
    node_id: u64,
    hold: Option<v1::StopHold>,
) -> v1::SafeToStopResponse {
    let mut admin = NodeServiceClient::new(cluster.node(asked).admin());
    let answer = admin.safe_to_stop(v1::SafeToStopRequest { node_id, hold }).await;
    answer.expect("an answer").into_inner()
}

async fn order_drain(cluster: &Cluster, node_id: u64, undo: bool) {
    let mut admin = NodeServiceClient::new(cluster.node(node_id).admin());
    admin.drain(v1::DrainRequest { undo }).await.expect("done");
}

/// Node `node_id` may not stop, because of that one.
#[track_caller]
fn check_held(answer: &v1::SafeToStopResponse, node_id: u64, holder: &str) {
    assert!(!answer.safe && answer.token.is_empty() && answer.blockers.is_empty(), "{answer:?}");
    let held = answer.held.as_ref().unwrap_or_else(|| panic!("nobody holds: {answer:?}"));
    assert_eq!((held.node_id, held.holder.as_str()), (node_id, holder));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operator_at_a_time() {
    let cluster = cluster().await;
    let first = ask(&cluster, 1, 1, hold("A", 0)).await;
    assert!(first.safe && first.token.len() == 16, "{first:?}");
    // Whoever is asked, and whether for a token or just so.
    for asked in [1, 2, 3, 4] {
        check_held(&ask(&cluster, asked, 3, hold("B", 0)).await, 1, "A");
        check_held(&ask(&cluster, asked, 2, None).await, 1, "A");
        check_held(&ask(&cluster, asked, 1, hold("B", 0)).await, 1, "A");
        assert!(ask(&cluster, asked, 1, None).await.safe, "that one may go");
    }
    // A node of other groups is nobody's concern.
    assert!(!ask(&cluster, 1, 4, hold("B", 0)).await.token.is_empty());
    let prolonged = ask(&cluster, 3, 1, again("A", &first.token, false)).await;
    assert_eq!(prolonged.token, first.token);
    ask(&cluster, 4, 1, again("A", &first.token, true)).await;
    let second = ask(&cluster, 2, 3, hold("B", 0)).await;
    assert!(second.safe && !second.token.is_empty() && second.token != first.token);
    check_held(&ask(&cluster, 2, 1, again("A", &first.token, false)).await, 3, "B");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_nobody_gives_back_ends() {
    let cluster = cluster().await;
    let lost = ask(&cluster, 1, 1, hold("A", 500)).await;
    assert!(lost.safe);
    let held = ask(&cluster, 2, 3, hold("B", 0)).await.held.expect("A has it");
    assert!((1..=500).contains(&held.expires_in_ms), "{held:?}");
    tokio::time::sleep(Duration::from_millis(held.expires_in_ms + 20)).await;
    assert!(!ask(&cluster, 2, 3, hold("B", 0)).await.token.is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_used_up_when_its_node_went_and_serves_again() {
    let cluster = cluster().await;
    assert!(ask(&cluster, 2, 1, hold("A", 0)).await.safe);
    order_drain(&cluster, 1, false).await;
    check_held(&ask(&cluster, 2, 3, hold("B", 0)).await, 1, "A");
    // The others hear of it with the next Hello.
    tokio::time::sleep(Duration::from_millis(500)).await;
    order_drain(&cluster, 1, true).await;
    let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
    while ask(&cluster, 2, 3, hold("B", 0)).await.token.is_empty() {
        assert!(tokio::time::Instant::now() < give_up, "A's token never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drains_without_a_token_is_seen_too() {
    let cluster = cluster().await;
    order_drain(&cluster, 2, false).await;
    for hold in [None, hold("B", 0)] {
        check_held(&ask(&cluster, 1, 3, hold).await, 2, "the drain of node 2");
    }
    assert!(ask(&cluster, 1, 2, hold("A", 0)).await.safe, "it may go on");
    order_drain(&cluster, 2, true).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_the_same_time_one_gets_it() {
    let cluster = cluster().await;
    for _ in 0..20 {
        let asked = NODES.map(|node_id| ask(&cluster, node_id % 3 + 1, node_id, hold("?", 0)));
        let answers = join_all(asked).await;
        let given: Vec<_> =
            answers.iter().zip(NODES).filter(|(a, _)| !a.token.is_empty()).collect();
        assert_eq!(given.len(), 1, "{answers:?}");
        for (answer, node_id) in given {
            ask(&cluster, 1, node_id, again("?", &answer.token, true)).await;
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let cluster = Cluster::start(1).await;
    let refused = |hold: v1::StopHold| {
        let mut admin = NodeServiceClient::new(cluster.node(1).admin());
        async move {
            let request = v1::SafeToStopRequest { node_id: 1, hold: Some(hold) };
            check(admin.safe_to_stop(request).await, Code::InvalidArgument, "INVALID_REQUEST")
        }
    };
    let nothing = v1::StopHold::default();
    refused(v1::StopHold { token: Bytes::from_static(b"short"), ..nothing.clone() }).await;
    refused(v1::StopHold { ttl_ms: 4_000_000, ..nothing.clone() }).await;
    refused(v1::StopHold { holder: "x".repeat(257), ..nothing.clone() }).await;
    refused(v1::StopHold { release: true, ..nothing }).await;
    cluster.stop().await;
}

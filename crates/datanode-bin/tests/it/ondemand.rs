//! Real nodes whose idle partitions are not in memory: restarts, cold starts, and first
//! requests that find nobody at home and are answered all the same.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::fixture::{Nodes, eventually, json};
use crate::probe::{Once, metric, page};

const PARTITIONS: u64 = 12;
const ALL: [u64; 3] = [1, 2, 3];
const UNLOADED: &str = "datanode_partitions_in_memory{state=\"unloaded\"}";
const ACTIVATIONS: &str = "datanode_partition_activations_total";

async fn three() -> Nodes {
    let on_demand = [
        "startup.activation=on-demand",
        "raft.hibernate_after=300ms",
        "raft.unload_after=300ms",
        "raft.hand_back_rate=0",
    ];
    Nodes::three_with(PARTITIONS, &on_demand).await
}

fn admin(nodes: &Nodes, id: u64) -> SocketAddr {
    nodes.cluster.node(id).ports().admin
}

/// Waits until a node has so many partitions on its disk only.
async fn await_unloaded(nodes: &Nodes, id: u64, count: u64) {
    let admin = admin(nodes, id);
    eventually("partitions to leave memory", || metric(admin, UNLOADED) == count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_brings_nothing_into_memory_but_what_is_asked_for() {
    let mut nodes = three().await;
    let kept = nodes.fill(10_000).await;
    // A third each is led, and stays.
    for id in ALL {
        await_unloaded(&nodes, id, PARTITIONS * 2 / 3).await;
    }
    nodes.terminate(&[3]).await;
    nodes.start(&[3]).await;
    // What it led has another leader, whose first entry it lacked; the rest slept on.
    await_unloaded(&nodes, 3, PARTITIONS).await;
    let before = metric(admin(&nodes, 3), ACTIVATIONS);
    assert!(before <= PARTITIONS / 3, "{before} were brought up");
    eventually("the gate to have heard of all leaders", || {
        nodes.report(3)["units"]["ready"] == PARTITIONS
    })
    .await;

    // Looking brings up nobody.
    let rows = json(&["partition", "list", "--endpoints", &nodes.admins()]);
    assert_eq!(rows.as_array().map(Vec::len), Some(12), "{rows}");
    let safe = page(admin(&nodes, 3), "/safe-to-stop");
    assert!(safe.starts_with("HTTP/1.1 200"), "{safe}");
    assert_eq!(metric(admin(&nodes, 3), ACTIVATIONS), before);

    nodes.check_through(3, &kept).await;
    nodes.check_local(3, &kept).await;
    let mut once = Once::connect(nodes.cluster.node(3).ports().client).await;
    for one in &kept {
        once.put(one.partition, "through it".into()).await.expect("the first write");
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_start_has_no_leaders_and_answers_the_first_requests() {
    let mut nodes = three().await;
    let kept = nodes.fill(10_000).await;
    for id in ALL {
        await_unloaded(&nodes, id, PARTITIONS * 2 / 3).await;
    }
    nodes.terminate(&ALL).await;
    nodes.start(&ALL).await;
    for id in ALL {
        eventually("ready", || page(admin(&nodes, id), "/readyz").starts_with("HTTP/1.1 200"))
            .await;
    }
    let led = || -> u64 {
        let rows = json(&["status", "--endpoints", &nodes.admins()]);
        let led = |row: &Value| row["leaders"].as_u64().expect("a count");
        rows.as_array().expect("rows").iter().map(led).sum()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{} partitions have a leader that nobody asked for", led());
    let idle = admin(&nodes, 2);
    let readyz = page(idle, "/readyz?verbose");
    assert!(readyz.contains(" deferred until they are needed"), "{readyz}");
    assert!(metric(idle, UNLOADED) > 0, "{}", page(idle, "/metrics"));

    // Each once: an error is one too many.
    nodes.check_through(2, &kept).await;
    let mut once = Once::connect(nodes.cluster.node(3).ports().client).await;
    for one in &kept {
        once.put(one.partition, "the first write".into()).await.expect("a leader is found");
    }
    assert_eq!(led(), PARTITIONS);
    for id in ALL {
        eventually("the gate to have heard of all", || {
            nodes.report(id)["units"]["ready"] == PARTITIONS
        })
        .await;
    }
    nodes.stop().await;
}

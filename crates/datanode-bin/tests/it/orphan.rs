//! Replicas whose group goes on without them while their node cannot be told: the
//! node finds out, lets them go, and keeps nobody waiting.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Kept, Nodes, eventually, json, run};
use crate::probe::{metric, report_when, units};

const PARTITIONS: u64 = 4;
const AWAY: u64 = 3;
/// Far below the 30 s of `startup.elect_timeout`, far above what a start takes on a
/// busy machine.
const LONGEST: Duration = Duration::from_secs(20);
const REMOVED: &str = "datanode_replicas_removed_total";

fn admin(nodes: &Nodes) -> String {
    nodes.cluster.node(1).ports().admin.to_string()
}

/// Takes the replica on the node that is away out of its group.
fn remove_replica(nodes: &Nodes, partition: u64) -> Value {
    let (id, node, admin) = (partition.to_string(), AWAY.to_string(), admin(nodes));
    let remove = ["partition", "remove-replica", &id, "--node", &node, "--endpoints", &admin];
    let removed = json(&remove);
    assert_eq!(removed["voters"].as_array().unwrap().len(), 2, "{removed}");
    removed
}

/// Every partition can be read and written by way of the node, at once.
async fn serves_through(nodes: &Nodes, kept: &[Kept]) {
    nodes.check_through(AWAY, kept).await;
    let client = nodes.client_of(AWAY);
    for &partition in &nodes.partitions {
        client.put(partition, "by way of it".into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_removed_while_its_node_is_down_is_gone_after_its_start() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let mut kept = nodes.fill(3000).await;
    let partition = nodes.partitions[1];
    nodes.terminate(&[AWAY]).await;
    remove_replica(&nodes, partition.get());
    kept.extend(nodes.fill(3000).await);

    let took = nodes.start(&[AWAY]).await;
    assert!(took < LONGEST, "it waited for a replica that is nobody's: {took:?}");
    let report = nodes.report(AWAY);
    assert_eq!(report["units"]["ready"], PARTITIONS - 1, "{report}");
    assert_eq!(report["stages"][2]["units_gone"], 1, "{report}");
    assert!(units(&report, "waived").is_empty() && units(&report, "quarantined").is_empty());
    let ports = *nodes.cluster.node(AWAY).ports();
    assert_eq!(metric(ports.admin, REMOVED), 1);
    let log = fs::read_to_string(nodes.cluster.node(AWAY).log_path()).unwrap();
    assert!(log.contains("delete a replica that its group removed"), "{log}");
    serves_through(&nodes, &kept).await;

    // It is gone for good, and comes back when it is wanted.
    nodes.terminate(&[AWAY]).await;
    nodes.start(&[AWAY]).await;
    assert_eq!(nodes.report(AWAY)["units"]["ready"], PARTITIONS - 1);
    let (id, node, admin) = (partition.to_string(), AWAY.to_string(), admin(&nodes));
    let added = ["partition", "add-replica", &id, "--node", &node, "--endpoints", &admin];
    assert_eq!(json(&added)["voters"].as_array().unwrap().len(), 3);
    nodes.check_local(AWAY, &kept).await;
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_removed_while_its_node_hangs_goes_when_it_comes_to() {
    let nodes = Nodes::three(PARTITIONS).await;
    let mut kept = nodes.fill(3000).await;
    let partition = nodes.partitions[2];
    let node = nodes.cluster.node(AWAY);
    node.signal(Signal::STOP).unwrap();
    // Those that it led need another leader first.
    eventually("the replica is removed", || {
        let (id, node, admin) = (partition.to_string(), AWAY.to_string(), admin(&nodes));
        let remove = ["partition", "remove-replica", &id, "--node", &node, "--endpoints", &admin];
        run(&remove).code == 0
    })
    .await;
    kept.extend(nodes.fill(3000).await);
    node.signal(Signal::CONT).unwrap();

    // Before it knows: it must not answer from what it has, nor wait for itself.
    serves_through(&nodes, &kept).await;
    let admin = node.ports().admin;
    report_when(admin, "the replica is gone", |report| {
        report["units"]["ready"] == PARTITIONS - 1 && units(report, "waived").is_empty()
    });
    assert_eq!(metric(admin, REMOVED), 1);
    serves_through(&nodes, &kept).await;
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_deleted_only_when_all_its_members_answer() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let kept = nodes.fill(3000).await;
    let (whole, shrunk) = (nodes.partitions[0].to_string(), nodes.partitions[3]);
    nodes.terminate(&[AWAY]).await;
    let admin = admin(&nodes);
    let delete = |id: &str| run(&["partition", "delete", id, "--endpoints", &admin]);
    let refused = delete(&whole);
    assert_ne!(refused.code, 0, "nobody would remember the replica that is away");
    assert!(refused.stderr.contains(&format!("node {AWAY}")), "{}", refused.stderr);
    nodes.check_through(1, &kept).await;

    // One that has members on two nodes only: what is left on the third is an orphan
    // that nobody can tell anything of.
    remove_replica(&nodes, shrunk.get());
    let deleted = delete(&shrunk.to_string());
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    nodes.cluster.node_mut(AWAY).set_arguments(["--set", "startup.elect_timeout=2s"]);
    nodes.start(&[AWAY]).await;
    let report = nodes.report(AWAY);
    assert_eq!(units(&report, "waived"), [shrunk.get()], "{report}");
    nodes.check_through(AWAY, &kept[..3]).await;
    // Deleting it once more reaches it.
    let again = delete(&shrunk.to_string());
    assert_eq!(again.code, 0, "{}", again.stderr);
    let ports = *nodes.cluster.node(AWAY).ports();
    report_when(ports.admin, "nothing is waived", |report| units(report, "waived").is_empty());
    let deleted = delete(&whole);
    assert_eq!(deleted.code, 0, "{}", deleted.stderr);
    assert_eq!(nodes.report(AWAY)["units"]["ready"], PARTITIONS - 2);
    nodes.stop().await;
}

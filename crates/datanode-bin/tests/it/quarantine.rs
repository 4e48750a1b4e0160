//! Partitions with damaged bytes: each is set aside by itself and named, the
//! rest goes on, and what that may cost is the operator's choice.

use std::path::PathBuf;

use datanode_client::{NodeId, PartitionId};

use crate::damage::flip;
use crate::fixture::{Kept, Nodes, eventually, json, never_led_by, run};
use crate::probe::{Once, Whose, page, units};

const PARTITIONS: u64 = 12;
/// The node whose disk is damaged.
const BAD: u64 = 3;

/// A cluster whose third node is down, with a flipped byte in each of the first
/// `damaged` partitions.
async fn damaged(damaged: usize) -> (Nodes, Vec<Kept>) {
    let mut nodes = Nodes::three_with(PARTITIONS, &["startup.verify=full"]).await;
    // Large enough to be in a file of its own kind, where it is found again.
    let kept = nodes.fill(64 << 10).await;
    nodes.check_local(BAD, &kept).await;
    nodes.terminate(&[BAD]).await;
    for one in &kept[..damaged] {
        damage(&nodes, one);
    }
    (nodes, kept)
}

fn data_dir(nodes: &Nodes) -> PathBuf {
    nodes.cluster.node(BAD).dir().join("data/data")
}

fn damage(nodes: &Nodes, kept: &Kept) {
    let flipped = flip(&data_dir(nodes), "blob", &kept.data[1000..1064]);
    assert!(flipped > 0, "the bytes of partition {} are nowhere", kept.partition);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_corrupt_partition_is_set_aside_and_its_clients_notice_nothing() {
    let (mut nodes, kept) = damaged(1).await;
    let bad = kept[0].partition;
    nodes.start(&[BAD]).await;

    let report = nodes.report(BAD);
    assert_eq!(units(&report, "quarantined"), [bad.get()], "{report}");
    assert_eq!(report["units"]["ready"], PARTITIONS - 1, "{report}");
    let admin = nodes.cluster.node(BAD).ports().admin;
    // The port takes connections a moment before the gate is open.
    eventually("ready", || page(admin, "/readyz").starts_with("HTTP/1.1 200")).await;
    let readyz = page(admin, "/readyz?verbose");
    assert!(readyz.contains(&format!("quarantined: partition {bad} in check:")), "{readyz}");
    assert!(readyz.starts_with("HTTP/1.1 200"), "{readyz}");
    println!("{}", report["quarantined"][0]["reason"]);
    let status = json(&["status", "--endpoints", &admin.to_string()]);
    let row = status.as_array().unwrap().iter().find(|row| row["node_id"] == BAD).unwrap();
    assert_eq!((&row["quarantined"], &row["partitions_ready"]), (&1.into(), &11.into()), "{row}");

    // Through every node, each once; the bad copy itself is served to nobody.
    for id in 1..=3 {
        nodes.check_through(id, &kept).await;
    }
    let mut once = Once::connect(nodes.cluster.node(BAD).ports().client).await;
    once.put(bad, "through the bad node".into()).await.unwrap();
    let refused = once.read(bad, kept[0].extent, Whose::Local).await.unwrap_err();
    assert!(refused.message().contains("quarantined"), "{refused:?}");

    never_leads(&mut nodes, bad, &kept).await;

    // Rebuilt from its group it is as good as any.
    let recovered = nodes.admin_of(BAD).recover_partition(bad, NodeId::new(BAD).ok()).await;
    recovered.unwrap();
    nodes.check_local(BAD, &kept).await;
    nodes.terminate(&[BAD]).await;
    nodes.start(&[BAD]).await;
    assert_eq!(nodes.report(BAD)["units"]["ready"], PARTITIONS);
    nodes.stop().await;
}

/// Neither when it is asked to, nor when the others go: with one of them dead it
/// votes for the other, and its group goes on.
async fn never_leads(nodes: &mut Nodes, bad: PartitionId, kept: &[Kept]) {
    let admins = nodes.admins();
    let id = bad.to_string();
    never_led_by(&admins, &id, BAD);
    for (dead, lives) in [(1, 2), (2, 1)] {
        nodes.cluster.node_mut(dead).kill().unwrap();
        let alive = [lives, BAD].map(|id| nodes.cluster.node(id).ports().admin.to_string());
        let alive = alive.join(",");
        eventually("the healthy one leads", || {
            let shown = run(&["partition", "show", &id, "--endpoints", &alive, "-o", "json"]);
            let shown: serde_json::Value =
                serde_json::from_slice(&shown.stdout).unwrap_or_default();
            assert_ne!(shown["leader_node_id"], BAD, "the bad copy leads: {shown}");
            shown["leader_node_id"] == lives
        })
        .await;
        nodes.client().put(bad, "with a bad voter".into()).await.unwrap();
        nodes.check_through(BAD, &kept[..1]).await;
        nodes.start(&[dead]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_start_refuses_with_one_bad_partition_and_any_with_too_many() {
    let (mut nodes, kept) = damaged(1).await;
    nodes.cluster.node_mut(BAD).set_arguments(["--set", "startup.policy=strict"]);
    let (code, line) = nodes.refused(BAD).await;
    assert_eq!(code, 1, "{line}");
    assert!(line.contains("1 of 12") && line.contains("strict"), "{line}");

    // 10 % of 12, rounded up, are 2: a third one is too many.
    damage(&nodes, &kept[1]);
    nodes.cluster.node_mut(BAD).set_arguments::<&str>([]);
    nodes.start(&[BAD]).await;
    assert_eq!(units(&nodes.report(BAD), "quarantined"), [1, 2]);
    nodes.terminate(&[BAD]).await;
    damage(&nodes, &kept[2]);
    let (code, line) = nodes.refused(BAD).await;
    assert_eq!(code, 1, "{line}");
    assert!(line.contains("3 of 12") && line.contains("--accept-degraded"), "{line}");

    nodes.cluster.node_mut(BAD).set_arguments(["--accept-degraded"]);
    nodes.start(&[BAD]).await;
    assert_eq!(units(&nodes.report(BAD), "quarantined"), [1, 2, 3]);
    nodes.check_through(BAD, &kept).await;
    nodes.stop().await;
}

//! A node whose data directory was wiped while its peers run: it comes in a new
//! life that nobody counts on, never votes for the old one, and comes back as a
//! new replica.

use std::fs;
use std::time::Duration;

use datanode_client::{ClientConfig, ErrorKind};

use crate::damage::wipe;
use crate::fixture::{Nodes, eventually, json, run};

const PARTITIONS: u64 = 6;
const WIPED: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_is_refused_never_votes_and_comes_back_as_a_new_replica() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let mut kept = nodes.fill(5000).await;
    nodes.terminate(&[WIPED]).await;
    wipe(&nodes.cluster.node(WIPED).dir().join("data"));
    nodes.start(&[WIPED]).await;

    // Who was wiped, and what to do, is said where the operator looks.
    let advice = "its data directories are not those that its groups count on";
    for id in [1, 2, WIPED] {
        let log = nodes.cluster.node(id).log_path();
        eventually("the log says why", || {
            let log = fs::read_to_string(&log).unwrap();
            log.contains("was known in incarnation") && log.contains(advice)
        })
        .await;
    }
    let shown = json(&["partition", "show", "1", "--endpoints", &admin(&nodes, 1)]);
    let replica = shown["replicas"].as_array().unwrap();
    let replica = replica.iter().find(|replica| replica["node_id"] == WIPED).unwrap();
    assert_eq!(replica["state"], "unreachable", "{replica}");
    assert_eq!(nodes.report(WIPED)["units"]["ready"], 0);

    // The others go on: two of three are a quorum.
    for id in [1, 2] {
        nodes.check_through(id, &kept).await;
    }
    kept.extend(nodes.fill(500).await);

    // One of three and a wiped one are none, whatever it is asked.
    nodes.terminate(&[2]).await;
    let config = ClientConfig { timeout: Duration::from_secs(4), ..ClientConfig::default() };
    let client = nodes.cluster.client(config);
    let put = client.put(nodes.partitions[0], "with no quorum".into()).await;
    let error = put.expect_err("the wiped node voted");
    assert!(
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown),
        "{error:?}"
    );
    nodes.start(&[2]).await;
    kept.extend(nodes.fill(500).await);

    come_back(&nodes).await;
    nodes.check_local(WIPED, &kept).await;
    kept.extend(nodes.fill(500).await);
    nodes.check_local(WIPED, &kept).await;
    nodes.terminate(&[1]).await;
    nodes.fill(100).await;
    nodes.start(&[1]).await;
    nodes.stop().await;
}

/// Removes the replicas of the old life, and adds those of the new one.
async fn come_back(nodes: &Nodes) {
    let (admin, node) = (admin(nodes, 1), WIPED.to_string());
    let ids: Vec<String> = nodes.partitions.iter().map(ToString::to_string).collect();
    for id in &ids {
        let removed =
            json(&["partition", "remove-replica", id, "--node", &node, "--endpoints", &admin]);
        assert_eq!(removed["voters"].as_array().unwrap().len(), 2, "{removed}");
    }
    for id in &ids {
        // The others let go of the old life when the node says Hello again.
        let add = ["partition", "add-replica", id, "--node", &node, "--endpoints", &admin];
        let mut last = String::new();
        for _ in 0..20 {
            let ran = run(&add);
            if ran.code == 0 {
                last.clear();
                break;
            }
            last = ran.stderr;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(last, "", "partition {id} does not come back");
    }
    for id in &ids {
        let sums = json(&["partition", "verify", id, "--endpoints", &admin]);
        let sums = sums.as_array().unwrap();
        assert_eq!(sums.len(), 3, "{sums:?}");
        assert!(sums.iter().all(|sum| sum["matches"] == true), "{sums:?}");
    }
}

fn admin(nodes: &Nodes, id: u64) -> String {
    nodes.cluster.node(id).ports().admin.to_string()
}

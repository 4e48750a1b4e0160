//! Starts without a cluster to come back to: all nodes at once, a quorum that
//! needs the node, and no quorum at all.

use std::time::{Duration, Instant};

use datanode_bin::cluster::Signal;
use datanode_client::Reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::fixture::{Nodes, eventually};
use crate::probe::{Once, Whose, metric, page, report_when, units};

const PARTITIONS: u64 = 12;
const ALL: [u64; 3] = [1, 2, 3];

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_started_at_once_come_up_with_leaders_spread_and_nothing_lost() {
    // The defaults: a start that splits its votes shows in its time.
    let clocks = ["raft.heartbeat_interval=500ms", r#"raft.election_timeout=["2s", "4s"]"#];
    let mut nodes = Nodes::three_with(PARTITIONS, &clocks).await;
    let mut kept = nodes.fill(10_000).await;
    for signal in [Signal::Term, Signal::Kill] {
        match signal {
            Signal::Term => nodes.terminate(&ALL).await,
            Signal::Kill => {
                for id in ALL {
                    nodes.cluster.node_mut(id).kill().unwrap();
                }
            }
        }
        let took = nodes.start(&ALL).await;
        let leaders = nodes.cluster.leaders().await.unwrap();
        println!("leaders at first: {leaders:?}");
        let led: u64 = leaders.iter().map(|(_, led)| *led).sum();
        assert_eq!(led, PARTITIONS, "one leader each: {leaders:?}");
        // A node that was late has its leaderships back soon.
        let even = |leaders: &[(u64, u64)]| {
            leaders.iter().all(|(_, led)| led.abs_diff(PARTITIONS / 3) <= 1)
        };
        let until = Instant::now() + Duration::from_secs(20);
        while !even(&nodes.cluster.leaders().await.unwrap()) {
            assert!(Instant::now() < until, "not spread: {:?}", nodes.cluster.leaders().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for id in ALL {
            nodes.check_through(id, &kept).await;
            let report = nodes.report(id);
            assert_eq!(report["units"]["ready"], PARTITIONS, "{report}");
        }
        kept.extend(nodes.fill(100).await);
        let sum = |name: &str| -> u64 {
            let admins = nodes.cluster.nodes().iter().map(|node| node.ports().admin);
            admins.map(|admin| metric(admin, name)).sum()
        };
        println!(
            "after {}: all listen after {took:?}, leaders {led:?}, self_led_prelisten {}, \
             leader_unserved_seconds {}",
            signal.name(),
            sum("datanode_self_led_prelisten_total"),
            sum("datanode_leader_unserved_seconds_total"),
        );
        // Nobody served: whoever leads has begun before it listened, or could.
        assert!(sum("datanode_self_led_prelisten_total") > 0, "a cold start is counted");
        assert!(took < Duration::from_secs(20), "took {took:?}");
    }
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_the_quorum_needs_comes_up_while_one_peer_is_dead() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let kept = nodes.fill(1000).await;
    nodes.cluster.node_mut(1).kill().unwrap();
    nodes.terminate(&[3]).await;
    nodes.start(&[3]).await;
    let report = nodes.report(3);
    assert_eq!(report["units"]["ready"], PARTITIONS, "{report}");
    assert_eq!(units(&report, "waived"), [0; 0], "{report}");
    nodes.check_through(3, &kept).await;
    let more = nodes.fill(1000).await;
    nodes.start(&[1]).await;
    nodes.check_local(1, &more).await;
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_peers_are_dead_opens_says_so_and_needs_no_restart_when_they_return() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let kept = nodes.fill(1000).await;
    nodes.terminate(&ALL).await;
    let waits = Duration::from_millis(1500);
    let settings = ["startup.elect_timeout=1500ms", "limits.request_timeout=1s"];
    let arguments = settings.iter().flat_map(|setting| ["--set", *setting]);
    nodes.cluster.node_mut(3).set_arguments(arguments);
    let took = nodes.start(&[3]).await;
    assert!(took >= waits && took < Duration::from_secs(20), "took {took:?}");
    let pid = nodes.cluster.node(3).pid();
    let ports = *nodes.cluster.node(3).ports();

    let report = nodes.report(3);
    let all: Vec<u64> = (1..=PARTITIONS).collect();
    assert_eq!(units(&report, "waived"), all, "{report}");
    for unit in report["waived"].as_array().unwrap() {
        let reason = unit["reason"].as_str().unwrap();
        assert!(["1, 2", "2, 1"].iter().any(|nodes| reason.contains(nodes)), "{unit}");
    }
    // The port takes connections a moment before the gate is open.
    eventually("ready", || page(ports.admin, "/readyz").starts_with("HTTP/1.1 200")).await;
    let readyz = page(ports.admin, "/readyz?verbose");
    assert!(readyz.contains("waived: partition 7 in elect: no leader"), "{readyz}");
    assert!(readyz.starts_with("HTTP/1.1 200"), "the gate is open: {readyz}");

    let mut once = Once::connect(ports.client).await;
    for one in &kept[..3] {
        let read = once.read(one.partition, one.extent, Whose::Any).await;
        check_no_leader(&read.unwrap_err());
        check_no_leader(&once.put(one.partition, "never".into()).await.unwrap_err());
    }
    // Its own replicas are there for those who are content with them.
    nodes.check_local(3, &kept).await;

    nodes.start(&[1, 2]).await;
    let report = report_when(ports.admin, "every partition is ready", |report| {
        report["units"]["ready"] == PARTITIONS
    });
    assert_eq!(units(&report, "waived"), [0; 0], "{report}");
    assert_eq!(nodes.cluster.node(3).pid(), pid, "it was not restarted");
    nodes.check_through(3, &kept).await;
    for one in &kept {
        once.put(one.partition, "again".into()).await.unwrap();
    }
    eventually("every partition has one leader", || {
        let row = crate::fixture::json(&["status", "--endpoints", &nodes.admins()]);
        let led = row.as_array().unwrap().iter().map(|row| row["leaders"].as_u64().unwrap());
        led.sum::<u64>() == PARTITIONS
    })
    .await;
    nodes.stop().await;
}

fn check_no_leader(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().expect("a reason");
    assert_eq!((&*info.reason, &*info.domain), (Reason::NoLeader.as_str(), "datanode"));
    let again = details.retry_info().and_then(|retry| retry.retry_delay);
    assert!(again.is_some_and(|again| again > Duration::ZERO), "when to come again: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_strict_policy_the_port_waits_for_the_quorum() {
    let mut nodes = Nodes::three(3).await;
    nodes.terminate(&ALL).await;
    let strict = ["--set", "startup.policy=strict", "--set", "startup.elect_timeout=100ms"];
    let node = nodes.cluster.node_mut(3);
    node.set_arguments(strict);
    node.spawn().unwrap();
    let ports = *node.ports();
    report_when(ports.admin, "it elects", |report| report["stage"] == "elect");
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        assert!(!crate::node::is_open(ports.client), "it opened without a quorum");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    nodes.start(&[1]).await;
    let node = nodes.cluster.node_mut(3);
    node.wait_listening(Duration::from_secs(30)).await.unwrap();
    nodes.stop().await;
}

//! `datanode roll` on real processes. The command that restarts a node asks the
//! test for it: whoever started a process has to end it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use datanode_bin::cluster::Signal;
use datanode_client::{Client, PartitionId};
use serde_json::Value;

use crate::fixture::{Nodes, Ran, eventually, json, run};

const PARTITIONS: u64 = 9;

/// Leaves a file for the test, and waits until it is gone.
fn asks_the_test(dir: &Path) -> String {
    let file = dir.join("restart-{id}");
    let file = file.display();
    format!("touch {file}; while [ -e {file} ]; do sleep 0.02; done")
}

/// Runs `datanode roll` and restarts what its command asks for.
async fn roll(nodes: &mut Nodes, arguments: &[&str]) -> Ran {
    let exec = asks_the_test(nodes.dir());
    let admins = nodes.admins();
    let all =
        [&["roll", "--exec", &exec, "--endpoints", &admins, "-o", "json"], arguments].concat();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let running = tokio::task::spawn_blocking(move || {
        run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    });
    while !running.is_finished() {
        for id in 1..=3 {
            let file = nodes.dir().join(format!("restart-{id}"));
            if file.exists() {
                nodes.cluster.restart(id, Signal::Term).await.unwrap();
                std::fs::remove_file(file).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.await.unwrap()
}

fn rows(ran: &Ran) -> Vec<Value> {
    let rows: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}{}", String::from_utf8_lossy(&ran.stdout), ran.stderr)
    });
    rows.as_array().unwrap().clone()
}

fn spread(nodes: &Nodes) -> Vec<u64> {
    let status = json(&["status", "--endpoints", &nodes.admins()]);
    status.as_array().unwrap().iter().map(|row| row["leaders"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_restarted_and_leads_as_before_and_no_client_notices() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    eventually("an even spread", || spread(&nodes) == [3, 3, 3]).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn(write(
        nodes.client(),
        nodes.partitions.clone(),
        Arc::clone(&stop),
        Arc::clone(&written),
    ));
    let pids = [1, 2, 3].map(|id| nodes.cluster.node(id).pid());
    let ran = roll(&mut nodes, &[]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows = rows(&ran);
    assert_eq!(rows.len(), 3);
    for (row, id) in rows.iter().zip(1..) {
        assert_eq!((&row["node_id"], &row["state"]), (&Value::from(id), &"done".into()), "{row}");
        assert!(row["led_before"].is_u64() && row["led_after"].is_u64(), "{row}");
        for took in ["wait_ms", "drain_ms", "restart_ms", "hand_back_ms"] {
            assert!(row[took].as_f64().unwrap() >= 0.0, "{row}");
        }
        assert!(ran.stderr.contains(&format!("node {id}: done")), "{}", ran.stderr);
    }
    for (before, id) in pids.iter().zip(1..) {
        assert_ne!(nodes.cluster.node(id).pid(), *before, "node {id} was restarted");
    }
    // A node that is slow to take one is asked again, at most half a minute later.
    for _ in 0..6 {
        if spread(&nodes) == [3, 3, 3] {
            break;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(spread(&nodes), [3, 3, 3]);
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("no write failed");
    assert!(written.load(Ordering::Relaxed) > 30, "{written:?} writes prove nothing");
    nodes.stop().await;
}

async fn write(
    client: Client,
    partitions: Vec<PartitionId>,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) {
    while !stop.load(Ordering::Relaxed) {
        let turn = written.fetch_add(1, Ordering::Relaxed) as usize;
        client.put(partitions[turn % partitions.len()], vec![7; 500].into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_at_the_first_node_that_does_not_come_back() {
    let mut nodes = Nodes::three(3).await;
    let admins = nodes.admins();
    let first = nodes.cluster.node(1).ports().admin.to_string();
    let try_to = |exec: &str, only: &str| {
        let exec = ["--exec", exec, "--only", only, "--timeout", "3s"];
        run(&[&["roll", "--endpoints", &admins, "-o", "json"], &exec[..]].concat())
    };

    // A command that fails, and one that does nothing.
    let failed = try_to("exit 7", "1,2");
    assert_eq!(failed.code, 1);
    assert!(failed.stderr.contains("exit status: 7"), "{}", failed.stderr);
    let states: Vec<_> = rows(&failed).iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["restart", "pending"]);
    json(&["drain", "--undo", "--endpoints", &first]);
    let idle = try_to("true", "1,2");
    assert_eq!(idle.code, 1);
    assert!(idle.stderr.contains("did not restart it"), "{}", idle.stderr);
    assert!(idle.stderr.contains("--only 1,2"), "{}", idle.stderr);
    assert!(idle.stderr.contains("drain --undo --endpoints"), "{}", idle.stderr);
    json(&["drain", "--undo", "--endpoints", &first]);

    // A node that goes and stays away.
    let pid = nodes.cluster.node(1).pid().unwrap();
    let gone = try_to(&format!("kill -9 {pid}"), "1,2");
    nodes.cluster.node_mut(1).kill().unwrap();
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("did not come back"), "{}", gone.stderr);
    assert_eq!(rows(&gone)[1]["state"], "pending");

    // While it is away no other one can be spared, and nothing is done to it.
    let unsafe_now = try_to("exit 9", "2");
    assert_eq!(unsafe_now.code, 1);
    assert!(unsafe_now.stderr.contains("cannot spare it"), "{}", unsafe_now.stderr);
    assert!(!unsafe_now.stderr.contains("exit status: 9"), "{}", unsafe_now.stderr);

    // Once it is back, it goes on.
    nodes.cluster.node_mut(1).spawn().unwrap();
    assert_eq!(run(&["wait-ready", "--endpoints", &admins]).code, 0);
    let ran = roll(&mut nodes, &["--only", "2,3"]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_operators_one_waits() {
    let nodes = Nodes::three(3).await;
    let admins = nodes.admins();
    let try_to = |only: &str, exec: &str, timeout: &str| {
        run(&[
            "roll",
            "--endpoints",
            &admins,
            "-o",
            "json",
            "--only",
            only,
            "--exec",
            exec,
            "--timeout",
            timeout,
        ])
    };
    let marker = nodes.dir().join("first-has-it");
    let holds = format!("touch {}; sleep 4; exit 3", marker.display());
    let (second, first) = std::thread::scope(|scope| {
        let first = scope.spawn(|| try_to("1", &holds, "30s"));
        while !marker.exists() {
            assert!(!first.is_finished(), "the first one ended early");
            std::thread::sleep(Duration::from_millis(20));
        }
        (try_to("3", "true", "1s"), first.join().unwrap())
    });
    assert_eq!((first.code, second.code), (1, 1));
    assert!(second.stderr.contains("node 1 is about to stop: datanode roll"), "{}", second.stderr);
    let admin = nodes.cluster.node(1).ports().admin.to_string();
    json(&["drain", "--undo", "--endpoints", &admin]);
    nodes.stop().await;
}

#[test]
fn nonsense_is_bad_usage() {
    let none = run(&["roll", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(none.code, 2, "a command is needed: {}", none.stderr);
    let gone = run(&["roll", "--exec", "true", "--endpoints", "127.0.0.1:1"]);
    assert_eq!(gone.code, 3, "{}", gone.stderr);
}

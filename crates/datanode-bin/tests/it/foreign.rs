//! Programs of other people against three real nodes: a stock Python client
//! that knows nothing but reflection, and Prometheus' checker.
//!
//! `cargo xtask test` provides both and names them in the environment. Without
//! it they are looked for on the path; a machine that lacks them fails.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::fixture::Nodes;

/// The program that `variable` names, or the one that is called so.
pub(crate) fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_python_client_finds_everything_by_reflection() {
    let nodes = Nodes::three(2).await;
    let mut client = Command::new(program("DATANODE_TEST_PYTHON", "python3"));
    client
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/client.py"))
        .arg(nodes.partitions[1].to_string())
        .arg(nodes.cluster.node(2).ports().admin.to_string())
        .args(nodes.clients().split(','));
    let output = tokio::task::spawn_blocking(move || client.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.ends_with("all as the contract says\n"), "{said}");
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_accepts_the_metrics() {
    let nodes = Nodes::three(2).await;
    nodes.client_of(1).put(nodes.partitions[0], "some bytes".into()).await.unwrap();
    let admin = nodes.cluster.node(1).ports().admin;

    let mut http = TcpStream::connect(admin).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    http.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    let (head, metrics) = answer.split_once("\r\n\r\n").unwrap();
    // Prometheus 3 fails a scrape without exactly this.
    let wanted = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(head.to_lowercase().contains(wanted), "{head}");
    for name in [
        "datanode_startup_stage",
        "datanode_startup_stage_duration_seconds",
        "datanode_startup_partitions",
        "datanode_partition_leaders",
        "datanode_election_fence_suppressed_total",
        "datanode_self_led_prelisten_total",
        "datanode_leader_unserved_seconds_total",
        "datanode_raft_apply_lag_entries",
        "datanode_raft_proposals_total",
        "datanode_raft_messages_received_total",
        "datanode_store_fsync_seconds",
        "datanode_store_bytes_written_total",
        "datanode_store_memory_bytes",
        "datanode_store_compaction_pending_bytes",
        "datanode_store_unflushed_bytes",
        "grpc_server_handled_total",
        "grpc_server_handling_seconds",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "no {name}");
    }

    let mut promtool = Command::new(program("DATANODE_TEST_PROMTOOL", "promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    nodes.stop().await;
}

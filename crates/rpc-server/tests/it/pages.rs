//! The admin port's HTTP pages, by plain HTTP/1.1.

use std::net::SocketAddr;

use datanode_proto::v1;
use datanode_proto::v1::node_service_client::NodeServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;
use crate::extents::{content, put};
use crate::probes::Starting;

struct Page {
    code: u16,
    content_type: String,
    body: String,
}

async fn get(address: SocketAddr, path: &str) -> Page {
    let mut stream = TcpStream::connect(address).await.expect("the port is open");
    let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a code");
    let content_type = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-type: ").map(str::to_owned)
        })
        .unwrap_or_default();
    Page { code, content_type, body: body.to_owned() }
}

fn json(page: &Page) -> serde_json::Value {
    assert_eq!(page.content_type, "application/json", "{}", page.body);
    serde_json::from_str(&page.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_starting_node_is_alive_and_not_ready() {
    let node = Starting::begin().await;
    let address = node.admin.local_addr();
    let live = get(address, "/livez").await;
    assert_eq!((live.code, live.body.as_str()), (200, "ok\n"));
    let ready = get(address, "/readyz").await;
    assert_eq!(
        (ready.code, ready.body.as_str()),
        (503, "not ready: in load, 0 partitions block\n")
    );
    let verbose = get(address, "/readyz?verbose").await;
    assert_eq!(verbose.code, 503);
    assert!(verbose.body.starts_with("[-]load running: 0/0 done"), "{}", verbose.body);
    let report = json(&get(address, "/startup").await);
    assert_eq!((&report["stage"], &report["ready"]), (&"load".into(), &false.into()));
    let status = json(&get(address, "/api/v1/status").await);
    assert_eq!((&status["node"]["stage"], &status["ready"]), (&"load".into(), &false.into()));
    assert_eq!(get(address, "/safe-to-stop").await.code, 503);
    assert_eq!(get(address, "/metrics").await.code, 200);
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_blocks_is_named_with_its_reason() {
    let node = Starting::begin().await;
    let address = node.admin.local_addr();
    let unit = startup_gate::UnitSpec::new(partition_types::PartitionId::new(7).expect("above 0"));
    // Loading for ever.
    let loading = tokio::spawn(node.startup.load(
        vec![unit],
        |_| std::future::pending::<Result<(), startup_gate::UnitFault>>(),
        |_, ()| async { Ok(()) },
    ));
    let mut page = get(address, "/readyz?verbose").await;
    for _ in 0..100 {
        if page.body.contains("partition 7") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        page = get(address, "/readyz?verbose").await;
    }
    assert_eq!(page.code, 503);
    assert!(page.body.contains("blocking: partition 7 in load: "), "{}", page.body);
    let short = get(address, "/readyz").await;
    assert_eq!(short.body, "not ready: in load, 1 partitions block\n");
    loading.abort();
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_node_is_ready_until_it_drains() {
    let cluster = Cluster::single(7).await;
    let address = cluster.node(1).admin_address();
    let ready = get(address, "/readyz").await;
    assert_eq!((ready.code, ready.body.as_str()), (200, "ok\n"));
    let verbose = get(address, "/readyz?verbose=1").await;
    assert_eq!(verbose.code, 200);
    for stage in ["[+]load ok", "[+]check ok", "[+]elect ok", "[+]listen ok", "ready\n"] {
        assert!(verbose.body.contains(stage), "{stage} is not in {}", verbose.body);
    }
    let status = json(&get(address, "/api/v1/status").await);
    assert_eq!(status["ready"], true);
    assert_eq!(status["replicas"][0]["partition_id"], 7);
    assert_eq!(status["replicas"][0]["role"], "leader");
    assert_eq!(status["partitions"]["total"], 1);
    let sole = get(address, "/safe-to-stop").await;
    assert_eq!(sole.code, 503);
    assert_eq!(json(&sole)["blockers"][0]["partition_id"], 7);
    assert_eq!(get(address, "/safe-to-stop?node=99").await.code, 404);
    assert_eq!(get(address, "/safe-to-stop?node=x").await.code, 400);

    let mut admin = NodeServiceClient::new(cluster.node(1).admin());
    let drained = admin.drain(v1::DrainRequest { undo: false }).await.expect("drained");
    assert_eq!(drained.into_inner().sole_voters, 1);
    let draining = get(address, "/readyz?verbose").await;
    assert_eq!(draining.code, 503);
    assert!(draining.body.ends_with("not ready: draining\n"), "{}", draining.body);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_for_browsers_and_unknown_ones_are_not_found() {
    let node = Starting::begin().await;
    let address = node.admin.local_addr();
    let page = get(address, "/").await;
    assert_eq!((page.code, page.content_type.as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.body.contains("api/v1/status"));
    for path in ["/nowhere", "/api/v1/nothing", "/readyz/more", "/datanode.v1.Nobody/Get"] {
        assert_eq!(get(address, path).await.code, 404, "{path}");
    }
    // The same path in gRPC's words.
    let mut client =
        tonic_health::pb::health_client::HealthClient::new(crate::cluster::connect(address));
    client.check(tonic_health::pb::HealthCheckRequest::default()).await.expect("gRPC and HTTP");
    let unknown =
        v1::extent_service_client::ExtentServiceClient::new(crate::cluster::connect(address));
    let refused = { unknown }.stat_extent(v1::StatExtentRequest::default()).await;
    assert_eq!(refused.expect_err("not here").code(), tonic::Code::Unimplemented);
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_what_prometheus_takes() {
    let cluster = Cluster::single(7).await;
    put(&mut cluster.node(1).extents(), 7, content(1000)).await;
    let page = get(cluster.node(1).admin_address(), "/metrics").await;
    assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
    let families = parse(&page.body);
    for expected in [
        "datanode_build_info",
        "datanode_ready",
        "datanode_startup_stage",
        "datanode_startup_stage_duration_seconds",
        "datanode_startup_partitions",
        "datanode_partition_leaders",
        "datanode_raft_apply_lag_entries",
        "datanode_peers",
        "grpc_server_handled_total",
        "grpc_server_handling_seconds",
        "process_resident_memory_bytes",
    ] {
        assert!(families.contains(&expected.to_owned()), "{expected} is not in {families:?}");
    }
    for stage in ["load", "check", "elect", "listen", "serving", "draining", "stopped"] {
        let value = if stage == "serving" { 1 } else { 0 };
        let line = format!("datanode_startup_stage{{stage=\"{stage}\"}} {value}");
        assert!(page.body.lines().any(|one| one == line), "{line}");
    }
    assert!(!page.body.contains("partition_id=\""), "no series is made per partition");
    cluster.stop().await;
}

/// Checks the text format, and what `promtool check metrics` checks of names.
/// The families that it has.
fn parse(text: &str) -> Vec<String> {
    let mut families = Vec::new();
    let mut helped = Vec::new();
    let mut current = (String::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a text after the name");
            assert!(!text.trim().is_empty(), "help of {name}");
            helped.push(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind after the name");
            assert!(helped.contains(&name.to_owned()), "{name} has no help");
            assert!(!families.contains(&name.to_owned()), "{name} is there twice");
            check_name(name, kind);
            families.push(name.to_owned());
            current = (name.to_owned(), kind.to_owned());
        } else {
            check_sample(line, &current.0, &current.1);
        }
    }
    families
}

fn check_name(name: &str, kind: &str) {
    assert!(
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        "{name} is no snake case"
    );
    let is_total = name.ends_with("_total");
    match kind {
        // The process collector is the one exception: it sets absolute values.
        "counter" => assert!(is_total, "{name} is a counter without _total"),
        "gauge" => {
            assert!(!is_total || name.starts_with("process_"), "{name} is a gauge with _total");
            assert!(!name.ends_with("_count") && !name.ends_with("_sum"), "{name}");
        }
        "histogram" => assert!(!is_total, "{name}"),
        other => panic!("{name} is a {other}"),
    }
    for abbreviated in ["_ms", "_sec", "_secs", "_millis", "_kb", "_mb"] {
        assert!(!name.ends_with(abbreviated), "{name} abbreviates its unit");
    }
}

fn check_sample(line: &str, family: &str, kind: &str) {
    let name = line.split(['{', ' ']).next().expect("a name");
    let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
    let suffixes: &[&str] = match kind {
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    assert!(suffixes.contains(&suffix), "{line} is no sample of the {kind} {family}");
    let value = line.rsplit(' ').next().expect("a value");
    assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line} has no value");
    let labels = line.find('{').map(|open| &line[open..]);
    assert!(labels.is_none_or(|labels| labels.contains("=\"") && labels.contains("\"}")), "{line}");
}

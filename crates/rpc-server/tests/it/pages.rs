//! The admin port's HTTP pages, by plain HTTP/1.1.

use std::net::SocketAddr;
use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::node_service_client::NodeServiceClient;
use partition_types::PartitionId;
use startup_gate::{NotConfirmed, UnitFault, UnitSpec};
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
    let unit = UnitSpec::new(partition(7));
    // Loading for ever.
    let loading = tokio::spawn(node.startup.load(
        vec![unit],
        |_| std::future::pending::<Result<(), UnitFault>>(),
        |_, ()| async { Ok(()) },
    ));
    let mut page = get(address, "/readyz?verbose").await;
    for _ in 0..100 {
        if page.body.contains("partition 7") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
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
async fn of_many_that_block_a_hundred_are_listed_and_the_rest_is_counted() {
    let node = Starting::begin().await;
    let address = node.admin.local_addr();
    let units: Vec<_> = (1..=250).map(|id| UnitSpec::new(partition(id))).collect();
    let loading = tokio::spawn(node.startup.load(
        units,
        |_| std::future::pending::<Result<(), UnitFault>>(),
        |_, ()| async { Ok(()) },
    ));
    let page = page_with(address, "blocking: and 150 more\n").await;
    assert_eq!(page.body.matches("blocking: partition ").count(), 100, "{}", page.body);
    assert!(page.body.ends_with("not ready: in load, 250 partitions block\n"), "{}", page.body);
    loading.abort();
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_node_lists_what_it_serves_without_and_why() {
    let config = startup_gate::Config {
        elect_timeout: Duration::from_millis(100),
        ..startup_gate::Config::default()
    };
    let Starting { startup, context, admin } = Starting::begin_with(config).await;
    let address = admin.local_addr();
    let units: Vec<_> = [7, 8, 9].map(|id| UnitSpec::new(partition(id))).into();
    let load = |ticket: startup_gate::LoadTicket<PartitionId>| async move {
        match ticket.unit().get() {
            9 => Err(UnitFault::corrupt("block 3 does not match")),
            _ => Ok(()),
        }
    };
    let loaded = startup.load(units, load, |_, ()| async { Ok(()) }).await.expect("loaded");
    let checked = loaded.check(async { Ok(()) }).await.expect("one of three may be bad");
    let confirm = |ask: startup_gate::Confirm<PartitionId>| async move {
        match ask.unit.get() {
            8 => Err(NotConfirmed::pending("no leader: waiting for node 3")),
            _ => Ok(()),
        }
    };
    let elected = checked.elect(drop, confirm).await.expect("8 is waived");
    let (serving, ()) = elected.listen(|_| async { Ok(()) }).await.expect("open");
    context.set_serving(serving.admission());

    let waived = "waived: partition 8 in elect: no leader: waiting for node 3\n";
    let corrupt = "quarantined: partition 9 in load: corrupt: block 3 does not match\n";
    let page = get(address, "/readyz?verbose").await;
    assert_eq!(page.code, 200, "{}", page.body);
    assert!(page.body.contains(waived) && page.body.contains(corrupt), "{}", page.body);
    assert!(page.body.ends_with("\nready\n"), "{}", page.body);
    check_states(address, [("ready", 1), ("waived", 1), ("quarantined", 1)]).await;

    // One more goes bad while the node serves.
    assert!(context.gate().quarantine(&partition(7), UnitFault::failed("a bad disk")));
    let page = get(address, "/readyz?verbose").await;
    let late = "quarantined: partition 7 in serving: failed: a bad disk\n";
    assert_eq!(page.code, 200, "{}", page.body);
    for line in [waived, corrupt, late] {
        assert!(page.body.contains(line), "{line} is not in {}", page.body);
    }
    check_states(address, [("ready", 0), ("waived", 1), ("quarantined", 2)]).await;
    let report = json(&get(address, "/startup").await);
    assert_eq!(report["quarantined"][0]["unit"], "7", "{report}");
    assert_eq!(report["quarantined"][0]["reason"], "failed: a bad disk");

    let down = serving.drain(async {}).await;
    let page = get(address, "/readyz?verbose").await;
    assert_eq!(page.code, 503);
    assert!(page.body.ends_with("[+]notice done\nnot ready: draining\n"), "{}", page.body);
    let down = down.hand_over(async {}).await.close(async {}).await;
    down.flush(async {}).await.unload(async {}).await;
    assert_eq!(get(address, "/readyz").await.body, "not ready: stopped\n");
    admin.close().await;
}

/// The page, once it has this in it.
async fn page_with(address: SocketAddr, text: &str) -> Page {
    let mut page = get(address, "/readyz?verbose").await;
    for _ in 0..1000 {
        if page.body.contains(text) {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        page = get(address, "/readyz?verbose").await;
    }
    panic!("{text:?} never is in {}", page.body);
}

async fn check_states(address: SocketAddr, states: [(&str, usize); 3]) {
    let metrics = get(address, "/metrics").await.body;
    for (state, count) in states {
        let line = format!("datanode_startup_partitions{{state=\"{state}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

fn partition(id: u64) -> PartitionId {
    PartitionId::new(id).expect("above 0")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_of_a_start_is_there_from_the_first_scrape_on() {
    let node = Starting::begin().await;
    let address = node.admin.local_addr();
    let page = get(address, "/metrics").await;
    parse(&page.body);
    let mut series = vec![
        "datanode_partition_leaders 0".to_owned(),
        "datanode_leader_unserved_seconds_total 0".to_owned(),
        "datanode_startup_stage{stage=\"load\"} 1".to_owned(),
        "datanode_startup_partitions{state=\"loading\"} 0".to_owned(),
        "datanode_startup_partitions{state=\"quarantined\"} 0".to_owned(),
    ];
    for stage in ["check", "elect", "listen"] {
        series.push(format!("datanode_startup_stage{{stage=\"{stage}\"}} 0"));
        series.push(format!("datanode_startup_stage_duration_seconds{{stage=\"{stage}\"}} 0"));
    }
    for line in series {
        assert!(page.body.lines().any(|one| one == line), "{line} is not in {}", page.body);
    }
    // Counters of the process: other nodes of it may have counted.
    let mut counters = vec!["datanode_self_led_prelisten_total ".to_owned()];
    for path in ["vote", "pre_vote", "transfer", "trigger", "initialize"] {
        counters.push(format!("datanode_election_fence_suppressed_total{{path=\"{path}\"}} "));
    }
    for counter in counters {
        let there = page.body.lines().any(|one| one.starts_with(&counter));
        assert!(there, "{counter} is not in {}", page.body);
    }
    // The stage that runs has its time so far.
    let load_seconds = |body: &str| -> f64 {
        let name = "datanode_startup_stage_duration_seconds{stage=\"load\"} ";
        let value = body.lines().find_map(|line| line.strip_prefix(name));
        value.expect("it is there").parse().expect("a number")
    };
    let before = load_seconds(&page.body);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let after = load_seconds(&get(address, "/metrics").await.body);
    assert!(before > 0.0 && after >= before + 0.02 && after < 60.0, "{before} {after}");
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_histogram_has_the_buckets_of_a_disk_and_of_a_lost_quorum() {
    let cluster = Cluster::single(7).await;
    let body = get(cluster.node(1).admin_address(), "/metrics").await.body;
    let histograms: Vec<_> = body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram"))
        .collect();
    for name in ["grpc_server_handling_seconds", "datanode_store_fsync_seconds"] {
        assert!(histograms.contains(&name), "{name} is not in {histograms:?}");
    }
    for name in histograms {
        for bound in ["0.0001", "0.00025", "10", "+Inf"] {
            let bucket = format!("le=\"{bound}\"");
            let there = body.lines().any(|line| {
                line.starts_with(&format!("{name}_bucket{{")) && line.contains(&bucket)
            });
            assert!(there, "{name} has no {bucket} in {body}");
        }
    }
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

//! Taking a node out of service by order, and back, and down from there.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datanode_client::{Client, PartitionId};
use datanode_proto::v1;
use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fixture::{Nodes, eventually, json, run};
use crate::node::{Node, Place, datanode, http, http_status, is_open};

const PARTITIONS: u64 = 6;
const SOON: Duration = Duration::from_secs(20);

/// `datanode drain` of one node, as JSON.
fn drain(admin: &str, arguments: &[&str]) -> serde_json::Value {
    json(&[&["drain", "--endpoints", admin], arguments].concat())
}

fn leaders(admin: &str) -> u64 {
    let rows = json(&["status", "--endpoints", admin]);
    let row = rows.as_array().unwrap().iter().find(|row| row["endpoint"] == admin).unwrap();
    row["leaders"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_not_ready_leads_nothing_and_forwards_until_it_is_taken_back() {
    let nodes = Nodes::three(PARTITIONS).await;
    let ports = *nodes.cluster.node(1).ports();
    let admin = ports.admin.to_string();
    eventually("its share", || leaders(&admin) == PARTITIONS / 3).await;
    let mut watch = watch_health(&admin);

    let drained = drain(&admin, &["--wait"]);
    assert_eq!((&drained["leaders_before"], &drained["leaders_after"]), (&2.into(), &0.into()));
    let page = http(ports.admin, "/readyz").unwrap();
    assert!(page.contains("503") && page.contains("draining"), "{page}");
    assert_eq!(http_status(ports.admin, "/livez"), Some(200));
    assert_ne!(run(&["healthcheck", "--endpoints", &admin]).code, 0);
    let status = json(&["status", "--endpoints", &admin]);
    assert_eq!((&status[0]["stage"], &status[0]["ready"]), (&"draining".into(), &false.into()));
    assert!(http(ports.admin, "/metrics").unwrap().contains("datanode_partition_leaders 0"));
    watch.expect("NOT_SERVING").await;

    // Its own port takes everything and sends it on; nothing comes back meanwhile.
    let client = nodes.client_of(1);
    for id in &nodes.partitions {
        let stored = client.put(*id, "by way of node 1".into()).await.unwrap();
        let back = client.read(*id, stored.extent_id).collect().await.unwrap();
        assert_eq!(back, "by way of node 1");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(leaders(&admin), 0);
    let again = drain(&admin, &["--wait"]);
    assert_eq!(again["leaders_before"], 0, "it is drained already");

    drain(&admin, &["--undo"]);
    assert_eq!(http_status(ports.admin, "/readyz"), Some(200));
    watch.expect("SERVING").await;
    eventually("its share again", || leaders(&admin) == PARTITIONS / 3).await;
    drain(&admin, &["--undo"]);
    assert_eq!(http_status(ports.admin, "/readyz"), Some(200));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_goes_down_in_order() {
    let mut nodes = Nodes::three(PARTITIONS).await;
    let admin = nodes.cluster.node(2).ports().admin.to_string();
    let client = nodes.client_of(1);
    let id = nodes.partitions[0];
    let stored = client.put(id, "kept".into()).await.unwrap();
    drain(&admin, &["--wait"]);
    let node = nodes.cluster.node_mut(2);
    // Exits with 0, or this fails.
    node.terminate(SOON).await.unwrap();
    node.spawn().unwrap();
    node.wait_listening(SOON).await.unwrap();
    eventually("it takes part again", || leaders(&admin) == PARTITIONS / 3).await;
    let back = nodes.client_of(2).read(id, stored.extent_id).collect().await.unwrap();
    assert_eq!(back, "kept");
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_notice_neither_a_drain_nor_its_end() {
    let nodes = Nodes::three(PARTITIONS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|at| tokio::spawn(write(nodes.client(), nodes.partitions.clone(), at, stop.clone())))
        .collect();
    let admins: Vec<String> = nodes.admins().split(',').map(str::to_owned).collect();
    for admin in &admins {
        assert_eq!(drain(admin, &["--wait"])["leaders_after"], 0);
        drain(admin, &["--undo"]);
        eventually("its share again", || leaders(admin) > 0).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("no write failed");
    }
    assert!(written > 30, "{written} writes prove nothing");
    nodes.stop().await;
}

/// Puts until it is told to stop; each put must succeed. How many there were.
async fn write(
    client: Client,
    partitions: Vec<PartitionId>,
    at: usize,
    stop: Arc<AtomicBool>,
) -> usize {
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        let id = partitions[(written + at) % partitions.len()];
        client.put(id, vec![at as u8; 1000].into()).await.unwrap();
        written += 1;
    }
    written
}

fn spawn_drain(place: &Place) -> Child {
    let mut command = datanode();
    command.args(["drain", "-o", "json", "--endpoints", &place.admin.to_string()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn with_notice(place: &Place, notice: &str) -> Command {
    let mut command = place.serve();
    command.args(["--set", &format!("shutdown.notice={notice}")]);
    command
}

fn until_not_ready(place: &Place) {
    let since = Instant::now();
    while http_status(place.admin, "/readyz") != Some(503) {
        assert!(since.elapsed() < SOON, "readiness goes off at once");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_drain_can_be_called_off_during_its_notice() {
    let place = Place::new();
    let node = Node::spawn(with_notice(&place, "60s")).ready(place.admin);
    let mut waiting = spawn_drain(&place);
    until_not_ready(&place);
    assert!(is_open(place.client));
    let began = Instant::now();
    drain(&place.admin.to_string(), &["--undo"]);
    assert_eq!(http_status(place.admin, "/readyz"), Some(200));
    assert!(waiting.wait().unwrap().success(), "it is told, too");
    assert!(began.elapsed() < Duration::from_secs(30));
    node.terminate();
    node.terminate();
    drop(node);
}

#[test]
fn a_signal_during_a_drain_goes_on_from_there() {
    let place = Place::new();
    let node = Node::spawn(with_notice(&place, "2s")).ready(place.admin);
    let waiting = spawn_drain(&place);
    until_not_ready(&place);
    node.terminate();
    let since = Instant::now();
    let undo =
        run(&["drain", "--undo", "--timeout", "1s", "--endpoints", &place.admin.to_string()]);
    assert_ne!(undo.code, 0, "a node on its way down does not come back");
    let ended = node.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(since.elapsed() < SOON);
    let told = waiting.wait_with_output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_not_end_is_cut_off_at_the_deadline_and_nothing_is_lost() {
    let place = Place::new();
    let mut serve = place.serve();
    serve.args(["--set", "shutdown.timeout=2s"]);
    let node = Node::spawn(serve).ready(place.admin);
    let client = Client::new([place.client.to_string()], Default::default()).unwrap();
    let id = PartitionId::new(1).unwrap();
    let content: Vec<u8> = (0..8_000_000u32).map(|at| (at * 11 % 241) as u8).collect();
    let file = place.dir.path().join("file");
    std::fs::write(&file, &content).unwrap();
    let stored = client.upload_file(id, &file).await.unwrap();

    // A reader that takes its first bytes and no more holds the port open.
    let mut stalled = ExtentServiceClient::new(connect(&place.client.to_string()));
    let request = v1::ReadExtentRequest {
        partition_id: 1,
        extent_id: stored.extent_id.get(),
        ..v1::ReadExtentRequest::default()
    };
    let mut frames = stalled.read_extent(request).await.unwrap().into_inner();
    frames.message().await.unwrap().expect("the first bytes");
    node.terminate();
    let ended = tokio::task::spawn_blocking(|| node.ended()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("shutdown.timeout"), "{}", ended.stderr);
    drop(frames);

    let node = place.start();
    let back = client.read(id, stored.extent_id).collect().await.unwrap();
    assert!(back == content);
    node.terminate();
    assert!(node.ended().status.success());
}

#[test]
fn systemd_hears_of_the_way_down_only() {
    let place = Place::new();
    let path = place.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut serve = place.serve();
    serve.env("NOTIFY_SOCKET", &path);
    let node = Node::spawn(serve).ready(place.admin);
    let mut told = String::new();
    let mut hear = || {
        let mut buffer = [0; 4096];
        while let Ok(len) = socket.recv(&mut buffer) {
            told.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
            told.push('\n');
        }
        told.clone()
    };
    let admin = place.admin.to_string();
    drain(&admin, &[]);
    drain(&admin, &["--undo"]);
    drain(&admin, &[]);
    let heard = hear();
    assert!(heard.contains("STATUS=draining"), "{heard}");
    assert!(!heard.contains("STOPPING=1"), "it would be ended after its time: {heard}");
    node.terminate();
    assert!(node.ended().status.success());
    assert!(hear().contains("STOPPING=1"));
}

fn connect(address: &str) -> Channel {
    Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy()
}

/// Follows the health of a node as a load balancer does.
struct Watch {
    statuses: tokio::sync::mpsc::UnboundedReceiver<String>,
}

fn watch_health(admin: &str) -> Watch {
    let (told, statuses) = tokio::sync::mpsc::unbounded_channel();
    let mut client = HealthClient::new(connect(admin));
    tokio::spawn(async move {
        let request = HealthCheckRequest { service: String::new() };
        let mut watch = client.watch(request).await.unwrap().into_inner();
        while let Ok(Some(message)) = watch.message().await {
            let _ = told.send(message.status().as_str_name().to_owned());
        }
    });
    Watch { statuses }
}

impl Watch {
    /// Waits until it is so.
    async fn expect(&mut self, status: &str) {
        let heard = async {
            while let Some(heard) = self.statuses.recv().await {
                if heard == status {
                    return;
                }
            }
            panic!("the watch ended before it was {status}");
        };
        tokio::time::timeout(SOON, heard).await.expect(status);
    }
}

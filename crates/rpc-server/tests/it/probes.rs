//! Health and reflection, as foreign clients use them, on both ports; and the
//! node's own account of itself.

use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::node_service_client::NodeServiceClient;
use datanode_proto::v1::partition_service_client::PartitionServiceClient;
use futures::StreamExt;
use partition_types::PartitionId;
use rpc_server::{AdminPort, Advertise, NodeContext, ServerConfig};
use startup_gate::{Config, Startup, state};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::{v1 as reflection, v1alpha};

use crate::cluster::{Cluster, check, connect, free_address, metrics, value};

const SOON: Duration = Duration::from_secs(10);

/// A node of which only the admin port is open yet.
pub(crate) struct Starting {
    pub(crate) startup: Startup<PartitionId, state::Load>,
    pub(crate) context: NodeContext,
    pub(crate) admin: AdminPort,
}

impl Starting {
    pub(crate) async fn begin() -> Self {
        Self::begin_with(Config::default()).await
    }

    pub(crate) async fn begin_with(gate: Config) -> Self {
        let address = free_address();
        let text = || address.to_string();
        let config = ServerConfig {
            client: address,
            admin: address,
            peer: address,
            advertise: Advertise { client: text(), admin: text(), peer: text() },
            max_message: 1 << 20,
            request_timeout: SOON,
            seeds: Vec::new(),
            cluster_id: "test".parse().expect("a name"),
            node_id: 1.try_into().expect("above 0"),
            version: "1.2.3".to_owned(),
        };
        let startup = Startup::new(gate, Vec::new()).expect("a configuration");
        let context = NodeContext::new(config, startup.handle());
        let admin = AdminPort::open(context.clone(), metrics()).await.expect("a free port");
        Self { startup, context, admin }
    }

    fn channel(&self) -> Channel {
        connect(self.admin.local_addr())
    }
}

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn health(channel: Channel, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(channel);
    client.check(named(service)).await.expect("a known name").into_inner().status()
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> ServingStatus {
    let message = timeout(SOON, watch.message()).await.expect("in time").expect("no error");
    message.expect("the stream is open").status()
}

async fn watch(channel: Channel, service: &str) -> Streaming<HealthCheckResponse> {
    HealthClient::new(channel).watch(named(service)).await.expect("a stream").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_begins_as_not_serving() {
    let node = Starting::begin().await;
    for name in ["", "datanode.v1.ExtentService", "startup.load", "startup.listen"] {
        assert_eq!(health(node.channel(), name).await, ServingStatus::NotServing, "{name:?}");
    }
    let alive = health(node.channel(), "datanode.v1.NodeService").await;
    assert_eq!(alive, ServingStatus::Serving);
    let unknown = HealthClient::new(node.channel()).check(named("nobody")).await;
    assert_eq!(unknown.expect_err("not known").code(), Code::NotFound);
    node.admin.close().await;
}

/// Watchers of all names, each with what it was told last.
struct Watchers(Vec<(&'static str, Streaming<HealthCheckResponse>, ServingStatus)>);

impl Watchers {
    async fn begin(channel: &Channel) -> Self {
        const NAMES: [&str; 9] = [
            "",
            "datanode.v1.ExtentService",
            "datanode.v1.RouteService",
            "datanode.v1.PartitionService",
            "datanode.v1.NodeService",
            "startup.load",
            "startup.check",
            "startup.elect",
            "startup.listen",
        ];
        let mut watchers = Vec::new();
        for name in NAMES {
            let mut stream = watch(channel.clone(), name).await;
            let first = next(&mut stream).await;
            watchers.push((name, stream, first));
        }
        Self(watchers)
    }

    /// The names in `changed` come to `status`, and no other name changes.
    async fn expect(&mut self, changed: &[&str], status: ServingStatus) {
        for (name, stream, last) in &mut self.0 {
            if changed.contains(name) {
                *last = next(stream).await;
                assert_eq!(*last, status, "{name:?}");
            }
        }
        for (name, stream, last) in &mut self.0 {
            let more = timeout(Duration::from_millis(50), stream.message()).await;
            assert!(more.is_err(), "{name:?} was {last:?}, and then {more:?}");
        }
    }

    fn serving(&self) -> Vec<&'static str> {
        let serving = self.0.iter().filter(|(_, _, last)| *last == ServingStatus::Serving);
        serving.map(|(name, ..)| *name).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_turns_serving_at_its_stage_and_the_services_stop_at_a_drain() {
    use ServingStatus::{NotServing, Serving};
    const DATA: [&str; 3] = ["", "datanode.v1.ExtentService", "datanode.v1.RouteService"];
    let Starting { startup, context, admin } = Starting::begin().await;
    let mut watchers = Watchers::begin(&connect(admin.local_addr())).await;
    assert_eq!(watchers.serving(), ["datanode.v1.NodeService"]);
    let none = Vec::<startup_gate::UnitSpec<PartitionId>>::new();
    let loaded = startup.load(none, |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    watchers.expect(&["startup.load"], Serving).await;
    let checked = loaded.expect("loaded").check(async { Ok(()) }).await.expect("checked");
    // Without partitions there is nothing to elect.
    watchers.expect(&["startup.check", "startup.elect"], Serving).await;
    let elected = checked.elect(drop, |_| async { Ok(()) }).await.expect("elected");
    let (serving, ()) = elected.listen(|_| async { Ok(()) }).await.expect("open");
    context.set_serving(serving.admission());
    let open = [&DATA[..], &["datanode.v1.PartitionService", "startup.listen"]].concat();
    watchers.expect(&open, Serving).await;
    assert_eq!(watchers.serving().len(), 9);
    let down = serving.drain(async {}).await;
    watchers.expect(&DATA, NotServing).await;
    let down = down.hand_over(async {}).await.close(async {}).await;
    down.flush(async {}).await.unload(async {}).await;
    watchers.expect(&["datanode.v1.PartitionService"], NotServing).await;
    admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_an_unknown_name_says_so_and_stays_open() {
    let node = Starting::begin().await;
    let mut unknown = watch(node.channel(), "nobody").await;
    assert_eq!(next(&mut unknown).await, ServingStatus::ServiceUnknown);
    assert!(timeout(Duration::from_millis(600), unknown.message()).await.is_err(), "it is open");
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_the_gate_open_and_a_drain() {
    let cluster = Cluster::start(1).await;
    let node = cluster.node(1);
    for channel in [node.admin(), node.client()] {
        for name in ["", "datanode.v1.RouteService", "startup.elect", "startup.listen"] {
            assert_eq!(health(channel.clone(), name).await, ServingStatus::Serving, "{name:?}");
        }
    }
    let mut whole = watch(node.client(), "").await;
    assert_eq!(next(&mut whole).await, ServingStatus::Serving);
    let mut admin = NodeServiceClient::new(node.admin());
    admin.drain(v1::DrainRequest { undo: false }).await.expect("drained");
    assert_eq!(next(&mut whole).await, ServingStatus::NotServing);
    assert_eq!(health(node.admin(), "startup.listen").await, ServingStatus::Serving);
    admin.drain(v1::DrainRequest { undo: true }).await.expect("back");
    assert_eq!(next(&mut whole).await, ServingStatus::Serving);
    drop(whole);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_watched_to_its_end() {
    let node = Starting::begin().await;
    let mut admin = NodeServiceClient::new(node.channel());
    let mut reports = admin.watch_startup(v1::WatchStartupRequest {}).await.expect("a stream");
    let reports = reports.get_mut();
    let first = reports.message().await.expect("no error").expect("the report now");
    assert_eq!(first.report.expect("set").stage(), v1::Stage::Load);
    let none = Vec::<startup_gate::UnitSpec<PartitionId>>::new();
    let loaded = node.startup.load(none, |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    let checked = loaded.expect("loaded").check(async { Ok(()) }).await.expect("checked");
    let elected = checked.elect(drop, |_| async { Ok(()) }).await.expect("elected");
    let (serving, ()) = elected.listen(|_| async { Ok(()) }).await.expect("open");
    let mut last = None;
    while let Some(message) = timeout(SOON, reports.message()).await.expect("in time").expect("ok")
    {
        last = message.report;
    }
    let last = last.expect("it was told of the opening");
    assert_eq!((last.stage(), last.ready), (v1::Stage::Serving, true));
    assert_eq!(last.stages.len(), 4);
    assert!(last.ready_ms.is_some() && !last.critical_path.is_empty());
    drop(serving);
    node.admin.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_gate_opens_partitions_are_starting() {
    let node = Starting::begin().await;
    let mut admin = PartitionServiceClient::new(node.channel());
    let listed = admin.list_partitions(v1::ListPartitionsRequest::default()).await;
    let status = check(listed, Code::Unavailable, "STARTING");
    assert_eq!(value(&status, "stage").as_deref(), Some("load"));
    let created = admin.create_partition(v1::CreatePartitionRequest::default()).await;
    check(created, Code::Unavailable, "STARTING");
    let mut admin = NodeServiceClient::new(node.channel());
    let safe = admin.safe_to_stop(v1::SafeToStopRequest::default()).await;
    check(safe, Code::Unavailable, "STARTING");
    check(admin.drain(v1::DrainRequest { undo: false }).await, Code::Unavailable, "STARTING");
    let status = admin.get_status(v1::GetStatusRequest {}).await.expect("always").into_inner();
    assert!(!status.ready && !status.draining);
    let local = status.node.expect("set");
    assert_eq!((local.stage(), local.version.as_str()), (v1::Stage::Load, "1.2.3"));
    assert!(node.context.host().is_none());
    node.admin.close().await;
}

/// The services that reflection lists, asked in both versions.
async fn listed(channel: Channel) -> [Vec<String>; 2] {
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(reflection::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let asked = client.server_reflection_info(futures::stream::iter([request])).await;
    let mut answers = asked.expect("v1").into_inner();
    let answer = answers.next().await.expect("an answer").expect("no error").message_response;
    let Some(reflection::server_reflection_response::MessageResponse::ListServicesResponse(new)) =
        answer
    else {
        panic!("{answer:?}")
    };

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let asked = client.server_reflection_info(futures::stream::iter([request])).await;
    let mut answers = asked.expect("v1alpha").into_inner();
    let answer = answers.next().await.expect("an answer").expect("no error").message_response;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(old)) =
        answer
    else {
        panic!("{answer:?}")
    };
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    [
        sorted(new.service.into_iter().map(|service| service.name).collect()),
        sorted(old.service.into_iter().map(|service| service.name).collect()),
    ]
}

/// Whether reflection has the file that declares a symbol.
async fn has_symbol(channel: Channel, symbol: &str) -> bool {
    let request = reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            reflection::server_reflection_request::MessageRequest::FileContainingSymbol(
                symbol.to_owned(),
            ),
        ),
    };
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel);
    let asked = client.server_reflection_info(futures::stream::iter([request])).await;
    let answer = asked.expect("v1").into_inner().next().await.expect("an answer");
    answer.is_ok_and(|answer| {
        matches!(
            answer.message_response,
            Some(reflection::server_reflection_response::MessageResponse::FileDescriptorResponse(
                _
            ))
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_each_port_serves() {
    let cluster = Cluster::start(1).await;
    let common = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];
    let node = cluster.node(1);
    let ports = [
        (node.client(), ["datanode.v1.ExtentService", "datanode.v1.RouteService"]),
        (node.admin(), ["datanode.v1.NodeService", "datanode.v1.PartitionService"]),
    ];
    for (channel, own) in ports {
        let expected = [&own[..], &common].concat();
        assert_eq!(listed(channel.clone()).await, [expected.clone(), expected]);
        for symbol in ["google.rpc.ErrorInfo", "google.rpc.BadRequest", own[0], common[0]] {
            assert!(has_symbol(channel.clone(), symbol).await, "{symbol}");
        }
        assert!(!has_symbol(channel, "datanode.v1.NoSuchThing").await);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_whether_it_may_go() {
    let cluster = Cluster::start(3).await;
    cluster.create(7, &[1, 2, 3]).await;
    let ask = |asked: u64, node_id| {
        let mut admin = NodeServiceClient::new(cluster.node(asked).admin());
        async move { admin.safe_to_stop(v1::SafeToStopRequest { node_id, hold: None }).await }
    };
    for (asked, node_id) in [(1, 0), (1, 2), (2, 3)] {
        let answer = ask(asked, node_id).await.expect("an answer").into_inner();
        assert!(answer.safe && answer.blockers.is_empty(), "{answer:?}");
    }
    check(ask(1, 99).await, Code::NotFound, "NODE_NOT_FOUND");
    cluster.create(8, &[2]).await;
    cluster.create(9, &[2, 3]).await;
    let answer = ask(1, 2).await.expect("an answer").into_inner();
    let blocked: Vec<u64> = answer.blockers.iter().map(|one| one.partition_id).collect();
    assert_eq!((answer.safe, blocked), (false, vec![8, 9]));
    assert!(ask(1, 1).await.expect("an answer").into_inner().safe);

    let status = NodeServiceClient::new(cluster.node(2).admin());
    let status = { status }.get_status(v1::GetStatusRequest {}).await.expect("always").into_inner();
    assert!(status.ready);
    assert_eq!((status.partitions_total, status.partitions_quarantined), (3, 0));
    assert!(status.leaders >= 1);
    assert_eq!(status.peers.iter().map(|peer| peer.node_id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(status.disks.len(), 1);
    assert!(status.disks[0].total_bytes > status.disks[0].available_bytes);
    cluster.stop().await;
}

//! Nodes as the program wires them, without the program.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use datanode_proto::v1::partition_service_client::PartitionServiceClient;
use datanode_proto::v1::route_service_client::RouteServiceClient;
use partition_store::{DiskConfig, Store, StoreConfig};
use partition_types::{Member, NodeId, PartitionId};
use raft_glue::{HostConfig, PartitionHost};
use rpc_server::{
    AdminPort, Advertise, ClientPort, ClientPortServing, Metrics, NodeContext, Order, PeerPort,
    PeerTransport, ServerConfig,
};
use startup_gate::{Config as GateConfig, Serving, Startup, UnitSpec};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The largest data of a message in these tests.
pub(crate) const MAX_MESSAGE: usize = 256 * 1024;
/// What callers of these tests get when they say nothing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// One node with all its ports open.
pub(crate) struct Node {
    pub(crate) host: PartitionHost,
    config: ServerConfig,
    store: Store,
    admin: AdminPort,
    peer: PeerPort,
    client: ClientPortServing,
    owner: JoinHandle<()>,
}

/// Nodes that know each other.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    _dir: TempDir,
}

impl Cluster {
    /// Starts `count` empty nodes.
    pub(crate) async fn start(count: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let peers: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
        let mut nodes = Vec::new();
        for (id, peer) in (1..).zip(&peers) {
            let seeds = peers.iter().filter(|seed| *seed != peer).map(SocketAddr::to_string);
            let path = dir.path().join(id.to_string());
            nodes.push(Node::start(id, *peer, seeds.collect(), path).await);
        }
        Self { nodes, _dir: dir }
    }

    /// One node with one partition of one replica.
    pub(crate) async fn single(partition_id: u64) -> Self {
        let cluster = Self::start(1).await;
        cluster.create(partition_id, &[1]).await;
        cluster
    }

    /// Creates a partition on these nodes and waits for its leader.
    pub(crate) async fn create(&self, partition_id: u64, node_ids: &[u64]) {
        let replicas = node_ids.iter().map(|node_id| {
            let config = &self.node(*node_id).config;
            v1::PartitionReplica {
                node_id: *node_id,
                peer_address: config.advertise.peer.clone(),
                client_address: config.advertise.client.clone(),
                admin_address: config.advertise.admin.clone(),
            }
        });
        let request = v1::CreatePartitionRequest { partition_id, replicas: replicas.collect() };
        self.nodes[0].partitions().create_partition(request).await.expect("a new partition");
        let led = || {
            let id = PartitionId::new(partition_id).expect("above 0");
            let leads = |node: &Node| node.host.get(id).is_some_and(|group| group.is_leader());
            self.nodes.iter().any(leads)
        };
        eventually("a leader", led).await;
    }

    /// The node with this id.
    pub(crate) fn node(&self, node_id: u64) -> &Node {
        let index = usize::try_from(node_id - 1).expect("small");
        &self.nodes[index]
    }

    /// The id of the node that leads a partition.
    pub(crate) fn leader(&self, partition_id: u64) -> u64 {
        self.leader_now(partition_id).expect("somebody leads")
    }

    /// Likewise, while the leadership may be moving.
    pub(crate) fn leader_now(&self, partition_id: u64) -> Option<u64> {
        let id = PartitionId::new(partition_id).expect("above 0");
        let leads = |node: &&Node| node.host.get(id).is_some_and(|group| group.is_leader());
        self.nodes.iter().find(leads).map(|node| node.config.node_id.get())
    }

    /// Stops every node.
    pub(crate) async fn stop(self) {
        for node in self.nodes {
            node.stop().await;
        }
    }
}

impl Node {
    async fn start(
        id: u64,
        peer: SocketAddr,
        seeds: Vec<String>,
        path: std::path::PathBuf,
    ) -> Self {
        let client = ClientPort::bind(free_address()).expect("a free port");
        let config = ServerConfig {
            client: client.local_addr(),
            admin: free_address(),
            peer,
            advertise: Advertise {
                client: client.local_addr().to_string(),
                admin: String::new(),
                peer: peer.to_string(),
            },
            max_message: MAX_MESSAGE,
            request_timeout: REQUEST_TIMEOUT,
            seeds,
            cluster_id: "test".parse().expect("a name"),
            node_id: NodeId::new(id).expect("above 0"),
            version: "0.0.0".to_owned(),
        };
        let config = ServerConfig {
            advertise: Advertise { admin: config.admin.to_string(), ..config.advertise },
            ..config
        };
        let startup = Startup::new(GateConfig::default(), Vec::new()).expect("a configuration");
        let context = NodeContext::new(config.clone(), startup.handle());
        let admin = AdminPort::open(context.clone(), metrics()).await.expect("a port");
        let store = Store::open(StoreConfig {
            cluster_id: config.cluster_id.clone(),
            node_id: config.node_id,
            disks: vec![DiskConfig { path, reserve_bytes: 0 }],
            accept_lost_disk: false,
            inject_load_delay: Vec::new(),
        })
        .expect("a store");
        let local = Member {
            incarnation: store.incarnation(),
            peer_address: config.advertise.peer.clone(),
            client_address: config.advertise.client.clone(),
            admin_address: config.advertise.admin.clone(),
        };
        let host_config = HostConfig {
            heartbeat_interval: Duration::from_millis(50),
            election_timeout: (Duration::from_millis(300), Duration::from_millis(600)),
            // A leadership moves where a test moves it.
            hand_back_rate: 0,
            ..HostConfig::new(config.node_id, local)
        };
        let transport = PeerTransport::new(&context, store.incarnation());
        let host = PartitionHost::new(host_config, store.clone(), transport.clone());
        context.set_loaded(store.clone(), host.clone());
        let peer = PeerPort::open(context.clone(), transport).await.expect("a port");
        let (serving, client) = open(startup, &host, client, context.clone()).await;
        context.set_serving(serving.admission());
        let owner = tokio::spawn(own(serving, host.clone(), context.take_orders()));
        Self { host, config, store, admin, peer, client, owner }
    }

    /// ExtentService of its client port.
    pub(crate) fn extents(&self) -> ExtentServiceClient<Channel> {
        ExtentServiceClient::new(connect(self.client.local_addr()))
    }

    /// ExtentService of its peer port.
    pub(crate) fn peer_extents(&self) -> ExtentServiceClient<Channel> {
        ExtentServiceClient::new(connect(self.config.peer))
    }

    /// RouteService of its client port.
    pub(crate) fn routes(&self) -> RouteServiceClient<Channel> {
        RouteServiceClient::new(connect(self.client.local_addr()))
    }

    /// PartitionService of its admin port.
    pub(crate) fn partitions(&self) -> PartitionServiceClient<Channel> {
        PartitionServiceClient::new(self.admin())
    }

    /// Its client port.
    pub(crate) fn client(&self) -> Channel {
        connect(self.client.local_addr())
    }

    /// What its peers dial.
    pub(crate) fn peer_address(&self) -> &str {
        &self.config.advertise.peer
    }

    /// Its admin port.
    pub(crate) fn admin(&self) -> Channel {
        connect(self.admin.local_addr())
    }

    /// Where its admin port listens.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    /// What Prometheus scrapes.
    pub(crate) async fn metrics_page(&self) -> String {
        let mut stream = TcpStream::connect(self.admin.local_addr()).await.expect("it listens");
        let request = b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("a page");
        page
    }

    /// What clients dial.
    pub(crate) fn client_address(&self) -> &str {
        &self.config.advertise.client
    }

    /// Goes down in order.
    pub(crate) async fn stop(self) {
        self.owner.abort();
        tokio::time::timeout(Duration::from_secs(10), self.client.close())
            .await
            .expect("the port closes when its calls are done");
        self.host.shutdown().await;
        self.peer.close().await;
        self.admin.close().await;
        let store = self.store;
        tokio::task::spawn_blocking(move || store.close())
            .await
            .expect("no panic")
            .expect("closed");
    }
}

/// Carries out what operators order, one after the other.
async fn own(
    mut serving: Serving<PartitionId>,
    host: PartitionHost,
    mut orders: mpsc::Receiver<Order>,
) {
    loop {
        let mut answer = match orders.recv().await.expect("the context holds the sender") {
            Order::Drain(answer) => answer,
            Order::Undrain(answer) => {
                answer.send(()).expect("it is waited for");
                continue;
            }
        };
        let mut outcome = Default::default();
        let down = serving.drain(async {}).await;
        let down = down.hand_over(async { outcome = host.drain().await }).await;
        serving = loop {
            answer.send(outcome).expect("it is waited for");
            match orders.recv().await.expect("the context holds the sender") {
                Order::Drain(next) => (answer, outcome) = (next, host.drain().await),
                Order::Undrain(answer) => {
                    host.undrain();
                    let serving = down.resume();
                    answer.send(()).expect("it is waited for");
                    break serving;
                }
            }
        };
    }
}

/// An empty node climbs through its stages.
async fn open(
    startup: Startup<PartitionId, startup_gate::state::Load>,
    host: &PartitionHost,
    client: ClientPort,
    context: NodeContext,
) -> (Serving<PartitionId>, ClientPortServing) {
    let none = Vec::<UnitSpec<PartitionId>>::new();
    let loaded = startup.load(none, |_| async { Ok(()) }, |_, ()| async { Ok(()) });
    let checked = loaded.await.expect("nothing to load").check(async { Ok(()) });
    let unfencer = host.clone();
    let elected = checked
        .await
        .expect("nothing to check")
        .elect(move |right| unfencer.unfence(right), |_| async { Ok(()) });
    let host = host.clone();
    let listening = elected.await.expect("nothing to elect").listen(move |right| async move {
        let port = client.listen(right, context)?;
        host.set_serving(true);
        Ok(port)
    });
    listening.await.expect("the port opens")
}

/// One recorder for all nodes of the process.
pub(crate) fn metrics() -> Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| Metrics::install().expect("the first recorder")).clone()
}

/// An address that nobody else gets: it stays bound, not listening, until the
/// process ends, in the way that lets the node itself bind it too.
pub(crate) fn free_address() -> SocketAddr {
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    RESERVED.lock().expect("no panic inside").push(socket);
    address
}

pub(crate) fn connect(address: SocketAddr) -> Channel {
    Endpoint::try_from(format!("http://{address}")).expect("an address").connect_lazy()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in ten seconds: {what}");
}

/// The reason of an error.
pub(crate) fn reason(status: &Status) -> String {
    let info =
        status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "datanode");
    info.reason
}

/// A value of an error's metadata.
pub(crate) fn value(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.get(key).cloned()
}

/// Checks an error's code and reason.
#[track_caller]
pub(crate) fn check<T: std::fmt::Debug>(
    result: Result<T, Status>,
    code: Code,
    word: &str,
) -> Status {
    let status = result.expect_err(word);
    assert_eq!((status.code(), reason(&status).as_str()), (code, word), "{status:?}");
    status
}

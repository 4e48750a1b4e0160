//! Nodes that talk over real loopback sockets, with stand-ins for their groups.

mod links;
mod messages;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1::peer_service_server::PeerServiceServer;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;
use partition_types::{Incarnation, LogId, Member, NodeId, PartitionId, Reason, Vote};
use raft_glue::{
    AppendReply, RaftReply, RaftRequest, Refusal, SnapshotHeader, Transport, TransportError,
};
use startup_gate::{Config, Startup, state};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;

use super::groups::Groups;
use super::link::Sighting;
use super::service::Service;
use super::{Guard, PeerTransport, message_len_max, server};
use crate::{Advertise, NodeContext, ServerConfig};

const MAX_MESSAGE: usize = 4 << 20;
/// Longer than anything that goes well takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(10);

fn node_id(id: u64) -> NodeId {
    NodeId::new(id).expect("above 0")
}

fn partition_id(id: u64) -> PartitionId {
    PartitionId::new(id).expect("above 0")
}

fn log_id(index: u64) -> LogId {
    LogId { term: 3, leader: Some(node_id(1)), index }
}

/// The chunks of a snapshot, or how it broke.
type Received = Result<Vec<Bytes>, String>;

/// Groups that note what came and answer by rule.
#[derive(Default)]
struct Recorder {
    came: Mutex<Vec<(NodeId, PartitionId, RaftRequest)>>,
    snapshots: Arc<Mutex<Vec<Received>>>,
}

impl Groups for Recorder {
    /// A read index is answered with the partition's id, smaller ids later;
    /// appends succeed; votes are refused; a transfer is never answered.
    fn handle(
        &self,
        from: NodeId,
        partition_id: PartitionId,
        request: RaftRequest,
    ) -> BoxFuture<'static, Result<RaftReply, Refusal>> {
        self.came.lock().push((from, partition_id, request.clone()));
        Box::pin(async move {
            match request {
                RaftRequest::ReadIndex => {
                    let index = partition_id.get();
                    sleep(Duration::from_millis(50_u64.saturating_sub(index))).await;
                    Ok(RaftReply::ReadIndex { read: Some(log_id(index)) })
                }
                RaftRequest::Append { .. } => Ok(RaftReply::Append(AppendReply::Success)),
                RaftRequest::Transfer { .. } => std::future::pending().await,
                RaftRequest::Vote { .. } | RaftRequest::PreVote { .. } => {
                    Err(Refusal { reason: Reason::Quarantined, message: "bad copy".to_owned() })
                }
            }
        })
    }

    fn receive_snapshot(
        &self,
        _from: NodeId,
        header: SnapshotHeader,
        mut chunks: BoxStream<'static, io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, Refusal>> {
        let snapshots = Arc::clone(&self.snapshots);
        Box::pin(async move {
            let mut all = Vec::new();
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(chunk) => all.push(chunk),
                    Err(error) => {
                        let message = error.to_string();
                        snapshots.lock().push(Err(message.clone()));
                        return Err(Refusal { reason: Reason::Internal, message });
                    }
                }
            }
            snapshots.lock().push(Ok(all));
            Ok(header.vote)
        })
    }
}

/// Who a node says it is.
#[derive(Clone, Copy)]
struct Identity {
    id: u64,
    life: u8,
    cluster: &'static str,
}

impl Identity {
    fn new(id: u64) -> Self {
        Self { id, life: u8::try_from(id).expect("a small id"), cluster: "test" }
    }
}

/// A node without groups: a peer port and a transport.
struct Node {
    identity: Identity,
    address: SocketAddr,
    context: NodeContext,
    transport: Arc<PeerTransport>,
    groups: Arc<Recorder>,
    /// Peers that came up, as the transport told.
    seen: mpsc::UnboundedReceiver<Sighting>,
    closing: CancellationToken,
    server: JoinHandle<()>,
    _startup: Startup<PartitionId, state::Load>,
}

impl Node {
    /// On any free port.
    async fn start(identity: Identity, seeds: &[SocketAddr]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(any, identity, seeds).await
    }

    async fn start_at(address: SocketAddr, identity: Identity, seeds: &[SocketAddr]) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let startup = Startup::new(Config::default(), Vec::new()).expect("the defaults are good");
        let context = NodeContext::new(config(identity, address, seeds), startup.handle());
        let incarnation = Incarnation::from_bytes([identity.life; 16]);
        let transport = PeerTransport::new(&context, incarnation);
        let groups = Arc::new(Recorder::default());
        let closing = CancellationToken::new();
        let service = Service::new(
            context.clone(),
            transport.links().clone(),
            Arc::clone(&groups) as Arc<dyn Groups>,
            closing.clone(),
        );
        let service =
            PeerServiceServer::new(service).max_decoding_message_size(message_len_max(MAX_MESSAGE));
        let serving = server()
            .layer(InterceptorLayer::new(Guard::new(context.peers().clone())))
            .add_service(service)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                closing.clone().cancelled_owned(),
            );
        let server = tokio::spawn(async move { serving.await.expect("the port serves") });
        let seen = transport.start();
        Self {
            identity,
            address,
            context,
            transport,
            groups,
            seen,
            closing,
            server,
            _startup: startup,
        }
    }

    /// As a group would record it.
    fn member(&self) -> Member {
        Member {
            incarnation: Incarnation::from_bytes([self.identity.life; 16]),
            peer_address: self.address.to_string(),
            client_address: String::new(),
            admin_address: String::new(),
        }
    }

    fn id(&self) -> NodeId {
        node_id(self.identity.id)
    }

    /// Calls one group of another node.
    async fn call(
        &self,
        to: &Node,
        partition: u64,
        request: RaftRequest,
        timeout: Duration,
    ) -> Result<RaftReply, TransportError> {
        let member = to.member();
        self.transport.call(to.id(), &member, partition_id(partition), request, timeout).await
    }

    /// Calls until it is connected.
    async fn connect(&self, to: &Node) {
        let until = Instant::now() + SOON;
        while let Err(error) = self.call(to, 50, RaftRequest::ReadIndex, SOON).await {
            assert!(Instant::now() < until, "not connected: {error}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> SocketAddr {
        self.transport.close().await;
        self.closing.cancel();
        self.server.await.expect("the port closes");
        self.address
    }
}

fn config(identity: Identity, peer: SocketAddr, seeds: &[SocketAddr]) -> ServerConfig {
    let unused = SocketAddr::from(([127, 0, 0, 1], 0));
    ServerConfig {
        client: unused,
        admin: unused,
        peer,
        advertise: Advertise {
            client: format!("client-of-{}", identity.id),
            admin: unused.to_string(),
            peer: peer.to_string(),
        },
        max_message: MAX_MESSAGE,
        request_timeout: SOON,
        seeds: seeds.iter().map(ToString::to_string).collect(),
        cluster_id: identity.cluster.parse().expect("a cluster id"),
        node_id: node_id(identity.id),
        version: "0".to_owned(),
    }
}

/// Waits until something is so.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

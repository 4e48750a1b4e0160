//! The admin port: opens first, before anything is loaded, and closes last.
//!
//! One port for all: HTTP/1 and HTTP/2 pages, and gRPC.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use datanode_proto::v1::node_service_server::NodeServiceServer;
use datanode_proto::v1::partition_service_server::PartitionServiceServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::admin::{Metrics, NodeService, PartitionService, http};
use crate::context::NodeContext;
use crate::layer::RequestLayer;
use crate::reflection::{self, Port};
use crate::{health, serve};

/// The largest message: requests here are small.
const MESSAGE_LEN_MAX: usize = 1 << 20;
/// Coordinating a change of replicas takes as long as a learner needs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The admin port while it is open.
pub struct AdminPort {
    address: SocketAddr,
    closing: CancellationToken,
    server: JoinHandle<()>,
}

impl AdminPort {
    /// Opens the port of the node with this context.
    ///
    /// # Errors
    /// When the address cannot be bound, most likely because it is taken.
    ///
    /// # Cancel safety
    /// Dropped, the port is not open.
    pub async fn open(context: NodeContext, metrics: Metrics) -> io::Result<Self> {
        let listener = TcpListener::bind(context.config().admin).await?;
        let address = listener.local_addr()?;
        let closing = CancellationToken::new();
        let pages = http::router(context.clone(), metrics);
        let routes = Routes::from(grpc(context).merge(pages));
        let serving = Server::builder()
            .accept_http1(true)
            .tcp_nodelay(true)
            .max_concurrent_streams(256)
            .http2_max_local_error_reset_streams(Some(1024))
            .http2_max_pending_accept_reset_streams(Some(20))
            .http2_max_header_list_size(16 << 10)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                closing.clone().cancelled_owned(),
            );
        let server = tokio::spawn(async move { serve::log_end("admin", serving.await) });
        Ok(Self { address, closing, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and waits a moment for calls under way.
    ///
    /// # Cancel safety
    /// Dropped half-way, the port goes on closing by itself.
    pub async fn close(self) {
        serve::close(self.closing, self.server).await;
    }
}

/// The gRPC services, each call through the layer that all calls pass.
fn grpc(context: NodeContext) -> axum::Router {
    let layer = RequestLayer::new(REQUEST_TIMEOUT, MESSAGE_LEN_MAX);
    let partitions = PartitionServiceServer::new(PartitionService::new(context.clone()))
        .max_decoding_message_size(MESSAGE_LEN_MAX);
    let node = NodeServiceServer::new(NodeService::new(context.clone()))
        .max_decoding_message_size(MESSAGE_LEN_MAX);
    // Routes of its own would answer any unknown path in gRPC's words.
    Routes::from(axum::Router::new())
        .add_service(partitions)
        .add_service(node)
        .add_service(health::service(context))
        .add_service(reflection::v1(Port::Admin))
        .add_service(reflection::v1alpha(Port::Admin))
        .into_axum_router()
        .layer(layer)
}

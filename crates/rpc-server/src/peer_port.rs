//! The peer port: opens while the node loads, as soon as votes and logs can be
//! read, and closes after the groups have stopped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;

use crate::context::NodeContext;
use crate::extent::{self, Origin};
use crate::layer::RequestLayer;
use crate::peer::{self, PeerTransport};
use crate::serve;

/// The peer port while it is open.
pub struct PeerPort {
    address: SocketAddr,
    transport: Arc<PeerTransport>,
    closing: CancellationToken,
    server: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl PeerPort {
    /// Opens the port, and begins to connect to the peers. The context has its
    /// host by now.
    ///
    /// # Errors
    /// When the address cannot be bound, most likely because it is taken.
    ///
    /// # Cancel safety
    /// Dropped, the port is not open.
    pub async fn open(context: NodeContext, transport: Arc<PeerTransport>) -> io::Result<Self> {
        let listener = TcpListener::bind(context.config().peer).await?;
        let address = listener.local_addr()?;
        let closing = CancellationToken::new();
        let config = context.config();
        let message_len_max = peer::message_len_max(config.max_message);
        let serving = peer::server()
            .layer(RequestLayer::new(config.request_timeout, message_len_max))
            .layer(InterceptorLayer::new(peer::Guard::new(context.peers().clone())))
            .add_service(peer::service(context.clone(), &transport, closing.clone()))
            .add_service(extent::service(context.clone(), Origin::Peer))
            .add_service(extent::stage_service(context.clone()))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                closing.clone().cancelled_owned(),
            );
        let server = tokio::spawn(async move { serve::log_end("peer", serving.await) });
        let keeper = tokio::spawn(peer::keep(context, transport.start()));
        Ok(Self { address, transport, closing, server, keeper })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Closes the connections to the peers and stops listening.
    ///
    /// # Cancel safety
    /// Dropped half-way, connections to peers close; the port may stay open
    /// until the runtime ends.
    pub async fn close(self) {
        self.keeper.abort();
        self.transport.close().await;
        serve::close(self.closing, self.server).await;
    }
}

//! The client port: bound at the very start, listening last.
//!
//! Between the two a connect is refused, and nobody else can take the port. A
//! socket that is bound with SO_REUSEADDR would share its port with any other
//! such socket until one of them listens; so the option is set only where a
//! former life's connections linger (TIME_WAIT), and before listening, so that
//! this life's connections do not keep the next one off.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use startup_gate::ServeRight;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::context::NodeContext;
use crate::extent::{self, Origin};
use crate::layer::RequestLayer;
use crate::reflection::{self, Port};
use crate::{health, limits, route, serve};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The client port, bound and not listening: a connect is refused.
pub struct ClientPort {
    socket: TcpSocket,
    address: SocketAddr,
}

/// The client port, open.
pub struct ClientPortServing {
    address: SocketAddr,
    closing: CancellationToken,
    serving: JoinHandle<()>,
}

impl ClientPort {
    /// Takes the address, so that a taken one fails now and not after loading.
    ///
    /// # Errors
    /// That of bind(2).
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match bind(address, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => bind(address, true)?,
            bound => bound?,
        };
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it will listen.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Begins to listen, and serves until it is closed. Needs a runtime.
    ///
    /// # Errors
    /// That of listen(2).
    pub fn listen(self, right: ServeRight, context: NodeContext) -> io::Result<ClientPortServing> {
        // Taking the right is the proof that the gate let the port open.
        drop(right);
        self.socket.set_reuseaddr(true)?;
        let listener = self.socket.listen(BACKLOG)?;
        let incoming = TcpIncoming::from(listener)
            .with_nodelay(Some(true))
            .with_keepalive(Some(TCP_KEEPALIVE));
        let closing = context.closing().child_token();
        let config = context.config();
        let layer = RequestLayer::new(config.request_timeout, config.max_message)
            .ending_watches_at(closing.clone());
        let server = limits::server()
            .layer(layer)
            .add_service(extent::service(context.clone(), Origin::Client))
            .add_service(route::service(context.clone()))
            .add_service(health::service(context))
            .add_service(reflection::v1(Port::Client))
            .add_service(reflection::v1alpha(Port::Client))
            .serve_with_incoming_shutdown(incoming, closing.clone().cancelled_owned());
        let serving = tokio::spawn(async move { serve::log_end("client", server.await) });
        Ok(ClientPortServing { address: self.address, closing, serving })
    }
}

fn bind(address: SocketAddr, reuse: bool) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(reuse)?;
    socket.bind(address)?;
    Ok(socket)
}

impl ClientPortServing {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, sends GOAWAY, lets what is in flight end, and returns.
    ///
    /// # Cancel safety
    /// Dropped half-way, the port goes on closing by itself.
    pub async fn close(self) {
        self.closing.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "client port failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn a_bound_port_refuses_and_is_taken() {
        let port = ClientPort::bind(ANY).expect("a free port");
        let address = port.local_addr();
        let refused = TcpStream::connect(address).expect_err("it does not listen");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let taken = ClientPort::bind(address).err().expect("another node has it");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_port_that_another_program_serves_is_taken() {
        let other = TcpListener::bind(ANY).expect("a free port");
        let address = other.local_addr().expect("it is bound");
        let taken = ClientPort::bind(address).err().expect("another program has it");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_former_lifes_connections_do_not_keep_it_off() {
        let port = ClientPort::bind(ANY).expect("a free port");
        let address = port.local_addr();
        port.socket.set_reuseaddr(true).expect("an option");
        let listener = port.socket.listen(BACKLOG).expect("it is bound");
        let client = TcpStream::connect(address).expect("it listens");
        let (accepted, _) = listener.accept().await.expect("a client came");
        // Closed here first, the connection lingers on this side.
        drop(accepted);
        drop(listener);
        drop(client);
        ClientPort::bind(address).expect("only lingering connections are there");
    }
}

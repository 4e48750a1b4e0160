//! The client port: bound at the very start, listening last.

use std::io;
use std::net::SocketAddr;

use startup_gate::ServeRight;

use crate::context::NodeContext;

/// The client port, bound and not listening: a connect is refused.
pub struct ClientPort {}

/// The client port, open.
pub struct ClientPortServing {}

impl ClientPort {
    /// Takes the address, so that a taken one fails now and not after loading.
    ///
    /// # Errors
    /// That of bind(2).
    pub fn bind(_address: SocketAddr) -> io::Result<Self> {
        todo!()
    }

    /// Begins to listen and serves until closed.
    ///
    /// # Errors
    /// That of listen(2).
    pub fn listen(self, _right: ServeRight, _context: NodeContext) -> io::Result<ClientPortServing> {
        todo!()
    }
}

impl ClientPortServing {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        todo!()
    }

    /// Stops accepting, sends GOAWAY, lets what is in flight end, and returns.
    ///
    /// # Cancel safety
    /// Dropped half-way, the port goes on closing by itself.
    pub async fn close(self) {
        todo!()
    }
}

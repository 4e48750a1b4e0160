//! The peer port's services and this node's side of talking to its peers.

mod book;
mod transport;

pub use book::PeerBook;
pub use transport::PeerTransport;

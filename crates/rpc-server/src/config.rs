//! What the ports need to know before anything is loaded.

use std::net::SocketAddr;
use std::time::Duration;

use partition_types::{ClusterId, NodeId};

/// Addresses, limits and identity of a node's ports.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the client port listens.
    pub client: SocketAddr,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    /// Where the peer port listens.
    pub peer: SocketAddr,
    /// What others dial.
    pub advertise: Advertise,
    /// The largest `data` of one message, in bytes (`limits.max_message`).
    pub max_message: usize,
    /// The longest a request may take when its caller sets no deadline
    /// (`limits.request_timeout`).
    pub request_timeout: Duration,
    /// Peer addresses of a few other nodes.
    pub seeds: Vec<String>,
    /// Which cluster the node belongs to.
    pub cluster_id: ClusterId,
    /// Which node it is.
    pub node_id: NodeId,
    /// Of the program.
    pub version: String,
}

/// The addresses that others dial, `host:port` each.
#[derive(Debug, Clone)]
pub struct Advertise {
    /// For clients.
    pub client: String,
    /// For operators.
    pub admin: String,
    /// For other nodes.
    pub peer: String,
}

//! Clients that ask one node and know no leader yet: what a node says itself,
//! rather than what the leader says that it names.

use std::sync::Arc;

use datanode_client::{Client, ClientConfig};

/// The client addresses of all nodes.
#[derive(Debug, Clone)]
pub(super) struct Addresses(Arc<[String]>);

impl Addresses {
    pub(super) fn new(addresses: Vec<String>) -> Self {
        Self(addresses.into())
    }

    pub(super) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// A new client of this node. With its first answer about a partition it learns
/// the leader: it is good for one read a partition.
pub(super) fn client_of(address: &str) -> Client {
    Client::new([address], ClientConfig::default()).expect("it is an address")
}

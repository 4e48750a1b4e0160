//! The peer port: opens while the node loads.

/// See the module.
pub struct PeerPort {}

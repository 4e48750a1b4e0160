//! The gRPC and HTTP face of a node: what stands on its three ports.
//!
//! `tonic` and the wire contract stop here; below it are typed commands and
//! outcomes only. The ports open at three moments, and `datanode-bin` drives
//! them: [`AdminPort`] first, [`PeerPort`] while the node loads, [`ClientPort`]
//! last.

mod config;
mod context;
mod orders;

mod admin_port;
mod client_port;
mod peer_port;

mod admin;
mod extent;
mod forward;
mod health;
mod peer;
mod reflection;
mod route;

mod deadline;
mod layer;
mod limits;
mod metric;
mod page;
mod serve;
mod status;

pub use admin::{InstallError, Metrics};
pub use admin_port::AdminPort;
pub use client_port::{ClientPort, ClientPortServing};
pub use config::{Advertise, ServerConfig};
pub use context::NodeContext;
pub use orders::Order;
pub use peer::PeerTransport;
pub use peer_port::PeerPort;

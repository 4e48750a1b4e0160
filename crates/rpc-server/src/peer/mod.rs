//! The peer port's services, and this node's side of talking to its peers.
//!
//! To each peer there is one link. It dials, says `Hello`, and keeps a stream
//! open on which the Raft messages of all groups travel, batched and with
//! replies in any order. Forwarded calls, snapshots and what coordinates
//! partitions go over a second connection.

mod book;
mod find;
mod keeper;
mod routes;

mod channel;
mod hello;
mod identity;
mod lane;
mod link;
mod links;
mod transport;

mod describe;
mod groups;
mod promise;
mod raft_stream;
mod replica;
mod service;
mod snapshot;

mod convert;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datanode_proto::v1::peer_service_server::PeerServiceServer;
use tokio_util::sync::CancellationToken;

use crate::context::NodeContext;

use groups::HostGroups;

pub(crate) use book::PeerBook;
pub(crate) use channel::{message_len_max, server};
pub(crate) use find::NoRoute;
pub(crate) use identity::{Guard, PeerChannel};
pub(crate) use keeper::{keep, stage_to_wire};
pub(crate) use links::introduce;
pub(crate) use promise::{StopPromise, token_from_wire};
pub(crate) use replica::{Replicas, exists};
pub(crate) use service::Service;
pub use transport::PeerTransport;

/// PeerService of the node with this context, until `closing`.
pub(crate) fn service(
    context: NodeContext,
    transport: &Arc<PeerTransport>,
    closing: CancellationToken,
) -> PeerServiceServer<Service> {
    let len_max = message_len_max(context.config().max_message);
    let groups = Arc::new(HostGroups(context.clone()));
    PeerServiceServer::new(Service::new(context, transport.links().clone(), groups, closing))
        .max_decoding_message_size(len_max)
        .max_encoding_message_size(len_max)
}

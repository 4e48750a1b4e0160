//! Who the other nodes are, where they listen, and the routes they told.

use datanode_proto::v1;
use partition_types::{NodeId, PartitionId};
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::config::ServerConfig;

/// The other nodes and their routes. A cheap handle.
#[derive(Clone)]
pub struct PeerBook {}

impl PeerBook {
    /// A book that knows the seeds only.
    pub(crate) fn new(_config: &ServerConfig) -> Self {
        Self {}
    }

    /// Where clients dial a node; this node too.
    pub(crate) fn client_address(&self, _node_id: NodeId) -> Option<String> {
        todo!()
    }

    /// A channel to a node's peer port for forwarded calls: never the one that
    /// carries Raft, so that clients cannot starve heartbeats. Connects lazily.
    pub(crate) fn forward_channel(&self, _node_id: NodeId) -> Option<Channel> {
        todo!()
    }

    /// The route of a partition as peers told it, without asking.
    pub(crate) fn route(&self, _partition_id: PartitionId) -> Option<v1::Route> {
        todo!()
    }

    /// The route of a partition; asks the reachable peers where it is unknown,
    /// once for many callers, and remembers the answer.
    pub(crate) async fn find_route(&self, _partition_id: PartitionId) -> Option<v1::Route> {
        todo!()
    }

    /// Every route that peers told.
    pub(crate) fn routes(&self) -> Vec<v1::Route> {
        todo!()
    }

    /// Takes a route that a peer told, or that this node saw itself: kept when
    /// its epoch is not older.
    pub(crate) fn learn_route(&self, _route: v1::Route) {
        todo!()
    }

    /// Ticks when a route was learnt or changed.
    pub(crate) fn subscribe_routes(&self) -> watch::Receiver<u64> {
        todo!()
    }
}

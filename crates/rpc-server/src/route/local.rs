//! The routes of this node's own replicas, as they see their groups.

use datanode_proto::v1;
use partition_types::NodeId;
use raft_glue::{Partition, PartitionStatus};

use crate::context::NodeContext;

/// How much a term weighs in an epoch against a log index: a new leader is news
/// even where an older membership stands.
const TERM_WEIGHT: u64 = 1 << 20;

/// The route of every replica of this node.
pub(crate) fn local_routes(context: &NodeContext) -> Vec<v1::Route> {
    let Some(host) = context.host() else { return Vec::new() };
    host.list().iter().map(|partition| local_route(context, partition)).collect()
}

/// The route of one replica of this node.
pub(crate) fn local_route(context: &NodeContext, partition: &Partition) -> v1::Route {
    let status = partition.status();
    let voters = status.membership.voters();
    let replicas = status.membership.members.iter().map(|(node_id, member)| v1::RouteReplica {
        node_id: node_id.get(),
        // A node that moved has said so; its group has the address it came with.
        client_address: context
            .peers()
            .client_address(*node_id)
            .unwrap_or_else(|| member.client_address.clone()),
        learner: !voters.contains(node_id),
    });
    v1::Route {
        partition_id: partition.id().get(),
        replicas: replicas.collect(),
        leader_node_id: status.leader.map_or(0, NodeId::get),
        epoch: epoch(&status),
    }
}

/// Grows with the term and with the membership, on every replica alike.
fn epoch(status: &PartitionStatus) -> u64 {
    let membership = status.membership_log_id.map_or(0, |log_id| log_id.index);
    status.term.saturating_mul(TERM_WEIGHT).saturating_add(membership)
}

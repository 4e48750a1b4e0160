//! The routes of this node's own replicas, as they see their groups.

use datanode_proto::v1;
use partition_types::{Member, Membership, NodeId};
use raft_glue::{Partition, PartitionStatus};

use crate::context::NodeContext;

/// How much a term weighs in an epoch against a log index: a new leader is news
/// even where an older membership stands.
const TERM_WEIGHT: u64 = 1 << 20;

/// The route of every replica of this node.
pub(crate) fn local_routes(context: &NodeContext) -> Vec<v1::Route> {
    let Some(host) = context.host() else { return Vec::new() };
    host.list().iter().filter_map(|partition| local_route(context, partition)).collect()
}

/// The route of one replica of this node; none for one that joins a group and
/// was told nothing of it yet.
pub(crate) fn local_route(context: &NodeContext, partition: &Partition) -> Option<v1::Route> {
    let status = partition.status();
    let replicas = match status.membership.members.is_empty() {
        // A group that is being made will have the members it is made with.
        true => founders(context, partition),
        false => members(context, &status.membership),
    };
    (!replicas.is_empty()).then(|| v1::Route {
        partition_id: partition.id().get(),
        replicas,
        leader_node_id: status.leader.map_or(0, NodeId::get),
        epoch: epoch(&status),
    })
}

/// What a peer told of a later leader than the replica here has heard of, if it
/// has lost touch with its group: it may be removed, or cut off.
pub(crate) fn later_route(context: &NodeContext, partition: &Partition) -> Option<v1::Route> {
    if partition.leader().is_some() {
        return None;
    }
    let told = context.peers().route(partition.id())?;
    let is_later = told.leader_node_id != 0 && told.epoch > epoch(&partition.status());
    is_later.then_some(told)
}

fn founders(context: &NodeContext, partition: &Partition) -> Vec<v1::RouteReplica> {
    let founders = partition.created_with();
    founders.iter().map(|(id, member)| replica(context, *id, member, false)).collect()
}

fn members(context: &NodeContext, membership: &Membership) -> Vec<v1::RouteReplica> {
    let voters = membership.voters();
    let member =
        |(id, member): (&NodeId, &Member)| replica(context, *id, member, !voters.contains(id));
    membership.members.iter().map(member).collect()
}

fn replica(
    context: &NodeContext,
    node_id: NodeId,
    member: &Member,
    learner: bool,
) -> v1::RouteReplica {
    // A node that moved has said so; its group has the address it came with.
    let address = context.peers().client_address(node_id);
    let client_address = address.unwrap_or_else(|| member.client_address.clone());
    v1::RouteReplica { node_id: node_id.get(), client_address, learner }
}

/// Grows with the term and with the membership, on every replica alike.
fn epoch(status: &PartitionStatus) -> u64 {
    let membership = status.membership_log_id.map_or(0, |log_id| log_id.index);
    status.term.saturating_mul(TERM_WEIGHT).saturating_add(membership)
}

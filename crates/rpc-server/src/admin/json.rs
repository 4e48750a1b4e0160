//! `/api/v1/status`: what `GetStatus`, `GetStartup` and `ListPartitions` say, as
//! one JSON object.

use datanode_proto::v1;
use raft_glue::Partition;
use serde_json::{Value, json};

use super::status;
use crate::context::NodeContext;
use crate::peer::Replicas;

/// Replicas listed; tools that need all page through `ListPartitions`.
const REPLICAS_MAX: usize = 1000;

/// The whole object.
pub(super) fn status(context: &NodeContext) -> Value {
    let now = status::of(context);
    let started_at = now.started_at.unwrap_or_default();
    let connected = context.peers().connected();
    let peer = |peer: &v1::Node| {
        let is_connected = connected.iter().any(|node_id| node_id.get() == peer.node_id);
        let mut peer = node(peer);
        peer["connected"] = is_connected.into();
        peer
    };
    json!({
        "cluster_id": now.cluster_id,
        "node": now.node.as_ref().map(node),
        "ready": now.ready,
        "draining": now.draining,
        "started_at_ms": started_at.seconds * 1000 + i64::from(started_at.nanos / 1_000_000),
        "partitions": {
            "total": now.partitions_total,
            "ready": now.partitions_ready,
            "quarantined": now.partitions_quarantined,
            "waived": now.partitions_waived,
            "deferred": now.partitions_deferred,
            "leaders": now.leaders,
        },
        "apply_lag_entries": now.apply_lag_entries,
        "disks": now.disks.iter().map(disk).collect::<Vec<_>>(),
        "peers": now.peers.iter().map(peer).collect::<Vec<_>>(),
        "startup": context.gate().report(),
        "replicas": replicas(context),
    })
}

fn node(node: &v1::Node) -> Value {
    json!({
        "node_id": node.node_id,
        "incarnation": hex(&node.incarnation),
        "client_address": node.client_address,
        "admin_address": node.admin_address,
        "peer_address": node.peer_address,
        "stage": word(node.stage().as_str_name(), "STAGE_"),
        "version": node.version,
    })
}

fn disk(disk: &v1::DiskStatus) -> Value {
    json!({
        "path": disk.path,
        "total_bytes": disk.total_bytes,
        "available_bytes": disk.available_bytes,
        "reserve_bytes": disk.reserve_bytes,
        "partitions": disk.partitions,
    })
}

fn replicas(context: &NodeContext) -> Vec<Value> {
    let here = Replicas::new(context.clone());
    let mut ids: Vec<_> = context
        .host()
        .map(|host| host.list().iter().map(Partition::id).collect())
        .unwrap_or_default();
    ids.sort_unstable();
    ids.truncate(REPLICAS_MAX);
    let lines = ids.into_iter().filter_map(|id| {
        let said = here.describe_one(id)?;
        Some(replica(id.get(), said.leader_node_id, &said.status?))
    });
    lines.collect()
}

fn replica(partition_id: u64, leader_node_id: u64, status: &v1::ReplicaStatus) -> Value {
    json!({
        "partition_id": partition_id,
        "leader_node_id": leader_node_id,
        "state": word(status.state().as_str_name(), "PARTITION_STATE_"),
        "role": word(status.role().as_str_name(), "REPLICA_ROLE_"),
        "term": status.term,
        "last_index": status.last_index,
        "committed_index": status.committed_index,
        "applied_index": status.applied_index,
        "snapshot_index": status.snapshot_index,
        "size_bytes": status.size_bytes,
        "extent_count": status.extent_count,
        "disk": status.disk,
        "cause": status.cause,
    })
}

/// An enum value's word without its enum's prefix, as the command line has it.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

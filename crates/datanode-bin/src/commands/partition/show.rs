//! One partition, a row a replica.

use datanode_client::proto::{Partition, ReplicaStatus};
use serde::Serialize;

use crate::Failure;
use crate::commands::words;
use crate::output::{Output, Rows, bytes};

#[derive(Debug, Serialize)]
struct Shown {
    partition_id: u64,
    leader_node_id: u64,
    term: u64,
    voters: Vec<u64>,
    learners: Vec<u64>,
    replicas: Vec<Replica>,
}

#[derive(Debug, Serialize)]
struct Replica {
    node_id: u64,
    state: &'static str,
    role: &'static str,
    term: u64,
    last_index: u64,
    committed_index: u64,
    applied_index: u64,
    snapshot_index: u64,
    purged_index: u64,
    size_bytes: u64,
    extent_count: u64,
    disk: String,
    cause: String,
}

/// Prints it.
pub(super) fn print(output: Output, partition: &Partition) -> Result<(), Failure> {
    let shown = Shown {
        partition_id: partition.partition_id,
        leader_node_id: partition.leader_node_id,
        term: partition.term,
        voters: partition.voters.iter().map(|replica| replica.node_id).collect(),
        learners: partition.learners.iter().map(|replica| replica.node_id).collect(),
        replicas: partition.replicas.iter().map(Replica::from).collect(),
    };
    output.print(&shown, table)?;
    Ok(())
}

fn table(shown: &Shown) -> Rows {
    let mut rows = Rows::new(&[
        ">PARTITION",
        ">NODE",
        "STATE",
        "ROLE",
        ">TERM",
        ">LAST",
        ">COMMITTED",
        ">APPLIED",
        ">SNAPSHOT",
        ">PURGED",
        ">EXTENTS",
        ">SIZE",
        "CAUSE",
    ]);
    for replica in &shown.replicas {
        rows.push([
            shown.partition_id.to_string(),
            replica.node_id.to_string(),
            replica.state.to_owned(),
            replica.role.to_owned(),
            replica.term.to_string(),
            replica.last_index.to_string(),
            replica.committed_index.to_string(),
            replica.applied_index.to_string(),
            replica.snapshot_index.to_string(),
            replica.purged_index.to_string(),
            replica.extent_count.to_string(),
            bytes(replica.size_bytes),
            replica.cause.clone(),
        ]);
    }
    rows
}

/// `1,2,3`.
pub(super) fn ids(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Empty where the wire says "none known".
pub(super) fn id(id: u64) -> String {
    if id == 0 { String::new() } else { id.to_string() }
}

impl From<&ReplicaStatus> for Replica {
    fn from(status: &ReplicaStatus) -> Self {
        Self {
            node_id: status.node_id,
            state: words::state(status.state),
            role: words::role(status.role),
            term: status.term,
            last_index: status.last_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index,
            purged_index: status.purged_index,
            size_bytes: status.size_bytes,
            extent_count: status.extent_count,
            disk: status.disk.clone(),
            cause: status.cause.clone(),
        }
    }
}

//! The partitions of the given nodes, a row a partition.

use std::collections::BTreeMap;

use datanode_client::AdminClient;
use datanode_client::proto::{Partition, PartitionState};
use futures::future::join_all;
use serde::Serialize;

use super::show;
use crate::Failure;
use crate::commands::words;
use crate::output::{Output, Rows, bytes};

#[derive(Debug, Serialize)]
struct Row {
    partition_id: u64,
    leader_node_id: u64,
    term: u64,
    voters: Vec<u64>,
    learners: Vec<u64>,
    /// Of the replica that is worst off.
    state: &'static str,
    extent_count: u64,
    size_bytes: u64,
}

/// Prints them.
pub(super) async fn run(client: &AdminClient, output: Output) -> Result<(), Failure> {
    let partitions: Vec<Row> = all(client).await?.values().map(row).collect();
    output.print(&partitions, |partitions| {
        let mut rows = Rows::new(&[
            ">PARTITION",
            ">LEADER",
            ">TERM",
            "VOTERS",
            "LEARNERS",
            "STATE",
            ">EXTENTS",
            ">SIZE",
        ]);
        for row in partitions {
            rows.push([
                row.partition_id.to_string(),
                show::id(row.leader_node_id),
                row.term.to_string(),
                show::ids(&row.voters),
                show::ids(&row.learners),
                row.state.to_owned(),
                row.extent_count.to_string(),
                bytes(row.size_bytes),
            ]);
        }
        rows
    })?;
    Ok(())
}

/// What all endpoints list, each partition once with all its replicas.
pub(super) async fn all(client: &AdminClient) -> Result<BTreeMap<u64, Partition>, Failure> {
    let endpoints: Vec<AdminClient> = client.each().collect();
    let mut partitions = BTreeMap::<u64, Partition>::new();
    for listed in join_all(endpoints.iter().map(AdminClient::partitions)).await {
        for partition in listed? {
            match partitions.get_mut(&partition.partition_id) {
                None => {
                    partitions.insert(partition.partition_id, partition);
                }
                Some(known) => merge(known, partition),
            }
        }
    }
    Ok(partitions)
}

/// The higher term knows the leader and the members.
fn merge(known: &mut Partition, other: Partition) {
    if (other.term, other.leader_node_id) > (known.term, known.leader_node_id) {
        known.term = other.term;
        known.leader_node_id = other.leader_node_id;
        known.voters = other.voters;
        known.learners = other.learners;
    }
    known.replicas.extend(other.replicas);
}

fn row(partition: &Partition) -> Row {
    let node_ids = |replicas: &[datanode_client::proto::PartitionReplica]| {
        replicas.iter().map(|replica| replica.node_id).collect()
    };
    // The enum stands in the order of a life, with the bad ends last; only
    // "ready" is better than what comes before it.
    let badness = |state: i32| if state == PartitionState::Ready as i32 { -1 } else { state };
    let worst = partition.replicas.iter().map(|replica| replica.state).max_by_key(|s| badness(*s));
    let fullest = partition.replicas.iter().max_by_key(|replica| replica.applied_index);
    Row {
        partition_id: partition.partition_id,
        leader_node_id: partition.leader_node_id,
        term: partition.term,
        voters: node_ids(&partition.voters),
        learners: node_ids(&partition.learners),
        state: words::state(worst.unwrap_or_default()),
        extent_count: fullest.map_or(0, |replica| replica.extent_count),
        size_bytes: fullest.map_or(0, |replica| replica.size_bytes),
    }
}

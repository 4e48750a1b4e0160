//! Adding and removing replicas: the members as they are, with one more or one
//! less.

use datanode_client::proto::{Partition, PartitionReplica};
use datanode_client::{AdminClient, NodeId, PartitionId};

use crate::{Exit, Failure};

/// Adds a replica on a node, or gives the one that is there a vote.
pub(super) async fn add(
    client: &AdminClient,
    id: PartitionId,
    node: NodeId,
    learner: bool,
) -> Result<Partition, Failure> {
    let mut now = client.partition(id).await?;
    let is_there = |replicas: &[PartitionReplica]| {
        replicas.iter().any(|replica| replica.node_id == node.get())
    };
    if is_there(&now.voters) || (learner && is_there(&now.learners)) {
        return Ok(now);
    }
    now.learners.retain(|replica| replica.node_id != node.get());
    let replicas = if learner { &mut now.learners } else { &mut now.voters };
    // The coordinator knows the addresses.
    replicas.push(PartitionReplica { node_id: node.get(), ..PartitionReplica::default() });
    Ok(client.change_replicas(id, now.voters, now.learners).await?)
}

/// Removes the replica on a node.
pub(super) async fn remove(
    client: &AdminClient,
    id: PartitionId,
    node: NodeId,
) -> Result<Partition, Failure> {
    let mut now = client.partition(id).await?;
    let before = now.voters.len() + now.learners.len();
    now.voters.retain(|replica| replica.node_id != node.get());
    now.learners.retain(|replica| replica.node_id != node.get());
    if now.voters.len() + now.learners.len() == before {
        let problem = anyhow::anyhow!("partition {id} has no replica on node {node}");
        return Err(Failure::new(Exit::Failed, problem));
    }
    if now.voters.is_empty() {
        let hint = "to drop the partition, use `datanode partition delete`";
        return Err(Failure::usage(format!("node {node} holds the only voter; {hint}")));
    }
    Ok(client.change_replicas(id, now.voters, now.learners).await?)
}

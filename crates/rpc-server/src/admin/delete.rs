//! Deletes a partition on every node that has a replica of it.

use datanode_proto::v1;
use futures::future::join_all;
use partition_types::{NodeId, PartitionId};

use super::survey::Survey;
use super::target::Target;
use crate::peer::Replicas;
use crate::status::Failure;

/// Deletes a partition. One that nobody has is deleted already.
///
/// All members must answer before the first replica is dropped: once some are
/// gone, nobody might remember the one that was away.
pub(super) async fn delete(
    replicas: &Replicas,
    request: v1::DeletePartitionRequest,
) -> Result<v1::DeletePartitionResponse, Failure> {
    let id = PartitionId::new(request.partition_id)?;
    let survey = Survey::find(replicas, id).await;
    if let Some(silent) = survey.silent() {
        return Err(silent.clone());
    }
    let holders = survey.holders();
    let deletes = join_all(holders.iter().map(|node_id| delete_one(replicas, id, *node_id))).await;
    replicas.context().peers().forget_route(id);
    let mut node_ids = Vec::new();
    for (node_id, deleted) in holders.iter().zip(deletes) {
        if deleted? {
            node_ids.push(node_id.get());
        }
    }
    Ok(v1::DeletePartitionResponse { node_ids })
}

/// Drops one node's replica. Whether there was one.
pub(super) async fn delete_one(
    replicas: &Replicas,
    id: PartitionId,
    node_id: NodeId,
) -> Result<bool, Failure> {
    let request = v1::DeleteReplicaRequest { partition_id: id.get() };
    Ok(Target::of(replicas, node_id)?.delete(request).await?.deleted)
}

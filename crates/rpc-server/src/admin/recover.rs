//! Rebuilds a replica from its group: out of the group, its copy dropped, and
//! in again as a new one that learns everything.
//!
//! A voter whose copy is gone must not vote on the strength of what it forgot;
//! so it leaves the membership before its copy is dropped.

use datanode_proto::v1;
use partition_types::{NodeId, PartitionId, Reason};

use super::change::apply;
use super::delete::delete_one;
use super::resolve;
use super::survey::Survey;
use super::target::node_not_found;
use crate::peer::Replicas;
use crate::status::Failure;

/// Drops one node's copy and rebuilds it from the group.
pub(super) async fn recover(
    replicas: &Replicas,
    request: v1::RecoverPartitionRequest,
) -> Result<v1::RecoverPartitionResponse, Failure> {
    let id = PartitionId::new(request.partition_id)?;
    let node_id = match request.node_id {
        0 => replicas.context().node_id(),
        node_id => NodeId::new(node_id)?,
    };
    let survey = Survey::find(replicas, id).await;
    let Some(best) = survey.best() else { return Err(survey.not_found()) };
    let others = |members: &[v1::Member]| -> Vec<v1::Member> {
        members.iter().filter(|member| member.node_id != node_id.get()).cloned().collect()
    };
    let (voters, learners) = (others(&best.voters), others(&best.learners));
    let was_learner = learners.len() < best.learners.len();
    let is_member = was_learner || voters.len() < best.voters.len();
    if voters.is_empty() {
        let message = format!("partition {id} has no other voter to be rebuilt from");
        return Err(Failure::new(Reason::Quarantined, message).with("partition_id", id));
    }
    let founded = best.created_with.iter().any(|member| member.node_id == node_id.get());
    let holds = survey.holders().contains(&node_id);
    if !is_member && !founded && !holds {
        return Err(node_not_found(node_id).with("partition_id", id));
    }
    if is_member {
        // Drops the copy too: the node is a member no longer.
        apply(replicas, id, &survey, voters.clone(), learners.clone()).await?;
    } else {
        delete_one(replicas, id, node_id).await?;
    }
    let replica = v1::PartitionReplica { node_id: node_id.get(), ..Default::default() };
    let back = resolve::members(replicas.context(), &[replica]).await?;
    let (voters, learners) = match was_learner {
        true => (voters, [learners, back].concat()),
        false => ([voters, back].concat(), learners),
    };
    let without = Survey::find(replicas, id).await;
    apply(replicas, id, &without, voters, learners).await?;
    let after = Survey::find(replicas, id).await;
    Ok(v1::RecoverPartitionResponse { partition: Some(after.partition()) })
}

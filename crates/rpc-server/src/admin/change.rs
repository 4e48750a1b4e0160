//! Changes who has a replica, and who leads.

use std::collections::BTreeSet;
use std::time::Duration;

use datanode_proto::v1;
use futures::future::{join_all, try_join_all};
use partition_types::{NodeId, PartitionId, Reason};
use tokio::time::{Instant, sleep};

use super::delete::delete_one;
use super::resolve;
use super::survey::{Survey, ask_leader};
use super::target::{Target, node_not_found};
use crate::peer::Replicas;
use crate::status::Failure;

/// A group that has no leader for this long has lost its quorum.
const LEADER_WAIT: Duration = Duration::from_secs(10);
/// A node that is restarted is back within this time, or the operator is told.
const NODE_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

/// Sets the voters and learners: makes the replicas that are new, lets the
/// leader change the membership, drops the replicas that are members no longer.
pub(super) async fn change(
    replicas: &Replicas,
    request: v1::ChangeReplicasRequest,
) -> Result<v1::ChangeReplicasResponse, Failure> {
    let id = PartitionId::new(request.partition_id)?;
    if request.voters.is_empty() {
        return Err(Failure::field("voters", "must not be empty"));
    }
    let voters = resolve::checked("voters", &request.voters)?;
    let learners = resolve::checked("learners", &request.learners)?;
    if let Some(both) = learners.iter().position(|node_id| voters.contains(node_id)) {
        return Err(Failure::field(format!("learners[{both}].node_id"), "is a voter too"));
    }
    let voters = resolve::members(replicas.context(), &request.voters).await?;
    let learners = resolve::members(replicas.context(), &request.learners).await?;
    let before = Survey::find(replicas, id).await;
    if !before.exists() {
        return Err(before.not_found());
    }
    let leavers = regroup(replicas, id, &before, voters, learners).await?;
    join_all(leavers.into_iter().map(|node_id| drop_leaver(replicas, id, node_id))).await;
    let after = Survey::find(replicas, id).await;
    Ok(v1::ChangeReplicasResponse { partition: Some(after.partition()) })
}

/// Brings the group from what it is to these members, and drops the replicas that
/// are none any more: all of them, or it fails.
pub(super) async fn apply(
    replicas: &Replicas,
    id: PartitionId,
    before: &Survey,
    voters: Vec<v1::Member>,
    learners: Vec<v1::Member>,
) -> Result<(), Failure> {
    let leavers = regroup(replicas, id, before, voters, learners).await?;
    try_join_all(leavers.into_iter().map(|node_id| delete_one(replicas, id, node_id))).await?;
    Ok(())
}

/// The same without the last step: which nodes have a replica to drop.
async fn regroup(
    replicas: &Replicas,
    id: PartitionId,
    before: &Survey,
    voters: Vec<v1::Member>,
    learners: Vec<v1::Member>,
) -> Result<Vec<NodeId>, Failure> {
    let holders: BTreeSet<NodeId> = before.holders().into_iter().collect();
    let wanted: Vec<&v1::Member> = voters.iter().chain(&learners).collect();
    try_join_all(
        wanted
            .iter()
            .filter(|member| !holders.iter().any(|holder| holder.get() == member.node_id))
            .map(|member| join(replicas, id, member)),
    )
    .await?;
    let stays: BTreeSet<u64> = wanted.iter().map(|member| member.node_id).collect();
    let request = v1::ChangeMembershipRequest { partition_id: id.get(), voters, learners };
    let until = Instant::now() + LEADER_WAIT;
    ask_leader(replicas, id, until, |leader| {
        let request = request.clone();
        async move { leader.change_membership(request).await }
    })
    .await?;
    Ok(holders.into_iter().filter(|holder| !stays.contains(&holder.get())).collect())
}

/// Drops a replica whose group has removed it. One whose node is away now is deleted
/// by that node itself, as soon as it asks the group for its leader.
async fn drop_leaver(replicas: &Replicas, id: PartitionId, node_id: NodeId) {
    if let Err(failure) = delete_one(replicas, id, node_id).await {
        tracing::info!(
            partition_id = %id, %node_id, error = %failure,
            "a removed replica stays for now: its node will find out and delete it"
        );
    }
}

/// Makes an empty replica that will follow the group. A node that is on its way up, or
/// away for a moment, is waited for.
pub(super) async fn join(
    replicas: &Replicas,
    id: PartitionId,
    member: &v1::Member,
) -> Result<(), Failure> {
    let node_id = NodeId::new(member.node_id)?;
    let request = v1::CreateReplicaRequest {
        partition_id: id.get(),
        members: Vec::new(),
        incarnation: member.incarnation.clone(),
    };
    let until = Instant::now() + NODE_WAIT;
    loop {
        let Err(failure) = Target::of(replicas, node_id)?.create(request.clone()).await else {
            return Ok(());
        };
        let passes = matches!(
            failure.reason(),
            Reason::Starting
                | Reason::Draining
                | Reason::NodeUnreachable
                | Reason::ChangeInProgress
        );
        if !passes || Instant::now() + PAUSE >= until {
            return Err(failure.context(format!("make a replica on node {node_id}")));
        }
        sleep(PAUSE).await;
    }
}

/// Moves the leadership to a voter.
pub(super) async fn transfer(
    replicas: &Replicas,
    request: v1::TransferLeaderRequest,
) -> Result<v1::TransferLeaderResponse, Failure> {
    let id = PartitionId::new(request.partition_id)?;
    let to = NodeId::new(request.to_node_id)
        .map_err(|invalid| Failure::field("to_node_id", invalid.problem))?;
    let survey = Survey::find(replicas, id).await;
    let Some(best) = survey.best() else { return Err(survey.not_found()) };
    if !best.voters.iter().any(|voter| voter.node_id == to.get()) {
        return Err(node_not_found(to).with("partition_id", id));
    }
    if survey.leader() == Some(to) {
        return Ok(v1::TransferLeaderResponse { leader_node_id: to.get() });
    }
    let until = Instant::now() + LEADER_WAIT;
    let handed_over = ask_leader(replicas, id, until, |leader| async move {
        let request = v1::HandOverRequest { partition_id: id.get(), to_node_id: to.get() };
        leader.hand_over(request).await
    });
    let leader_node_id = handed_over.await?.leader_node_id;
    Ok(v1::TransferLeaderResponse { leader_node_id })
}

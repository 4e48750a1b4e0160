//! Creates a partition: an empty replica on each node, then its first
//! membership on the preferred leader.
//!
//! Whatever step fails, the same call again goes on from there, because each
//! step takes "it is there already" for an answer. A call that fails also takes
//! back the replicas that it made itself, so that other replicas may be chosen
//! next time.

use std::collections::BTreeSet;
use std::time::Duration;

use datanode_proto::v1;
use futures::future::join_all;
use partition_types::{NodeId, PartitionId};
use tokio::time::{Instant, sleep};

use super::resolve;
use super::survey::Survey;
use super::target::Target;
use crate::peer::{Replicas, exists};
use crate::status::Failure;

/// A new group elects its preferred leader in a round trip; waiting for it
/// lets the first write go straight there.
const LEADER_WAIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// Creates a partition on the named nodes.
pub(super) async fn create(
    replicas: &Replicas,
    request: v1::CreatePartitionRequest,
) -> Result<v1::CreatePartitionResponse, Failure> {
    let id = PartitionId::new(request.partition_id)?;
    if request.replicas.is_empty() {
        return Err(Failure::field("replicas", "must not be empty"));
    }
    let node_ids = resolve::checked("replicas", &request.replicas)?;
    let members = resolve::members(replicas.context(), &request.replicas).await?;
    let found = Survey::find(replicas, id).await;
    is_same_or_new(id, &found, &node_ids)?;
    let made = make_replicas(replicas, id, &node_ids, &members).await?;
    if !made.initialized {
        initialize(replicas, id, &node_ids, members).await?;
    }
    let survey = await_leader(replicas, id, &node_ids).await;
    Ok(v1::CreatePartitionResponse {
        partition: Some(survey.partition()),
        created: !made.initialized,
    })
}

/// A partition that exists must have been founded by, or by now consist of, the
/// same nodes.
fn is_same_or_new(id: PartitionId, found: &Survey, node_ids: &[NodeId]) -> Result<(), Failure> {
    let Some(best) = found.best() else { return Ok(()) };
    let wanted: BTreeSet<u64> = node_ids.iter().map(|node_id| node_id.get()).collect();
    let ids = |members: &[v1::Member]| -> BTreeSet<u64> {
        members.iter().map(|member| member.node_id).collect()
    };
    let now = [&best.voters[..], &best.learners[..]].concat();
    if ids(&best.created_with) == wanted || ids(&now) == wanted {
        return Ok(());
    }
    Err(exists(id))
}

struct Made {
    /// The group had its membership already.
    initialized: bool,
}

async fn make_replicas(
    replicas: &Replicas,
    id: PartitionId,
    node_ids: &[NodeId],
    members: &[v1::Member],
) -> Result<Made, Failure> {
    let steps = node_ids.iter().zip(members).map(|(node_id, member)| {
        let request = v1::CreateReplicaRequest {
            partition_id: id.get(),
            members: members.to_vec(),
            incarnation: member.incarnation.clone(),
        };
        async move { Target::of(replicas, *node_id)?.create(request).await }
    });
    let steps = join_all(steps).await;
    let initialized = steps.iter().flatten().any(|step| step.initialized);
    if !initialized && let Some(failure) = steps.iter().find_map(|step| step.as_ref().err()) {
        let failure = failure.clone();
        let mine = node_ids
            .iter()
            .zip(&steps)
            .filter(|(_, step)| step.as_ref().is_ok_and(|step| step.created));
        take_back(replicas, id, mine.map(|(node_id, _)| *node_id)).await;
        return Err(failure);
    }
    // A group that lives goes on without a replica whose node is away.
    Ok(Made { initialized })
}

/// Deletes what this call made. Best effort: what stays is found by a repeat.
async fn take_back(replicas: &Replicas, id: PartitionId, made: impl Iterator<Item = NodeId>) {
    let deletes = made.map(|node_id| async move {
        let request = v1::DeleteReplicaRequest { partition_id: id.get() };
        Target::of(replicas, node_id)?.delete(request).await
    });
    for failure in join_all(deletes).await.into_iter().filter_map(Result::err) {
        tracing::warn!(partition_id = %id, error = %failure, "take back a replica");
    }
}

/// Founds the group on its preferred leader.
async fn initialize(
    replicas: &Replicas,
    id: PartitionId,
    node_ids: &[NodeId],
    members: Vec<v1::Member>,
) -> Result<(), Failure> {
    let first = node_ids.first().copied().expect("the request has replicas");
    let request = v1::InitializeGroupRequest { partition_id: id.get(), members };
    Target::of(replicas, first)?.initialize(request).await?;
    Ok(())
}

/// Looks until every replica knows the leader, so that any node takes the first
/// write; for a bounded time, because the partition exists in any case.
async fn await_leader(replicas: &Replicas, id: PartitionId, node_ids: &[NodeId]) -> Survey {
    let until = Instant::now() + LEADER_WAIT;
    loop {
        let survey = Survey::of(replicas, id, node_ids.iter().copied()).await;
        if survey.agrees() || Instant::now() >= until {
            return survey;
        }
        sleep(PAUSE).await;
    }
}

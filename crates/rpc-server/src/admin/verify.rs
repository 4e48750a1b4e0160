//! Compares the content of all replicas of a partition.
//!
//! Two replicas are compared at one applied index only. While writes go on each
//! side may have moved on when it is summed, so a pair is summed again until the
//! indexes meet.

use std::time::Duration;

use datanode_proto::v1;
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use partition_types::{NodeId, PartitionId};
use tokio::time::{Instant, sleep};

use super::survey::{Survey, ask_leader};
use super::target::Target;
use crate::peer::Replicas;
use crate::status::Failure;

/// How long a pair is given to meet at one index.
const MEET: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// One line a replica, the leader's first, then as they come.
pub(super) async fn verify(
    replicas: Replicas,
    request: v1::VerifyPartitionRequest,
) -> Result<BoxStream<'static, v1::VerifyPartitionResponse>, Failure> {
    let id = PartitionId::new(request.partition_id)?;
    let until = Instant::now() + MEET;
    let survey = Survey::find(&replicas, id).await;
    let leader = ask_leader(&replicas, id, until, |leader| async move {
        leader.sum(v1::SumReplicaRequest { partition_id: id.get(), at_index: 0 }).await
    });
    let leaders = leader.await?;
    let Some(leader) = Survey::find(&replicas, id).await.leader() else {
        return Err(survey.not_found());
    };
    let first = line(leader, leaders, true);
    let members = survey.best().map(|best| [&best.voters[..], &best.learners[..]].concat());
    let others: FuturesUnordered<_> = members
        .unwrap_or_default()
        .into_iter()
        .filter_map(|member| NodeId::new(member.node_id).ok())
        .filter(|node_id| *node_id != leader)
        .map(|node_id| compare(replicas.clone(), id, leader, leaders, node_id))
        .collect();
    Ok(futures::stream::once(async move { first }).chain(others).boxed())
}

async fn compare(
    replicas: Replicas,
    id: PartitionId,
    leader: NodeId,
    leaders: v1::SumReplicaResponse,
    node_id: NodeId,
) -> v1::VerifyPartitionResponse {
    match try_compare(&replicas, id, leader, leaders, node_id).await {
        Ok(line) => line,
        Err(failure) => v1::VerifyPartitionResponse {
            node_id: node_id.get(),
            error: failure.to_string(),
            ..v1::VerifyPartitionResponse::default()
        },
    }
}

async fn try_compare(
    replicas: &Replicas,
    id: PartitionId,
    leader: NodeId,
    mut leaders: v1::SumReplicaResponse,
    node_id: NodeId,
) -> Result<v1::VerifyPartitionResponse, Failure> {
    let until = Instant::now() + MEET;
    let at = |at_index| v1::SumReplicaRequest { partition_id: id.get(), at_index };
    loop {
        let theirs = Target::of(replicas, node_id)?.sum(at(leaders.applied_index)).await?;
        if theirs.applied_index == leaders.applied_index {
            return Ok(line(node_id, theirs, theirs == leaders));
        }
        if Instant::now() >= until {
            let error = "the replica moved on whenever it was summed: try when less is written";
            return Ok(v1::VerifyPartitionResponse {
                error: error.to_owned(),
                ..line(node_id, theirs, false)
            });
        }
        leaders = Target::of(replicas, leader)?.sum(at(theirs.applied_index)).await?;
        if leaders.applied_index == theirs.applied_index {
            return Ok(line(node_id, theirs, theirs == leaders));
        }
        sleep(PAUSE).await;
    }
}

fn line(
    node_id: NodeId,
    sum: v1::SumReplicaResponse,
    matches: bool,
) -> v1::VerifyPartitionResponse {
    v1::VerifyPartitionResponse {
        node_id: node_id.get(),
        applied_index: sum.applied_index,
        extent_count: sum.extent_count,
        size_bytes: sum.size_bytes,
        crc32c: sum.crc32c,
        matches,
        error: String::new(),
    }
}

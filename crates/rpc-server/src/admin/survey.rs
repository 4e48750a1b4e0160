//! What all replicas of one partition say, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use datanode_proto::v1;
use futures::future::join_all;
use partition_types::{NodeId, PartitionId, Reason};
use tokio::time::{Instant, sleep};

use super::target::Target;
use crate::peer::Replicas;
use crate::status::Failure;

/// Between two looks at a group that has no leader.
const PAUSE: Duration = Duration::from_millis(100);

/// What the replicas of a partition said, by node; or why one did not.
pub(super) struct Survey {
    id: PartitionId,
    said: BTreeMap<NodeId, Result<v1::DescribeReplicaResponse, Failure>>,
}

impl Survey {
    /// Asks the named nodes, and every node that one of them names.
    pub(super) async fn of(
        replicas: &Replicas,
        id: PartitionId,
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> Self {
        let mut survey = Self { id, said: BTreeMap::new() };
        let mut ask: BTreeSet<NodeId> = nodes.into_iter().collect();
        while !ask.is_empty() {
            let answers = ask.iter().map(|node_id| describe(replicas, *node_id, id));
            let answers = join_all(answers).await;
            survey.said.extend(ask.into_iter().zip(answers));
            let named = survey.members().into_iter().map(|member| member.node_id);
            let named = named.filter_map(|node_id| NodeId::new(node_id).ok());
            ask = named.filter(|node_id| !survey.said.contains_key(node_id)).collect();
        }
        survey
    }

    /// Asks where the partition is known to be, as far as this node can find out.
    pub(super) async fn find(replicas: &Replicas, id: PartitionId) -> Self {
        let context = replicas.context();
        let mut nodes = BTreeSet::from([context.node_id()]);
        if let Ok(route) = context.peers().find_route(id).await {
            let told = route.replicas.iter().filter_map(|r| NodeId::new(r.node_id).ok());
            nodes.extend(told);
        }
        Self::of(replicas, id, nodes).await
    }

    /// Whether any replica is there.
    pub(super) fn exists(&self) -> bool {
        self.said.values().any(Result::is_ok)
    }

    /// The nodes that have a replica.
    pub(super) fn holders(&self) -> Vec<NodeId> {
        let holders = self.said.iter().filter(|(_, said)| said.is_ok());
        holders.map(|(node_id, _)| *node_id).collect()
    }

    /// The first node that did not answer, and why.
    pub(super) fn silent(&self) -> Option<&Failure> {
        self.said.values().filter_map(|said| said.as_ref().err()).find(|failure| {
            // "It is not here" is an answer.
            failure.reason() != Reason::PartitionNotFound
        })
    }

    /// Who leads, by the replica in the highest term that knows.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let known = self.answers().filter(|said| said.leader_node_id != 0);
        let best = known.max_by_key(|said| said.status.as_ref().map_or(0, |status| status.term))?;
        NodeId::new(best.leader_node_id).ok()
    }

    /// Whether every replica that answered names the same leader.
    pub(super) fn agrees(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        self.answers().all(|said| said.leader_node_id == leader.get())
    }

    /// The members by the replica that knows most: one that leads, else the one
    /// with the highest commit index.
    pub(super) fn best(&self) -> Option<&v1::DescribeReplicaResponse> {
        let has_group = |said: &&v1::DescribeReplicaResponse| !said.voters.is_empty();
        self.answers().filter(has_group).max_by_key(|said| {
            said.status.as_ref().map(|status| {
                let leads = status.role == i32::from(v1::ReplicaRole::Leader);
                (leads, status.term, status.committed_index)
            })
        })
    }

    /// The partition as it is told to operators.
    pub(super) fn partition(&self) -> v1::Partition {
        let best = self.best();
        let told = |members: &[v1::Member]| members.iter().map(replica_of).collect();
        v1::Partition {
            partition_id: self.id.get(),
            leader_node_id: self.leader().map_or(0, NodeId::get),
            term: self
                .answers()
                .filter_map(|said| said.status.as_ref())
                .map(|status| status.term)
                .max()
                .unwrap_or(0),
            voters: best.map(|best| told(&best.voters)).unwrap_or_default(),
            learners: best.map(|best| told(&best.learners)).unwrap_or_default(),
            replicas: self.said.iter().filter_map(|(id, said)| status_of(*id, said)).collect(),
        }
    }

    /// PARTITION_NOT_FOUND, or why that is not sure.
    pub(super) fn not_found(&self) -> Failure {
        match self.silent() {
            Some(failure) => failure.clone(),
            None => Failure::partition_not_found(self.id),
        }
    }

    fn answers(&self) -> impl Iterator<Item = &v1::DescribeReplicaResponse> {
        self.said.values().filter_map(|said| said.as_ref().ok())
    }

    /// Everybody that any replica takes for a member.
    fn members(&self) -> Vec<&v1::Member> {
        let of = |said: &v1::DescribeReplicaResponse| said.voters.len() + said.learners.len();
        self.answers()
            .flat_map(|said| {
                // Before the group has a membership, its founders are it.
                let founders = if of(said) == 0 { &said.created_with[..] } else { &[] };
                said.voters.iter().chain(&said.learners).chain(founders)
            })
            .collect()
    }
}

/// Asks the group's leader for something, finding it anew as often as needed.
pub(super) async fn ask_leader<T, F>(
    replicas: &Replicas,
    id: PartitionId,
    until: Instant,
    ask: impl Fn(Target) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        let survey = Survey::find(replicas, id).await;
        if !survey.exists() {
            return Err(survey.not_found());
        }
        let asked = match survey.leader() {
            Some(leader) => ask(Target::of(replicas, leader)?).await,
            None => Err(Failure::new(Reason::NoLeader, format!("partition {id} has no leader"))
                .with("partition_id", id)),
        };
        let again = |failure: &Failure| {
            matches!(
                failure.reason(),
                Reason::NoLeader
                    | Reason::NotLeader
                    | Reason::NodeUnreachable
                    | Reason::Draining
                    | Reason::Starting
            )
        };
        match asked {
            Err(failure) if again(&failure) && Instant::now() + PAUSE < until => {
                if survey.leader().is_none() {
                    seek_leader(replicas, id, &survey).await;
                }
                sleep(PAUSE).await;
            }
            asked => return asked,
        }
    }
}

async fn describe(
    replicas: &Replicas,
    node_id: NodeId,
    id: PartitionId,
) -> Result<v1::DescribeReplicaResponse, Failure> {
    let request = v1::DescribeReplicaRequest { partition_id: id.get(), seek_leader: false };
    Target::of(replicas, node_id)?.describe(request).await
}

/// Has a leader looked for where nobody used the partition so far: by the first replica
/// that answers.
async fn seek_leader(replicas: &Replicas, id: PartitionId, survey: &Survey) {
    for node_id in survey.holders() {
        let request = v1::DescribeReplicaRequest { partition_id: id.get(), seek_leader: true };
        let Ok(target) = Target::of(replicas, node_id) else { continue };
        if target.describe(request).await.is_ok() {
            return;
        }
    }
}

/// A replica's line. A node that answered without having one has no line; one
/// that did not answer has: somebody counts on it.
fn status_of(
    node_id: NodeId,
    said: &Result<v1::DescribeReplicaResponse, Failure>,
) -> Option<v1::ReplicaStatus> {
    match said {
        Ok(said) => said.status.clone(),
        Err(failure) if failure.reason() == Reason::PartitionNotFound => None,
        Err(failure) => Some(v1::ReplicaStatus {
            node_id: node_id.get(),
            state: v1::PartitionState::Unreachable.into(),
            cause: failure.to_string(),
            ..v1::ReplicaStatus::default()
        }),
    }
}

/// A member as operators name it.
fn replica_of(member: &v1::Member) -> v1::PartitionReplica {
    v1::PartitionReplica {
        node_id: member.node_id,
        peer_address: member.peer_address.clone(),
        client_address: member.client_address.clone(),
        admin_address: member.admin_address.clone(),
    }
}

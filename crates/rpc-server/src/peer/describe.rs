//! What this node knows of its own replicas, at first hand.

use std::collections::BTreeSet;

use datanode_proto::v1;
use partition_types::{Incarnation, LogId, Member, NodeId, PartitionId};
use raft_glue::{Partition, PartitionStatus, ReplicaState, Role};
use startup_gate::UnitState;

use super::convert::{self, member_to_wire};
use super::replica::Replicas;
use crate::status::Failure;

/// Those above `after` of ids in their order, at most `limit` of them unless that is
/// 0; and whether there are more.
fn page(
    ids: impl Iterator<Item = PartitionId>,
    after: u64,
    limit: usize,
) -> (Vec<PartitionId>, bool) {
    let mut rest = ids.filter(|id| id.get() > after);
    let page = rest.by_ref().take(if limit == 0 { usize::MAX } else { limit }).collect();
    (page, rest.next().is_some())
}

impl Replicas {
    /// One replica's status.
    pub(crate) async fn describe(
        &self,
        request: &v1::DescribeReplicaRequest,
    ) -> Result<v1::DescribeReplicaResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        if request.seek_leader {
            self.partition(id)?.seek_leader().await;
        }
        self.describe_one(id).ok_or_else(|| match self.host() {
            Ok(_) => Failure::partition_not_found(id),
            Err(starting) => starting,
        })
    }

    /// The status of many replicas, or of all, in pages where a limit is given; those
    /// that are not here are left out.
    pub(crate) fn describe_many(
        &self,
        request: &v1::DescribeReplicasRequest,
    ) -> Result<v1::DescribeReplicasResponse, Failure> {
        let host = self.host()?;
        let (ids, more) = if request.partition_ids.is_empty() {
            let all = host.list();
            let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
            page(all.iter().map(Partition::id), request.after, limit)
        } else {
            let ids = request.partition_ids.iter();
            (ids.map(|id| PartitionId::new(*id)).collect::<Result<_, _>>()?, false)
        };
        let described = ids.into_iter().filter_map(|id| {
            let replica = self.describe_one(id)?;
            Some(v1::DescribedReplica { partition_id: id.get(), replica: Some(replica) })
        });
        Ok(v1::DescribeReplicasResponse { replicas: described.collect(), more })
    }

    /// What this node can say of each group's leader now, to a node in one of its lives.
    pub(crate) async fn probe_leaders(
        &self,
        from: NodeId,
        life: Incarnation,
        partition_ids: &[u64],
    ) -> Result<Vec<v1::LeaderProbe>, Failure> {
        let ids = partition_ids.iter().map(|id| PartitionId::new(*id)).collect::<Result<_, _>>()?;
        let probes = self.host()?.answer_probes(from, life, ids).await;
        Ok(probes.into_iter().map(convert::probe_to_wire).collect())
    }

    /// A replica as this node knows it. One that is still to be loaded is known
    /// to the gate only.
    pub(crate) fn describe_one(&self, id: PartitionId) -> Option<v1::DescribeReplicaResponse> {
        let unit = self.context().gate().state_of(&id);
        let partition = self.context().host().and_then(|host| host.get(id));
        let Some(partition) = partition else {
            let unit = unit?;
            return Some(v1::DescribeReplicaResponse {
                status: Some(self.not_loaded(&unit)),
                ..v1::DescribeReplicaResponse::default()
            });
        };
        let status = partition.status();
        let learners: BTreeSet<NodeId> = status.membership.learners().collect();
        let (learners, voters) = status
            .membership
            .members
            .iter()
            .map(|(node_id, member)| (*node_id, member_to_wire(*node_id, member)))
            .partition::<Vec<_>, _>(|(node_id, _)| learners.contains(node_id));
        let bare = |members: Vec<(NodeId, v1::Member)>| {
            members.into_iter().map(|(_, member)| member).collect()
        };
        let created_with = partition.created_with();
        Some(v1::DescribeReplicaResponse {
            voters: bare(voters),
            learners: bare(learners),
            leader_node_id: status.leader.map_or(0, NodeId::get),
            created_with: created_with.iter().map(to_wire).collect(),
            status: Some(self.status(status, unit.as_ref())),
        })
    }

    fn not_loaded(&self, unit: &UnitState) -> v1::ReplicaStatus {
        let (state, cause) = of_unit(unit);
        v1::ReplicaStatus {
            node_id: self.context().node_id().get(),
            state: state.into(),
            cause: cause.unwrap_or_default(),
            ..v1::ReplicaStatus::default()
        }
    }

    fn status(&self, status: PartitionStatus, unit: Option<&UnitState>) -> v1::ReplicaStatus {
        let (state, cause) = state_and_cause(&status, unit);
        v1::ReplicaStatus {
            node_id: self.context().node_id().get(),
            state: state.into(),
            role: role(status.role).into(),
            term: status.term,
            last_index: index(status.last),
            committed_index: index(status.committed),
            applied_index: index(status.applied),
            snapshot_index: index(status.snapshot),
            purged_index: index(status.purged),
            size_bytes: status.size_bytes,
            extent_count: status.extent_count,
            disk: status.disk,
            cause: cause.unwrap_or_default(),
        }
    }
}

/// The gate knows how far a start has come, the replica whether it is sound and
/// whether its leader is verified: the worse of the two is told.
fn state_and_cause(
    status: &PartitionStatus,
    unit: Option<&UnitState>,
) -> (v1::PartitionState, Option<String>) {
    if status.state == ReplicaState::Quarantined {
        return (v1::PartitionState::Quarantined, status.cause.clone());
    }
    match unit {
        Some(unit) if !matches!(unit, UnitState::Ready | UnitState::Deferred) => of_unit(unit),
        _ if status.state == ReplicaState::Ready => (v1::PartitionState::Ready, None),
        _ => (v1::PartitionState::Electing, None),
    }
}

fn of_unit(unit: &UnitState) -> (v1::PartitionState, Option<String>) {
    match unit {
        UnitState::Waiting | UnitState::Joining | UnitState::Joined | UnitState::Loading => {
            (v1::PartitionState::Loading, None)
        }
        UnitState::Loaded | UnitState::Checking => (v1::PartitionState::Checking, None),
        UnitState::Checked | UnitState::Electing => (v1::PartitionState::Electing, None),
        UnitState::Ready | UnitState::Deferred => (v1::PartitionState::Ready, None),
        UnitState::Waived { reason } => (v1::PartitionState::Waived, Some(reason.to_string())),
        UnitState::Quarantined { fault } => {
            (v1::PartitionState::Quarantined, Some(fault.to_string()))
        }
    }
}

fn role(role: Role) -> v1::ReplicaRole {
    match role {
        Role::Leader => v1::ReplicaRole::Leader,
        Role::Follower => v1::ReplicaRole::Follower,
        Role::Candidate => v1::ReplicaRole::Candidate,
        Role::Learner => v1::ReplicaRole::Learner,
    }
}

fn index(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index)
}

fn to_wire((node_id, member): &(NodeId, Member)) -> v1::Member {
    member_to_wire(*node_id, member)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_once_and_the_last_one_says_so() {
        let all: Vec<_> = [2, 3, 5, 8, 13].map(|id| PartitionId::new(id).unwrap()).into();
        for limit in 1..=6 {
            let (mut found, mut pages) = (Vec::new(), 0);
            loop {
                let after = found.last().map_or(0, |last: &PartitionId| last.get());
                let (some, more) = page(all.iter().copied(), after, limit);
                assert!(some.len() <= limit);
                found.extend(some);
                pages += 1;
                if !more {
                    break;
                }
            }
            assert_eq!((&found, pages), (&all, all.len().div_ceil(limit)), "{limit} a page");
        }
        assert_eq!(page(all.iter().copied(), 3, 0), (all[2..].to_vec(), false));
        assert_eq!(page(all.iter().copied(), 13, 4), (Vec::new(), false));
        assert_eq!(page([].into_iter(), 0, 0), (Vec::new(), false));
    }
}

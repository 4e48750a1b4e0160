//! What this node does to its own replicas when a coordinator, here or on
//! another node, asks for it. Every step may be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datanode_proto::v1;
use parking_lot::Mutex;
use partition_types::{Incarnation, Member, NodeId, PartitionId, Reason};
use raft_glue::{
    CreateError, MembershipError, Partition, PartitionHost, SnapshotError, TransferError,
};
use startup_gate::{Admission, NotAdmitted};

use super::convert::{Malformed, member_from_wire};
use crate::context::NodeContext;
use crate::status::Failure;

/// The replicas of this node, to be managed. A cheap handle.
#[derive(Clone)]
pub(crate) struct Replicas {
    context: NodeContext,
    /// Partitions that are being made or deleted right now: one at a time each.
    busy: Arc<Mutex<BTreeSet<PartitionId>>>,
}

impl Replicas {
    /// The replicas of the node with this context.
    pub(crate) fn new(context: NodeContext) -> Self {
        Self { context, busy: Arc::default() }
    }

    /// Makes an empty replica; one that is there with the same members is fine.
    pub(crate) async fn create(
        &self,
        request: v1::CreateReplicaRequest,
    ) -> Result<v1::CreateReplicaResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let incarnation = Incarnation::from_wire(&request.incarnation)?;
        self.is_meant(incarnation)?;
        let members = members_from_wire(request.members)?;
        let (host, admission) = (self.host()?, self.admission()?);
        let _busy = self.begin(id)?;
        if let Some(partition) = host.get(id) {
            // Nobody may find meanwhile that its group has removed it.
            if !partition.keep() {
                return Err(being_changed(id));
            }
            return already_there(&partition, &members);
        }
        let admitted = admission.admit(id, 0).map_err(|error| not_admitted(id, error))?;
        match host.create(id, members, admitted.vote, admitted.campaign).await {
            Ok(created) => Ok(v1::CreateReplicaResponse { created, initialized: false }),
            Err(error) => {
                admission.remove(&id);
                Err(of_create(id, &error))
            }
        }
    }

    /// Gives a group its first membership, unless it has one.
    pub(crate) async fn initialize(
        &self,
        request: v1::InitializeGroupRequest,
    ) -> Result<v1::InitializeGroupResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let members = members_from_wire(request.members)?;
        let initialized = self.host()?.initialize(id, members).await;
        let initialized = initialized.map_err(|error| of_create(id, &error))?;
        Ok(v1::InitializeGroupResponse { initialized })
    }

    /// Drops a replica and its data; none is fine.
    pub(crate) async fn delete(
        &self,
        request: &v1::DeleteReplicaRequest,
    ) -> Result<v1::DeleteReplicaResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let (host, admission) = (self.host()?, self.admission()?);
        let _busy = self.begin(id)?;
        let deleted = match host.delete(id).await {
            Ok(deleted) => deleted,
            Err(CreateError::NotFound(_)) => false,
            Err(error) => return Err(of_create(id, &error)),
        };
        admission.remove(&id);
        Ok(v1::DeleteReplicaResponse { deleted })
    }

    /// Changes the membership, as the leader.
    pub(crate) async fn change_membership(
        &self,
        request: v1::ChangeMembershipRequest,
    ) -> Result<v1::ChangeMembershipResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let voters: BTreeMap<NodeId, Member> =
            members_from_wire(request.voters)?.into_iter().collect();
        let learners = members_from_wire(request.learners)?.into_iter().collect();
        let changed = self.partition(id)?.change_membership(voters, learners).await;
        changed.map_err(|error| of_membership(id, &error))?;
        Ok(v1::ChangeMembershipResponse {})
    }

    /// Hands the leadership over, as the leader.
    pub(crate) async fn hand_over(
        &self,
        request: &v1::HandOverRequest,
    ) -> Result<v1::HandOverResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let to = NodeId::new(request.to_node_id)?;
        let leader = self.partition(id)?.transfer_leader(to).await;
        let leader = leader.map_err(|error| of_transfer(id, &error))?;
        Ok(v1::HandOverResponse { leader_node_id: leader.get() })
    }

    /// Takes a snapshot and purges the log behind it.
    pub(crate) async fn snapshot(
        &self,
        request: &v1::SnapshotReplicaRequest,
    ) -> Result<v1::SnapshotReplicaResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let index = self.partition(id)?.snapshot().await;
        let snapshot_index = index.map_err(|error| match error {
            SnapshotError::Propose(error) => Failure::of_propose(id, &error),
            SnapshotError::Failed(_) => Failure::new(Reason::Internal, error.to_string()),
        })?;
        Ok(v1::SnapshotReplicaResponse { snapshot_index })
    }

    /// Sums a replica's content once it has applied an index.
    pub(crate) async fn sum(
        &self,
        request: &v1::SumReplicaRequest,
    ) -> Result<v1::SumReplicaResponse, Failure> {
        let id = PartitionId::new(request.partition_id)?;
        let partition = self.partition(id)?;
        let of_propose = |error| Failure::of_propose(id, &error);
        if request.at_index > 0 {
            partition.wait_applied(request.at_index).await.map_err(of_propose)?;
        }
        let state = partition.state().map_err(of_propose)?;
        let sum = state.sum().await.map_err(|error| self.context.read_failed(id, &error))?;
        Ok(v1::SumReplicaResponse {
            applied_index: sum.applied_index,
            extent_count: sum.extent_count,
            size_bytes: sum.size_bytes,
            crc32c: sum.crc32c.get(),
        })
    }

    /// The context of this node.
    pub(crate) fn context(&self) -> &NodeContext {
        &self.context
    }

    /// The host, once the store is open.
    pub(crate) fn host(&self) -> Result<&PartitionHost, Failure> {
        self.context.host().ok_or_else(|| self.starting())
    }

    /// The replica of a partition here.
    pub(crate) fn partition(&self, id: PartitionId) -> Result<Partition, Failure> {
        self.host()?.get(id).ok_or_else(|| Failure::partition_not_found(id))
    }

    /// Says how far the start has come.
    pub(crate) fn starting(&self) -> Failure {
        let stage = self.context.gate().stage();
        let reason = if stage.is_starting() { Reason::Starting } else { Reason::Draining };
        Failure::new(reason, format!("node {} is in {stage}", self.context.node_id()))
            .with("stage", stage)
    }

    fn admission(&self) -> Result<&Admission<PartitionId>, Failure> {
        self.context.admission().ok_or_else(|| self.starting())
    }

    fn is_meant(&self, incarnation: Incarnation) -> Result<(), Failure> {
        if self.context.peers().local().incarnation == incarnation.as_bytes()[..] {
            return Ok(());
        }
        let node_id = self.context.node_id();
        let message = format!("node {node_id} is not in incarnation {incarnation}");
        Err(Failure::new(Reason::IncarnationMismatch, message).with("node_id", node_id))
    }

    fn begin(&self, id: PartitionId) -> Result<Busy, Failure> {
        if self.busy.lock().insert(id) {
            return Ok(Busy { id, busy: Arc::clone(&self.busy) });
        }
        Err(being_changed(id))
    }
}

fn being_changed(id: PartitionId) -> Failure {
    Failure::new(Reason::ChangeInProgress, format!("partition {id} is being changed"))
        .with("partition_id", id)
}

/// A partition that is being made or deleted, until this is dropped.
struct Busy {
    id: PartitionId,
    busy: Arc<Mutex<BTreeSet<PartitionId>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.id);
    }
}

/// A replica that is asked for again. One that joins (no members given) takes
/// any group; one that founds a group must have been made for the same.
fn already_there(
    partition: &Partition,
    members: &[(NodeId, Member)],
) -> Result<v1::CreateReplicaResponse, Failure> {
    let ids = |members: &[(NodeId, Member)]| -> BTreeSet<NodeId> {
        members.iter().map(|(node_id, _)| *node_id).collect()
    };
    let created_with = partition.created_with();
    if !members.is_empty() && ids(members) != ids(&created_with) {
        return Err(exists(partition.id()));
    }
    let initialized = !partition.status().membership.voter_sets.is_empty();
    Ok(v1::CreateReplicaResponse { created: false, initialized })
}

/// The partition is there with other replicas.
pub(crate) fn exists(id: PartitionId) -> Failure {
    Failure::new(Reason::PartitionExists, format!("partition {id} exists with other replicas"))
        .with("partition_id", id)
}

fn members_from_wire(members: Vec<v1::Member>) -> Result<Vec<(NodeId, Member)>, Failure> {
    members.into_iter().map(|member| member_from_wire(member).map_err(Failure::from)).collect()
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Id(invalid) => invalid.into(),
            _ => Failure::new(Reason::InvalidRequest, malformed.to_string()),
        }
    }
}

fn not_admitted(id: PartitionId, error: NotAdmitted) -> Failure {
    let reason = match error {
        NotAdmitted::NotServing { stage } if stage.is_starting() => Reason::Starting,
        NotAdmitted::NotServing { .. } => Reason::Draining,
        // It is quarantined or still being loaded: it has to be deleted first.
        _ => Reason::PartitionExists,
    };
    Failure::new(reason, format!("partition {id}: {error}")).with("partition_id", id)
}

fn of_create(id: PartitionId, error: &CreateError) -> Failure {
    let reason = match error {
        CreateError::Exists(_) => return exists(id),
        CreateError::NotFound(_) => return Failure::partition_not_found(id),
        CreateError::Fenced(_) => Reason::Starting,
        CreateError::Quarantined { .. } => Reason::Quarantined,
        CreateError::Draining => Reason::Draining,
        CreateError::Failed { .. } => Reason::Internal,
    };
    Failure::new(reason, error.to_string()).with("partition_id", id)
}

fn of_membership(id: PartitionId, error: &MembershipError) -> Failure {
    let reason = match error {
        MembershipError::Propose(error) => return Failure::of_propose(id, error),
        MembershipError::InProgress => Reason::ChangeInProgress,
        // It may catch up: the same call again is fine.
        MembershipError::LearnerLags(_) => Reason::NodeUnreachable,
        MembershipError::Invalid(what) => return Failure::field("voters", what.clone()),
    };
    Failure::new(reason, format!("partition {id}: {error}")).with("partition_id", id)
}

fn of_transfer(id: PartitionId, error: &TransferError) -> Failure {
    let reason = match error {
        TransferError::Propose(error) => return Failure::of_propose(id, error),
        TransferError::NotAVoter(node_id) => {
            return Failure::new(Reason::NodeNotFound, format!("partition {id}: {error}"))
                .with("partition_id", id)
                .with("node_id", node_id);
        }
        TransferError::NoTarget | TransferError::Alone | TransferError::Timeout => Reason::NoLeader,
        TransferError::SoleVoter => return Failure::field("to_node_id", "is not another voter"),
    };
    Failure::new(reason, format!("partition {id}: {error}")).with("partition_id", id)
}

//! A handle on one partition of this node.

use std::collections::BTreeMap;

use partition_store::PartitionState;
use partition_types::{Command, Member, NodeId, Outcome, PartitionId};

use crate::{MembershipError, PartitionStatus, ProposeError, SnapshotError, TransferError};

/// One partition of this node. Cheap to clone; all clones are one replica.
#[derive(Clone)]
pub struct Partition;

#[allow(unused_variables, clippy::unused_async, clippy::todo, missing_docs)]
impl Partition {
    #[must_use]
    pub fn id(&self) -> PartitionId {
        todo!()
    }
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        todo!()
    }
    /// Who leads, by live knowledge.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        todo!()
    }
    /// Likewise, with its addresses as the membership has them.
    #[must_use]
    pub fn leader_member(&self) -> Option<(NodeId, Member)> {
        todo!()
    }
    #[must_use]
    pub fn is_leader(&self) -> bool {
        todo!()
    }
    /// The members it was created with, the preferred leader first.
    #[must_use]
    pub fn created_with(&self) -> Vec<(NodeId, Member)> {
        todo!()
    }
    /// Waits and retries inside `deadline` while there is no leader.
    pub async fn propose(&self, command: Command) -> Result<Outcome, ProposeError> {
        todo!()
    }
    pub async fn read_barrier(&self) -> Result<(), ProposeError> {
        todo!()
    }
    /// Waits until the state has applied `index`.
    pub async fn wait_applied(&self, index: u64) -> Result<(), ProposeError> {
        todo!()
    }
    /// The local state; a quarantined replica has none to show.
    pub fn state(&self) -> Result<&PartitionState, ProposeError> {
        todo!()
    }
    /// Whether the disk takes `len_bytes` more.
    pub fn admit(&self, len_bytes: usize) -> Result<(), ProposeError> {
        todo!()
    }
    pub async fn change_membership(
        &self,
        voters: BTreeMap<NodeId, Member>,
        learners: BTreeMap<NodeId, Member>,
    ) -> Result<(), MembershipError> {
        todo!()
    }
    pub async fn transfer_leader(&self, to: NodeId) -> Result<NodeId, TransferError> {
        todo!()
    }
    /// Takes a snapshot and purges the log behind it; returns its index.
    pub async fn snapshot(&self) -> Result<u64, SnapshotError> {
        todo!()
    }
}

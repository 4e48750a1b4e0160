//! The groups of one node.

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use partition_store::{Store, Verify};
use partition_types::{Member, NodeId, PartitionId, Vote};
use startup_gate::{CampaignRight, VoteRight};
use tokio::sync::broadcast;

use crate::{
    CheckFault, CreateError, HostConfig, LoadFault, NotYet, Partition, RaftReply, RaftRequest,
    Refusal, SnapshotHeader, Transport,
};

/// Owns the groups of this node. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct PartitionHost;

/// A partition that is loaded and follows its group.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Which one.
    pub id: PartitionId,
}

/// A leader by proof of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedLeader {
    /// Who leads; this node, maybe.
    pub leader: NodeId,
    /// In which term.
    pub term: u64,
}

/// What a drain did.
#[derive(Debug, Clone, Default)]
pub struct DrainOutcome {
    /// Groups led when it began.
    pub before: usize,
    /// Groups led when it ended, sole voters apart.
    pub after: usize,
    /// Groups that nobody else can lead.
    pub sole_voters: Vec<PartitionId>,
}

#[allow(unused_variables, clippy::unused_async, clippy::todo, missing_docs)]
impl PartitionHost {
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(config: HostConfig, store: Store, transport: Arc<dyn Transport>) -> Self {
        todo!()
    }
    pub async fn load(
        &self,
        id: PartitionId,
        right: VoteRight<PartitionId>,
    ) -> Result<Loaded, LoadFault> {
        todo!()
    }
    pub async fn check(&self, id: PartitionId, verify: Verify) -> Result<(), CheckFault> {
        todo!()
    }
    pub fn unfence(&self, right: CampaignRight<PartitionId>) {
        todo!()
    }
    /// Waits a bounded time; campaigns by itself where this node is needed.
    pub async fn confirm_leader(&self, id: PartitionId) -> Result<VerifiedLeader, NotYet> {
        todo!()
    }
    pub async fn campaign(&self, id: PartitionId) {
        todo!()
    }
    pub async fn create(
        &self,
        id: PartitionId,
        members: Vec<(NodeId, Member)>,
        vote: VoteRight<PartitionId>,
        campaign: CampaignRight<PartitionId>,
    ) -> Result<bool, CreateError> {
        todo!()
    }
    pub async fn initialize(
        &self,
        id: PartitionId,
        members: Vec<(NodeId, Member)>,
    ) -> Result<bool, CreateError> {
        todo!()
    }
    pub async fn delete(&self, id: PartitionId) -> Result<bool, CreateError> {
        todo!()
    }
    #[must_use]
    pub fn get(&self, id: PartitionId) -> Option<Partition> {
        todo!()
    }
    #[must_use]
    pub fn list(&self) -> Vec<Partition> {
        todo!()
    }
    pub fn quarantine(&self, id: PartitionId, cause: impl Into<String>) {
        todo!()
    }
    pub async fn handle(
        &self,
        from: NodeId,
        id: PartitionId,
        request: RaftRequest,
    ) -> Result<RaftReply, Refusal> {
        todo!()
    }
    pub async fn receive_snapshot(
        &self,
        from: NodeId,
        header: SnapshotHeader,
        chunks: impl Stream<Item = std::io::Result<Bytes>> + Send + Unpin,
    ) -> Result<Vote, Refusal> {
        todo!()
    }
    pub async fn drain(&self) -> DrainOutcome {
        todo!()
    }
    pub fn undrain(&self) {
        todo!()
    }
    #[must_use]
    pub fn is_draining(&self) -> bool {
        todo!()
    }
    pub async fn shutdown(&self) {
        todo!()
    }
    pub fn peer_is_back(&self, node_id: NodeId) {
        todo!()
    }
    pub fn set_serving(&self, serving: bool) {
        todo!()
    }
    /// Partitions whose leader or membership changed.
    #[must_use]
    pub fn subscribe_routes(&self) -> broadcast::Receiver<PartitionId> {
        todo!()
    }
}

//! What takes the messages of peers: the groups of this node's host, or a
//! stand-in where the stream itself is under test.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use partition_types::{NodeId, PartitionId, Reason, Vote};
use raft_glue::{PartitionHost, RaftReply, RaftRequest, Refusal, SnapshotHeader};

use crate::context::NodeContext;

/// The receiving end of [`raft_glue::Transport`].
pub(super) trait Groups: Send + Sync + 'static {
    /// Hands one message to one group.
    fn handle(
        &self,
        from: NodeId,
        partition_id: PartitionId,
        request: RaftRequest,
    ) -> BoxFuture<'static, Result<RaftReply, Refusal>>;

    /// Hands a snapshot to its group.
    fn receive_snapshot(
        &self,
        from: NodeId,
        header: SnapshotHeader,
        chunks: BoxStream<'static, io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, Refusal>>;
}

/// The groups of the host in this context.
pub(super) struct HostGroups(pub(super) NodeContext);

impl HostGroups {
    fn host(&self) -> Result<PartitionHost, Refusal> {
        self.0.host().cloned().ok_or_else(|| Refusal {
            reason: Reason::Starting,
            message: "the store is not open yet".to_owned(),
        })
    }
}

impl Groups for HostGroups {
    fn handle(
        &self,
        from: NodeId,
        partition_id: PartitionId,
        request: RaftRequest,
    ) -> BoxFuture<'static, Result<RaftReply, Refusal>> {
        let host = self.host();
        Box::pin(async move { host?.handle(from, partition_id, request).await })
    }

    fn receive_snapshot(
        &self,
        from: NodeId,
        header: SnapshotHeader,
        chunks: BoxStream<'static, io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, Refusal>> {
        let host = self.host();
        Box::pin(async move { host?.receive_snapshot(from, header, chunks).await })
    }
}

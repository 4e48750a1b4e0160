//! A node as the coordinator of a change sees it: this one or another one, with
//! the same steps to ask of it.

use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use partition_types::{NodeId, Reason};
use tonic::{Request, Response, Status};

use crate::peer::{PeerChannel, Replicas};
use crate::status::Failure;

/// Steps that touch memory or one disk.
const SHORT: Duration = Duration::from_secs(5);
/// Steps that wait for a group: learners that catch up, a hand-over, a snapshot.
const LONG: Duration = Duration::from_secs(55);

/// A node that steps are asked of.
pub(super) enum Target {
    /// This node.
    Here(Replicas),
    /// Another one.
    There(NodeId, PeerServiceClient<PeerChannel>),
}

/// Replicas in one answer: all of a large node are more than a message may be.
const PAGE_LEN: usize = 1000;

impl Target {
    /// The node with this id.
    ///
    /// # Errors
    /// NODE_NOT_FOUND when nobody told of it.
    pub(super) fn of(replicas: &Replicas, node_id: NodeId) -> Result<Self, Failure> {
        let context = replicas.context();
        if node_id == context.node_id() {
            return Ok(Self::Here(replicas.clone()));
        }
        let channel = context.peers().forward_channel(node_id);
        let channel = channel.ok_or_else(|| node_not_found(node_id))?;
        Ok(Self::There(node_id, PeerServiceClient::new(channel)))
    }
}

/// The cluster has no such node, as far as this one knows.
pub(super) fn node_not_found(node_id: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::NodeNotFound, format!("node {node_id} is not known"))
        .with("node_id", node_id)
}

/// A node that should be there does not answer.
pub(super) fn unreachable(node_id: NodeId, why: &str) -> Failure {
    Failure::new(Reason::NodeUnreachable, format!("node {node_id} does not answer: {why}"))
        .with("node_id", node_id)
}

/// What came back from another node, in our words. A step may be repeated, so
/// it does not matter whether a lost one was carried out.
fn answer<T>(node_id: NodeId, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
    match answer {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(match Failure::read(&status) {
            Some(failure) if failure.reason() != Reason::DeadlineExceeded => failure,
            _ => unreachable(node_id, status.message()),
        }),
    }
}

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

impl Target {
    pub(super) async fn create(
        &self,
        request: v1::CreateReplicaRequest,
    ) -> Result<v1::CreateReplicaResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.create(request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().create_replica(within(SHORT, request)).await)
            }
        }
    }

    pub(super) async fn initialize(
        &self,
        request: v1::InitializeGroupRequest,
    ) -> Result<v1::InitializeGroupResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.initialize(request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().initialize_group(within(SHORT, request)).await)
            }
        }
    }

    pub(super) async fn delete(
        &self,
        request: v1::DeleteReplicaRequest,
    ) -> Result<v1::DeleteReplicaResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.delete(&request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().delete_replica(within(SHORT, request)).await)
            }
        }
    }

    pub(super) async fn describe(
        &self,
        request: v1::DescribeReplicaRequest,
    ) -> Result<v1::DescribeReplicaResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.describe(&request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().describe_replica(within(SHORT, request)).await)
            }
        }
    }

    /// Every replica of the node.
    pub(super) async fn describe_all(&self) -> Result<Vec<v1::DescribedReplica>, Failure> {
        let mut all: Vec<v1::DescribedReplica> = Vec::new();
        loop {
            let after = all.last().map_or(0, |last| last.partition_id);
            let limit = u32::try_from(PAGE_LEN).unwrap_or(u32::MAX);
            let page = v1::DescribeReplicasRequest { after, limit, ..Default::default() };
            let page = self.describe_page(page).await?;
            let more = page.more && !page.replicas.is_empty();
            all.extend(page.replicas);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Those of these partitions that it has.
    pub(super) async fn describe_many(
        &self,
        partition_ids: &[u64],
    ) -> Result<Vec<v1::DescribedReplica>, Failure> {
        let mut all = Vec::new();
        for ids in partition_ids.chunks(PAGE_LEN) {
            let partition_ids = ids.to_vec();
            let page = v1::DescribeReplicasRequest { partition_ids, ..Default::default() };
            all.extend(self.describe_page(page).await?.replicas);
        }
        Ok(all)
    }

    async fn describe_page(
        &self,
        request: v1::DescribeReplicasRequest,
    ) -> Result<v1::DescribeReplicasResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.describe_many(&request),
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().describe_replicas(within(SHORT, request)).await)
            }
        }
    }

    pub(super) async fn promise_stop(
        &self,
        request: v1::PromiseStopRequest,
    ) -> Result<v1::PromiseStopResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.promise_stop(request),
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().promise_stop(within(SHORT, request)).await)
            }
        }
    }

    pub(super) async fn change_membership(
        &self,
        request: v1::ChangeMembershipRequest,
    ) -> Result<v1::ChangeMembershipResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.change_membership(request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().change_membership(within(LONG, request)).await)
            }
        }
    }

    pub(super) async fn hand_over(
        &self,
        request: v1::HandOverRequest,
    ) -> Result<v1::HandOverResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.hand_over(&request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().hand_over(within(LONG, request)).await)
            }
        }
    }

    pub(super) async fn sum(
        &self,
        request: v1::SumReplicaRequest,
    ) -> Result<v1::SumReplicaResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.sum(&request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().sum_replica(within(LONG, request)).await)
            }
        }
    }

    pub(super) async fn snapshot(
        &self,
        request: v1::SnapshotReplicaRequest,
    ) -> Result<v1::SnapshotReplicaResponse, Failure> {
        match self {
            Self::Here(replicas) => replicas.snapshot(&request).await,
            Self::There(node_id, peer) => {
                answer(*node_id, peer.clone().snapshot_replica(within(LONG, request)).await)
            }
        }
    }
}

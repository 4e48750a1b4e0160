//! PeerService: what other nodes ask of this one.

use std::sync::Arc;

use datanode_proto::v1;
use datanode_proto::v1::peer_service_server::PeerService;
use futures::stream::{BoxStream, StreamExt};
use partition_types::{PartitionId, Reason};
use raft_glue::Refusal;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::groups::Groups;
use super::links::Links;
use super::raft_stream::RaftStream;
use super::replica::Replicas;
use super::{convert, hello, identity, snapshot};
use crate::context::NodeContext;
use crate::status::Failure;

/// The service on the peer port.
pub(crate) struct Service {
    context: NodeContext,
    links: Links,
    groups: Arc<dyn Groups>,
    replicas: Replicas,
    /// Ends the streams that would not end by themselves.
    closing: CancellationToken,
}

impl Service {
    /// The service of this node, which hands messages to `groups`.
    pub(super) fn new(
        context: NodeContext,
        links: Links,
        groups: Arc<dyn Groups>,
        closing: CancellationToken,
    ) -> Self {
        let replicas = Replicas::new(context.clone());
        Self { context, links, groups, replicas, closing }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PeerService for Service {
    type RaftStream = BoxStream<'static, Result<v1::RaftResponse, Status>>;

    async fn hello(&self, request: Request<v1::HelloRequest>) -> Answer<v1::HelloResponse> {
        let request = request.into_inner();
        let is_back = request.back;
        let heard = hello::answer(self.context.peers(), request)?;
        if is_back {
            self.links.is_here(heard.from);
        }
        Ok(Response::new(heard.answer))
    }

    async fn raft(&self, request: Request<Streaming<v1::RaftRequest>>) -> Answer<Self::RaftStream> {
        let from = identity::known_sender(self.context.peers(), request.metadata())?;
        let replies = RaftStream::new(from, Arc::clone(&self.groups), request.into_inner());
        Ok(Response::new(replies.take_until(self.closing.clone().cancelled_owned()).boxed()))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::InstallSnapshotRequest>>,
    ) -> Answer<v1::InstallSnapshotResponse> {
        let from = identity::known_sender(self.context.peers(), request.metadata())?;
        let mut messages = request.into_inner();
        let header = snapshot::receive_header(&mut messages).await.map_err(refused)?;
        let chunks = snapshot::receive_chunks(messages);
        let vote = self.groups.receive_snapshot(from, header, chunks).await.map_err(refused)?;
        let vote = Some(convert::vote_to_wire(vote));
        Ok(Response::new(v1::InstallSnapshotResponse { vote }))
    }

    async fn probe_leaders(
        &self,
        request: Request<v1::ProbeLeadersRequest>,
    ) -> Answer<v1::ProbeLeadersResponse> {
        let (from, life) = identity::sender_in_life(request.metadata())?;
        let partition_ids = request.into_inner().partition_ids;
        let probes = self.replicas.probe_leaders(from, life, &partition_ids).await?;
        Ok(Response::new(v1::ProbeLeadersResponse { probes }))
    }

    async fn sleep(&self, request: Request<v1::SleepRequest>) -> Answer<v1::SleepResponse> {
        let from = identity::known_sender(self.context.peers(), request.metadata())?;
        let call = convert::sleep_from_wire(request.into_inner());
        let host = self.context.host().ok_or_else(|| {
            Failure::new(Reason::Starting, "the store is not open yet".to_owned())
        })?;
        let reply = host.sleep(from, &call);
        Ok(Response::new(convert::sleep_reply_to_wire(&reply)))
    }

    async fn find_route(
        &self,
        request: Request<v1::FindRouteRequest>,
    ) -> Answer<v1::FindRouteResponse> {
        identity::sender(request.metadata())?;
        let id = PartitionId::new(request.into_inner().partition_id).map_err(Failure::from)?;
        Ok(Response::new(v1::FindRouteResponse { route: self.context.peers().route(id) }))
    }

    async fn create_replica(
        &self,
        request: Request<v1::CreateReplicaRequest>,
    ) -> Answer<v1::CreateReplicaResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.create(request.into_inner()).await?))
    }

    async fn initialize_group(
        &self,
        request: Request<v1::InitializeGroupRequest>,
    ) -> Answer<v1::InitializeGroupResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.initialize(request.into_inner()).await?))
    }

    async fn delete_replica(
        &self,
        request: Request<v1::DeleteReplicaRequest>,
    ) -> Answer<v1::DeleteReplicaResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.delete(&request.into_inner()).await?))
    }

    async fn describe_replica(
        &self,
        request: Request<v1::DescribeReplicaRequest>,
    ) -> Answer<v1::DescribeReplicaResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.describe(&request.into_inner()).await?))
    }

    async fn describe_replicas(
        &self,
        request: Request<v1::DescribeReplicasRequest>,
    ) -> Answer<v1::DescribeReplicasResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.describe_many(&request.into_inner())?))
    }

    async fn change_membership(
        &self,
        request: Request<v1::ChangeMembershipRequest>,
    ) -> Answer<v1::ChangeMembershipResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.change_membership(request.into_inner()).await?))
    }

    async fn hand_over(
        &self,
        request: Request<v1::HandOverRequest>,
    ) -> Answer<v1::HandOverResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.hand_over(&request.into_inner()).await?))
    }

    async fn sum_replica(
        &self,
        request: Request<v1::SumReplicaRequest>,
    ) -> Answer<v1::SumReplicaResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.sum(&request.into_inner()).await?))
    }

    async fn snapshot_replica(
        &self,
        request: Request<v1::SnapshotReplicaRequest>,
    ) -> Answer<v1::SnapshotReplicaResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.snapshot(&request.into_inner()).await?))
    }

    async fn promise_stop(
        &self,
        request: Request<v1::PromiseStopRequest>,
    ) -> Answer<v1::PromiseStopResponse> {
        identity::sender(request.metadata())?;
        Ok(Response::new(self.replicas.promise_stop(request.into_inner())?))
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(refusal.reason, refusal.message)
}

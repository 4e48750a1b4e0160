//! PartitionService: any node coordinates, through the peer port.

use datanode_proto::v1;
use datanode_proto::v1::partition_service_server::PartitionService;
use futures::stream::{BoxStream, StreamExt};
use partition_types::PartitionId;
use tokio::time::{Duration, Instant};
use tonic::{Request, Response, Status};

use super::survey::{Survey, ask_leader};
use super::{change, create, delete, recover, verify};
use crate::context::NodeContext;
use crate::peer::Replicas;
use crate::status::Failure;

/// A page when the caller does not say how large.
const PAGE_DEFAULT: usize = 1000;
/// The largest page.
const PAGE_MAX: usize = 10_000;
/// A group that has no leader for this long has lost its quorum.
const LEADER_WAIT: Duration = Duration::from_secs(10);

/// The service on the admin port.
pub(crate) struct Service {
    replicas: Replicas,
}

impl Service {
    /// The service of this node.
    pub(crate) fn new(context: NodeContext) -> Self {
        Self { replicas: Replicas::new(context) }
    }

    /// STARTING, until the gate is open.
    fn open(&self) -> Result<&Replicas, Failure> {
        match self.replicas.context().admission() {
            Some(_) => Ok(&self.replicas),
            None => Err(self.replicas.starting()),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PartitionService for Service {
    type VerifyPartitionStream = BoxStream<'static, Result<v1::VerifyPartitionResponse, Status>>;

    async fn create_partition(
        &self,
        request: Request<v1::CreatePartitionRequest>,
    ) -> Answer<v1::CreatePartitionResponse> {
        Ok(Response::new(create::create(self.open()?, request.into_inner()).await?))
    }

    async fn delete_partition(
        &self,
        request: Request<v1::DeletePartitionRequest>,
    ) -> Answer<v1::DeletePartitionResponse> {
        Ok(Response::new(delete::delete(self.open()?, request.into_inner()).await?))
    }

    async fn get_partition(
        &self,
        request: Request<v1::GetPartitionRequest>,
    ) -> Answer<v1::GetPartitionResponse> {
        let id = PartitionId::new(request.into_inner().partition_id).map_err(Failure::from)?;
        let survey = Survey::find(self.open()?, id).await;
        if !survey.exists() {
            return Err(survey.not_found().into());
        }
        Ok(Response::new(v1::GetPartitionResponse { partition: Some(survey.partition()) }))
    }

    async fn list_partitions(
        &self,
        request: Request<v1::ListPartitionsRequest>,
    ) -> Answer<v1::ListPartitionsResponse> {
        Ok(Response::new(list(self.open()?, &request.into_inner())?))
    }

    async fn change_replicas(
        &self,
        request: Request<v1::ChangeReplicasRequest>,
    ) -> Answer<v1::ChangeReplicasResponse> {
        Ok(Response::new(change::change(self.open()?, request.into_inner()).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Answer<v1::TransferLeaderResponse> {
        Ok(Response::new(change::transfer(self.open()?, request.into_inner()).await?))
    }

    async fn verify_partition(
        &self,
        request: Request<v1::VerifyPartitionRequest>,
    ) -> Answer<Self::VerifyPartitionStream> {
        let lines = verify::verify(self.open()?.clone(), request.into_inner()).await?;
        Ok(Response::new(lines.map(Ok).boxed()))
    }

    async fn snapshot_partition(
        &self,
        request: Request<v1::SnapshotPartitionRequest>,
    ) -> Answer<v1::SnapshotPartitionResponse> {
        let replicas = self.open()?;
        let id = PartitionId::new(request.into_inner().partition_id).map_err(Failure::from)?;
        let snapshot_index = snapshot(replicas, id).await?;
        Ok(Response::new(v1::SnapshotPartitionResponse { snapshot_index }))
    }

    async fn recover_partition(
        &self,
        request: Request<v1::RecoverPartitionRequest>,
    ) -> Answer<v1::RecoverPartitionResponse> {
        Ok(Response::new(recover::recover(self.open()?, request.into_inner()).await?))
    }
}

/// This node's replica, or the leader's where it has none.
async fn snapshot(replicas: &Replicas, id: PartitionId) -> Result<u64, Failure> {
    let request = v1::SnapshotReplicaRequest { partition_id: id.get() };
    if replicas.partition(id).is_ok() {
        return Ok(replicas.snapshot(&request).await?.snapshot_index);
    }
    let until = Instant::now() + LEADER_WAIT;
    let taken = ask_leader(replicas, id, until, |leader| async move {
        leader.snapshot(v1::SnapshotReplicaRequest { partition_id: id.get() }).await
    });
    Ok(taken.await?.snapshot_index)
}

/// The replicas of this node, in the order of their partitions' ids.
fn list(
    replicas: &Replicas,
    request: &v1::ListPartitionsRequest,
) -> Result<v1::ListPartitionsResponse, Failure> {
    let after = match request.page_token.as_str() {
        "" => 0,
        token => token
            .parse()
            .map_err(|_| Failure::field("page_token", "is not one that this service gave"))?,
    };
    let page_size = match usize::try_from(request.page_size).unwrap_or(PAGE_MAX) {
        0 => PAGE_DEFAULT,
        size => size.min(PAGE_MAX),
    };
    let mut ids: Vec<u64> = replicas.host()?.list().iter().map(|p| p.id().get()).collect();
    ids.retain(|id| *id > after);
    ids.sort_unstable();
    let more = ids.len() > page_size;
    ids.truncate(page_size);
    let next_page_token = match ids.last() {
        Some(last) if more => last.to_string(),
        _ => String::new(),
    };
    let described = ids.iter().filter_map(|id| PartitionId::new(*id).ok());
    let partitions = described.filter_map(|id| Some(here(id, replicas.describe_one(id)?)));
    Ok(v1::ListPartitionsResponse { partitions: partitions.collect(), next_page_token })
}

/// A partition by what this node's replica says.
pub(super) fn here(id: PartitionId, said: v1::DescribeReplicaResponse) -> v1::Partition {
    let told = |members: Vec<v1::Member>| {
        let told = members.into_iter().map(|member| v1::PartitionReplica {
            node_id: member.node_id,
            peer_address: member.peer_address,
            client_address: member.client_address,
            admin_address: member.admin_address,
        });
        told.collect()
    };
    v1::Partition {
        partition_id: id.get(),
        leader_node_id: said.leader_node_id,
        term: said.status.as_ref().map_or(0, |status| status.term),
        voters: told(said.voters),
        learners: told(said.learners),
        replicas: said.status.into_iter().collect(),
    }
}

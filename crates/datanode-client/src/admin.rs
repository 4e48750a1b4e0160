//! The admin port: nodes and partitions. Messages are the contract's own, see
//! [`proto`](crate::proto); calls are repeated like those of the client.

mod startup;

use std::sync::Arc;

use bytes::Bytes;
use datanode_proto::v1;
use partition_types::{NodeId, PartitionId, RequestId};

use crate::call::{Core, Target};
use crate::config::{ClientConfig, InvalidConfig};
use crate::convert;
use crate::error::Error;

pub use startup::StartupWatch;

/// A client of admin ports. Cheap to clone.
///
/// Every node coordinates any partition, so partition calls go to whichever
/// endpoint answers. What concerns one node ([`AdminClient::status`],
/// [`AdminClient::drain`], …) is asked of that node: see [`AdminClient::each`].
///
/// The methods end with [`Error`] once it is pointless to repeat, or the time of
/// [`ClientConfig::timeout`] is up. All calls are idempotent; one whose future is
/// dropped may or may not have been made.
#[derive(Debug, Clone)]
pub struct AdminClient {
    core: Arc<Core>,
}

impl AdminClient {
    /// A client of `endpoints`, admin addresses as `host:port`.
    ///
    /// # Errors
    /// [`InvalidConfig`] when there is no endpoint, one is not `host:port`, or
    /// a setting is out of its range.
    pub fn new<I, S>(endpoints: I, config: ClientConfig) -> Result<Self, InvalidConfig>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        Ok(Self { core: Arc::new(Core::new(endpoints, config)?) })
    }

    /// The endpoints it was made with, `host:port`.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.core.seeds.iter().map(|address| address.as_str())
    }

    /// A client for each endpoint alone.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.core.seeds.iter().map(|address| {
            let config = self.core.config.clone();
            Self::new([address.as_str()], config).expect("both were valid before")
        })
    }

    /// The state of the node.
    ///
    /// # Errors
    /// `Unreachable` and the like.
    pub async fn status(&self) -> Result<v1::GetStatusResponse, Error> {
        self.core
            .call(Target::Anybody, |attempt| async move {
                attempt.nodes().get_status(attempt.request(v1::GetStatusRequest {})).await
            })
            .await
    }

    /// The start-up report of the node.
    ///
    /// # Errors
    /// `Unreachable` and the like.
    pub async fn startup(&self) -> Result<v1::StartupReport, Error> {
        let answer = self
            .core
            .call(Target::Anybody, |attempt| async move {
                attempt.nodes().get_startup(attempt.request(v1::GetStartupRequest {})).await
            })
            .await?;
        answer.report.ok_or_else(|| convert::nonsense("a report without a report"))
    }

    /// Hands every leadership of the node over, or with `undo` takes it back
    /// into service.
    ///
    /// # Errors
    /// `Unavailable` when the time is up before the last one is gone.
    pub async fn drain(&self, undo: bool) -> Result<v1::DrainResponse, Error> {
        self.core
            .call(Target::AnybodySlow, |attempt| async move {
                attempt.nodes().drain(attempt.request(v1::DrainRequest { undo })).await
            })
            .await
    }

    /// Whether a caught-up quorum of every group remains without a node; `None`
    /// is the node that is asked.
    ///
    /// # Errors
    /// `NotFound` for an unknown node.
    pub async fn safe_to_stop(
        &self,
        node_id: Option<NodeId>,
    ) -> Result<v1::SafeToStopResponse, Error> {
        self.ask_to_stop(node_id, None).await
    }

    /// Likewise, and takes the node's stop token where it may stop: until it
    /// has been away and serves again, nobody is given the token of another node
    /// that the same groups need. `hold` with an earlier token prolongs it.
    ///
    /// # Errors
    /// `NotFound` for an unknown node; `Unavailable` for one that does not answer.
    pub async fn hold_stop(
        &self,
        node_id: Option<NodeId>,
        mut hold: v1::StopHold,
    ) -> Result<v1::SafeToStopResponse, Error> {
        if hold.token.is_empty() {
            // Made here, so that a repeat of the call is a repeat.
            hold.token = Bytes::copy_from_slice(RequestId::random().as_bytes());
        }
        self.ask_to_stop(node_id, Some(hold)).await
    }

    /// Gives a stop token back, whether its node is there or not.
    ///
    /// # Errors
    /// `Unreachable` and the like; the token then ends after its time.
    pub async fn release_stop(&self, node_id: NodeId, token: Bytes) -> Result<(), Error> {
        let hold = v1::StopHold { token, release: true, ..v1::StopHold::default() };
        self.ask_to_stop(Some(node_id), Some(hold)).await.map(drop)
    }

    async fn ask_to_stop(
        &self,
        node_id: Option<NodeId>,
        hold: Option<v1::StopHold>,
    ) -> Result<v1::SafeToStopResponse, Error> {
        let request = v1::SafeToStopRequest { node_id: node_id.map_or(0, NodeId::get), hold };
        self.core
            .call(Target::Anybody, |attempt| {
                let request = request.clone();
                async move { attempt.nodes().safe_to_stop(attempt.request(request)).await }
            })
            .await
    }

    /// Creates a partition; the first replica is the preferred leader.
    ///
    /// # Errors
    /// `Conflict` (`PARTITION_EXISTS`) when it exists with other replicas.
    pub async fn create_partition(
        &self,
        partition_id: PartitionId,
        replicas: Vec<v1::PartitionReplica>,
    ) -> Result<v1::CreatePartitionResponse, Error> {
        let request = v1::CreatePartitionRequest { partition_id: partition_id.get(), replicas };
        self.core
            .call(Target::AnybodySlow, |attempt| {
                let request = request.clone();
                async move { attempt.partitions().create_partition(attempt.request(request)).await }
            })
            .await
    }

    /// Deletes a partition with its data. Says which nodes dropped a replica;
    /// none is no error.
    ///
    /// # Errors
    /// `Unavailable` when a replica's node does not answer.
    pub async fn delete_partition(&self, partition_id: PartitionId) -> Result<Vec<u64>, Error> {
        let request = v1::DeletePartitionRequest { partition_id: partition_id.get() };
        let answer = self
            .core
            .call(Target::AnybodySlow, |attempt| async move {
                attempt.partitions().delete_partition(attempt.request(request)).await
            })
            .await?;
        Ok(answer.node_ids)
    }

    /// A partition with the state of each of its replicas.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition.
    pub async fn partition(&self, partition_id: PartitionId) -> Result<v1::Partition, Error> {
        let request = v1::GetPartitionRequest { partition_id: partition_id.get() };
        let answer = self
            .core
            .call(Target::Anybody, |attempt| async move {
                attempt.partitions().get_partition(attempt.request(request)).await
            })
            .await?;
        some(answer.partition)
    }

    /// The partitions with a replica on the node, each with that replica only.
    ///
    /// # Errors
    /// `Unavailable` (`STARTING`) before the node's gate is open.
    pub async fn partitions(&self) -> Result<Vec<v1::Partition>, Error> {
        let mut partitions = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListPartitionsRequest { page_size: 0, page_token };
            let page =
                self.core
                    .call(Target::Anybody, |attempt| {
                        let request = request.clone();
                        async move {
                            attempt.partitions().list_partitions(attempt.request(request)).await
                        }
                    })
                    .await?;
            partitions.extend(page.partitions);
            if page.next_page_token.is_empty() {
                return Ok(partitions);
            }
            page_token = page.next_page_token;
        }
    }

    /// Sets the voters and learners of a partition.
    ///
    /// # Errors
    /// `Conflict` (`CHANGE_IN_PROGRESS`) when the time is up before another
    /// change is done.
    pub async fn change_replicas(
        &self,
        partition_id: PartitionId,
        voters: Vec<v1::PartitionReplica>,
        learners: Vec<v1::PartitionReplica>,
    ) -> Result<v1::Partition, Error> {
        let partition_id = partition_id.get();
        let request = v1::ChangeReplicasRequest { partition_id, voters, learners };
        let answer = self
            .core
            .call(Target::AnybodySlow, |attempt| {
                let request = request.clone();
                async move { attempt.partitions().change_replicas(attempt.request(request)).await }
            })
            .await?;
        some(answer.partition)
    }

    /// Moves the leadership of a partition to a voter. Says who leads then.
    ///
    /// # Errors
    /// `NotFound` (`NODE_NOT_FOUND`) for a node that is no voter.
    pub async fn transfer_leader(
        &self,
        partition_id: PartitionId,
        to: NodeId,
    ) -> Result<u64, Error> {
        let request =
            v1::TransferLeaderRequest { partition_id: partition_id.get(), to_node_id: to.get() };
        let answer = self
            .core
            .call(Target::AnybodySlow, |attempt| async move {
                attempt.partitions().transfer_leader(attempt.request(request)).await
            })
            .await?;
        Ok(answer.leader_node_id)
    }

    /// Compares the checksums of a partition's replicas at one index; a line a
    /// replica.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition. A difference is no error: see
    /// `matches`.
    pub async fn verify_partition(
        &self,
        partition_id: PartitionId,
    ) -> Result<Vec<v1::VerifyPartitionResponse>, Error> {
        let request = v1::VerifyPartitionRequest { partition_id: partition_id.get() };
        self.core
            .call(Target::AnybodySlow, |attempt| async move {
                let answer =
                    attempt.partitions().verify_partition(attempt.request(request)).await?;
                let (metadata, mut lines, extensions) = answer.into_parts();
                let mut all = Vec::new();
                while let Some(line) = lines.message().await? {
                    all.push(line);
                }
                Ok(tonic::Response::from_parts(metadata, all, extensions))
            })
            .await
    }

    /// Takes a snapshot of the replica on the node and purges the log behind
    /// it. Says up to which index it goes.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition.
    pub async fn snapshot_partition(&self, partition_id: PartitionId) -> Result<u64, Error> {
        let request = v1::SnapshotPartitionRequest { partition_id: partition_id.get() };
        let answer = self
            .core
            .call(Target::AnybodySlow, |attempt| async move {
                attempt.partitions().snapshot_partition(attempt.request(request)).await
            })
            .await?;
        Ok(answer.snapshot_index)
    }

    /// Drops a node's copy of a partition and rebuilds it from the group;
    /// `None` is the node that is asked.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition or a node without a replica.
    pub async fn recover_partition(
        &self,
        partition_id: PartitionId,
        node_id: Option<NodeId>,
    ) -> Result<v1::Partition, Error> {
        let request = v1::RecoverPartitionRequest {
            partition_id: partition_id.get(),
            node_id: node_id.map_or(0, NodeId::get),
        };
        let answer = self
            .core
            .call(Target::AnybodySlow, |attempt| async move {
                attempt.partitions().recover_partition(attempt.request(request)).await
            })
            .await?;
        some(answer.partition)
    }
}

fn some(partition: Option<v1::Partition>) -> Result<v1::Partition, Error> {
    partition.ok_or_else(|| convert::nonsense("a partition without a partition"))
}

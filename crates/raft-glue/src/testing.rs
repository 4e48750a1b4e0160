//! What unit tests share.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use partition_store::{DiskConfig, PartitionStore, Store, StoreConfig};
use partition_types::{Incarnation, Member, NodeId, PartitionId, Vote};

use crate::lead::Won;
use crate::log_store::LogStore;
use crate::{LeaderProbe, RaftReply, RaftRequest, SnapshotHeader, Transport, TransportError};

type Answer<T> = BoxFuture<'static, Result<T, TransportError>>;

/// A peer that answers calls with a function, and nothing else.
pub(crate) struct Peer<F>(pub(crate) F);

impl<F> Transport for Peer<F>
where
    F: Fn(RaftRequest) -> Result<RaftReply, TransportError> + Send + Sync + 'static,
{
    fn call(
        &self,
        _to: NodeId,
        _member: &Member,
        _partition_id: PartitionId,
        request: RaftRequest,
        _timeout: Duration,
    ) -> Answer<RaftReply> {
        std::future::ready(self.0(request)).boxed()
    }

    fn probe_leaders(
        &self,
        _to: NodeId,
        _member: &Member,
        _partition_ids: Vec<PartitionId>,
        _timeout: Duration,
    ) -> Answer<Vec<LeaderProbe>> {
        std::future::ready(Err(TransportError::Timeout)).boxed()
    }

    fn send_snapshot(
        &self,
        _to: NodeId,
        _member: &Member,
        _header: SnapshotHeader,
        _chunks: BoxStream<'static, std::io::Result<bytes::Bytes>>,
    ) -> Answer<Vote> {
        std::future::ready(Err(TransportError::Timeout)).boxed()
    }
}

/// A member without addresses.
pub(crate) fn member() -> Member {
    Member {
        incarnation: Incarnation::random(),
        peer_address: String::new(),
        client_address: String::new(),
        admin_address: String::new(),
    }
}

/// A new partition in a directory. Blocks.
pub(crate) fn open_partition(dir: &Path) -> (Store, PartitionStore) {
    let config = StoreConfig {
        cluster_id: "conformance".parse().unwrap(),
        node_id: NodeId::new(1).unwrap(),
        disks: vec![DiskConfig { path: dir.to_owned(), reserve_bytes: 0 }],
        accept_lost_disk: false,
        inject_load_delay: Vec::new(),
    };
    let store = Store::open(config).unwrap();
    let id = PartitionId::new(7).unwrap();
    assert!(store.create(id, Vec::new()).unwrap());
    let partition = store.load(id).unwrap();
    (store, partition)
}

pub(crate) fn log_of(partition: &PartitionStore) -> LogStore {
    let won = Arc::new(Won::new(NodeId::new(1).unwrap()));
    LogStore::new(partition.log().clone(), Arc::default(), won)
}

//! openraft's own conformance suite, on the real store.

use std::path::Path;
use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use partition_store::{DiskConfig, PartitionStore, Recovered, Store, StoreConfig};
use partition_types::{NodeId, PartitionId};
use tempfile::TempDir;

use crate::lead::Won;
use crate::log_store::LogStore;
use crate::replay::Replay;
use crate::state_machine::StateMachine;
use crate::types::TypeConfig;

/// Each build is the same partition of another node: a snapshot of one can be
/// installed on the other.
struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, (Store, TempDir)> for Builder {
    async fn build(
        &self,
    ) -> Result<((Store, TempDir), LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let opened = tokio::task::spawn_blocking(move || open_partition(&path));
        let (store, partition) = opened.await.unwrap();
        let log = log_of(&partition);
        let (replay, _applied) = Replay::new(partition, &Recovered::default());
        replay.run(|| ()).await.unwrap();
        let machine = StateMachine::new(Arc::new(replay), Recovered::default());
        Ok(((store, dir), log, machine))
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_state_machine_are_what_openraft_asks_for() {
    Suite::test_all(Builder).await.unwrap();
}

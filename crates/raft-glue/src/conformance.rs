//! openraft's own conformance suite, on the real store.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use partition_store::{DiskConfig, Recovered, Store, StoreConfig};
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
        let config = StoreConfig {
            cluster_id: "conformance".parse().unwrap(),
            node_id: NodeId::new(1).unwrap(),
            disks: vec![DiskConfig { path: dir.path().to_owned(), reserve_bytes: 0 }],
            accept_lost_disk: false,
            inject_load_delay: Vec::new(),
        };
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(config).unwrap();
            let id = PartitionId::new(7).unwrap();
            assert!(store.create(id, Vec::new()).unwrap());
            let partition = store.load(id).unwrap();
            (store, partition)
        });
        let (store, partition) = opened.await.unwrap();
        let (tail, won) = (Arc::default(), Arc::new(Won::new(NodeId::new(1).unwrap())));
        let log = LogStore::new(partition.log().clone(), tail, won);
        let (replay, _applied) = Replay::new(partition, &Recovered::default());
        replay.run(|| ()).await.unwrap();
        let machine = StateMachine::new(Arc::new(replay), Recovered::default());
        Ok(((store, dir), log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_state_machine_are_what_openraft_asks_for() {
    Suite::test_all(Builder).await.unwrap();
}

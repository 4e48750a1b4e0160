//! openraft's own conformance suite, on the real store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use partition_store::{DiskConfig, Store, StoreConfig};
use partition_types::{NodeId, PartitionId};

use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::tail::TailBytes;
use crate::types::TypeConfig;

/// Each build is another partition of one store, so that a key of one that
/// another can see fails the suite too.
struct Builder {
    store: Store,
    next_id: AtomicU64,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine> for Builder {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let id = PartitionId::new(self.next_id.fetch_add(1, Ordering::Relaxed)).unwrap();
        let store = self.store.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            assert!(store.create(id, Vec::new()).unwrap());
            store.load(id)
        });
        let partition = loaded.await.unwrap().unwrap();
        let log = LogStore::new(partition.log().clone(), Arc::new(TailBytes::default()));
        let (machine, _applied) =
            StateMachine::new(partition.state().clone(), partition.log().clone());
        Ok(((), log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_state_machine_are_what_openraft_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        cluster_id: "conformance".parse().unwrap(),
        node_id: NodeId::new(1).unwrap(),
        disks: vec![DiskConfig { path: dir.path().to_owned(), reserve_bytes: 0 }],
        accept_lost_disk: false,
        inject_load_delay: Duration::ZERO,
    };
    let store = tokio::task::spawn_blocking(move || Store::open(config)).await.unwrap().unwrap();
    let builder = Builder { store: store.clone(), next_id: AtomicU64::new(1) };
    Suite::test_all(builder).await.unwrap();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap().unwrap();
}

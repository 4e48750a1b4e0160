//! openraft's own conformance suite, on the real store.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use partition_store::{Recovered, Store};
use tempfile::TempDir;

use crate::log_store::LogStore;
use crate::replay::Replay;
use crate::state_machine::StateMachine;
use crate::testing::{log_of, open_partition};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_state_machine_are_what_openraft_asks_for() {
    Suite::test_all(Builder).await.unwrap();
}

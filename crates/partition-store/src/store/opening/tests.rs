//! A store on disks in memory: the same store, without threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use partition_types::{NodeId, Payload, Vote};

use crate::testing::{bytes, entry, partition, put};
use crate::{DiskConfig, MemoryDisk, Store, StoreConfig};

fn open(disk: &MemoryDisk) -> Store {
    let config = StoreConfig {
        cluster_id: "test".parse().unwrap(),
        node_id: NodeId::new(1).unwrap(),
        disks: vec![DiskConfig { path: "memory".into(), reserve_bytes: 0 }],
        accept_lost_disk: false,
        inject_load_delay: Vec::new(),
    };
    Store::open_in_memory(config, std::slice::from_ref(disk)).unwrap()
}

fn command(index: u64) -> partition_types::Entry {
    let op = put(&bytes(7, 100));
    entry(index, Payload::Command(partition_types::Command { request_id: None, at_ms: 0, op }))
}

/// What was reported durable is there after a power cut, in one life after the
/// other, and the rest is gone.
#[tokio::test(start_paused = true)]
async fn a_store_in_memory_outlives_its_node() {
    let disk = MemoryDisk::new(3);
    let store = open(&disk);
    let incarnation = store.incarnation();
    assert!(store.blocking(|store| store.create(partition(7), Vec::new())).await.unwrap().unwrap());
    let loaded = store.load(partition(7)).unwrap();
    let vote = Vote { term: 4, voted_for: NodeId::new(1).ok(), committed: true };
    loaded.log().save_vote(vote).await.unwrap();
    let (send, receive) = tokio::sync::oneshot::channel();
    loaded.log().append(vec![command(0), command(1)], |done| drop(send.send(done))).unwrap();
    receive.await.unwrap().unwrap();
    loaded.state().apply(vec![command(0)]).await.unwrap();

    // Nobody waits for this one, and nobody is told that it is durable.
    let is_told = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_told);
    let tell = move |done: std::io::Result<()>| told.store(done.is_ok(), Ordering::SeqCst);
    loaded.log().append(vec![command(2)], tell).unwrap();
    disk.cut(|_| 0);
    drop((loaded, store));
    assert!(!is_told.load(Ordering::SeqCst));

    let store = open(&disk);
    assert_eq!(store.incarnation(), incarnation);
    let loaded = store.load(partition(7)).unwrap();
    assert_eq!(loaded.log().vote(), Some(vote));
    assert_eq!(loaded.log().bounds().last.map(|id| id.index), Some(1));
    assert_eq!(loaded.state().applied(), None, "it was not flushed");
    loaded.check(crate::Verify::Full).unwrap();
    loaded.state().apply(vec![command(0), command(1)]).await.unwrap();
    let last = loaded.state().applied();
    drop(loaded);
    store.close().unwrap();
    let lost = disk.cut(|_| 0);
    assert_eq!((lost.log_writes, lost.state_writes), (0, 0), "it was closed in order");

    let loaded = open(&disk).load(partition(7)).unwrap();
    assert_eq!(loaded.state().applied(), last);
}

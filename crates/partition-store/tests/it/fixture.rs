//! A node's data directories in a temporary place, and entries to put into them.

use std::future::Future;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use partition_store::{DiskConfig, OpenError, PartitionLog, PartitionStore, Store, StoreConfig};
use partition_types::{
    Command, Crc32c, Entry, Incarnation, LogId, Member, NodeId, Op, PartitionId, Payload,
};
use tempfile::TempDir;

/// The data directories of one node.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) disks: usize,
}

impl Node {
    pub(crate) fn new(disks: usize) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), disks }
    }

    pub(crate) fn disk(&self, nth: usize) -> PathBuf {
        self.dir.path().join(format!("disk{nth}"))
    }

    pub(crate) fn config(&self) -> StoreConfig {
        let disk = |nth| DiskConfig { path: self.disk(nth), reserve_bytes: 0 };
        StoreConfig {
            cluster_id: "test".parse().unwrap(),
            node_id: node(1),
            disks: (0..self.disks).map(disk).collect(),
            accept_lost_disk: false,
            inject_load_delay: Vec::new(),
        }
    }

    pub(crate) fn try_open(&self) -> Result<Store, OpenError> {
        Store::open(self.config())
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    /// Opens the store, and one partition in it.
    pub(crate) fn open_with(&self, id: u64) -> (Store, PartitionStore) {
        let store = self.open();
        store.create(partition(id), members()).unwrap();
        let partition = store.load(partition(id)).unwrap();
        (store, partition)
    }
}

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn partition(id: u64) -> PartitionId {
    PartitionId::new(id).unwrap()
}

pub(crate) fn members() -> Vec<(NodeId, Member)> {
    let member = |id: u8| {
        let member = Member {
            incarnation: Incarnation::from_bytes([id; 16]),
            peer_address: format!("10.0.0.{id}:17330"),
            client_address: format!("10.0.0.{id}:17310"),
            admin_address: format!("10.0.0.{id}:17320"),
        };
        (node(id.into()), member)
    };
    // Not in the order of their ids: the order is what was asked for.
    vec![member(3), member(1), member(2)]
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId { term, leader: Some(node(1)), index }
}

/// An entry whose payload tells its term and index.
pub(crate) fn entry(term: u64, index: u64, len_bytes: usize) -> Entry {
    let seed = [term.to_le_bytes(), index.to_le_bytes()].concat();
    let data: Bytes = seed.iter().copied().cycle().take(len_bytes).collect();
    let crc32c = Crc32c::of(&data);
    let op = Op::Put { data, crc32c };
    let payload = Payload::Command(Command { request_id: None, at_ms: 1000 + index, op });
    Entry { log_id: log_id(term, index), payload }
}

/// Appends entries and waits until they are durable.
pub(crate) fn append(log: &PartitionLog, entries: Vec<Entry>) {
    let (send, receive) = mpsc::channel();
    log.append(entries, move |result| send.send(result).unwrap()).unwrap();
    receive.recv_timeout(SOON).expect("the callback is called").unwrap();
}

/// More than anything here takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// All entries of a log.
pub(crate) fn entries(log: &PartitionLog) -> Vec<Entry> {
    wait(log.entries(0..u64::MAX, usize::MAX)).unwrap()
}

/// The last entry of each leader, by a look at all of them.
pub(crate) fn last_of_leaders(entries: impl Iterator<Item = LogId>) -> Vec<LogId> {
    let mut ids: Vec<_> = entries.collect();
    ids.reverse();
    ids.dedup_by_key(|id| (id.term, id.leader));
    ids.reverse();
    ids
}

pub(crate) fn indexes(log: &PartitionLog) -> Vec<u64> {
    entries(log).iter().map(|entry| entry.log_id.index).collect()
}

/// Runs a future to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

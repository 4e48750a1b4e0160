//! All data directories of a node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use partition_types::{ClusterId, Incarnation, Member, NodeId, PartitionId};
use tokio::sync::watch;

use crate::error::{LoadError, OpenError, StoreError};
use crate::check::CheckReport;
use crate::partition::PartitionStore;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The cluster that the node belongs to.
    pub cluster_id: ClusterId,
    /// The node.
    pub node_id: NodeId,
    /// Its disks, at least one.
    pub disks: Vec<DiskConfig>,
    /// Go on without a disk that the node had: its partitions do not load and
    /// are to be rebuilt from their groups.
    pub accept_lost_disk: bool,
    /// Test aid: each load of a partition takes this much longer.
    pub inject_load_delay: Duration,
}

/// A disk: one data directory.
#[derive(Debug, Clone)]
pub struct DiskConfig {
    /// The data directory; made if it is not there.
    pub path: PathBuf,
    /// What appends leave free of its file system.
    pub reserve_bytes: u64,
}

/// A partition that the node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Which one.
    pub partition_id: PartitionId,
    /// On which disk of [`StoreConfig::disks`]; 0 when its disk is lost.
    pub disk: usize,
    /// The members that its creation named, in that order.
    pub created_with: Vec<(NodeId, Member)>,
}

/// A disk as it is now.
#[derive(Debug, Clone)]
pub struct DiskStatus {
    /// Its data directory.
    pub path: PathBuf,
    /// Size of its file system.
    pub total_bytes: u64,
    /// What the file system has left for this process.
    pub available_bytes: u64,
    /// What appends leave free.
    pub reserve_bytes: u64,
    /// Partitions on it.
    pub partitions: usize,
    /// Why it takes no writes any more, if so.
    pub failure: Option<String>,
    /// What its log writer did since the start.
    pub log_writes: LogWrites,
}

/// What a log writer did since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogWrites {
    /// Appends and votes that were made durable.
    pub operations: u64,
    /// Entries of the appends.
    pub entries: u64,
    /// Synced writes that it took.
    pub syncs: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// A handle to the store; cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> { todo!() }
    pub fn incarnation(&self) -> Incarnation { todo!() }
    pub fn cluster_id(&self) -> &ClusterId { todo!() }
    pub fn node_id(&self) -> NodeId { todo!() }
    pub fn manifest(&self) -> Vec<ManifestEntry> { todo!() }
    pub fn disks(&self) -> Vec<DiskStatus> { todo!() }
    pub fn create(&self, id: PartitionId, created_with: Vec<(NodeId, Member)>) -> Result<bool, StoreError> { todo!() }
    pub fn load(&self, id: PartitionId) -> Result<PartitionStore, LoadError> { todo!() }
    pub fn delete(&self, id: PartitionId) -> Result<bool, StoreError> { todo!() }
    pub fn flush(&self) -> Result<(), StoreError> { todo!() }
    pub fn close(self) -> Result<(), StoreError> { todo!() }
    pub fn flushed(&self) -> watch::Receiver<u64> { todo!() }
    pub fn check_dir(path: &Path) -> CheckReport { todo!() }
}

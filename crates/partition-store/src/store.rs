//! All data directories of a node.

#[cfg(feature = "rocksdb")]
mod checking;
mod opening;
mod placement;

#[cfg(feature = "rocksdb")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use partition_types::{ClusterId, Incarnation, LogId, Member, NodeId, PartitionId};
use tokio::sync::watch;

#[cfg(feature = "rocksdb")]
use crate::check::CheckReport;
use crate::disk::Disk;
use crate::engine::EngineUsage;
#[cfg(any(feature = "rocksdb", feature = "simulation", test))]
use crate::error::OpenError;
use crate::error::{LoadError, StoreError};
use crate::partition::PartitionStore;
use placement::Placed;

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
    /// Test aid: each replay ([`PartitionStore::delay_replay`]) on that disk takes
    /// this much longer; disks beyond the end are not slowed.
    pub inject_load_delay: Vec<Duration>,
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
///
/// All calls block unless they say otherwise. A store that is dropped without
/// [`Store::close`] is as after a crash: nothing that was reported durable is
/// lost, the rest may be.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    cluster_id: ClusterId,
    node_id: NodeId,
    incarnation: Incarnation,
    /// In the order of the configuration.
    disks: Vec<Arc<Disk>>,
    placed: Mutex<Placed>,
    flushed: watch::Sender<u64>,
    inject_load_delay: Vec<Duration>,
}

impl Store {
    /// Opens all data directories: locks them, checks or writes their identities,
    /// opens or makes their databases, and reads the manifest.
    ///
    /// # Errors
    /// [`OpenError`]; whatever it is, no other process or data was harmed.
    #[cfg(feature = "rocksdb")]
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        Ok(Self { shared: Arc::new(opening::open(config)?) })
    }

    /// Opens a store on disks in memory, one for each of `config.disks`, whose
    /// paths are names only. Nothing of it blocks: what has a thread otherwise is
    /// a task of the present runtime, which must have one thread only.
    ///
    /// # Errors
    /// [`OpenError`]
    ///
    /// # Panics
    /// Outside of a tokio runtime; when there are not as many disks.
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_in_memory(
        config: StoreConfig,
        disks: &[crate::MemoryDisk],
    ) -> Result<Self, OpenError> {
        Ok(Self { shared: Arc::new(opening::open_in_memory(config, disks)?) })
    }

    /// Runs a call that blocks away from the runtime's threads.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    ///
    /// # Panics
    /// When `work` panics.
    ///
    /// # Cancel safety
    /// A call that was dropped still does its work.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> std::io::Result<T> {
        let store = self.clone();
        // A store has at least one disk, and all of a kind.
        self.shared.disks[0].pools.long(move || work(&store)).await
    }

    /// Checks a data directory that no process uses, and changes nothing in it.
    #[cfg(feature = "rocksdb")]
    #[must_use]
    pub fn check_dir(path: &Path) -> CheckReport {
        checking::check_dir(path)
    }

    /// Which life of the node's data directories this is. Does not block.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// The cluster that the directories belong to. Does not block.
    #[must_use]
    pub fn cluster_id(&self) -> &ClusterId {
        &self.shared.cluster_id
    }

    /// The node that the directories belong to. Does not block.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.shared.node_id
    }

    /// The partitions that the node has, in the order of their ids.
    #[must_use]
    pub fn manifest(&self) -> Vec<ManifestEntry> {
        self.shared.placed.lock().entries()
    }

    /// Whether the node has a partition.
    #[must_use]
    pub fn has(&self, id: PartitionId) -> bool {
        self.shared.placed.lock().has(id)
    }

    /// The members that a partition's creation named, in that order; none of one
    /// that the node does not have.
    #[must_use]
    pub fn created_with(&self, id: PartitionId) -> Vec<(NodeId, Member)> {
        self.shared.placed.lock().created_with(id)
    }

    /// The entry that a partition's replica must have before it may vote or lead: an
    /// earlier replica of the same group on this node acknowledged it and was deleted. A
    /// voter that was left behind may count this one for that one.
    #[must_use]
    pub fn owes(&self, id: PartitionId) -> Option<LogId> {
        self.shared.placed.lock().owes(id)
    }

    /// The disks, in the order of the configuration.
    #[must_use]
    pub fn disks(&self) -> Vec<DiskStatus> {
        let partitions = self.shared.placed.lock().partitions_by_disk().to_vec();
        let disks = self.shared.disks.iter().zip(partitions);
        disks.map(|(disk, partitions)| status(disk, partitions)).collect()
    }

    /// Takes in a new partition, durably. Returns false if the node has it
    /// already; nothing is changed then.
    ///
    /// # Errors
    /// [`StoreError`]; the partition may be there after the next start.
    pub fn create(
        &self,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
    ) -> Result<bool, StoreError> {
        self.shared.placed.lock().create(&self.shared.disks, id, created_with)
    }

    /// Loads a partition: a few point reads. Its log and vote are as they were,
    /// its state as the last flush left it: [`PartitionStore::replay_piece`] brings
    /// the rest. Whoever loads it again gets the same log and state.
    ///
    /// # Errors
    /// [`LoadError`] when it is not there or cannot be read.
    pub fn load(&self, id: PartitionId) -> Result<PartitionStore, LoadError> {
        let disk = self.shared.placed.lock().disk_of(id).ok_or(LoadError::Missing(id))?;
        let delay = self.shared.inject_load_delay.get(disk).copied().unwrap_or_default();
        let disk = Arc::clone(&self.shared.disks[disk]);
        let (log, state) = disk.load(id)?;
        Ok(PartitionStore::new(disk, log, state, delay))
    }

    /// Deletes a partition, durably. Its handles take nothing any more. Returns
    /// false if the node does not have it.
    ///
    /// # Errors
    /// [`StoreError`]; the partition may be there after the next start.
    pub fn delete(&self, id: PartitionId) -> Result<bool, StoreError> {
        self.shared.placed.lock().delete(&self.shared.disks, id)
    }

    /// Makes everything applied durable.
    ///
    /// # Errors
    /// [`StoreError::Disk`] for the first disk that fails; the others are
    /// flushed all the same.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.each_disk(|disk| disk.flush.now())
    }

    /// What the databases of each disk take, in the order of the configuration. Reads no
    /// file.
    #[must_use]
    pub fn usage(&self) -> Vec<EngineUsage> {
        let usage = |disk: &Arc<Disk>| {
            let mut usage = disk.raft.usage();
            usage += disk.data.usage();
            usage
        };
        self.shared.disks.iter().map(usage).collect()
    }

    /// Bytes of keys and values that were applied to the states of each disk since its last flush
    /// began, in the order of the configuration: what a start after a crash replays, together
    /// with what a flush that was cut off had not finished.
    #[must_use]
    pub fn unflushed_bytes(&self) -> Vec<u64> {
        self.shared.disks.iter().map(|disk| disk.flush.unflushed_bytes()).collect()
    }

    /// Counts completed flushes of any disk: logs may be purged further when it
    /// changes. Does not block.
    #[must_use]
    pub fn flushed(&self) -> watch::Receiver<u64> {
        self.shared.flushed.subscribe()
    }

    /// Ends the start: files are compacted in the background from now on. So they are ten seconds
    /// after the open, should nobody say it. Does not block.
    pub fn wind_up(&self) {
        self.shared.disks.iter().for_each(|disk| disk.wind_up());
    }

    /// Begins to close: nothing is compacted any more. What the store does for
    /// others is as before. Blocks for some milliseconds.
    pub fn wind_down(&self) {
        self.shared.disks.iter().for_each(|disk| disk.wind_down());
    }

    /// Writes what is queued, makes everything durable so that the next start
    /// has nothing to replay, and ends all threads. Other handles get errors from
    /// then on; the directories are unlocked when the last one is dropped.
    ///
    /// # Errors
    /// [`StoreError::Disk`] for the first disk that fails; the others are closed
    /// all the same.
    pub fn close(self) -> Result<(), StoreError> {
        self.each_disk(Disk::close)
    }

    /// Does something on all disks at once.
    fn each_disk(
        &self,
        work: impl Fn(&Disk) -> std::io::Result<()> + Sync,
    ) -> Result<(), StoreError> {
        let work = &work;
        if self.shared.disks.iter().all(|disk| disk.pools.is_simulated()) {
            let fault = |disk: &Disk, source| StoreError::Disk { path: disk.path.clone(), source };
            let all = self.shared.disks.iter();
            let results: Vec<_> = all.map(|disk| work(disk).map_err(|e| fault(disk, e))).collect();
            return results.into_iter().collect();
        }
        let results: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = self
                .shared
                .disks
                .iter()
                .map(|disk| (disk, scope.spawn(move || work(disk))))
                .collect();
            running.into_iter().map(|(disk, running)| (disk, running.join())).collect()
        });
        for (disk, result) in results {
            match result {
                Ok(Ok(())) => {}
                Ok(Err(source)) => {
                    return Err(StoreError::Disk { path: disk.path.clone(), source });
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }
}

fn status(disk: &Disk, partitions: usize) -> DiskStatus {
    // A file system that does not answer has nothing to offer.
    let (total_bytes, available_bytes) = disk
        .space
        .capacity()
        .map_or((0, 0), |capacity| (capacity.total_bytes, capacity.available_bytes));
    DiskStatus {
        path: disk.path.clone(),
        total_bytes,
        available_bytes,
        reserve_bytes: disk.space.reserve_bytes,
        partitions,
        failure: disk.health.failure().map(str::to_owned),
        log_writes: disk.writer.writes(),
    }
}

//! Opening all data directories of a node.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
#[cfg(feature = "rocksdb")]
use std::thread;

use parking_lot::Mutex;
use partition_types::Incarnation;
use tokio::sync::watch;

use super::placement::Placed;
use super::{Shared, StoreConfig};
#[cfg(feature = "rocksdb")]
use crate::codec::NodeRecord;
#[cfg(feature = "rocksdb")]
use crate::disk::lock_fault;
use crate::disk::{Disk, OpenDisk};
#[cfg(any(test, feature = "simulation"))]
use crate::engine::simulated::MemoryDisk;
use crate::error::OpenError;
use crate::identity::{self, Agreed, Expected, Found};
#[cfg(feature = "rocksdb")]
use crate::lock::DirLock;
use crate::manifest::Manifest;
#[cfg(feature = "rocksdb")]
use crate::metric;

/// Opens a node's store. Nothing is written before all directories are known to
/// be its own.
#[cfg(feature = "rocksdb")]
pub(super) fn open(config: StoreConfig) -> Result<Shared, OpenError> {
    metric::describe();
    let locks = lock(&config)?;
    let dirs = config
        .disks
        .iter()
        .map(|disk| Ok((disk.path.clone(), identity::read(&disk.path)?)))
        .collect::<Result<Vec<_>, OpenError>>()?;
    let agreed = agree(&config, &dirs)?;
    for (disk, identity) in config.disks.iter().zip(&agreed.identities) {
        OpenDisk::check_there(&disk.path, identity)?;
    }
    for (nth, disk) in config.disks.iter().enumerate() {
        if !agreed.is_written[nth] {
            identity::write(&disk.path, &agreed.identities[nth])?;
        }
    }
    let open = open_disks(&config, &agreed, &locks)?;
    let manifest = one_manifest(&open)?;
    finish_identities(&config, &agreed)?;

    let (flushed, _) = watch::channel(0);
    let disks = open
        .into_iter()
        .zip(&config.disks)
        .enumerate()
        .map(|(nth, (disk, configured))| {
            disk.start(nth, configured.reserve_bytes, flushed.clone()).map(Arc::new)
        })
        .collect::<Result<Vec<_>, OpenError>>()?;
    finish(config, agreed.incarnation, manifest, disks, flushed)
}

/// Opens a node's store on disks in memory, by the same steps.
#[cfg(any(test, feature = "simulation"))]
pub(super) fn open_in_memory(
    config: StoreConfig,
    memory: &[MemoryDisk],
) -> Result<Shared, OpenError> {
    assert_eq!(config.disks.len(), memory.len(), "each disk has its memory");
    let found = |disk: &MemoryDisk| disk.identity().map_or(Found::Nothing, Found::Identity);
    let dirs: Vec<_> =
        config.disks.iter().zip(memory).map(|(disk, it)| (disk.path.clone(), found(it))).collect();
    let agreed = agree(&config, &dirs)?;
    let mut open = Vec::new();
    for (nth, disk) in config.disks.iter().enumerate() {
        let identity = &agreed.identities[nth];
        memory[nth].set_identity(identity.clone());
        open.push(OpenDisk::open_in_memory(&disk.path, identity, &memory[nth])?);
    }
    let manifest = one_manifest(&open)?;
    for (disk, identity) in memory.iter().zip(agreed.finished()) {
        disk.set_identity(identity);
    }
    let (flushed, _) = watch::channel(0);
    let start = |(nth, disk): (usize, OpenDisk)| {
        Arc::new(disk.start_simulated(nth, &memory[nth], flushed.clone()))
    };
    let disks = open.into_iter().enumerate().map(start).collect();
    finish(config, agreed.incarnation, manifest, disks, flushed)
}

/// The newest of what the disks say, which is told to those that do not know it.
fn one_manifest(open: &[OpenDisk]) -> Result<Manifest, OpenError> {
    let mut manifest = Manifest::default();
    for disk in open {
        manifest.merge(&disk.manifest);
    }
    for disk in open {
        disk.update_manifest(&manifest)?;
    }
    Ok(manifest)
}

fn finish(
    config: StoreConfig,
    incarnation: Incarnation,
    manifest: Manifest,
    disks: Vec<Arc<Disk>>,
    flushed: watch::Sender<u64>,
) -> Result<Shared, OpenError> {
    let placed = Placed::new(manifest, &disks);
    placed.sweep(&disks)?;
    Ok(Shared {
        cluster_id: config.cluster_id,
        node_id: config.node_id,
        incarnation,
        disks,
        placed: Mutex::new(placed),
        flushed,
        inject_load_delay: config.inject_load_delay,
    })
}

#[cfg(feature = "rocksdb")]
fn lock(config: &StoreConfig) -> Result<Vec<Arc<DirLock>>, OpenError> {
    config
        .disks
        .iter()
        .map(|disk| {
            identity::make_dir(&disk.path)?;
            let lock = DirLock::acquire(&disk.path);
            lock.map(Arc::new).map_err(|error| lock_fault(&disk.path, error))
        })
        .collect()
}

fn agree(config: &StoreConfig, dirs: &[(PathBuf, Found)]) -> Result<Agreed, OpenError> {
    let expected = Expected {
        cluster_id: &config.cluster_id,
        node_id: config.node_id,
        accept_lost_disk: config.accept_lost_disk,
    };
    identity::agree(&expected, dirs)
}

/// All at once: each may have a log to replay.
#[cfg(feature = "rocksdb")]
fn open_disks(
    config: &StoreConfig,
    agreed: &Agreed,
    locks: &[Arc<DirLock>],
) -> Result<Vec<OpenDisk>, OpenError> {
    thread::scope(|scope| {
        let opening: Vec<_> = config
            .disks
            .iter()
            .zip(&agreed.identities)
            .zip(locks)
            .map(|((disk, identity), lock)| {
                scope.spawn(move || OpenDisk::open(&disk.path, identity, lock))
            })
            .collect();
        opening
            .into_iter()
            .map(|opening| match opening.join() {
                Ok(opened) => opened,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// The databases are there: from now on, one that is not was taken away.
#[cfg(feature = "rocksdb")]
fn finish_identities(config: &StoreConfig, agreed: &Agreed) -> Result<(), OpenError> {
    let finished: Vec<NodeRecord> = agreed.finished();
    for ((disk, identity), written) in config.disks.iter().zip(&finished).zip(&agreed.identities) {
        if identity != written {
            identity::write(&disk.path, identity)?;
        }
    }
    Ok(())
}

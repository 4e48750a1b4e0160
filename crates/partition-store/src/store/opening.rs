//! Opening all data directories of a node.

use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::placement::Placed;
use super::{Shared, StoreConfig};
use crate::codec::NodeRecord;
use crate::disk::{OpenDisk, lock_fault};
use crate::error::OpenError;
use crate::identity::{self, Agreed, Expected};
use crate::lock::DirLock;
use crate::manifest::Manifest;
use crate::metric;

/// Opens a node's store. Nothing is written before all directories are known to
/// be its own.
pub(super) fn open(config: StoreConfig) -> Result<Shared, OpenError> {
    metric::describe();
    let locks = lock(&config)?;
    let agreed = agree(&config)?;
    for (disk, identity) in config.disks.iter().zip(&agreed.identities) {
        OpenDisk::check_there(&disk.path, identity)?;
    }
    for (nth, disk) in config.disks.iter().enumerate() {
        if !agreed.is_written[nth] {
            identity::write(&disk.path, &agreed.identities[nth])?;
        }
    }
    let open = open_disks(&config, &agreed, &locks)?;
    let mut manifest = Manifest::default();
    for disk in &open {
        manifest.merge(&disk.manifest);
    }
    for disk in &open {
        disk.update_manifest(&manifest)?;
    }
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
    let placed = Placed::new(manifest, &disks);
    placed.sweep(&disks)?;
    Ok(Shared {
        cluster_id: config.cluster_id,
        node_id: config.node_id,
        incarnation: agreed.incarnation,
        disks,
        placed: Mutex::new(placed),
        flushed,
        inject_load_delay: config.inject_load_delay,
    })
}

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

fn agree(config: &StoreConfig) -> Result<Agreed, OpenError> {
    let dirs = config
        .disks
        .iter()
        .map(|disk| Ok((disk.path.clone(), identity::read(&disk.path)?)))
        .collect::<Result<Vec<_>, OpenError>>()?;
    let expected = Expected {
        cluster_id: &config.cluster_id,
        node_id: config.node_id,
        accept_lost_disk: config.accept_lost_disk,
    };
    identity::agree(&expected, &dirs)
}

/// All at once: each may have a log to replay.
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
fn finish_identities(config: &StoreConfig, agreed: &Agreed) -> Result<(), OpenError> {
    let finished: Vec<NodeRecord> = agreed.finished();
    for ((disk, identity), written) in config.disks.iter().zip(&finished).zip(&agreed.identities) {
        if identity != written {
            identity::write(&disk.path, identity)?;
        }
    }
    Ok(())
}

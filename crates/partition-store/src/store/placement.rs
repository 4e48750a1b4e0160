//! Which partition is on which disk, and the order of steps that takes one in or
//! out so that a crash between any two of them leaves something sound:
//!
//! - *create*: whatever an earlier partition of that id left in `data/` is deleted
//!   durably; then one batch deletes what it left in `raft/` and records the new
//!   one on its disk; then the other disks record it too.
//! - *delete*: one batch deletes its log and vote and records that it is gone, and what
//!   it had promised, which a replica that joins the group here later keeps; the other disks record it too; then its state is deleted. What a crash leaves of
//!   the state is swept at the next open.

use std::io;
use std::sync::Arc;

use partition_types::{LogId, Member, NodeId, PartitionId};

use super::ManifestEntry;
use crate::codec::{self, ManifestRecord, Placement};
use crate::disk::Disk;
use crate::engine::{Batch, Table};
use crate::error::{OpenError, StoreError};
use crate::keys;
use crate::manifest::{self, Manifest};

/// The manifest, and what follows from it.
pub(super) struct Placed {
    manifest: Manifest,
    /// The disks' ids, in the order of the configuration.
    disks: Vec<uuid::Uuid>,
    /// Partitions on each of them.
    counts: Vec<usize>,
}

impl Placed {
    pub(super) fn new(manifest: Manifest, disks: &[Arc<Disk>]) -> Self {
        let ids = disks.iter().map(|disk| disk.id).collect();
        let mut placed = Self { manifest, disks: ids, counts: vec![0; disks.len()] };
        let on: Vec<usize> = placed
            .manifest
            .records()
            .filter_map(|(_, record)| placed.position(record.placement.as_ref()?))
            .collect();
        for disk in on {
            placed.counts[disk] += 1;
        }
        placed
    }

    fn position(&self, placement: &Placement) -> Option<usize> {
        self.disks.iter().position(|disk| *disk == placement.disk)
    }

    pub(super) fn entries(&self) -> Vec<ManifestEntry> {
        self.manifest
            .records()
            .filter_map(|(partition_id, record)| {
                let placement = record.placement.as_ref()?;
                let disk = self.position(placement).unwrap_or(0);
                let created_with = placement.created_with.clone();
                Some(ManifestEntry { partition_id, disk, created_with })
            })
            .collect()
    }

    pub(super) fn partitions_by_disk(&self) -> &[usize] {
        &self.counts
    }

    /// `None` when the partition is not there, or its disk is lost.
    pub(super) fn disk_of(&self, id: PartitionId) -> Option<usize> {
        self.position(self.manifest.get(id)?.placement.as_ref()?)
    }

    pub(super) fn created_with(&self, id: PartitionId) -> Vec<(NodeId, Member)> {
        let placement = self.manifest.get(id).and_then(|record| record.placement.as_ref());
        placement.map_or_else(Vec::new, |placement| placement.created_with.clone())
    }

    /// The entry that a replica must have before it has a voice: the last one of the
    /// replica that was here before it.
    pub(super) fn owes(&self, id: PartitionId) -> Option<LogId> {
        let record = self.manifest.get(id).filter(|record| record.placement.is_some())?;
        record.promised?.last
    }

    pub(super) fn has(&self, id: PartitionId) -> bool {
        self.manifest.get(id).is_some_and(|record| record.placement.is_some())
    }

    pub(super) fn create(
        &mut self,
        disks: &[Arc<Disk>],
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
    ) -> Result<bool, StoreError> {
        if self.has(id) {
            return Ok(false);
        }
        let nth = self.emptiest(disks).ok_or(StoreError::NoDisk)?;
        let disk = &disks[nth];
        let revision = self.manifest.revision(id) + 1;
        if revision > 1 {
            // A load may have come between an earlier deletion and its end.
            retire(disk, id);
            let clean = (|| {
                disk.delete_data(id)?;
                disk.flush.now()
            })();
            clean.map_err(|source| fault(disk, source))?;
        }
        // Another group of that id owes nothing of the former one's.
        let joins = created_with.is_empty();
        let promised = self.manifest.get(id).and_then(|record| record.promised).filter(|_| joins);
        let placement = Some(Placement { disk: disk.id, created_with });
        let record = ManifestRecord { revision, placement, promised };
        let mut batch = Batch::default();
        if revision > 1 {
            Disk::delete_log(&mut batch, id);
        }
        if let Some(vote) = promised.and_then(|promised| promised.vote) {
            batch.put(Table::LogMeta, keys::vote(id), codec::encode_vote(&vote));
        }
        manifest::put(&mut batch, id, &record);
        disk.writer.write(batch).map_err(|source| fault(disk, source))?;
        self.manifest.set(id, record);
        self.counts[nth] += 1;
        self.tell_others(disks, Some(nth), id);
        Ok(true)
    }

    pub(super) fn delete(
        &mut self,
        disks: &[Arc<Disk>],
        id: PartitionId,
    ) -> Result<bool, StoreError> {
        if !self.has(id) {
            return Ok(false);
        }
        let home = self.disk_of(id);
        let revision = self.manifest.revision(id) + 1;
        let promised = self.manifest.get(id).and_then(|record| record.promised);
        let mut record = ManifestRecord { revision, placement: None, promised };
        if let Some(nth) = home {
            let disk = &disks[nth];
            retire(disk, id);
            record.promised = disk.promised(id).map(|own| own.and(promised)).or(promised);
            let mut batch = Batch::default();
            Disk::delete_log(&mut batch, id);
            manifest::put(&mut batch, id, &record);
            disk.writer.write(batch).map_err(|source| fault(disk, source))?;
            self.counts[nth] -= 1;
        }
        self.manifest.set(id, record);
        self.tell_others(disks, home, id);
        if let Some(nth) = home {
            let disk = &disks[nth];
            disk.delete_data(id).map_err(|error| fault(disk, error.into()))?;
            disk.flush.reclaim(id);
        }
        Ok(true)
    }

    /// Deletes again what a crash kept of deleted partitions.
    pub(super) fn sweep(&self, disks: &[Arc<Disk>]) -> Result<(), OpenError> {
        let gone: Vec<PartitionId> = self
            .manifest
            .records()
            .filter(|(_, record)| record.placement.is_none())
            .map(|(id, _)| id)
            .collect();
        for disk in disks {
            for &id in &gone {
                disk.sweep(id).map_err(|source| OpenError::Io {
                    action: "sweep a deleted partition from",
                    path: disk.path.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// The working disk with the fewest partitions.
    fn emptiest(&self, disks: &[Arc<Disk>]) -> Option<usize> {
        let working = (0..disks.len()).filter(|&nth| disks[nth].health.failure().is_none());
        working.min_by_key(|&nth| self.counts[nth])
    }

    /// Records a partition on the disks that do not have it. One that fails is
    /// told again at the next open.
    fn tell_others(&self, disks: &[Arc<Disk>], home: Option<usize>, id: PartitionId) {
        let Some(record) = self.manifest.get(id) else { return };
        for (nth, disk) in disks.iter().enumerate() {
            if Some(nth) == home {
                continue;
            }
            let mut batch = Batch::default();
            manifest::put(&mut batch, id, record);
            if let Err(error) = disk.writer.write(batch) {
                tracing::warn!(disk = %disk.path.display(), %error, "manifest not updated");
            }
        }
    }
}

/// Whoever has a handle still must not write behind a deletion.
fn retire(disk: &Disk, id: PartitionId) {
    let (log, state) = disk.loaded.remove(id);
    if let Some(log) = log {
        log.close("the partition is deleted");
    }
    if let Some(state) = state {
        state.close();
    }
}

fn fault(disk: &Disk, source: io::Error) -> StoreError {
    StoreError::Disk { path: disk.path.clone(), source }
}

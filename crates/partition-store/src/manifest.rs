//! Which partitions the node has, and on which disks.
//!
//! Every disk has the record of every partition, so that a lost disk is known to
//! have had partitions, and which. A change is durable when the log of one disk
//! has it; of different records for a partition, the one with the highest
//! revision is true, and the others are brought up to it at the next open.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use partition_types::PartitionId;

use crate::codec::{CodecError, ManifestRecord, decode_manifest, encode_manifest};
use crate::engine::{Batch, EngineError, Read, Table};
use crate::keys;

/// All records, of present and deleted partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    records: BTreeMap<PartitionId, ManifestRecord>,
}

/// Why a disk's manifest cannot be read.
#[derive(Debug)]
pub(crate) enum ManifestError {
    Engine(EngineError),
    Record(CodecError),
}

impl Manifest {
    /// Reads what one disk has.
    pub(crate) fn read(raft: &dyn Read) -> Result<Self, ManifestError> {
        let mut records = BTreeMap::new();
        let mut problem = None;
        let range = keys::manifest_all();
        raft.scan(Table::LogMeta, &range.start..&range.end, &mut |key, value| {
            let id = keys::partition_of_manifest(key);
            let record = decode_manifest(&Bytes::copy_from_slice(value));
            match id.and_then(|id| Ok((id, record?))) {
                Ok((id, record)) => {
                    records.insert(id, record);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    problem = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .map_err(ManifestError::Engine)?;
        match problem {
            None => Ok(Self { records }),
            Some(problem) => Err(ManifestError::Record(problem)),
        }
    }

    /// Takes over what another disk knows better.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (&id, record) in &other.records {
            if self.revision(id) < record.revision {
                self.records.insert(id, record.clone());
            }
        }
    }

    /// What is to be written to a disk that has `other`, for it to have this.
    pub(crate) fn missing_in(&self, other: &Self) -> Batch {
        let mut batch = Batch::default();
        for (&id, record) in &self.records {
            if other.records.get(&id) != Some(record) {
                put(&mut batch, id, record);
            }
        }
        batch
    }

    pub(crate) fn get(&self, id: PartitionId) -> Option<&ManifestRecord> {
        self.records.get(&id)
    }

    /// 0 of a partition that never was here.
    pub(crate) fn revision(&self, id: PartitionId) -> u64 {
        self.records.get(&id).map_or(0, |record| record.revision)
    }

    pub(crate) fn set(&mut self, id: PartitionId, record: ManifestRecord) {
        self.records.insert(id, record);
    }

    /// All records, in the order of the partitions' ids.
    pub(crate) fn records(&self) -> impl Iterator<Item = (PartitionId, &ManifestRecord)> {
        self.records.iter().map(|(&id, record)| (id, record))
    }
}

/// Adds a record to a batch for `raft/`.
pub(crate) fn put(batch: &mut Batch, id: PartitionId, record: &ManifestRecord) {
    batch.put(Table::LogMeta, keys::manifest(id), encode_manifest(record));
}

//! Where a generation of a partition keeps its records: `keys.rs` with the
//! partition and the generation filled in.

use std::ops::Range;

use partition_types::{ExtentId, PartitionId, RequestId};

use super::record::Visibility;
use crate::keys;

/// One generation of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) partition_id: PartitionId,
    pub(crate) generation: u32,
}

impl Space {
    pub(crate) fn new(partition_id: PartitionId, generation: u32) -> Self {
        Self { partition_id, generation }
    }

    /// Everything, in either table.
    pub(crate) fn all(&self) -> Range<Vec<u8>> {
        keys::generation_data(self.partition_id, self.generation)
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        keys::state(self.partition_id, self.generation)
    }

    pub(crate) fn extent(&self, id: ExtentId, visibility: Visibility) -> Vec<u8> {
        match visibility {
            Visibility::Visible => keys::extent(self.partition_id, self.generation, id.get()),
            Visibility::Staged => keys::staged(self.partition_id, self.generation, id.get()),
        }
    }

    /// Extents from an id on.
    pub(crate) fn extents(&self, visibility: Visibility, from: u64) -> Range<Vec<u8>> {
        match visibility {
            Visibility::Visible => keys::extents_from(self.partition_id, self.generation, from),
            Visibility::Staged => keys::staged_from(self.partition_id, self.generation, from),
        }
    }

    pub(crate) fn run(&self, id: ExtentId, offset: u64) -> Vec<u8> {
        keys::run(self.partition_id, self.generation, id, offset)
    }

    /// All runs of an extent.
    pub(crate) fn runs(&self, id: ExtentId) -> Range<Vec<u8>> {
        keys::runs(self.partition_id, self.generation, id)
    }

    pub(crate) fn chunk(&self, id: ExtentId, chunk_id: u64) -> Vec<u8> {
        keys::chunk(self.partition_id, self.generation, id, chunk_id)
    }

    /// All chunks of an extent.
    pub(crate) fn chunks(&self, id: ExtentId) -> Range<Vec<u8>> {
        keys::chunks(self.partition_id, self.generation, id)
    }

    pub(crate) fn outcome(&self, request: &RequestId) -> Vec<u8> {
        keys::outcome(self.partition_id, self.generation, request)
    }

    pub(crate) fn request(&self, index: u64) -> Vec<u8> {
        keys::request(self.partition_id, self.generation, index)
    }

    /// Remembered requests from a log index on.
    pub(crate) fn requests(&self, from_index: u64) -> Range<Vec<u8>> {
        keys::requests_from(self.partition_id, self.generation, from_index)
    }
}

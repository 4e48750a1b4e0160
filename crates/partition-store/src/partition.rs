//! One partition of a store: its log and its state.

use std::path::Path;

use partition_types::PartitionId;

use crate::check::{CheckError, Verify};
use crate::error::DiskFull;
use crate::log::PartitionLog;
use crate::state::PartitionState;

/// A handle to a partition; cheap to clone.
#[derive(Clone)]
pub struct PartitionStore {}

impl PartitionStore {
    pub fn id(&self) -> PartitionId { todo!() }
    pub fn disk_path(&self) -> &Path { todo!() }
    pub fn log(&self) -> &PartitionLog { todo!() }
    pub fn state(&self) -> &PartitionState { todo!() }
    pub fn check(&self, verify: Verify) -> Result<(), CheckError> { todo!() }
    pub fn admit(&self, len_bytes: usize) -> Result<(), DiskFull> { todo!() }
}

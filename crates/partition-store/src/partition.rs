//! One partition of a store: its log and its state.

use std::path::Path;
use std::sync::Arc;

use partition_types::PartitionId;

use crate::check::{self, CheckError, Verify};
use crate::disk::Disk;
use crate::error::DiskFull;
use crate::log::PartitionLog;
use crate::state::PartitionState;

/// A handle to a partition; cheap to clone.
#[derive(Clone)]
pub struct PartitionStore {
    disk: Arc<Disk>,
    log: PartitionLog,
    state: PartitionState,
}

impl PartitionStore {
    pub(crate) fn new(disk: Arc<Disk>, log: PartitionLog, state: PartitionState) -> Self {
        Self { disk, log, state }
    }

    /// Which partition it is.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.log.id()
    }

    /// The data directory it is in.
    #[must_use]
    pub fn disk_path(&self) -> &Path {
        &self.disk.path
    }

    /// Its log and vote.
    #[must_use]
    pub fn log(&self) -> &PartitionLog {
        &self.log
    }

    /// Its extents.
    #[must_use]
    pub fn state(&self) -> &PartitionState {
        &self.state
    }

    /// Checks what is stored of it. Blocks; nothing may be written to the
    /// partition meanwhile.
    ///
    /// # Errors
    /// [`CheckError`] for the first thing that is not as it must be.
    pub fn check(&self, verify: Verify) -> Result<(), CheckError> {
        let (raft, data) = (self.disk.raft.as_ref(), self.disk.data.as_ref());
        check::check_partition(raft, data, self.id(), verify).map(|_| ())
    }

    /// Whether its disk has room for a payload beside the reserve. What gives
    /// space back does not ask.
    ///
    /// # Errors
    /// [`DiskFull`] when it has not.
    pub fn admit(&self, len_bytes: usize) -> Result<(), DiskFull> {
        self.disk.space.admit(len_bytes as u64)
    }
}

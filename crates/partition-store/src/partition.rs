//! One partition of a store: its log and its state, and how the one catches up
//! with the other.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use partition_types::{LogId, Membership, PartitionId, Payload};

use crate::check::{self, CheckError, Verify};
use crate::disk::Disk;
use crate::error::DiskFull;
use crate::log::PartitionLog;
use crate::state::PartitionState;

/// Entries of about this many bytes are replayed at once.
const REPLAY_BYTES_MAX: usize = 4 << 20;

/// A handle to a partition; cheap to clone.
#[derive(Clone)]
pub struct PartitionStore {
    disk: Arc<Disk>,
    log: PartitionLog,
    state: PartitionState,
    replay_delay: Duration,
}

/// What a state will be when the log is replayed into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last entry known to be committed, applied or not.
    pub applied: Option<LogId>,
    /// The membership as of that entry.
    pub membership: Membership,
    /// The entry that brought the membership.
    pub membership_log_id: Option<LogId>,
}

impl PartitionStore {
    pub(crate) fn new(
        disk: Arc<Disk>,
        log: PartitionLog,
        state: PartitionState,
        replay_delay: Duration,
    ) -> Self {
        Self { disk, log, state, replay_delay }
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

    /// What the state will be after a [replay](Self::replay_piece) of what is known to
    /// be committed. Reads those entries and changes nothing: a replica can take
    /// part in its group by this while its state is still behind.
    ///
    /// # Errors
    /// When the disk fails or an entry is damaged or missing.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn recovered(&self) -> io::Result<Recovered> {
        let applied = self.state.applied();
        let (membership_log_id, membership) = self.state.membership();
        let mut recovered = Recovered { applied, membership, membership_log_id };
        // A hint may be beyond what a crash left of the log.
        let Some(committed) = self.log.committed().min(self.log.bounds().last) else {
            return Ok(recovered);
        };
        let mut next = applied.map_or(0, |id| id.index + 1);
        while next <= committed.index {
            let entries = self.log.entries(next..committed.index + 1, REPLAY_BYTES_MAX).await?;
            let Some(last) = entries.last() else { return Err(hole(next)) };
            next = last.log_id.index + 1;
            recovered.applied = Some(last.log_id);
            for entry in entries {
                if let Payload::Membership(membership) = entry.payload {
                    recovered.membership = membership;
                    recovered.membership_log_id = Some(entry.log_id);
                }
            }
        }
        Ok(recovered)
    }

    /// The last membership among the entries that the state does not have yet, and where it
    /// stands, committed or not; `None` when the state's own is the last.
    ///
    /// # Errors
    /// When the disk fails or an entry is damaged or missing.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn tail_membership(&self) -> io::Result<Option<(LogId, Membership)>> {
        let mut next = self.state.applied().map_or(0, |id| id.index + 1);
        let end = self.log.bounds().last.map_or(0, |id| id.index + 1);
        let mut found = None;
        while next < end {
            let entries = self.log.entries(next..end, REPLAY_BYTES_MAX).await?;
            let Some(last) = entries.last() else { return Err(hole(next)) };
            next = last.log_id.index + 1;
            for entry in entries {
                if let Payload::Membership(membership) = entry.payload {
                    found = Some((entry.log_id, membership));
                }
            }
        }
        Ok(found)
    }

    /// Applies a few megabytes of the entries up to `upto` that the state does
    /// not have yet, and returns the last one applied; `None` when it has all.
    ///
    /// # Errors
    /// When the disk fails, or an entry or stored bytes that it needs are
    /// damaged or missing. What was applied stays.
    ///
    /// # Cancel safety
    /// A call that was dropped may still apply the piece it was at.
    pub async fn replay_piece(&self, upto: LogId) -> io::Result<Option<LogId>> {
        let next = self.state.applied().map_or(0, |id| id.index + 1);
        if next > upto.index {
            return Ok(None);
        }
        let entries = self.log.entries(next..upto.index + 1, REPLAY_BYTES_MAX).await?;
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return Err(hole(next)) };
        // A state is never ahead of the durable log.
        self.log.synced(last.index).await?;
        self.state.apply(entries).await?;
        Ok(Some(last))
    }

    /// Test aid: waits as long as the store was told to slow each load down.
    pub async fn delay_replay(&self) {
        if !self.replay_delay.is_zero() {
            tokio::time::sleep(self.replay_delay).await;
        }
    }

    /// When it was written to last, by the proposer's clock in milliseconds since
    /// the Unix epoch; 0 if never.
    #[must_use]
    pub fn written_at_ms(&self) -> u64 {
        self.state.written_at_ms()
    }

    /// Checks what is stored of it, as of one moment: it may be written to
    /// meanwhile. Blocks.
    ///
    /// # Errors
    /// [`CheckError`] for the first thing that is not as it must be.
    pub fn check(&self, verify: Verify) -> Result<(), CheckError> {
        // Nothing is applied between the two views, so the log that is purged
        // no further than what is applied, and synced before it is, fits.
        let (raft, data) =
            self.state.at_rest(|| (self.disk.raft.snapshot(), self.disk.data.snapshot()));
        check::check_partition(raft.as_ref(), data.as_ref(), self.id(), verify).map(|_| ())
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

fn hole(index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log has no entry {index}"))
}

//! How much a disk may still take.
//!
//! The reserve is soft: it stops appends before the file system is full, so that
//! there is always room for what gives space back or keeps the group going:
//! votes, purges, flushes, snapshots, deletes.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::DiskFull;

/// A payload is written to the log and to the state, and moved by compaction
/// before the first copies are given back.
const BYTES_PER_PAYLOAD_BYTE: u64 = 4;
/// So much is admitted before the file system is asked again.
const GRANT_BYTES: u64 = 64 * 1024 * 1024;

/// The space of a disk's file system.
pub(crate) struct Space {
    /// `None`: a disk in memory, which is never full.
    path: Option<PathBuf>,
    pub(crate) reserve_bytes: u64,
    /// What may be admitted without asking again.
    granted: AtomicU64,
}

/// What a file system says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) total_bytes: u64,
    pub(crate) available_bytes: u64,
}

impl Space {
    pub(crate) fn new(path: PathBuf, reserve_bytes: u64) -> Self {
        Self { path: Some(path), reserve_bytes, granted: AtomicU64::new(0) }
    }

    /// Of a disk in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn endless() -> Self {
        Self { path: None, reserve_bytes: 0, granted: AtomicU64::new(0) }
    }

    /// Asks the file system.
    pub(crate) fn capacity(&self) -> io::Result<Capacity> {
        let Some(path) = &self.path else {
            return Ok(Capacity { total_bytes: u64::MAX, available_bytes: u64::MAX });
        };
        let stat = rustix::fs::statvfs(path)?;
        Ok(Capacity {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// Admits a payload if there is room for it beside the reserve.
    pub(crate) fn admit(&self, len_bytes: u64) -> Result<(), DiskFull> {
        let wanted = len_bytes.saturating_mul(BYTES_PER_PAYLOAD_BYTE);
        let take = |granted: u64| granted.checked_sub(wanted);
        if self.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Ok(());
        }
        // A file system that does not answer says why when it is written to.
        let Ok(Capacity { available_bytes, .. }) = self.capacity() else { return Ok(()) };
        let room = available_bytes.saturating_sub(self.reserve_bytes);
        match room.checked_sub(wanted) {
            Some(rest) => {
                self.granted.store(rest.min(GRANT_BYTES), Ordering::Relaxed);
                Ok(())
            }
            None => Err(DiskFull { available_bytes, reserve_bytes: self.reserve_bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let free = Space::new(dir.path().to_owned(), 0).capacity().unwrap().available_bytes;
        let check = |reserve: u64, len: u64, is_admitted: bool| {
            let space = Space::new(dir.path().to_owned(), reserve);
            for _ in 0..3 {
                assert_eq!(space.admit(len).is_ok(), is_admitted, "{reserve} {len}");
            }
        };
        check(0, 1 << 20, true);
        check(0, u64::MAX, false);
        check(0, free, false);
        check(u64::MAX, 0, true);
        check(u64::MAX, 1, false);
    }

    #[test]
    fn what_is_granted_is_used_up() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(dir.path().to_owned(), 0);
        space.admit(1).unwrap();
        let granted = space.granted.load(Ordering::Relaxed);
        assert!(granted <= GRANT_BYTES);
        space.admit(1000).unwrap();
        assert_eq!(granted - space.granted.load(Ordering::Relaxed), 4000);
    }
}

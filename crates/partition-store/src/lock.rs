//! One process a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// The file that is locked. It stays; the lock goes with the process.
const FILE: &str = "LOCK";

/// Held as long as any database of the directory is open.
pub(crate) struct DirLock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody else has it.
    Held,
    /// The file cannot be opened or locked.
    Io(io::Error),
}

impl DirLock {
    /// Locks a directory, at once or not at all.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        Self::lock(options.open(dir.join(FILE)))
    }

    /// Likewise, without making the file: for those who only look.
    pub(crate) fn acquire_existing(dir: &Path) -> Result<Self, LockError> {
        Self::lock(File::open(dir.join(FILE)))
    }

    fn lock(file: io::Result<File>) -> Result<Self, LockError> {
        let file = file.map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }
}

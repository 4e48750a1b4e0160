//! One process a data directory.

/// Held as long as any database of the directory is open.
pub(crate) struct DirLock;

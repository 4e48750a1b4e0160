//! The limit on open files: RocksDB keeps its files open, and each connection
//! is one more.

/// What a large node needs; more does no harm.
const WANTED: u64 = 1 << 20;
/// Below this a node with a few disks and some hundred clients runs out.
const FEW: u64 = 4096;

/// Raises the soft limit as far as the hard one allows.
pub(super) fn raise_limit() {
    match rlimit::increase_nofile_limit(WANTED) {
        Ok(limit) if limit < FEW => {
            tracing::warn!(limit, "few open files are allowed: raise the limit (ulimit -n)");
        }
        Ok(limit) => tracing::debug!(limit, "open files allowed"),
        Err(error) => tracing::warn!(%error, "the limit on open files was not raised"),
    }
}

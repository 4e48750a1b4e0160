//! How much of the logs' ends stays in memory.
//!
//! Replication and apply read what was just appended; from memory that costs
//! neither a copy nor a look-up. All logs of a disk share one budget, and what was
//! appended longest ago goes first.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::LogInner;

/// Durable entries that the logs of a disk keep in memory.
const BUDGET_BYTES: usize = 64 * 1024 * 1024;
/// As many appends are remembered, whatever their size.
const APPENDS_MAX: usize = 64 * 1024;

/// Bytes of entries that the logs of a disk have in memory.
#[derive(Debug, Default)]
pub(crate) struct TailBytes(AtomicUsize);

impl TailBytes {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The durable appends that memory may still have, the oldest first.
pub(crate) struct Recent {
    appends: VecDeque<(Weak<LogInner>, u64)>,
    bytes: Arc<TailBytes>,
    budget_bytes: usize,
}

impl Recent {
    pub(crate) fn new(bytes: Arc<TailBytes>) -> Self {
        Self::with_budget(bytes, BUDGET_BYTES)
    }

    pub(crate) fn with_budget(bytes: Arc<TailBytes>, budget_bytes: usize) -> Self {
        Self { appends: VecDeque::new(), bytes, budget_bytes }
    }

    /// Remembers an append that ended before `next_index`.
    pub(crate) fn push(&mut self, log: &Arc<LogInner>, next_index: u64) {
        self.appends.push_back((Arc::downgrade(log), next_index));
    }

    /// Lets go of the oldest until the rest is within the budget.
    pub(crate) fn trim(&mut self) {
        while let Some((log, next_index)) = self.appends.front() {
            let log = log.upgrade();
            let over = self.bytes.get() > self.budget_bytes || self.appends.len() > APPENDS_MAX;
            match log {
                // Purged, truncated or unloaded since: there is nothing to keep.
                Some(log) if !log.has_before(*next_index) => {}
                None => {}
                Some(log) if over => log.release(*next_index),
                Some(_) => return,
            }
            self.appends.pop_front();
        }
    }
}

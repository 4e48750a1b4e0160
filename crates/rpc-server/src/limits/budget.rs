//! The memory that payloads of calls under way may take.
//!
//! A caller that is told OVERLOADED comes back later; a node that runs out of
//! memory does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use partition_types::Reason;

use crate::status::Failure;

/// Bytes that calls under way share. A cheap handle.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit_bytes: usize,
    taken_bytes: AtomicUsize,
}

/// A share of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    len_bytes: usize,
}

impl Budget {
    /// A budget of which nothing is taken.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let inner = Inner { limit_bytes, taken_bytes: AtomicUsize::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// Takes a share.
    ///
    /// # Errors
    /// OVERLOADED when less is left.
    pub(crate) fn take(&self, len_bytes: usize) -> Result<Share, Failure> {
        let Inner { limit_bytes, taken_bytes } = &*self.inner;
        // Taken first and given back on failure: two callers never both see
        // room for one.
        let before = taken_bytes.fetch_add(len_bytes, Ordering::Relaxed);
        let share = Share { budget: self.clone(), len_bytes };
        if before.saturating_add(len_bytes) > *limit_bytes {
            return Err(Failure::new(Reason::Overloaded, "too much data is under way")
                .with("in_flight_bytes", before)
                .with("limit_bytes", limit_bytes));
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.inner.taken_bytes.fetch_sub(self.len_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let budget = Budget::new(100);
        let first = budget.take(60).expect("room");
        let _second = budget.take(40).expect("room");
        assert_eq!(budget.take(1).expect_err("full").reason(), Reason::Overloaded);
        drop(first);
        let _third = budget.take(60).expect("room again");
        assert!(budget.take(1).is_err());
        assert!(budget.take(0).is_ok());
    }
}

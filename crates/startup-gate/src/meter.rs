//! The pulse of one unit's work: when it last moved, and whether it should stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(crate) struct Meter {
    zero: Instant,
    /// Microseconds since `zero`.
    moved_us: AtomicU64,
    stop: CancellationToken,
}

impl Meter {
    /// Starts now, stops with its parent at the latest.
    pub(crate) fn new(zero: Instant, parent: &CancellationToken) -> Self {
        let meter = Self { zero, moved_us: AtomicU64::new(0), stop: parent.child_token() };
        meter.tick();
        meter
    }

    pub(crate) fn tick(&self) {
        let now_us = u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.moved_us.fetch_max(now_us, Ordering::Relaxed);
    }

    /// When it last moved.
    pub(crate) fn moved(&self) -> Instant {
        self.zero + Duration::from_micros(self.moved_us.load(Ordering::Relaxed))
    }

    pub(crate) fn withdraw(&self) {
        self.stop.cancel();
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) async fn withdrawn(&self) {
        self.stop.cancelled().await;
    }
}

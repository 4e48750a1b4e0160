//! What happened: faults, and requests by the windows in which they ended.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many faults are told in full.
const TOLD_MAX: usize = 5;
/// How often a window that closes looks at what is still on its way.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What must not happen.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Bytes, sizes or checksums that are not what they were.
    pub(super) mismatches: u64,
    /// Errors that the client returned.
    pub(super) client_errors: u64,
    /// The first few, in words.
    pub(super) told: Vec<String>,
}

impl Faults {
    pub(super) fn mismatch(&mut self, what: &impl fmt::Display) {
        self.mismatches += 1;
        self.tell(format!("mismatch: {what}"));
    }

    pub(super) fn client_error(&mut self, error: &impl fmt::Display) {
        self.client_errors += 1;
        self.tell(format!("client error: {error:#}"));
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

/// The requests of one window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Window {
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) client_errors: u64,
    pub(super) slowest: Duration,
}

/// Whether a request changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// Takes down each request of the load.
#[derive(Debug)]
pub(super) struct Recorder {
    epoch: Instant,
    window: Mutex<Window>,
    /// For each worker, when its request began (µs since `epoch`, plus one);
    /// 0 between requests.
    began: Vec<AtomicU64>,
}

impl Recorder {
    pub(super) fn new(workers: usize) -> Self {
        let began = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Self { epoch: Instant::now(), window: Mutex::default(), began }
    }

    /// Runs one request of a worker and takes it down.
    pub(super) async fn time<T, E>(
        &self,
        worker: usize,
        kind: Kind,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let start = Instant::now();
        self.began[worker].store(self.micros(start) + 1, Ordering::Relaxed);
        let result = request.await;
        let took = start.elapsed();
        let mut window = self.window.lock().expect("no panics under it");
        match kind {
            Kind::Read => window.reads += 1,
            Kind::Write => window.writes += 1,
        }
        window.client_errors += u64::from(result.is_err());
        window.slowest = window.slowest.max(took);
        self.began[worker].store(0, Ordering::Relaxed);
        result
    }

    /// Begins a window: what ended before belongs to no one.
    pub(super) fn open(&self) {
        *self.window.lock().expect("no panics under it") = Window::default();
    }

    /// Ends a window, once every request that began before now is over.
    pub(super) async fn close(&self) -> Window {
        let now = self.micros(Instant::now()) + 1;
        let on_their_way = || {
            self.began.iter().map(|began| began.load(Ordering::Relaxed)).any(|b| b != 0 && b <= now)
        };
        while on_their_way() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        std::mem::take(&mut *self.window.lock().expect("no panics under it"))
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch).as_micros();
        u64::try_from(since).expect("584,000 years")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_window_waits_for_what_began_in_it() {
        let recorder = Recorder::new(2);
        recorder.open();
        let slow = recorder.time(0, Kind::Read, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err::<(), ()>(())
        });
        let close = async {
            tokio::task::yield_now().await;
            recorder.close().await
        };
        let (_, window) = tokio::join!(slow, close);
        assert_eq!((window.reads, window.writes, window.client_errors), (1, 0, 1));
        assert!(window.slowest >= Duration::from_millis(50));
        assert_eq!(recorder.close().await.reads, 0);
    }
}

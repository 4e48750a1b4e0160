//! What the machine does meanwhile, by `/proc`: figures are worth what it was.

use std::fs::{File, read_to_string};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use super::figures::{Span, ms};
use super::record::Recorder;

/// Between two syncs of the probe: what holds the disk up for long is seen, and it is no load.
const SYNC_EVERY: Duration = Duration::from_millis(50);
/// What it writes, over and over.
const BLOCK: [u8; 4096] = [0xd1; 4096];

/// What the machine did that is none of the nodes' doing, or little of it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Machine {
    /// The part of the processors' time that others had who share the machine below.
    pub(super) stolen_ratio: Phases,
    /// The slowest sync of one block in a file of its own, on the disk of the nodes' files.
    pub(super) slowest_sync_ms: Phases,
}

/// A figure of the time before the restarts, and of theirs.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Phases {
    pub(super) baseline: f64,
    pub(super) restarts: f64,
}

/// Syncs one block each [`SYNC_EVERY`], in a thread of its own.
pub(super) struct DiskProbe {
    /// Its end ends the thread.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<io::Result<Vec<Sync>>>,
}

struct Sync {
    began_us: u64,
    took_us: u64,
}

impl DiskProbe {
    /// Begins, with a file in `dir`.
    ///
    /// # Errors
    /// When there cannot be one.
    pub(super) fn start(dir: &Path, recorder: Arc<Recorder>) -> io::Result<Self> {
        let file = File::create(dir.join("disk-probe"))?;
        let (stop, stopped) = mpsc::channel();
        let probe = move || {
            let mut syncs = Vec::new();
            while stopped.recv_timeout(SYNC_EVERY) == Err(RecvTimeoutError::Timeout) {
                let began_us = recorder.now_us();
                file.write_all_at(&BLOCK, 0)?;
                file.sync_data()?;
                syncs.push(Sync { began_us, took_us: recorder.now_us() - began_us });
            }
            Ok(syncs)
        };
        let thread = thread::Builder::new().name("disk-probe".to_owned()).spawn(probe)?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the disk failed meanwhile.
    pub(super) fn stop(self) -> io::Result<Syncs> {
        drop(self.stop);
        let syncs = self.thread.join().map_err(|_| io::Error::other("the disk probe died"))??;
        Ok(Syncs(syncs))
    }
}

/// What a [`DiskProbe`] saw.
pub(super) struct Syncs(Vec<Sync>);

impl Syncs {
    /// The slowest that was on its way in any of these spans, in milliseconds; 0 of none.
    pub(super) fn slowest_ms(&self, spans: impl IntoIterator<Item = Span>) -> f64 {
        let slowest = |span: Span| {
            let touches = |sync: &&Sync| {
                sync.began_us < span.end_us && sync.began_us + sync.took_us >= span.start_us
            };
            self.0.iter().filter(touches).map(|sync| sync.took_us).max().unwrap_or(0)
        };
        ms(spans.into_iter().map(slowest).max().unwrap_or(0))
    }
}

/// Resident memory of a process.
pub(super) fn rss_mib(pid: u32) -> f64 {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Of the last minute.
pub(super) fn load_average() -> f64 {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// What the processors did since the machine was started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Processors {
    ticks: u64,
    stolen: u64,
}

impl Processors {
    /// Up to now; nothing where the system does not tell.
    pub(super) fn now() -> Self {
        Self::of(&read_to_string("/proc/stat").unwrap_or_default())
    }

    /// The first line is of all of them: user, nice, system, idle, iowait, irq, softirq, steal.
    fn of(stat: &str) -> Self {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
        let ticks = line.unwrap_or_default().split_whitespace().take(8);
        let ticks: Vec<u64> = ticks.map_while(|text| text.parse().ok()).collect();
        Self { ticks: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or(0) }
    }

    /// The part of their time since `before` that others had who share the machine below.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
    pub(super) fn stolen_since(self, before: Self) -> f64 {
        let ticks = self.ticks.saturating_sub(before.ticks);
        let stolen = self.stolen.saturating_sub(before.stolen);
        stolen as f64 / ticks.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_watched_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::new());
        let probe = DiskProbe::start(dir.path(), Arc::clone(&recorder)).unwrap();
        thread::sleep(SYNC_EVERY * 4);
        let syncs = probe.stop().unwrap();
        let whole = Span { start_us: 0, end_us: recorder.now_us() };
        assert!(syncs.slowest_ms([whole]) > 0.0);
        let later = Span { start_us: whole.end_us + 1, end_us: whole.end_us + 2 };
        assert!(syncs.slowest_ms([later]) < f64::EPSILON);
    }

    #[test]
    fn what_others_took_is_a_part_of_the_time_in_between() {
        let before = Processors::of("cpu  10 0 10 80 0 0 0 5 3 0\ncpu0 1 1 1 1 1 1 1 1\n");
        let after = Processors::of("cpu  40 0 20 90 0 0 5 20 9 0\n");
        assert!((after.stolen_since(before) - 0.2142).abs() < 0.001);
        assert!(Processors::of("").stolen_since(after).abs() < f64::EPSILON);
    }
}

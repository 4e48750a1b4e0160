//! Watching the disk of the nodes' files: a write waits for two of three disks, and where those
//! are one, as on the machine of a trial, for that one.
//!
//! Two things are seen, each by a thread of its own. What a program gets: how long one block
//! takes to be durable. What the device does: the times in which it had requests, and completed
//! none. Much to write makes no such time by itself: it goes on in requests of bounded size
//! (`max_sectors_kb`), which complete one by one.

use std::fs::{File, read_to_string};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::figures::{Span, ms};
use super::record::{Op, Recorder};

/// Between two syncs of the probe: what holds the disk up for long is seen, and it is no load.
const SYNC_EVERY: Duration = Duration::from_millis(50);
/// What it writes, over and over.
const BLOCK: [u8; 4096] = [0xd1; 4096];
/// Between two looks at the device's counters, which is the error of what is seen so.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Requests of the usual length are not told.
const STILL_MIN_US: u64 = 30_000;

/// Watches the disk of a directory until it is stopped.
pub(super) struct Watch {
    /// Their ends end the threads.
    stop: [Sender<()>; 2],
    syncs: JoinHandle<io::Result<Vec<Span>>>,
    stills: JoinHandle<Option<Vec<Span>>>,
}

impl Watch {
    /// Begins, with a file in `dir`.
    ///
    /// # Errors
    /// When there cannot be one.
    pub(super) fn start(dir: &Path, recorder: &Arc<Recorder>) -> io::Result<Self> {
        let file = File::create(dir.join("disk-probe"))?;
        let device = counters_of(dir)?;
        let ((stop_syncs, stopped), syncing) = (mpsc::channel(), Arc::clone(recorder));
        let syncs = named("disk-probe", move || sync_blocks(&file, &syncing, &stopped))?;
        let ((stop_looks, stopped), looking) = (mpsc::channel(), Arc::clone(recorder));
        let stills = named("disk-watch", move || see_stills(&device, &looking, &stopped))?;
        Ok(Self { stop: [stop_syncs, stop_looks], syncs, stills })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the disk failed meanwhile.
    pub(super) fn stop(self) -> io::Result<Seen> {
        drop(self.stop);
        let died = |_| io::Error::other("a thread that watches the disk died");
        let syncs = self.syncs.join().map_err(died)??;
        let stills = self.stills.join().map_err(died)?;
        Ok(Seen { syncs, stills })
    }
}

/// What a [`Watch`] saw.
pub(super) struct Seen {
    syncs: Vec<Span>,
    /// `None`: the file system is on no device that counts.
    stills: Option<Vec<Span>>,
}

impl Seen {
    /// The slowest sync that was on its way in any of these spans, in milliseconds; 0 of none.
    pub(super) fn slowest_sync_ms(&self, spans: impl IntoIterator<Item = Span>) -> f64 {
        longest_ms(&self.syncs, spans)
    }

    /// The longest time, part of it in these spans, in which the device had requests and
    /// completed none; 0 where each completed soon.
    pub(super) fn longest_still_ms(&self, spans: impl IntoIterator<Item = Span>) -> Option<f64> {
        Some(longest_ms(self.stills.as_ref()?, spans))
    }

    /// Such times, in their order; none where the device does not count.
    pub(super) fn stills(&self) -> &[Span] {
        self.stills.as_deref().unwrap_or_default()
    }

    /// The longest time that a request took, where such times do not count.
    pub(super) fn max_moving_ms<'a>(&self, ops: impl Iterator<Item = &'a Op>) -> Option<f64> {
        let stills = self.stills.as_ref()?;
        let moving_us = |op: &Op| {
            let time = Span::of(op);
            time.len_us() - stills.iter().map(|still| still.overlap_us(time)).sum::<u64>()
        };
        Some(ms(ops.map(moving_us).max().unwrap_or(0)))
    }
}

/// The longest of these times of which any of the spans has a part.
fn longest_ms(times: &[Span], spans: impl IntoIterator<Item = Span>) -> f64 {
    let longest = |span: Span| {
        let under_way = times.iter().filter(|time| span.has_part_of(**time));
        under_way.map(|time| time.len_us()).max().unwrap_or(0)
    };
    ms(spans.into_iter().map(longest).max().unwrap_or(0))
}

fn named<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Whether to go on after so long.
fn goes_on(stopped: &Receiver<()>, after: Duration) -> bool {
    stopped.recv_timeout(after) == Err(RecvTimeoutError::Timeout)
}

fn sync_blocks(file: &File, recorder: &Recorder, stopped: &Receiver<()>) -> io::Result<Vec<Span>> {
    let mut syncs = Vec::new();
    while goes_on(stopped, SYNC_EVERY) {
        let start_us = recorder.now_us();
        file.write_all_at(&BLOCK, 0)?;
        file.sync_data()?;
        syncs.push(Span { start_us, end_us: recorder.now_us() });
    }
    Ok(syncs)
}

fn see_stills(counters: &Path, recorder: &Recorder, stopped: &Receiver<()>) -> Option<Vec<Span>> {
    let look = || Device::of(&read_to_string(counters).ok()?);
    let mut stills = Stills::new(recorder.now_us(), look()?);
    while goes_on(stopped, LOOK_EVERY) {
        stills.look(recorder.now_us(), look()?);
    }
    Some(stills.found)
}

/// Where the kernel counts what the device below a directory does.
fn counters_of(dir: &Path) -> io::Result<PathBuf> {
    let device = dir.metadata()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Ok(format!("/sys/dev/block/{major}:{minor}/stat").into())
}

/// The counters of a device, see Documentation/block/stat.rst of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    /// Reads, writes and discards since it is there.
    completed: u64,
    /// Requests that it has.
    in_flight: u64,
}

impl Device {
    fn of(stat: &str) -> Option<Self> {
        let fields = stat.split_whitespace().map(|field| field.parse().ok());
        let fields: Vec<u64> = fields.collect::<Option<_>>()?;
        let discards = fields.get(11).copied().unwrap_or(0);
        Some(Self {
            completed: fields.first()? + fields.get(4)? + discards,
            in_flight: *fields.get(8)?,
        })
    }
}

/// Finds the times in which a device stood still.
struct Stills {
    /// Since when it has requests, and has completed none.
    since_us: u64,
    last: Device,
    found: Vec<Span>,
}

impl Stills {
    const fn new(at_us: u64, device: Device) -> Self {
        Self { since_us: at_us, last: device, found: Vec::new() }
    }

    fn look(&mut self, at_us: u64, device: Device) {
        let stands = device.completed == self.last.completed && device.in_flight > 0;
        if !stands {
            let still = Span { start_us: self.since_us, end_us: at_us };
            if self.last.in_flight > 0 && still.len_us() >= STILL_MIN_US {
                self.found.push(still);
            }
            self.since_us = at_us;
        }
        self.last = device;
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::op;
    use super::*;

    #[test]
    fn the_disk_is_watched_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = Arc::new(Recorder::new());
        let watch = Watch::start(dir.path(), &recorder).unwrap();
        thread::sleep(SYNC_EVERY * 4);
        let seen = watch.stop().unwrap();
        let whole = Span { start_us: 0, end_us: recorder.now_us() };
        assert!(seen.slowest_sync_ms([whole]) > 0.0);
        let later = Span { start_us: whole.end_us + 1, end_us: whole.end_us + 2 };
        assert!(seen.slowest_sync_ms([later]) < f64::EPSILON);
        let counts = counters_of(dir.path()).unwrap().exists();
        assert_eq!(seen.longest_still_ms([whole]).is_some(), counts);
    }

    #[test]
    fn a_device_stands_still_while_it_has_requests_and_completes_none() {
        let mut stills = Stills::new(0, Device { completed: 7, in_flight: 0 });
        for (at_ms, completed, in_flight) in [
            // Idle, which is no standstill.
            (10, 7, 0),
            (900, 7, 0),
            // Busy, and quick.
            (910, 8, 3),
            (920, 9, 3),
            // It had three at 920.
            (950, 9, 4),
            (1100, 9, 4),
            (1120, 10, 1),
            (1130, 11, 0),
        ] {
            stills.look(at_ms * 1000, Device { completed, in_flight });
        }
        assert_eq!(stills.found, [Span { start_us: 920_000, end_us: 1_120_000 }]);
        let seen = Seen { syncs: Vec::new(), stills: Some(stills.found) };
        for (began_ms, took_ms, moving_ms) in
            [(0, 2000, 1800.0), (0, 1000, 920.0), (1100, 100, 80.0), (950, 50, 0.0), (0, 9, 9.0)]
        {
            assert_eq!(seen.max_moving_ms([&op(began_ms, took_ms)].into_iter()), Some(moving_ms));
        }
        assert_eq!(seen.longest_still_ms([Span { start_us: 0, end_us: 930_000 }]), Some(200.0));
    }

    #[test]
    fn counters_are_those_of_the_kernel() {
        let stat = "1607369 46803 86922738 34107333 32254945 4070417 610049120 4491010 2 2792468 \
                    39288669 490373 178 2793731096 138184 10590667 552141\n";
        let completed = 1_607_369 + 32_254_945 + 490_373;
        assert_eq!(Device::of(stat), Some(Device { completed, in_flight: 2 }));
        let of_old = "1 0 8 3 4 0 32 1 5 2 3";
        assert_eq!(Device::of(of_old), Some(Device { completed: 5, in_flight: 5 }));
        assert_eq!(Device::of("1 2"), None);
    }
}

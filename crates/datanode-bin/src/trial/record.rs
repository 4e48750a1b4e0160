//! What happened: every request with its time, and every fault. Nothing is
//! summed up here: that is done afterwards, by windows, in [`super::figures`].

use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use datanode_client::PartitionId;
use serde::Serialize;

/// How many faults are told in words.
const TOLD_MAX: usize = 10;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Create,
    Put,
    Append,
    Write,
    Read,
}

/// Who made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Who {
    /// Our own client.
    Own,
    /// The stock Python client.
    Python,
}

/// One request that is over. Times are microseconds since the recorder's epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) began_us: u64,
    pub(super) took_us: u64,
    pub(super) partition_id: PartitionId,
    pub(super) kind: Kind,
    pub(super) who: Who,
    pub(super) ok: bool,
}

impl Op {
    pub(super) const fn ended_us(&self) -> u64 {
        self.began_us + self.took_us
    }
}

/// A read that ended well.
#[cfg(test)]
pub(super) fn op(began_ms: u64, took_ms: u64) -> Op {
    Op {
        began_us: began_ms * 1000,
        took_us: took_ms * 1000,
        partition_id: PartitionId::new(1).unwrap(),
        kind: Kind::Read,
        who: Who::Own,
        ok: true,
    }
}

/// A promise that was broken, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// A read answered with less than was acknowledged before it began.
    Stale(String),
    /// Acknowledged bytes are gone in the end.
    Lost(String),
    /// Bytes that nobody wrote so: mixed, changed, twice, or in another place.
    Wrong(String),
}

impl Broken {
    /// The same at the end of the trial, when nothing can be late any more.
    pub(super) fn for_good(self) -> Self {
        match self {
            Self::Stale(what) => Self::Lost(what),
            other => other,
        }
    }
}

/// What must not happen, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    pub(super) errors: u64,
    pub(super) stale: u64,
    pub(super) lost: u64,
    pub(super) wrong: u64,
    /// The first few, in words.
    pub(super) told: Vec<String>,
}

impl Faults {
    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

/// Takes everything down.
#[derive(Debug)]
pub(super) struct Recorder {
    epoch: Instant,
    epoch_clock: SystemTime,
    ops: Mutex<Vec<Op>>,
    faults: Mutex<Faults>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            epoch_clock: SystemTime::now(),
            ops: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    /// The time of the trial, in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        micros(self.epoch.elapsed())
    }

    /// When it began by the wall clock, in nanoseconds since 1970: what another
    /// process on this machine counts from.
    pub(super) fn epoch_unix_ns(&self) -> u128 {
        let since = self.epoch_clock.duration_since(SystemTime::UNIX_EPOCH);
        since.expect("it is after 1970").as_nanos()
    }

    /// Runs one request of our own client and takes it down. `None`: it failed,
    /// which is taken down too.
    pub(super) async fn time<T, E: fmt::Display>(
        &self,
        kind: Kind,
        partition_id: PartitionId,
        request: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        self.time_from(None, kind, partition_id, request).await
    }

    /// Likewise, of one that was due at a time, which may be long ago.
    pub(super) async fn time_from<T, E: fmt::Display>(
        &self,
        due_us: Option<u64>,
        kind: Kind,
        partition_id: PartitionId,
        request: impl Future<Output = Result<T, E>>,
    ) -> Option<T> {
        let began_us = due_us.unwrap_or_else(|| self.now_us());
        let result = request.await;
        let took_us = self.now_us().saturating_sub(began_us);
        let ok = result.is_ok();
        self.add(Op { began_us, took_us, partition_id, kind, who: Who::Own, ok });
        if let Err(error) = &result {
            let took_ms = took_us / 1000;
            self.error(format!("{kind:?} partition {partition_id}: {error} ({took_ms} ms)"));
        }
        result.ok()
    }

    pub(super) fn add(&self, op: Op) {
        self.ops.lock().expect("no panics under it").push(op);
    }

    /// A client was left with an error.
    pub(super) fn error(&self, what: impl fmt::Display) {
        let at = self.at();
        let mut faults = self.faults();
        faults.errors += 1;
        faults.tell(format!("error at {at}: {what}"));
    }

    pub(super) fn broken(&self, broken: Broken) {
        let at = self.at();
        let mut faults = self.faults();
        let (count, name, what) = match broken {
            Broken::Stale(what) => (&mut faults.stale, "stale", what),
            Broken::Lost(what) => (&mut faults.lost, "lost", what),
            Broken::Wrong(what) => (&mut faults.wrong, "wrong", what),
        };
        *count += 1;
        faults.tell(format!("{name} at {at}: {what}"));
    }

    /// So far.
    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("no panics under it")
    }

    /// Everything that was taken down, in the order in which it ended.
    pub(super) fn take_ops(&self) -> Vec<Op> {
        let mut ops = std::mem::take(&mut *self.ops.lock().expect("no panics under it"));
        ops.sort_by_key(Op::ended_us);
        ops
    }

    fn at(&self) -> String {
        format!("{:.2} s", self.epoch.elapsed().as_secs_f64())
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("584,000 years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn takes_down_requests_and_faults() {
        let (recorder, partition_id) = (Recorder::new(), PartitionId::new(1).unwrap());
        let slow = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            Ok::<_, &str>(7)
        };
        assert_eq!(recorder.time(Kind::Read, partition_id, slow).await, Some(7));
        let failed = recorder.time(Kind::Put, partition_id, async { Err::<(), _>("no") }).await;
        assert_eq!(failed, None);
        recorder.broken(Broken::Stale("old".into()));
        recorder.broken(Broken::Stale("gone".into()).for_good());
        let ops = recorder.take_ops();
        assert_eq!(ops.iter().map(|op| op.ok).collect::<Vec<_>>(), [true, false]);
        assert!(ops[0].took_us >= 30_000, "{:?}", ops[0]);
        let faults = recorder.faults().clone();
        assert_eq!((faults.errors, faults.stale, faults.lost, faults.wrong), (1, 1, 1, 0));
        assert_eq!(faults.told.len(), 3);
    }
}

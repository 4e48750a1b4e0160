//! The log writer on an engine that fails and forgets on demand.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use partition_types::{Entry, LogId, NodeId, PartitionId, Payload, Vote};

use super::*;
use crate::blocking::Pools;
use crate::codec;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Read, Table};
use crate::keys;
use crate::log::{PartitionLog, Start, TailBytes};

const SOON: Duration = Duration::from_secs(60);

/// A disk as far as its logs need one.
struct Rig {
    engine: Arc<MemoryEngine>,
    health: Arc<Health>,
    writer: Arc<LogWriter>,
    tail_bytes: Arc<TailBytes>,
    pools: Arc<Pools>,
}

impl Rig {
    fn new() -> Self {
        let engine = MemoryEngine::open(crate::engine::image::Image::default());
        let health = Arc::new(Health::new("disk".into()));
        let tail_bytes = Arc::new(TailBytes::default());
        let writer = LogWriter::start(
            "test-log".to_owned(),
            Arc::clone(&engine) as Arc<dyn Engine>,
            Arc::clone(&health),
            Recent::new(Arc::clone(&tail_bytes)),
            None,
            WriterMetrics::new(0),
        )
        .unwrap();
        let pools = Arc::new(Pools::start(0).unwrap());
        Self { engine, health, writer: Arc::new(writer), tail_bytes, pools }
    }

    fn log(&self, id: u64) -> PartitionLog {
        let id = PartitionId::new(id).unwrap();
        let inner = LogInner::new(id, Start::default(), Arc::clone(&self.tail_bytes));
        let engine = Arc::clone(&self.engine) as Arc<dyn Engine>;
        let (writer, pools) = (Arc::clone(&self.writer), Arc::clone(&self.pools));
        PartitionLog::new(Arc::new(inner), engine, writer, pools)
    }

    /// Keeps the writer in a callback until the returned sender is used.
    fn hold(&self) -> mpsc::Sender<()> {
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let done = Done::new(move |_| {
            held.send(()).unwrap();
            // Whatever happens to the test, the thread ends.
            let _ = released.recv_timeout(SOON);
        });
        let op = Op::Write { batch: Batch::default(), done };
        assert!(self.writer.push(op).is_ok());
        is_held.recv_timeout(SOON).unwrap();
        release
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry { log_id: LogId { term, leader: None, index }, payload: Payload::Blank }
}

/// Counts the calls of callbacks, by result.
#[derive(Clone, Default)]
struct Calls(Arc<[AtomicUsize; 2]>);

impl Calls {
    fn callback(&self) -> impl FnOnce(io::Result<()>) + Send + 'static {
        let calls = self.clone();
        move |result| {
            calls.0[usize::from(result.is_err())].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Calls with success, and with an error.
    fn get(&self) -> (usize, usize) {
        (self.0[0].load(Ordering::SeqCst), self.0[1].load(Ordering::SeqCst))
    }
}

fn append(log: &PartitionLog, entries: Vec<Entry>) -> io::Result<()> {
    let (send, receive) = mpsc::channel();
    let result = log.append(entries, move |result| send.send(result).unwrap());
    let called = receive.recv_timeout(SOON).expect("the callback is called");
    assert!(receive.recv_timeout(SOON).is_err(), "and called once");
    assert!(result.is_ok() || called.is_err());
    called
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_failed_write_is_final() {
    let rig = Rig::new();
    let (log, other) = (rig.log(1), rig.log(2));
    append(&log, vec![entry(1, 0)]).unwrap();
    rig.health.check().unwrap();

    let calls = Calls::default();
    let release = rig.hold();
    rig.engine.fail_writes();
    for index in 1..10 {
        log.append(vec![entry(1, index)], calls.callback()).unwrap();
        other.append(vec![entry(1, index)], calls.callback()).unwrap();
    }
    let mut vote = pin!(log.save_vote(Vote { term: 1, voted_for: None, committed: false }));
    assert!(poll(vote.as_mut()).is_pending());
    let mut synced = pin!(log.synced(9));
    assert!(poll(synced.as_mut()).is_pending());
    release.send(()).unwrap();
    rig.writer.write(Batch::default()).unwrap_err();

    assert_eq!(calls.get(), (0, 18), "each once, each with the error");
    assert!(matches!(poll(vote), Poll::Ready(Err(_))));
    assert!(matches!(poll(synced), Poll::Ready(Err(_))));
    assert_eq!(log.vote(), None);
    assert!(rig.health.failure().unwrap().contains("told to fail"));
    // Nothing is tried again, on any log of the disk.
    append(&log, vec![entry(1, 10)]).unwrap_err();
    append(&other, vec![entry(1, 10)]).unwrap_err();
    append(&rig.log(3), vec![entry(1, 0)]).unwrap_err();
    assert!(rig.writer.sync(vec![]).is_err());
}

/// The disk's vote for log 1.
fn durable_vote(rig: &Rig) -> Option<Vote> {
    let key = keys::vote(PartitionId::new(1).unwrap());
    let record = rig.engine.durable_image().get(Table::LogMeta, &key).unwrap();
    record.map(|record| codec::decode_vote(&record).unwrap())
}

#[tokio::test]
async fn a_vote_is_waited_for_and_that_a_quorum_gave_the_same_is_not() {
    let rig = Rig::new();
    let log = rig.log(1);
    let vote = |term, committed| Vote { term, voted_for: NodeId::new(2).ok(), committed };
    log.save_vote(vote(1, false)).await.unwrap();
    assert_eq!(durable_vote(&rig), Some(vote(1, false)));
    let syncs = rig.writer.writes().syncs;

    log.save_vote(vote(1, true)).await.unwrap();
    assert_eq!((log.vote(), rig.writer.writes().syncs), (Some(vote(1, true)), syncs));
    assert_eq!(durable_vote(&rig), Some(vote(1, false)), "it waits for something to go with");
    append(&log, vec![entry(1, 0)]).unwrap();
    assert_eq!(durable_vote(&rig), Some(vote(1, true)));

    // Never after a later vote, and for another node or term there is a wait.
    log.save_vote(vote(2, false)).await.unwrap();
    let release = rig.hold();
    log.save_vote(vote(2, true)).await.unwrap();
    let mut next = pin!(log.save_vote(vote(3, false)));
    assert!(poll(next.as_mut()).is_pending());
    release.send(()).unwrap();
    next.await.unwrap();
    assert_eq!((log.vote(), durable_vote(&rig)), (Some(vote(3, false)), Some(vote(3, false))));
}

#[test]
fn what_is_queued_at_the_end_is_answered() {
    for is_abandoned in [false, true] {
        let rig = Rig::new();
        let logs: Vec<_> = (1..=5).map(|id| rig.log(id)).collect();
        let calls = Calls::default();
        let release = rig.hold();
        for index in 0..10 {
            for log in &logs {
                log.append(vec![entry(1, index)], calls.callback()).unwrap();
            }
        }
        let ending = Arc::clone(&rig.writer);
        let ender =
            thread::spawn(move || if is_abandoned { ending.abandon() } else { ending.finish() });
        // Takes nothing from here on.
        while logs[0].append(vec![], drop).is_ok() {
            thread::yield_now();
        }
        release.send(()).unwrap();
        ender.join().unwrap();
        let expected = if is_abandoned { (0, 50) } else { (50, 0) };
        assert_eq!(calls.get(), expected, "abandoned: {is_abandoned}");
        append(&logs[0], vec![entry(1, 10)]).unwrap_err();
        assert_eq!(calls.get(), expected, "and none again");
    }
}

#[test]
fn a_callback_that_panics_takes_nobody_along() {
    let rig = Rig::new();
    let (log, other) = (rig.log(1), rig.log(2));
    log.append(vec![entry(1, 0)], |_| panic!("a bug of the caller")).unwrap();
    append(&log, vec![entry(1, 1)]).unwrap();
    append(&other, vec![entry(1, 0)]).unwrap();
}

#[test]
fn a_callback_may_use_the_log() {
    let rig = Rig::new();
    let log = rig.log(1);
    let (send, receive) = mpsc::channel();
    let inner = log.clone();
    let done = move |result: io::Result<()>| {
        result.unwrap();
        let after = inner.bounds().last.unwrap().index + 1;
        inner.append(vec![entry(1, after)], move |result| send.send(result).unwrap()).unwrap();
    };
    log.append(vec![entry(1, 0)], done).unwrap();
    receive.recv_timeout(SOON).unwrap().unwrap();
    // Also where it is refused.
    let inner = log.clone();
    log.append(vec![entry(1, 9)], move |_| assert!(inner.bounds().last.is_some())).unwrap_err();
}

#[test]
fn what_a_callback_reports_is_on_the_disk() {
    let rig = Rig::new();
    let (send, receive) = mpsc::channel();
    for index in 0..50 {
        for id in 1..=4 {
            let log = rig.log(id * 1000 + index);
            let (engine, id, send) = (Arc::clone(&rig.engine), log.id(), send.clone());
            let done = move |result: io::Result<()>| {
                let survives = engine.durable_image();
                let entry = survives.get(Table::Log, &keys::log_entry(id, 0)).unwrap();
                let bounds = survives.get(Table::LogMeta, &keys::bounds(id)).unwrap();
                send.send(result.is_ok() && entry.is_some() && bounds.is_some()).unwrap();
            };
            log.append(vec![entry(1, 0)], done).unwrap();
        }
    }
    for _ in 0..200 {
        assert!(receive.recv_timeout(SOON).unwrap());
    }
}

#[test]
fn what_was_cut_off_and_appended_anew_is_not_taken_for_synced() {
    let rig = Rig::new();
    let log = rig.log(1);
    append(&log, (0..5).map(|index| entry(1, index)).collect()).unwrap();
    let release = rig.hold();
    log.append((5..9).map(|index| entry(1, index)).collect(), drop).unwrap();
    // Goes to the disk together with what follows.
    let second = {
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let done = move |_: io::Result<()>| {
            held.send(()).unwrap();
            let _ = released.recv_timeout(SOON);
        };
        log.append(vec![entry(1, 9)], done).unwrap();
        drop(log.truncate_after(Some(LogId { term: 1, leader: None, index: 6 })));
        log.append((7..20).map(|index| entry(2, index)).collect(), drop).unwrap();
        (release, is_held)
    };
    let mut kept = pin!(log.synced(6));
    let mut anew = pin!(log.synced(7));
    assert!(poll(kept.as_mut()).is_pending());
    assert!(poll(anew.as_mut()).is_pending());
    release.send(()).unwrap();
    second.1.recv_timeout(SOON).unwrap();
    // The writer has answered the appends before the cut, and not the one after.
    assert!(poll(kept).is_ready());
    assert!(poll(anew.as_mut()).is_pending());
    second.0.send(()).unwrap();
    rig.writer.sync(vec![]).unwrap();
    assert!(poll(anew).is_ready());
}

#[test]
fn memory_keeps_a_bounded_tail_and_never_what_is_not_synced() {
    let bytes = Arc::new(TailBytes::default());
    let mut recent = Recent::with_budget(Arc::clone(&bytes), 1000);
    let rig = Rig::new();
    let make = |id| {
        let id = PartitionId::new(id).unwrap();
        Arc::new(LogInner::new(id, Start::default(), Arc::clone(&bytes)))
    };
    let (old, new) = (make(1), make(2));
    let release = rig.hold();
    let fill = |log: &Arc<LogInner>, range: std::ops::Range<u64>| {
        for index in range {
            log.append(vec![entry(1, index)], Done::new(drop), &rig.writer).unwrap();
        }
    };
    fill(&old, 0..20);
    fill(&new, 0..20);
    recent.push(&old, 20);
    recent.trim();
    assert!(old.has_before(1), "not synced yet");
    release.send(()).unwrap();
    rig.writer.sync(vec![]).unwrap();
    recent.push(&old, 20);
    for index in 0..20 {
        recent.push(&new, index + 1);
    }
    recent.trim();
    assert!(!old.has_before(20), "the oldest go first");
    assert!(new.has_before(20), "and no more than must");
    assert!(!new.has_before(2));
}

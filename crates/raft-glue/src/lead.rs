//! What this node leads, and for how long clients could not reach it.

use std::time::Duration;

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;

use crate::metric::Metrics;
use crate::protocol::Leadership;
use partition_types::{NodeId, Vote};

/// The node's count of leaderships and of unserved time.
pub(crate) struct Leads {
    serving: AtomicBool,
    unserved_nanos: AtomicU64,
    /// What was said to be the unserved time.
    told_nanos: AtomicU64,
}

/// One group's part of it.
#[derive(Default)]
pub(crate) struct Lead(Mutex<State>);

/// The last term whose election a replica won, from the moment at which openraft knows.
///
/// What openraft tells of its role says so only after the vote, committed by then, is on
/// the disk, and that may be slow. Until then the replica looks like a candidate, but
/// nothing can keep it from leading any more.
pub(crate) struct Won {
    me: NodeId,
    term: AtomicU64,
}

impl Won {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, term: AtomicU64::new(0) }
    }

    /// A vote is about to be stored.
    pub(crate) fn stores(&self, vote: Vote) {
        if vote.committed && vote.voted_for == Some(self.me) {
            self.term.store(vote.term, Ordering::Release);
        }
    }

    /// The term of the last election won; 0: none in this life.
    pub(crate) fn term(&self) -> u64 {
        self.term.load(Ordering::Acquire)
    }
}

#[derive(Default)]
struct State {
    /// As it was last told.
    is: Leadership,
    unserved_since: Option<Instant>,
}

impl Leads {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { serving: AtomicBool::new(false), unserved_nanos: zero(), told_nanos: zero() }
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Each group's [`Lead::settle`] must follow.
    pub(crate) fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Release);
    }

    /// Of clocks that have stopped.
    pub(crate) fn unserved(&self) -> Duration {
        Duration::from_nanos(self.unserved_nanos.load(Ordering::Acquire))
    }

    /// The time to tell, with that of running clocks: never less than before,
    /// or a reader would take it for a counter that began anew.
    pub(crate) fn tell_unserved(&self, time: Duration) -> Duration {
        let nanos = nanos(time);
        Duration::from_nanos(self.told_nanos.fetch_max(nanos, Ordering::AcqRel).max(nanos))
    }

    fn add_unserved(&self, time: Duration) {
        self.unserved_nanos.fetch_add(nanos(time), Ordering::AcqRel);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Lead {
    /// Takes what is so now. Returns whether it changed.
    pub(crate) fn set(&self, leading: bool, node: &Leads, metrics: &Metrics) -> bool {
        let mut state = self.0.lock();
        if state.is.leading == leading {
            return false;
        }
        if leading {
            metrics.partition_leaders.increment(1.0);
        } else {
            metrics.partition_leaders.decrement(1.0);
        }
        state.turn(leading, node, metrics);
        true
    }

    /// The time of a clock that runs.
    pub(crate) fn unserved_so_far(&self) -> Duration {
        self.0.lock().unserved_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Starts or stops the clock after the port opened or closed.
    pub(crate) fn settle(&self, node: &Leads, metrics: &Metrics) {
        let mut state = self.0.lock();
        let leading = state.is.leading;
        state.turn(leading, node, metrics);
    }
}

impl State {
    fn turn(&mut self, leading: bool, node: &Leads, metrics: &Metrics) {
        let next = Leadership { leading, serving: node.is_serving() };
        let change = self.is.change_to(next);
        self.is = next;
        if let Some(since) = self.unserved_since.take() {
            node.add_unserved(since.elapsed());
        }
        if change.is_prelisten {
            metrics.self_led_prelisten.increment(1);
        }
        if change.is_unserved {
            self.unserved_since = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_only_what_nobody_is_served() {
        let (node, metrics, lead) = (Leads::new(), Metrics::new(), Lead::default());
        node.set_serving(true);
        assert!(lead.set(true, &node, &metrics));
        assert!(!lead.set(true, &node, &metrics), "no change");
        lead.set(false, &node, &metrics);
        assert_eq!(node.unserved(), Duration::ZERO);

        node.set_serving(false);
        lead.set(true, &node, &metrics);
        std::thread::sleep(Duration::from_millis(2));
        let so_far = lead.unserved_so_far();
        assert!(so_far >= Duration::from_millis(2), "it shows while it runs");
        assert_eq!(node.unserved(), Duration::ZERO);
        node.set_serving(true);
        lead.settle(&node, &metrics);
        let before = node.unserved();
        assert!(before >= Duration::from_millis(2));
        lead.set(false, &node, &metrics);
        assert_eq!(node.unserved(), before, "the clock stopped when the port opened");
        assert_eq!(lead.unserved_so_far(), Duration::ZERO);
        assert_eq!(node.tell_unserved(before), before);
        assert_eq!(node.tell_unserved(so_far / 2), before, "it never shrinks");
    }
}

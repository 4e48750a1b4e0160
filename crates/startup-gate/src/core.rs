//! What all parts of one gate share: the machine and its time-line under one
//! lock, the outbox of observers, and the tokens that stop work.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::caught::message;
use crate::config::Config;
use crate::error::StartError;
use crate::machine::{Effect, Event, Machine, Rules};
use crate::meter::Meter;
use crate::observer::{Change, Observer};
use crate::report::{Report, Source};
use crate::stage::Stage;
use crate::timeline::Timeline;
use crate::unit::Unit;

pub(crate) struct Core<U: Unit> {
    pub(crate) config: Config,
    /// [`Config::process_start`] on the runtime's clock, which tests may pause.
    pub(crate) zero: Instant,
    /// Cancelled when a start is told to stop or fails.
    pub(crate) stop: CancellationToken,
    /// Wakes the loop that watches over the present stage, when there is something for it.
    pub(crate) work: Notify,
    pub(crate) version: watch::Sender<u64>,
    /// Transitions and progress ticks.
    pub(crate) ticks: Arc<AtomicU64>,
    overhead_ns: AtomicU64,
    observers: Vec<Arc<dyn Observer<U>>>,
    inner: Mutex<Inner<U>>,
}

pub(crate) struct Inner<U: Unit> {
    pub(crate) machine: Machine<U>,
    pub(crate) timeline: Timeline<U>,
    pub(crate) failure: Option<String>,
    /// Of units whose work is under way.
    pub(crate) meters: HashMap<U, Arc<Meter>>,
    /// Units to join, to load or to check.
    pub(crate) jobs: VecDeque<Job<U>>,
    /// Units given up before the barrier: what was read for them is dropped.
    pub(crate) abandoned: Vec<U>,
    /// Cut short the steps down; renewed when the way down is called off.
    pub(crate) cut: CancellationToken,
    outbox: VecDeque<Change<U>>,
    delivering: bool,
}

#[derive(Debug)]
pub(crate) enum Job<U> {
    Join(U),
    Load(U),
    Check(U),
}

/// A right that the caller of [`Core::apply`] has to mint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Grant<U> {
    Vote(U),
    Campaign(U),
    Serve,
}

impl<U: Unit> Core<U> {
    pub(crate) fn new(config: Config, observers: Vec<Arc<dyn Observer<U>>>) -> Arc<Self> {
        let zero = Instant::from_std(config.process_start);
        let inner = Inner {
            machine: Machine::new(Rules::from(&config)),
            timeline: Timeline::new(zero.elapsed()),
            failure: None,
            meters: HashMap::new(),
            jobs: VecDeque::new(),
            abandoned: Vec::new(),
            cut: CancellationToken::new(),
            outbox: VecDeque::new(),
            delivering: false,
        };
        Arc::new(Self {
            config,
            zero,
            stop: CancellationToken::new(),
            work: Notify::new(),
            version: watch::Sender::new(0),
            ticks: Arc::new(AtomicU64::new(0)),
            overhead_ns: AtomicU64::new(0),
            observers,
            inner: Mutex::new(inner),
        })
    }

    /// Puts one event through the machine, tells everybody who must know, and
    /// returns the rights to mint.
    pub(crate) fn apply(&self, event: Event<U>) -> Vec<Grant<U>> {
        self.apply_with(event, |_| ())
    }

    /// Like [`Core::apply`]; `first` runs under the same lock, before the event.
    pub(crate) fn apply_with(
        &self,
        event: Event<U>,
        first: impl FnOnce(&mut Inner<U>),
    ) -> Vec<Grant<U>> {
        let (grants, ()) = self.apply_then(event, first, |_| ());
        grants
    }

    /// Like [`Core::apply_with`]; `last` runs under the same lock, after the event, and may
    /// take the jobs that nobody need be woken for then.
    pub(crate) fn apply_then<R>(
        &self,
        event: Event<U>,
        first: impl FnOnce(&mut Inner<U>),
        last: impl FnOnce(&mut Inner<U>) -> R,
    ) -> (Vec<Grant<U>>, R) {
        // The real clock even in tests: this is what the gate itself costs.
        let began = std::time::Instant::now();
        let at = self.zero.elapsed();
        let mut grants = Vec::new();
        let mut changes = 0;
        let (result, is_news) = {
            let inner = &mut *self.inner.lock();
            first(inner);
            let stage = inner.machine.stage();
            for effect in inner.machine.step(event) {
                match effect {
                    Effect::Join(unit) => inner.jobs.push_back(Job::Join(unit)),
                    Effect::Load(unit) => inner.jobs.push_back(Job::Load(unit)),
                    Effect::Check(unit) => inner.jobs.push_back(Job::Check(unit)),
                    Effect::Abandon(unit) => {
                        if let Some(meter) = inner.meters.remove(&unit) {
                            meter.withdraw();
                        }
                        if stage <= Stage::Check {
                            inner.abandoned.push(unit);
                        }
                    }
                    Effect::GrantVote(unit) => grants.push(Grant::Vote(unit)),
                    Effect::GrantCampaign(unit) => grants.push(Grant::Campaign(unit)),
                    Effect::GrantServe => grants.push(Grant::Serve),
                    Effect::Changed(transition) => {
                        changes += 1;
                        inner.timeline.observe(&transition, at);
                        if !self.observers.is_empty() {
                            inner.outbox.push_back(Change { at, transition });
                        }
                    }
                }
            }
            if inner.machine.stage() != stage {
                let checked = inner.machine.check_invariants();
                debug_assert_eq!(checked, Ok(()), "startup-gate has a bug");
                if let Err(violation) = checked {
                    tracing::error!(target: "startup_gate", %violation, "bug in startup-gate");
                }
            }
            if inner.machine.end().is_some() && !self.stop.is_cancelled() {
                self.stop.cancel();
                let why = || StartError::from_end(&inner.machine).to_string();
                inner.failure.get_or_insert_with(why);
            }
            let has_turned = inner.machine.stage() != stage || inner.machine.is_at_barrier();
            let result = last(inner);
            (result, has_turned || !inner.jobs.is_empty() || !inner.abandoned.is_empty())
        };
        self.overhead_ns.fetch_add(nanos(began.elapsed()), Ordering::Relaxed);
        if changes > 0 {
            self.ticks.fetch_add(changes, Ordering::Relaxed);
            if !self.observers.is_empty() {
                self.deliver();
            }
            self.version.send_modify(|version| *version += changes);
        }
        if is_news {
            self.work.notify_one();
        }
        (grants, result)
    }

    /// Forgets a unit. Whether it was known.
    pub(crate) fn remove(&self, unit: &U) -> bool {
        let known = self.with(|inner| inner.machine.state_of(unit).is_some());
        self.apply(Event::Remove(unit.clone()));
        known && self.with(|inner| inner.machine.state_of(unit).is_none())
    }

    /// Runs code under the lock. It must not call back into the core.
    pub(crate) fn with<R>(&self, read: impl FnOnce(&mut Inner<U>) -> R) -> R {
        read(&mut self.inner.lock())
    }

    pub(crate) fn report(&self) -> Report {
        let inner = self.inner.lock();
        Source {
            machine: &inner.machine,
            timeline: &inner.timeline,
            config: &self.config,
            failure: inner.failure.as_deref(),
            overhead: Duration::from_nanos(self.overhead_ns.load(Ordering::Relaxed)),
            now: self.zero.elapsed(),
        }
        .report()
    }

    /// Empties the outbox. One task at a time does it, so that observers see
    /// changes in order; the others leave theirs to it.
    fn deliver(&self) {
        loop {
            let next = {
                let mut inner = self.inner.lock();
                if inner.delivering {
                    return;
                }
                let next = inner.outbox.pop_front();
                inner.delivering = next.is_some();
                next
            };
            let Some(change) = next else { return };
            for observer in &self.observers {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer.on_change(&change))) {
                    let message = message(panic.as_ref());
                    tracing::error!(target: "startup_gate", message, "an observer panicked");
                }
            }
            self.inner.lock().delivering = false;
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Owns a gate: whoever drops it without passing it on has stopped it.
pub(crate) struct Life<U: Unit> {
    pub(crate) core: Arc<Core<U>>,
}

impl<U: Unit> Drop for Life<U> {
    fn drop(&mut self) {
        self.core.apply(Event::Released);
    }
}

impl<U: Unit> std::fmt::Debug for Life<U> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("stage", &self.core.with(|i| i.machine.stage())).finish()
    }
}

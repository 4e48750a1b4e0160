//! Joins, loads and checks units. The machine decides who is next; here it is done.
//!
//! A task that ends a job takes the next one by itself, whosever it is, and has others
//! begin what else can: between two jobs nobody waits for a third task to be woken,
//! which with thousands of short loads is most of what a gate costs. The loop in
//! [`Pipeline::run`] sees to what no job brings: stalls, the deadline, the end.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, Span};

use super::ended;
use crate::caught::caught;
use crate::core::{Core, Inner, Job};
use crate::error::StartError;
use crate::fault::{FaultKind, UnitFault};
use crate::machine::Event;
use crate::meter::Meter;
use crate::ticket::{CheckTicket, JoinTicket, LoadTicket, withdrawn};
use crate::unit::Unit;

/// How long a cancelled start waits for its tasks to be dropped. Only a task
/// that blocks its thread takes longer than an instant.
const UNWIND_PATIENCE: Duration = Duration::from_secs(1);

/// What is done for each unit, in this order.
pub(super) struct Work<P, L, C> {
    pub(super) join: P,
    pub(super) load: L,
    pub(super) check: C,
}

/// What all tasks of a pipeline share.
pub(super) struct Pipeline<U: Unit, J, T, P, L, C> {
    core: Arc<Core<U>>,
    work: Work<P, L, C>,
    between: Mutex<Between<U, J, T>>,
    tasks: Tasks,
}

/// Held by its tasks, too. `None`: it is over, nothing is begun any more.
type Tasks = Arc<Mutex<Option<JoinSet<()>>>>;

/// Dropping it ends the tasks, which hold what they are held by.
struct EndTasks(Tasks);

impl Drop for EndTasks {
    fn drop(&mut self) {
        let tasks = self.0.lock().take();
        // Not under the lock: what they hold is dropped with them.
        drop(tasks);
    }
}

/// What the last job of a unit left for its next one.
struct Between<U, J, T> {
    joined: HashMap<U, J>,
    loaded: HashMap<U, T>,
}

/// A job whose slot is taken.
struct Begun<U> {
    job: Job<U>,
    lane: usize,
    meter: Arc<Meter>,
}

enum Wake {
    Work,
    Stall,
    Deadline,
    Stop,
}

impl<U, J, T, P, PF, L, LF, C, CF> Pipeline<U, J, T, P, L, C>
where
    U: Unit,
    J: Send + 'static,
    T: Send + 'static,
    P: Fn(JoinTicket<U>) -> PF + Send + Sync + 'static,
    PF: Future<Output = Result<J, UnitFault>> + Send + 'static,
    L: Fn(LoadTicket<U>, J) -> LF + Send + Sync + 'static,
    LF: Future<Output = Result<T, UnitFault>> + Send + 'static,
    C: Fn(CheckTicket<U>, T) -> CF + Send + Sync + 'static,
    CF: Future<Output = Result<(), UnitFault>> + Send + 'static,
{
    pub(super) fn new(
        core: &Arc<Core<U>>,
        work: Work<P, L, C>,
        joined: HashMap<U, J>,
    ) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::clone(core),
            work,
            between: Mutex::new(Between { joined, loaded: HashMap::new() }),
            tasks: Arc::new(Mutex::new(Some(JoinSet::new()))),
        })
    }

    /// Until every unit is checked or quarantined, or the start is over. Dropping the future
    /// ends the tasks.
    pub(super) async fn run(self: Arc<Self>) -> Result<(), StartError> {
        let _end = EndTasks(Arc::clone(&self.tasks));
        let core = &self.core;
        let mut deadline = core.config.deadlines.load.map(|after| Instant::now() + after);
        loop {
            self.begin(self.take_jobs());
            if core.with(|inner| inner.machine.is_at_barrier()) {
                return Ok(());
            }
            match wake(core, deadline).await {
                Wake::Work => {}
                Wake::Stall => find_stalls(core),
                Wake::Deadline => {
                    deadline = None;
                    core.apply(Event::LoadDeadline);
                }
                Wake::Stop => {
                    let tasks = self.tasks.lock().take();
                    if let Some(mut tasks) = tasks {
                        // A task may hold what the caller is about to close.
                        let _ = timeout(UNWIND_PATIENCE, tasks.shutdown()).await;
                    }
                    return Err(ended(core));
                }
            }
        }
    }

    /// Begins jobs in tasks of their own.
    fn begin(self: &Arc<Self>, jobs: impl IntoIterator<Item = Begun<U>>) {
        let mut jobs = jobs.into_iter().peekable();
        if jobs.peek().is_none() {
            return;
        }
        let mut tasks = self.tasks.lock();
        let Some(tasks) = tasks.as_mut() else { return };
        while tasks.try_join_next().is_some() {}
        for begun in jobs {
            tasks.spawn(Arc::clone(self).work_from(begun));
        }
    }

    /// Does one job after the other while there are any.
    async fn work_from(self: Arc<Self>, first: Begun<U>) {
        let mut next = Some(first);
        while let Some(begun) = next {
            let jobs = match self.work_on(begun).await {
                Some(event) => self.end(event),
                None => self.take_jobs(),
            };
            let mut jobs = jobs.into_iter();
            next = jobs.next();
            self.begin(jobs);
            // Jobs that never wait must not keep the runtime's thread to themselves.
            tokio::task::consume_budget().await;
        }
    }

    /// Does one job. `None`: its unit was given up before it began.
    async fn work_on(&self, Begun { job, lane, meter }: Begun<U>) -> Option<Event<U>> {
        Some(match job {
            Job::Join(unit) => {
                let core = Arc::clone(&self.core);
                let ticket = JoinTicket::new(unit.clone(), lane, Arc::clone(&meter), core);
                let span = tracing::debug_span!(target: "startup_gate", "join", %unit, lane);
                match self.watched(&meter, span, async { (self.work.join)(ticket).await }).await {
                    Ok(joined) => {
                        self.between.lock().joined.insert(unit.clone(), joined);
                        Event::Joined(unit)
                    }
                    Err(fault) => Event::Faulted(unit, fault),
                }
            }
            Job::Load(unit) => {
                let joined = self.between.lock().joined.remove(&unit)?;
                let core = Arc::clone(&self.core);
                let ticket = LoadTicket::new(unit.clone(), lane, Arc::clone(&meter), core);
                let span = tracing::debug_span!(target: "startup_gate", "load", %unit, lane);
                let load = async { (self.work.load)(ticket, joined).await };
                match self.watched(&meter, span, load).await {
                    Ok(loaded) => {
                        self.between.lock().loaded.insert(unit.clone(), loaded);
                        Event::Loaded(unit)
                    }
                    Err(fault) => Event::Faulted(unit, fault),
                }
            }
            Job::Check(unit) => {
                let loaded = self.between.lock().loaded.remove(&unit)?;
                let ticket = CheckTicket::new(unit.clone(), lane, Arc::clone(&meter), &self.core);
                let span = tracing::debug_span!(target: "startup_gate", "check", %unit, lane);
                let check = async { (self.work.check)(ticket, loaded).await };
                match self.watched(&meter, span, check).await {
                    Ok(()) => Event::Checked(unit),
                    Err(fault) => Event::Faulted(unit, fault),
                }
            }
        })
    }

    /// Tells the machine how a job ended, and takes what can begin then. What the unit left
    /// for its next job is put down by now, and dropped if the unit was given up meanwhile.
    fn end(&self, event: Event<U>) -> Vec<Begun<U>> {
        let (Event::Joined(unit)
        | Event::Loaded(unit)
        | Event::Checked(unit)
        | Event::Faulted(unit, _)) = &event
        else {
            return Vec::new();
        };
        let unit = unit.clone();
        let (_, (abandoned, jobs)) = self.core.apply_then(
            event,
            |inner| drop(inner.meters.remove(&unit)),
            |inner| {
                let (mut abandoned, jobs) = self.take(inner);
                if !inner.machine.is_wanted(&unit) {
                    abandoned.push(unit.clone());
                }
                (abandoned, jobs)
            },
        );
        self.forget(abandoned);
        jobs
    }

    fn take_jobs(&self) -> Vec<Begun<U>> {
        let (abandoned, jobs) = self.core.with(|inner| self.take(inner));
        self.forget(abandoned);
        jobs
    }

    /// Which units were given up, and what can begin now, with a new meter each.
    fn take(&self, inner: &mut Inner<U>) -> (Vec<U>, Vec<Begun<U>>) {
        let mut begun = Vec::with_capacity(inner.jobs.len());
        while let Some(job) = inner.jobs.pop_front() {
            let (Job::Join(unit) | Job::Load(unit) | Job::Check(unit)) = &job;
            // It may have been given up while it waited here.
            let Some(lane) = inner.machine.lane_at_work(unit) else { continue };
            let meter = Arc::new(Meter::new(self.core.zero, &self.core.stop));
            inner.meters.insert(unit.clone(), Arc::clone(&meter));
            begun.push(Begun { job, lane, meter });
        }
        (std::mem::take(&mut inner.abandoned), begun)
    }

    fn forget(&self, units: impl IntoIterator<Item = U>) {
        for unit in units {
            // Dropped outside of the lock: it is not known what that does.
            let (joined, loaded) = {
                let mut between = self.between.lock();
                (between.joined.remove(&unit), between.loaded.remove(&unit))
            };
            drop((joined, loaded));
        }
    }

    /// Runs a unit's work until it ends, panics, runs out of time or is given up.
    async fn watched<R>(
        &self,
        meter: &Meter,
        span: Span,
        work: impl Future<Output = Result<R, UnitFault>>,
    ) -> Result<R, UnitFault> {
        let bound = self.core.config.deadlines.unit;
        let work = async {
            tokio::select! {
                biased;
                () = meter.withdrawn() => Err(withdrawn()),
                () = until(bound.map(|bound| Instant::now() + bound)) => {
                    let detail = format_args!("not done within {:?}", bound.unwrap_or_default());
                    Err(UnitFault::new(FaultKind::TimedOut, detail))
                }
                end = caught(work) => match end {
                    Ok(end) => end,
                    Err(panic) => Err(UnitFault::new(FaultKind::Panicked, panic)),
                },
            }
        };
        work.instrument(span).await
    }
}

async fn wake<U: Unit>(core: &Core<U>, deadline: Option<Instant>) -> Wake {
    let oldest = core.with(|inner| inner.meters.values().map(|meter| meter.moved()).min());
    // What begins from now on is no older than this.
    let stall = oldest.unwrap_or_else(Instant::now) + core.config.stall_timeout;
    tokio::select! {
        biased;
        () = core.stop.cancelled() => Wake::Stop,
        () = core.work.notified() => Wake::Work,
        () = until(deadline) => Wake::Deadline,
        () = sleep_until(stall) => Wake::Stall,
    }
}

fn find_stalls<U: Unit>(core: &Core<U>) {
    let stall_timeout = core.config.stall_timeout;
    let now = Instant::now();
    let mut stalled: Vec<U> = core.with(|inner| {
        let still = |meter: &Meter| now.saturating_duration_since(meter.moved());
        let stalled = inner.meters.iter().filter(|(_, meter)| still(meter) >= stall_timeout);
        stalled.map(|(unit, _)| unit.clone()).collect()
    });
    // The map's order is random; the report's should not be.
    stalled.sort_unstable();
    for unit in stalled {
        let detail = format_args!("no progress for {stall_timeout:?}");
        let fault = UnitFault::new(FaultKind::Stalled, detail);
        core.apply(Event::Stalled(unit, fault));
    }
}

/// Waits for a moment; for ever if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

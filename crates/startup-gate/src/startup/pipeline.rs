//! The loop that joins, loads and checks units: it owns what is joined and
//! loaded, and follows the machine, which decides who is next.

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{Instrument, Span};

use super::ended;
use crate::caught::caught;
use crate::core::{Core, Job};
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

pub(super) struct Pipeline<U: Unit, J, T, P, L, C> {
    core: Arc<Core<U>>,
    work: Arc<Work<P, L, C>>,
    tasks: JoinSet<Done<U, J, T>>,
    /// What is joined and waits for a load slot.
    joined: HashMap<U, J>,
    /// What is loaded and waits for a check slot.
    loaded: HashMap<U, T>,
}

enum Done<U, J, T> {
    Joined(U, J),
    Loaded(U, T),
    Checked(U),
    Faulted(U, UnitFault),
}

enum Wake<D> {
    Task(Option<D>),
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
    pub(super) fn new(core: &Arc<Core<U>>, work: Work<P, L, C>, joined: HashMap<U, J>) -> Self {
        Self {
            core: Arc::clone(core),
            work: Arc::new(work),
            tasks: JoinSet::new(),
            joined,
            loaded: HashMap::new(),
        }
    }

    /// Until every unit is checked or quarantined, or the start is over.
    pub(super) async fn run(mut self) -> Result<(), StartError> {
        let mut deadline = self.core.config.deadlines.load.map(|after| Instant::now() + after);
        loop {
            self.begin_jobs();
            if self.core.with(|inner| inner.machine.is_at_barrier()) {
                return Ok(());
            }
            match self.wake(deadline).await {
                Wake::Task(Some(done)) => self.end_job(done),
                Wake::Task(None) | Wake::Work => {}
                Wake::Stall => self.find_stalls(),
                Wake::Deadline => {
                    deadline = None;
                    self.core.apply(Event::LoadDeadline);
                }
                Wake::Stop => {
                    // A task may hold what the caller is about to close.
                    let _ = timeout(UNWIND_PATIENCE, self.tasks.shutdown()).await;
                    return Err(ended(&self.core));
                }
            }
        }
    }

    async fn wake(&mut self, deadline: Option<Instant>) -> Wake<Done<U, J, T>> {
        let core = &self.core;
        let stall = core.with(|inner| inner.meters.values().map(|meter| meter.moved()).min());
        let stall = stall.map(|moved| moved + core.config.stall_timeout);
        tokio::select! {
            biased;
            () = core.stop.cancelled() => Wake::Stop,
            Some(done) = self.tasks.join_next() => Wake::Task(done.ok()),
            () = core.work.notified() => Wake::Work,
            () = until(deadline) => Wake::Deadline,
            () = until(stall) => Wake::Stall,
        }
    }

    fn begin_jobs(&mut self) {
        for unit in self.core.with(|inner| std::mem::take(&mut inner.abandoned)) {
            self.joined.remove(&unit);
            self.loaded.remove(&unit);
        }
        while let Some((job, lane, meter)) = next_job(&self.core) {
            match job {
                Job::Join(unit) => self.begin_join(unit, lane, meter),
                Job::Load(unit) => self.begin_load(unit, lane, meter),
                Job::Check(unit) => self.begin_check(unit, lane, meter),
            }
        }
    }

    fn begin_join(&mut self, unit: U, lane: usize, meter: Arc<Meter>) {
        let core = Arc::clone(&self.core);
        let ticket = JoinTicket::new(unit.clone(), lane, Arc::clone(&meter), core);
        let work = Arc::clone(&self.work);
        let join = async move { (work.join)(ticket).await };
        let span = tracing::debug_span!(target: "startup_gate", "join", %unit, lane);
        self.spawn(unit, meter, span, join, Done::Joined);
    }

    fn begin_load(&mut self, unit: U, lane: usize, meter: Arc<Meter>) {
        let Some(joined) = self.joined.remove(&unit) else { return };
        let core = Arc::clone(&self.core);
        let ticket = LoadTicket::new(unit.clone(), lane, Arc::clone(&meter), core);
        let work = Arc::clone(&self.work);
        let load = async move { (work.load)(ticket, joined).await };
        let span = tracing::debug_span!(target: "startup_gate", "load", %unit, lane);
        self.spawn(unit, meter, span, load, Done::Loaded);
    }

    fn begin_check(&mut self, unit: U, lane: usize, meter: Arc<Meter>) {
        let Some(loaded) = self.loaded.remove(&unit) else { return };
        let ticket = CheckTicket::new(unit.clone(), lane, Arc::clone(&meter), &self.core);
        let work = Arc::clone(&self.work);
        let check = async move { (work.check)(ticket, loaded).await };
        let span = tracing::debug_span!(target: "startup_gate", "check", %unit, lane);
        self.spawn(unit, meter, span, check, |unit, ()| Done::Checked(unit));
    }

    fn spawn<R: Send + 'static>(
        &mut self,
        unit: U,
        meter: Arc<Meter>,
        span: Span,
        work: impl Future<Output = Result<R, UnitFault>> + Send + 'static,
        done: fn(U, R) -> Done<U, J, T>,
    ) {
        let bound = self.core.config.deadlines.unit;
        let work = async move {
            match watched(&meter, bound, work).await {
                Ok(result) => done(unit, result),
                Err(fault) => Done::Faulted(unit, fault),
            }
        };
        self.tasks.spawn(work.instrument(span));
    }

    fn end_job(&mut self, done: Done<U, J, T>) {
        // What a unit leaves for its next job is put down before the event,
        // which may ask for that job at once.
        match done {
            Done::Joined(unit, joined) => {
                self.joined.insert(unit.clone(), joined);
                self.end(Event::Joined(unit.clone()), &unit);
                if !self.is_wanted(&unit) {
                    self.joined.remove(&unit);
                }
            }
            Done::Loaded(unit, loaded) => {
                self.loaded.insert(unit.clone(), loaded);
                self.end(Event::Loaded(unit.clone()), &unit);
                if !self.is_wanted(&unit) {
                    self.loaded.remove(&unit);
                }
            }
            Done::Checked(unit) => self.end(Event::Checked(unit.clone()), &unit),
            Done::Faulted(unit, fault) => self.end(Event::Faulted(unit.clone(), fault), &unit),
        }
    }

    fn end(&self, event: Event<U>, unit: &U) {
        self.core.apply_with(event, |inner| drop(inner.meters.remove(unit)));
    }

    /// It may have been given up while its job ended.
    fn is_wanted(&self, unit: &U) -> bool {
        self.core.with(|inner| inner.machine.is_wanted(unit))
    }

    fn find_stalls(&self) {
        let stall_timeout = self.core.config.stall_timeout;
        let now = Instant::now();
        let mut stalled: Vec<U> = self.core.with(|inner| {
            let still = |meter: &Meter| now.saturating_duration_since(meter.moved());
            let stalled = inner.meters.iter().filter(|(_, meter)| still(meter) >= stall_timeout);
            stalled.map(|(unit, _)| unit.clone()).collect()
        });
        // The map's order is random; the report's should not be.
        stalled.sort_unstable();
        for unit in stalled {
            let detail = format_args!("no progress for {stall_timeout:?}");
            let fault = UnitFault::new(FaultKind::Stalled, detail);
            self.core.apply(Event::Stalled(unit, fault));
        }
    }
}

/// The next unit to work on, with a new meter for its work. Skips units that
/// were given up while they waited here.
fn next_job<U: Unit>(core: &Core<U>) -> Option<(Job<U>, usize, Arc<Meter>)> {
    core.with(|inner| {
        loop {
            let job = inner.jobs.pop_front()?;
            let (Job::Join(unit) | Job::Load(unit) | Job::Check(unit)) = &job;
            let Some(lane) = inner.machine.lane_at_work(unit) else { continue };
            let meter = Arc::new(Meter::new(core.zero, &core.stop));
            inner.meters.insert(unit.clone(), Arc::clone(&meter));
            return Some((job, lane, meter));
        }
    })
}

/// Runs a unit's work until it ends, panics, runs out of time or is given up.
async fn watched<T>(
    meter: &Meter,
    bound: Option<Duration>,
    work: impl Future<Output = Result<T, UnitFault>>,
) -> Result<T, UnitFault> {
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
}

/// Waits for a moment; for ever if there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

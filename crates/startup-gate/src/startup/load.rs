//! The stage *load*, with the checks of single units: one loop owns what is
//! loaded and follows the machine, which decides who is next.

use std::collections::{BTreeSet, HashMap};
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use super::{Check, Load, Startup, ended, fail};
use crate::caught::caught;
use crate::core::{Core, Job};
use crate::error::StartError;
use crate::fault::{FaultKind, UnitFault};
use crate::machine::Event;
use crate::meter::Meter;
use crate::ticket::{CheckTicket, LoadTicket};
use crate::unit::{Unit, UnitSpec};

/// How long a cancelled start waits for its tasks to be dropped. Only a task
/// that blocks its thread takes longer than an instant.
const UNWIND_PATIENCE: Duration = Duration::from_secs(1);

impl<U: Unit> Startup<U, Load> {
    /// Loads and checks all units as a pipeline: bounded in each lane and
    /// overall, by priority, and no unit waits for another's check. `load`
    /// returns whatever `check` needs. Both run as tasks of their own: a panic
    /// quarantines the unit, a stall or a deadline drops the future. A node
    /// without units passes at once.
    ///
    /// Blocking work belongs into `tokio::task::spawn_blocking`; it cannot be
    /// dropped, so it should ask [`Progress::is_withdrawn`](crate::Progress::is_withdrawn)
    /// now and then. A thread that never returns keeps running beside the
    /// lane's next unit.
    ///
    /// # Errors
    /// [`StartError::Cancelled`]; [`StartError::DuplicateUnit`]. Faults of units
    /// are no error here: [`Startup::check`] decides about them.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the start.
    pub async fn load<T, L, LF, C, CF>(
        self,
        units: impl IntoIterator<Item = UnitSpec<U>>,
        load: L,
        check: C,
    ) -> Result<Startup<U, Check>, StartError>
    where
        T: Send + 'static,
        L: Fn(LoadTicket<U>) -> LF + Send + Sync + 'static,
        LF: Future<Output = Result<T, UnitFault>> + Send + 'static,
        C: Fn(CheckTicket<U>, T) -> CF + Send + Sync + 'static,
        CF: Future<Output = Result<(), UnitFault>> + Send + 'static,
    {
        let core = &self.life.core;
        let units: Vec<_> = units.into_iter().collect();
        let mut names = BTreeSet::new();
        if let Some(twice) = units.iter().find(|spec| !names.insert(&spec.unit)) {
            let unit = twice.unit.to_string();
            return Err(fail(core, StartError::DuplicateUnit { unit }));
        }
        core.apply(Event::Begin(units));
        let mut pipeline = Pipeline {
            core: Arc::clone(core),
            load: Arc::new(load),
            check: Arc::new(check),
            tasks: JoinSet::new(),
            loaded: HashMap::new(),
        };
        pipeline.run().await?;
        Ok(Startup { life: self.life, state: Check(()) })
    }
}

struct Pipeline<U: Unit, T, L, C> {
    core: Arc<Core<U>>,
    load: Arc<L>,
    check: Arc<C>,
    tasks: JoinSet<Done<U, T>>,
    /// What is loaded and waits for a check slot.
    loaded: HashMap<U, T>,
}

enum Done<U, T> {
    Loaded(U, T),
    Checked(U),
    Faulted(U, UnitFault),
}

enum Wake<U, T> {
    Task(Option<Done<U, T>>),
    Work,
    Stall,
    Deadline,
    Stop,
}

impl<U, T, L, LF, C, CF> Pipeline<U, T, L, C>
where
    U: Unit,
    T: Send + 'static,
    L: Fn(LoadTicket<U>) -> LF + Send + Sync + 'static,
    LF: Future<Output = Result<T, UnitFault>> + Send + 'static,
    C: Fn(CheckTicket<U>, T) -> CF + Send + Sync + 'static,
    CF: Future<Output = Result<(), UnitFault>> + Send + 'static,
{
    async fn run(&mut self) -> Result<(), StartError> {
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

    async fn wake(&mut self, deadline: Option<Instant>) -> Wake<U, T> {
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
            self.loaded.remove(&unit);
        }
        while let Some((job, lane, meter)) = next_job(&self.core) {
            match job {
                Job::Load(unit) => self.begin_load(unit, lane, meter),
                Job::Check(unit) => self.begin_check(unit, lane, meter),
            }
        }
    }

    fn begin_load(&mut self, unit: U, lane: usize, meter: Arc<Meter>) {
        let ticket =
            LoadTicket::new(unit.clone(), lane, Arc::clone(&meter), Arc::clone(&self.core));
        let load = Arc::clone(&self.load);
        let bound = self.core.config.deadlines.unit;
        let span = tracing::debug_span!(target: "startup_gate", "load", %unit, lane);
        let work = async move {
            match watched(&meter, bound, async move { load(ticket).await }).await {
                Ok(loaded) => Done::Loaded(unit, loaded),
                Err(fault) => Done::Faulted(unit, fault),
            }
        };
        self.tasks.spawn(work.instrument(span));
    }

    fn begin_check(&mut self, unit: U, lane: usize, meter: Arc<Meter>) {
        let Some(loaded) = self.loaded.remove(&unit) else { return };
        let ticket = CheckTicket::new(unit.clone(), lane, Arc::clone(&meter), &self.core);
        let check = Arc::clone(&self.check);
        let bound = self.core.config.deadlines.unit;
        let span = tracing::debug_span!(target: "startup_gate", "check", %unit, lane);
        let work = async move {
            match watched(&meter, bound, async move { check(ticket, loaded).await }).await {
                Ok(()) => Done::Checked(unit),
                Err(fault) => Done::Faulted(unit, fault),
            }
        };
        self.tasks.spawn(work.instrument(span));
    }

    fn end_job(&mut self, done: Done<U, T>) {
        let forget = |unit: &U| {
            let unit = unit.clone();
            move |inner: &mut crate::core::Inner<U>| drop(inner.meters.remove(&unit))
        };
        match done {
            Done::Loaded(unit, loaded) => {
                // Before the event: it may ask for the check at once.
                self.loaded.insert(unit.clone(), loaded);
                let first = forget(&unit);
                self.core.apply_with(Event::Loaded(unit.clone()), first);
                if !self.core.with(|inner| inner.machine.is_wanted(&unit)) {
                    self.loaded.remove(&unit);
                }
            }
            Done::Checked(unit) => {
                let first = forget(&unit);
                self.core.apply_with(Event::Checked(unit), first);
            }
            Done::Faulted(unit, fault) => {
                let first = forget(&unit);
                self.core.apply_with(Event::Faulted(unit, fault), first);
            }
        }
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
            let (Job::Load(unit) | Job::Check(unit)) = &job;
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
        () = meter.withdrawn() => {
            Err(UnitFault::new(FaultKind::Withdrawn, "the gate waits for it no more"))
        }
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

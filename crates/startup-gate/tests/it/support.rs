//! Scripted units, a trace of all transitions, and a whole start in one call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use startup_gate::state::{Check, Load};
use startup_gate::{
    CampaignRight, Change, Concurrency, Config, Confirm, JoinTicket, LoadTicket, NodeFault,
    NotConfirmed, Observer, ServeRight, Serving, StartError, Startup, Transition, UnitFault,
    UnitSpec, VoteRight,
};
use tokio::time::{Instant, sleep};

pub(crate) type Unit = u32;

/// What one unit does on its way up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) lane: usize,
    /// Its join is passed over by [`climb`].
    pub(crate) join_ms: u64,
    pub(crate) join: End,
    pub(crate) load_ms: u64,
    pub(crate) load: End,
    pub(crate) check_ms: u64,
    pub(crate) check: End,
    /// After this long in elect it is confirmed; `None`: never.
    pub(crate) confirm_ms: Option<u64>,
    pub(crate) confirm_fault: bool,
    /// After this long in elect it says that it is gone.
    pub(crate) gone_ms: Option<u64>,
    /// Nobody needs it.
    pub(crate) idle: bool,
}

/// How a unit's work ends.
#[derive(Debug, Clone, Default)]
pub(crate) enum End {
    #[default]
    Good,
    Fault(UnitFault),
    Panic,
    /// Never, and without progress.
    Hang,
}

impl Script {
    pub(crate) fn good() -> Self {
        Self { load_ms: 10, check_ms: 5, confirm_ms: Some(0), ..Self::default() }
    }

    pub(crate) fn corrupt() -> Self {
        Self { load: End::Fault(UnitFault::corrupt("bad checksum")), ..Self::good() }
    }

    pub(crate) fn hung() -> Self {
        Self { load: End::Hang, ..Self::good() }
    }

    pub(crate) fn idle() -> Self {
        Self { idle: true, ..Self::leaderless() }
    }

    pub(crate) fn leaderless() -> Self {
        Self { confirm_ms: None, ..Self::good() }
    }
}

impl End {
    async fn run(self) -> Result<(), UnitFault> {
        match self {
            Self::Good => Ok(()),
            Self::Fault(fault) => Err(fault),
            Self::Panic => panic!("scripted panic"),
            Self::Hang => std::future::pending().await,
        }
    }
}

pub(crate) type Scripts = BTreeMap<Unit, Script>;

/// `count` good units, then the given ones, numbered from 1 on.
pub(crate) fn scripts(count: u32, others: &[Script]) -> Scripts {
    let good = (0..count).map(|_| Script::good());
    (1..).zip(good.chain(others.iter().cloned())).collect()
}

/// Small bounds, and times that begin with the paused clock.
pub(crate) fn config() -> Config {
    Config {
        join_concurrency: Concurrency::new(4, 16),
        load_concurrency: Concurrency::new(2, 8),
        check_concurrency: Concurrency::new(2, 8),
        elect_timeout: Duration::from_secs(3),
        stall_timeout: Duration::from_secs(10),
        process_start: Instant::now().into_std(),
        ..Config::default()
    }
}

pub(crate) fn specs(scripts: &Scripts) -> Vec<UnitSpec<Unit>> {
    scripts.iter().map(|(unit, script)| UnitSpec::new(*unit).lane(script.lane)).collect()
}

/// Opens vote and log, then votes; what it returns is handed to the load.
pub(crate) async fn run_join(
    script: Script,
    ticket: JoinTicket<Unit>,
) -> Result<VoteRight<Unit>, UnitFault> {
    sleep(Duration::from_millis(script.join_ms)).await;
    script.join.run().await?;
    ticket.log_readable()
}

pub(crate) async fn run_load(script: Script, ticket: LoadTicket<Unit>) -> Result<(), UnitFault> {
    let vote = ticket.log_readable()?;
    assert!(*vote.unit() > 0);
    sleep(Duration::from_millis(script.load_ms)).await;
    script.load.run().await
}

pub(crate) async fn run_check(script: Script) -> Result<(), UnitFault> {
    sleep(Duration::from_millis(script.check_ms)).await;
    script.check.run().await
}

pub(crate) fn run_confirm(script: &Script, ask: &Confirm<Unit>) -> Result<(), NotConfirmed> {
    if script.confirm_fault {
        return Err(UnitFault::failed("its log ended early").into());
    }
    if script.idle {
        return Err(NotConfirmed::Deferred);
    }
    if script.gone_ms.is_some_and(|after| ask.waited >= Duration::from_millis(after)) {
        return Err(NotConfirmed::Gone);
    }
    match script.confirm_ms {
        Some(after) if ask.waited >= Duration::from_millis(after) => Ok(()),
        _ => Err(NotConfirmed::pending(format_args!("no leader for {}", ask.unit))),
    }
}

/// The whole way up. Keeps the rights so that nothing but the gate decides.
pub(crate) async fn climb(
    startup: Startup<Unit, Load>,
    scripts: Scripts,
) -> Result<Serving<Unit>, StartError> {
    climb_with(startup, scripts, async { Ok(()) }).await
}

pub(crate) async fn climb_with(
    startup: Startup<Unit, Load>,
    scripts: Scripts,
    node_wide: impl Future<Output = Result<(), NodeFault>>,
) -> Result<Serving<Unit>, StartError> {
    let units = specs(&scripts);
    let scripts = Arc::new(scripts);
    let (load, check) = (Arc::clone(&scripts), Arc::clone(&scripts));
    let startup = startup
        .load(
            units,
            move |ticket| run_load(load[ticket.unit()].clone(), ticket),
            move |ticket, ()| run_check(check[ticket.unit()].clone()),
        )
        .await?;
    open(startup, scripts, node_wide).await
}

/// The whole way up, with joins.
pub(crate) async fn climb_joined(
    startup: Startup<Unit, Load>,
    scripts: Scripts,
) -> Result<Serving<Unit>, StartError> {
    let units = specs(&scripts);
    let scripts = Arc::new(scripts);
    let (join, load, check) = (Arc::clone(&scripts), Arc::clone(&scripts), Arc::clone(&scripts));
    let startup = startup
        .load_joined(
            units,
            move |ticket| run_join(join[ticket.unit()].clone(), ticket),
            move |ticket, vote: VoteRight<Unit>| {
                assert_eq!(ticket.unit(), vote.unit(), "what its own join returned");
                let script = load[ticket.unit()].clone();
                async move {
                    sleep(Duration::from_millis(script.load_ms)).await;
                    script.load.run().await
                }
            },
            move |ticket, ()| run_check(check[ticket.unit()].clone()),
        )
        .await?;
    open(startup, scripts, async { Ok(()) }).await
}

/// From the node-wide check to the open port.
async fn open(
    startup: Startup<Unit, Check>,
    scripts: Arc<Scripts>,
    node_wide: impl Future<Output = Result<(), NodeFault>>,
) -> Result<Serving<Unit>, StartError> {
    let startup = startup.check(node_wide).await?;
    let startup = startup
        .elect(
            |right: CampaignRight<Unit>| drop(right),
            move |ask| {
                let answer = run_confirm(&scripts[&ask.unit], &ask);
                async move { answer }
            },
        )
        .await?;
    let (serving, ()) = startup
        .listen(|right: ServeRight| async move {
            drop(right);
            Ok(())
        })
        .await?;
    Ok(serving)
}

/// Writes down every transition, one word group each.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<Vec<String>>);

impl Trace {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no test panics with it").clone()
    }

    /// The position of the only line that is equal to this one.
    pub(crate) fn at(&self, line: &str) -> usize {
        let lines = self.lines();
        let mut found = lines.iter().enumerate().filter(|(_, other)| *other == line);
        let (at, _) = found.next().unwrap_or_else(|| panic!("no `{line}` in {lines:#?}"));
        assert_eq!(found.next(), None, "twice in {lines:#?}");
        at
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|other| other == line)
    }
}

impl Observer<Unit> for Trace {
    fn on_change(&self, change: &Change<Unit>) {
        let line = match &change.transition {
            Transition::Stage { to, .. } => format!("stage {to}"),
            Transition::Unit { unit, to: Some(to), .. } => format!("{unit} {to}"),
            Transition::Unit { unit, to: None, .. } => format!("{unit} removed"),
            Transition::VoteGranted { unit } => format!("vote {unit}"),
            Transition::CampaignGranted { unit } => format!("campaign {unit}"),
            Transition::ServeGranted => "serve".to_owned(),
            Transition::StepBegan { step } => format!("step {step}"),
            Transition::StepEnded { step, end } => format!("step {step} {end}"),
            other => format!("{other:?}"),
        };
        self.0.lock().expect("no test panics with it").push(line);
    }
}

pub(crate) fn traced(config: Config) -> (Startup<Unit, Load>, Arc<Trace>) {
    let trace = Arc::new(Trace::default());
    let startup = Startup::new(config, vec![Arc::clone(&trace) as Arc<dyn Observer<Unit>>]);
    (startup.expect("a good config"), trace)
}

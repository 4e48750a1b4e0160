//! `datanode trial roll`: a rolling restart of real processes under load, and
//! what its clients noticed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use datanode_client::{AdminClient, Client, ClientConfig, PartitionId};

use super::addresses::Addresses;
use super::check::{self, Checked};
use super::churn::{Churn, Churned};
use super::disk;
use super::figures::{self, Latency, Span, Throughput, ms};
use super::ledger::Ledger;
use super::load::{self, Load, Pace, Shared};
use super::machine::{Machine, Phases, Processors};
use super::plant::Plant;
use super::plot::{Mark, Plot};
use super::python::{self, Done, Python};
use super::record::{Kind, Op, Recorder, Who};
use super::report::{Bound, NodeLeaders, PythonRow, Report, RestartRow, Throughputs};
use super::rounds::{self, Plan, Restarted, Rounds};
use super::scrape::scrape;
use super::snapshot::Installs;
use crate::Failure;
use crate::cluster::Signal;
use crate::demo::bar;
use crate::demo::stage::Stage;

/// The load runs so long before the baseline begins: connections are made,
/// leaders learned.
const WARM_UP: Duration = Duration::from_secs(2);
/// A change of replicas waits for nodes that are restarted.
const CHURN_TIMEOUT: Duration = Duration::from_secs(60);
/// The slowest request of an orderly roll, in milliseconds.
const MAX_MS: f64 = 250.0;
/// Likewise where nodes are killed: the election time-out (at most 4 s, unless
/// set otherwise) and a second for what comes after it.
const MAX_KILLED_MS: f64 = 5000.0;
/// How many of the slowest requests are named.
const SLOWEST: usize = 20;
/// The throughput that a roll may cost.
const LOSS_RATIO: f64 = 0.06;

/// Arguments of `datanode trial roll`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many nodes; 3, or 4 with `--during membership`.
    #[arg(long, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: Option<u64>,
    /// How many partitions, three replicas each.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    partitions: u64,
    /// How often every node is restarted; 0 for the load alone.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Workers of our own client, one request at a time each; may be 0 with
    /// `--python`. Few of them wait for each other: eight that share 600 requests a second
    /// have 13 ms for each.
    #[arg(long, default_value_t = 32)]
    clients: u64,
    /// Requests a second of all workers together, due at fixed times.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// A closed loop instead: so many milliseconds from an answer to the worker's
    /// next request.
    #[arg(long, conflicts_with = "rate")]
    pause_ms: Option<u64>,
    /// How long the load runs before the first restart, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    baseline_s: u64,
    /// Restarted nodes load each partition so many milliseconds slower.
    #[arg(long)]
    load_delay_ms: Option<u64>,
    /// End nodes with SIGKILL in place of SIGTERM.
    #[arg(long)]
    kill: bool,
    /// Run a stock Python client too, with this interpreter: it needs grpcio and
    /// grpcio-reflection.
    #[arg(long, value_name = "INTERPRETER")]
    python: Option<PathBuf>,
    /// Threads of the Python client.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    python_clients: u64,
    /// Roll while replicas are moved, or while nodes that come back have to
    /// install snapshots.
    #[arg(long, value_enum)]
    during: Option<During>,
    /// How long leaders may take to return before the next node's turn, in
    /// seconds.
    #[arg(long, default_value_t = 30)]
    return_timeout_s: u64,
    /// Further settings of the nodes, as for `serve --set`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the nodes keep their files [default: a temporary directory].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Draw latency over time.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Fail where a bound on time is broken, too.
    #[arg(long)]
    strict_bounds: bool,
    /// Plant a fault that must be found.
    #[arg(long, value_enum, hide = true)]
    plant: Option<Plant>,
    /// End with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn pace(&self) -> Pace {
        if let Some(pause_ms) = self.pause_ms {
            return Pace::Pause(Duration::from_millis(pause_ms));
        }
        let python = if self.python.is_some() { self.python_clients } else { 0 };
        let workers = (self.clients + python).max(1);
        Pace::Every(Duration::from_micros(workers * 1_000_000 / self.rate))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum During {
    /// Replicas are added and removed all the while.
    Membership,
    /// Nodes that come back have to install snapshots.
    Snapshot,
}

/// Runs it.
///
/// # Errors
/// [`Failure`] when a client was left with an error, something was lost or
/// stale, or too little happened to prove anything.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let (partitions, set) = (args.partitions, args.set.clone());
    let mut stage = Stage::set(args.nodes()?, partitions, args.dir.clone(), set).await?;
    match Box::pin(Trial::prepare(&args, &stage).await?.run(&mut stage)).await {
        Ok(report) => finish(stage, &report, &args).await,
        Err(failure) => {
            stage.leave_files();
            Err(failure)
        }
    }
}

/// Prints the report; its verdict is the exit code.
async fn finish(stage: Stage, report: &Report, args: &Args) -> Result<(), Failure> {
    report.print()?;
    let verdict = report.verdict(args.strict_bounds);
    if verdict.is_ok() {
        stage.clear().await?;
    } else {
        stage.leave_files();
    }
    if args.json {
        report.print_json()?;
    }
    verdict
}

impl Args {
    fn nodes(&self) -> Result<u64, Failure> {
        let moves = self.during == Some(During::Membership);
        let nodes = self.nodes.unwrap_or(if moves { 4 } else { 3 });
        if moves && nodes < 4 {
            return Err(Failure::usage("a replica can only move where there are 4 nodes"));
        }
        if self.clients == 0 && self.python.is_none() {
            return Err(Failure::usage("without --clients there must be --python"));
        }
        Ok(nodes)
    }

    fn plan(&self) -> Plan {
        Plan {
            rounds: self.rounds,
            signal: if self.kill { Signal::Kill } else { Signal::Term },
            load_delay_ms: self.load_delay_ms,
            return_timeout: Duration::from_secs(self.return_timeout_s),
            // Where replicas move, so do preferred leaders.
            returned_ratio: if self.during == Some(During::Membership) { 0.5 } else { 0.9 },
        }
    }

    fn max_ms(&self) -> f64 {
        if self.kill { MAX_KILLED_MS } else { MAX_MS }
    }
}

/// What a trial holds while it runs.
struct Trial<'a> {
    args: &'a Args,
    addresses: Addresses,
    client: Client,
    partitions: Arc<[PartitionId]>,
    ledger: Arc<Ledger>,
    recorder: Arc<Recorder>,
}

/// What its parts gave.
struct Outcome {
    baseline: Span,
    rounds: Rounds,
    stolen_ratio: Phases<f64>,
    disk: disk::Seen,
    spread_before: Vec<NodeLeaders>,
    spread_after: Vec<NodeLeaders>,
    python: Option<Done>,
    churn: Option<Churned>,
    snapshots_installed: Option<u64>,
    checked: Checked,
}

impl<'a> Trial<'a> {
    async fn prepare(args: &'a Args, stage: &Stage) -> Result<Self, Failure> {
        let client = stage.client();
        let note = bar::note("laying out");
        let ledger = load::lay_out(&client, &stage.partitions).await?;
        note.finish();
        Ok(Self {
            args,
            addresses: Addresses::new(stage.cluster.addresses(|ports| ports.client)),
            client,
            partitions: stage.partitions.clone().into(),
            ledger: Arc::new(ledger),
            recorder: Arc::new(Recorder::new()),
        })
    }

    async fn run(self, stage: &mut Stage) -> Result<Report, Failure> {
        let python = self.start_python(stage).await?;
        let load = Load::start(&self.shared(), self.args.clients);
        let disk = disk::Watch::start(stage.dir(), &self.recorder);
        let disk = disk.context("begin to watch the disk")?;
        let (baseline, stolen_before) = self.baseline().await;
        let spread_before = spread(stage).await?;
        let churn = (self.args.during == Some(During::Membership)).then(|| self.churn(stage));
        let mut installs = self.installs();
        let plan = self.args.plan();
        let processors = Processors::now();
        let mut rounds =
            rounds::run(&mut stage.cluster, plan, &self.recorder, installs.as_mut()).await?;
        let restarts = Processors::now().stolen_since(processors);
        let stolen_ratio = Phases { baseline: stolen_before, restarts };
        let disk = disk.stop().context("watch the disk")?;
        let spread_after = spread(stage).await?;
        let churn = match churn {
            Some(churn) => Some(churn.stop().await?),
            None => None,
        };
        load.stop().await;
        if let Some(plant) = self.args.plant {
            plant.strike(&self.client, &self.addresses, &self.ledger, &self.recorder).await?;
        }
        let note = bar::note("reading everything back through every node");
        let python = match python {
            Some(python) => Some(python.stop().await?),
            None => None,
        };
        let checked = self.check(stage).await;
        note.finish();
        for node in stage.cluster.nodes() {
            rounds.unserved.add(scrape(node.ports().admin).await?);
        }
        let outcome = Outcome {
            baseline,
            rounds,
            stolen_ratio,
            disk,
            spread_before,
            spread_after,
            python,
            churn,
            snapshots_installed: installs.map(|installs| installs.count),
            checked,
        };
        self.report(&outcome)
    }

    fn shared(&self) -> Shared {
        let Self { client, partitions, ledger, recorder, .. } = self;
        Shared {
            client: client.clone(),
            partitions: Arc::clone(partitions),
            ledger: Arc::clone(ledger),
            recorder: Arc::clone(recorder),
            pace: self.args.pace(),
        }
    }

    async fn start_python(&self, stage: &Stage) -> Result<Option<Python>, Failure> {
        let Some(interpreter) = self.args.python.clone() else { return Ok(None) };
        let config = python::Config {
            interpreter,
            dir: stage.dir().to_owned(),
            threads: self.args.python_clients,
            pace: self.args.pace(),
            partitions: self.partitions.len(),
        };
        let recorder = Arc::clone(&self.recorder);
        Ok(Some(Python::start(&config, &self.addresses, recorder).await?))
    }

    fn churn(&self, stage: &Stage) -> Churn {
        let config = ClientConfig { timeout: CHURN_TIMEOUT, ..ClientConfig::default() };
        let nodes = stage.cluster.nodes().iter().map(|node| node.as_replica());
        let admin = stage.cluster.admin(config);
        Churn::start(admin, nodes.collect(), Arc::clone(&self.partitions))
    }

    fn installs(&self) -> Option<Installs> {
        let (client, ledger) = (self.client.clone(), Arc::clone(&self.ledger));
        let (recorder, partitions) = (Arc::clone(&self.recorder), Arc::clone(&self.partitions));
        (self.args.during == Some(During::Snapshot))
            .then(|| Installs::new(client, ledger, recorder, partitions))
    }

    /// Lets the load run undisturbed. With what others took of the processors.
    async fn baseline(&self) -> (Span, f64) {
        let note = bar::note("warming up, then measuring the load without restarts");
        tokio::time::sleep(WARM_UP).await;
        let (start_us, processors) = (self.recorder.now_us(), Processors::now());
        tokio::time::sleep(Duration::from_secs(self.args.baseline_s)).await;
        note.finish();
        let span = Span { start_us, end_us: self.recorder.now_us() };
        (span, Processors::now().stolen_since(processors))
    }

    async fn check(&self, stage: &Stage) -> Checked {
        let config = ClientConfig { timeout: CHURN_TIMEOUT, ..ClientConfig::default() };
        let admin: AdminClient = stage.cluster.admin(config);
        let objects = self.ledger.objects();
        let mut checked = check::read_back(&self.addresses, objects, &self.recorder).await;
        checked.partitions_compared =
            check::compare_replicas(&admin, &self.partitions, &self.recorder).await;
        checked
    }

    /// Sums up, and draws what was asked for.
    fn report(&self, outcome: &Outcome) -> Result<Report, Failure> {
        let args = self.args;
        let ops = self.recorder.take_ops();
        let faults = self.recorder.faults().clone();
        let Rounds { restarts, unserved } = &outcome.rounds;
        let phases = || restarts.iter().map(|restart| restart.phase);
        let end_us = restarts.last().map_or(outcome.baseline.end_us, |last| last.phase.end_us);
        let whole = Span { start_us: outcome.baseline.start_us, end_us };
        self.draw(&ops, whole, outcome)?;
        let measured = || ops.iter().filter(|op| whole.touches(op));
        let on_their_way = || ops.iter().filter(|op| phases().any(|phase| phase.touches(op)));
        let during_restarts = Latency::of(on_their_way());
        let slowest = figures::slowest(on_their_way(), whole.start_us, SLOWEST);
        let throughput = Throughputs {
            baseline: Throughput::of(&ops, [outcome.baseline]),
            restarts: Throughput::of(&ops, phases()),
        };
        let loss_ratio = throughput.baseline.loss_ratio(&throughput.restarts);
        let of = |who: Who| Latency::of(measured().filter(|op| op.who == who));
        let max_ms = during_restarts.max_ms;
        Ok(Report {
            rounds: args.rounds,
            ops: Latency::of(measured()).ops,
            errors: faults.errors,
            max_ms,
            max_moving_ms: outcome.disk.max_moving_ms(on_their_way()),
            p999_ms: during_restarts.p999_ms,
            loss_ratio,
            self_led_prelisten: unserved.self_led_prelisten,
            leader_unserved_seconds: whole_seconds(unserved.leader_unserved_seconds),
            lost: faults.lost,
            stale: faults.stale,
            wrong: faults.wrong,
            nodes: outcome.spread_before.len(),
            partitions: self.partitions.len(),
            clients: args.clients,
            rate: args.pause_ms.is_none().then_some(args.rate),
            pause_ms: args.pause_ms,
            load_delay_ms: args.load_delay_ms,
            seconds: ms(whole.end_us - whole.start_us) / 1e3,
            baseline: Latency::of(ops.iter().filter(|op| outcome.baseline.touches(op))),
            during_restarts,
            throughput,
            machine: Machine {
                stolen_ratio: outcome.stolen_ratio,
                slowest_sync_ms: Phases {
                    baseline: outcome.disk.slowest_sync_ms([outcome.baseline]),
                    restarts: outcome.disk.slowest_sync_ms(phases()),
                },
                longest_still_ms: Phases {
                    baseline: outcome.disk.longest_still_ms([outcome.baseline]),
                    restarts: outcome.disk.longest_still_ms(phases()),
                },
            },
            restarts: restarts.iter().map(|restart| row(restart, &ops, &outcome.disk)).collect(),
            spread_before: outcome.spread_before.clone(),
            spread_after: outcome.spread_after.clone(),
            own: (args.clients > 0).then(|| of(Who::Own)),
            python: outcome.python.map(|done| PythonRow { latency: of(Who::Python), done }),
            churn: outcome.churn.clone(),
            snapshots_installed: outcome.snapshots_installed,
            checked: outcome.checked,
            bounds: vec![
                Bound::at_most("max_ms", args.max_ms(), max_ms),
                Bound::below("loss_ratio", LOSS_RATIO, loss_ratio),
            ],
            slowest,
            faults: faults.told,
            restarts_wanted: args.rounds * outcome.spread_before.len() as u64,
        })
    }

    fn draw(&self, ops: &[Op], span: Span, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(path) = &self.args.plot else { return Ok(()) };
        let restarts = outcome.rounds.restarts.iter();
        let marks: Vec<Mark> = restarts
            .map(|restart| Mark { away: restart.away(), name: format!("node {}", restart.node) })
            .collect();
        let signal = self.args.plan().signal.name();
        let (partitions, nodes) = (self.partitions.len(), self.addresses.as_slice().len());
        let title = format!(
            "Rolling restart with {signal}: {nodes} nodes, {partitions} partitions, {} clients{}",
            self.args.clients,
            self.args.load_delay_ms.map_or(String::new(), |ms| format!(", loads {ms} ms slower")),
        );
        let bound_ms = self.args.max_ms();
        let plot = Plot {
            title: &title,
            ops,
            span,
            restarts: &marks,
            stills: outcome.disk.stills(),
            bound_ms,
        };
        std::fs::write(path, plot.svg()).with_context(|| format!("write {}", path.display()))
    }
}

async fn spread(stage: &Stage) -> Result<Vec<NodeLeaders>, Failure> {
    let leaders = rounds::leaders(&stage.cluster).await?;
    Ok(leaders.into_iter().map(|(node, leaders)| NodeLeaders { node, leaders }).collect())
}

fn row(restart: &Restarted, ops: &[Op], disk: &disk::Seen) -> RestartRow {
    let during = || ops.iter().filter(|op| restart.phase.touches(op));
    let latency = Latency::of(during());
    let reads = during().filter(|op| op.kind == Kind::Read).count() as u64;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    RestartRow {
        round: restart.round,
        node: restart.node,
        signal: restart.signal.name(),
        led: restart.led,
        drain_ms: restart.drain.map(ms),
        down_ms: ms(restart.down),
        ready_ms: ms(restart.ready),
        returned_ms: restart.returned.map(ms),
        ops: latency.ops,
        reads,
        writes: latency.ops - reads,
        errors: latency.errors,
        max_latency_ms: latency.max_ms,
        p999_ms: latency.p999_ms,
        slowest_sync_ms: disk.slowest_sync_ms([restart.phase]),
        max_moving_ms: disk.max_moving_ms(during()),
    }
}

/// Rounded up: any time at all must show.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.ceil() as u64
}

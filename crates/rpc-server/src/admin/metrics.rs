//! The recorder behind `/metrics`, and the gauges that are read off the node
//! when somebody looks.
//!
//! Counters and histograms of other crates arrive through the `metrics` facade;
//! each crate describes its own. No series is made per partition: a node with
//! ten thousand of them would be scraped to death. Why this recorder:
//! `docs/decisions/0021-recorder.md`.

use std::fmt::Write as _;
use std::sync::Arc;

use metrics::{Gauge, describe_gauge, gauge};
use metrics_process::Collector;
use partition_store::Store;
use prometheus::{HistogramOpts, HistogramVec, Registry, TextEncoder};
use startup_gate::{Report, Stage};

use super::status;
use crate::context::NodeContext;
use crate::metric;

/// Buckets for times, in seconds: from a disk's best fsync to a lost quorum.
const BUCKETS_SECONDS: [f64; 16] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];
/// All histograms, with their labels: one that is not here would have other buckets.
const HISTOGRAMS: [(&str, &[&str]); 4] = [
    (metric::GRPC_HANDLING_SECONDS, &["grpc_service", "grpc_method"]),
    (partition_store::metric::FLUSH_SECONDS, &["disk"]),
    (partition_store::metric::FSYNC_SECONDS, &["disk"]),
    (raft_glue::metric::ACTIVATION_DURATION, &[]),
];

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A histogram's name, label or buckets are not what Prometheus takes.
    #[error("a histogram cannot be registered: {0}")]
    Histogram(#[from] prometheus::Error),
    /// The process has one already.
    #[error("a recorder of metrics is installed already")]
    Installed,
}

/// The process's metrics. A cheap handle.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    process: Arc<Collector>,
}

impl Metrics {
    /// Installs the recorder for the whole process. To be called before anything
    /// that counts: handles made earlier count nothing.
    ///
    /// # Errors
    /// [`InstallError`]: most likely a recorder is installed already.
    pub fn install() -> Result<Self, InstallError> {
        let mut builder = metrics_prometheus::Recorder::builder().with_registry(Registry::new());
        for (name, labels) in HISTOGRAMS {
            // The name stands for the help until its crate describes it.
            let options = HistogramOpts::new(name, name).buckets(BUCKETS_SECONDS.to_vec());
            let histogram = HistogramVec::new(options, labels)?;
            builder = builder.try_with_metric(histogram)?;
        }
        let recorder = builder.try_build_and_install().map_err(|_| InstallError::Installed)?;
        let process = Collector::default();
        process.describe();
        describe();
        // Of what comes later in a start, so that a series is never missing.
        raft_glue::metric::register();
        Ok(Self { registry: recorder.registry().clone(), process: Arc::new(process) })
    }

    /// The text that Prometheus scrapes.
    ///
    /// # Errors
    /// When a family of metrics has no name, or series of another kind: a bug.
    pub(crate) fn render(&self, context: &NodeContext) -> prometheus::Result<String> {
        self.process.collect();
        gauges(context);
        let mut text = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        leader_unserved(context, &mut text);
        Ok(text)
    }
}

fn describe() {
    describe_gauge!(metric::BUILD_INFO, "1, with the program's version as a label.");
    describe_gauge!(metric::STARTUP_STAGE, "1 for the stage that the node is in, 0 for others.");
    describe_gauge!(
        metric::STARTUP_STAGE_DURATION,
        metrics::Unit::Seconds,
        "How long a stage of the start took, or has taken so far; 0 before it began."
    );
    describe_gauge!(metric::STARTUP_PARTITIONS, "Partitions by how far their start has come.");
    describe_gauge!(metric::READY, "1 while the gate is open and the node is not draining.");
    describe_gauge!(metric::PEERS, "Known nodes by whether the Raft stream to them is open.");
    describe_gauge!(
        metric::STORE_MEMORY,
        metrics::Unit::Bytes,
        "Memory that the storage engine takes."
    );
    describe_gauge!(
        metric::STORE_COMPACTION_PENDING,
        metrics::Unit::Bytes,
        "What compactions have still to rewrite, as the storage engine estimates."
    );
    describe_gauge!(
        metric::STORE_UNFLUSHED,
        metrics::Unit::Bytes,
        "Applied since the last flush of the states began: a start after a crash replays it."
    );
    metric::describe_peer();
    describe_gauge!(metric::PARTITION_LEADERS, "Partitions that this node leads.");
    describe_gauge!(
        metric::APPLY_LAG,
        "The largest distance from committed to applied of all replicas, in log entries."
    );
}

/// Sets what has no moment of its own to be counted at.
fn gauges(context: &NodeContext) {
    let report = context.gate().report();
    let version = context.config().version.clone();
    gauge!(metric::BUILD_INFO, "version" => version).set(1.0);
    for stage in Stage::ALL {
        let is_in = if stage == report.stage { 1.0 } else { 0.0 };
        stage_gauge(metric::STARTUP_STAGE, stage).set(is_in);
    }
    durations(&report, context.now_ms());
    partitions(&report);
    if let Some(opened) = context.store() {
        store(opened);
    }
    let totals = context.host().map(|host| status::totals(&host.list())).unwrap_or_default();
    let ready = context.gate().is_open() && !status::is_draining(context);
    gauge!(metric::READY).set(f64::from(u8::from(ready)));
    let (peers, connected) = (context.peers().node_ids().len(), context.peers().connected().len());
    gauge!(metric::PEERS, "state" => "connected").set(count(connected as u64));
    gauge!(metric::PEERS, "state" => "away").set(count(peers.saturating_sub(connected) as u64));
    gauge!(metric::PARTITION_LEADERS).set(count(totals.leaders));
    gauge!(metric::APPLY_LAG).set(count(totals.apply_lag_entries));
}

/// What the databases take, disk by disk, once they are open.
fn store(store: &Store) {
    for (disk, usage) in store.usage().into_iter().enumerate() {
        let disk = disk.to_string();
        for (kind, bytes) in [
            ("memtables", usage.memtables),
            ("table_readers", usage.table_readers),
            ("block_cache", usage.block_cache),
        ] {
            let labels = [("disk", disk.clone()), ("kind", kind.to_owned())];
            gauge!(metric::STORE_MEMORY, &labels).set(count(bytes));
        }
        let pending = gauge!(metric::STORE_COMPACTION_PENDING, "disk" => disk);
        pending.set(count(usage.compaction_pending));
    }
    for (disk, bytes) in store.unflushed_bytes().into_iter().enumerate() {
        gauge!(metric::STORE_UNFLUSHED, "disk" => disk.to_string()).set(count(bytes));
    }
}

/// All four stages, from the first scrape on.
fn durations(report: &Report, now_ms: f64) {
    for stage in Stage::ALL.into_iter().filter(|stage| stage.is_starting()) {
        let begun = report.stages.iter().find(|begun| begun.stage == stage);
        let ms = begun.map_or(0.0, |begun| begun.end_ms.unwrap_or(now_ms) - begun.start_ms);
        stage_gauge(metric::STARTUP_STAGE_DURATION, stage).set(ms.max(0.0) / 1000.0);
    }
}

/// The one counter with a fraction, which counters of the facade do not have.
/// A gauge would have one, and would be typed as what it is not; so it is
/// written here.
fn leader_unserved(context: &NodeContext, text: &mut String) {
    let name = raft_glue::metric::LEADER_UNSERVED_SECONDS;
    let unserved = context.host().map(raft_glue::PartitionHost::leader_unserved);
    let seconds = unserved.unwrap_or_default().as_secs_f64();
    let help = "Seconds that partitions were led from behind a closed client port.";
    // Writing to a string cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {seconds}\n");
}

fn partitions(report: &Report) {
    let units = report.units;
    let counts = [
        ("waiting", units.waiting),
        ("joining", units.joining),
        ("joined", units.joined),
        ("loading", units.loading),
        ("loaded", units.loaded),
        ("checking", units.checking),
        ("checked", units.checked),
        ("electing", units.electing),
        ("ready", units.ready),
        ("waived", units.waived),
        ("deferred", units.deferred),
        ("quarantined", units.quarantined),
    ];
    for (state, units) in counts {
        gauge!(metric::STARTUP_PARTITIONS, "state" => state).set(count(units as u64));
    }
}

fn stage_gauge(name: &'static str, stage: Stage) -> Gauge {
    gauge!(name, "stage" => stage.as_str())
}

/// Gauges are floating; counts of a node stay far below where that matters.
#[allow(clippy::cast_precision_loss)]
fn count(count: u64) -> f64 {
    count as f64
}

//! The report: where a start stands, and where its time went.

mod build;

use serde::Serialize;

pub(crate) use build::Source;

use crate::stage::{Stage, Step, StepEnd};
use crate::unit::Counts;

/// Where a start stands, and where its time went. Times are milliseconds since
/// [`Config::process_start`](crate::Config::process_start).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// How far the node has come.
    pub stage: Stage,
    /// Whether the gate is open.
    pub ready: bool,
    /// When the gate opened.
    pub ready_ms: Option<f64>,
    /// When every unit that was not quarantined held its right to vote: from
    /// then on the node takes its full part in every quorum. `None` before,
    /// and for ever if a unit never says that its log is readable.
    pub voting_ms: Option<f64>,
    /// The stages that have begun, in order.
    pub stages: Vec<StageReport>,
    /// How many units are in each state.
    pub units: Counts,
    /// The units that took longest so far, at most ten, slowest first.
    pub slowest: Vec<UnitReport>,
    /// The units that the gate still waits for, at most a hundred; `units` counts all.
    pub blocking: Vec<UnitReport>,
    /// The quarantined units with their faults.
    pub quarantined: Vec<UnitReport>,
    /// The waived units with what they wait for.
    pub waived: Vec<UnitReport>,
    /// Work that belongs to no unit, see [`Handle::span`](crate::Handle::span).
    pub spans: Vec<SpanReport>,
    /// The steps down that have begun, in order.
    pub steps: Vec<StepReport>,
    /// Why the start failed, once it did.
    pub failure: Option<String>,
    /// One line: what the time went into.
    pub critical_path: String,
    /// Time spent in the gate's own code.
    pub gate_overhead_ms: f64,
}

/// One stage of a start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    /// Which stage.
    pub stage: Stage,
    /// When it began.
    pub start_ms: f64,
    /// When it ended; `None` while it runs.
    pub end_ms: Option<f64>,
    /// Units that it is about.
    pub units_total: usize,
    /// Units that passed it.
    pub units_done: usize,
    /// Units that were quarantined in it.
    pub units_failed: usize,
    /// Units that were waived in it.
    pub units_waived: usize,
    /// Units whose confirmation was deferred in it, until somebody needs them.
    pub units_deferred: usize,
    /// Units that left in it: they were deleted, and count in nothing else.
    pub units_gone: usize,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitReport {
    /// Its name.
    pub unit: String,
    /// Its lane's name.
    pub lane: String,
    /// The stage that it is in, or settled in.
    pub stage: Stage,
    /// Its state's word.
    pub state: &'static str,
    /// When its join began, or its load if there is no join; when it came to
    /// wait if it did not begin.
    pub start_ms: f64,
    /// When it settled; `None` while the gate waits for it.
    pub end_ms: Option<f64>,
    /// Time in join; 0 in a start that does not join.
    pub join_ms: f64,
    /// Time in load.
    pub load_ms: f64,
    /// Time in check.
    pub check_ms: f64,
    /// Time from the barrier to its confirmation.
    pub elect_ms: f64,
    /// Why it blocks, is quarantined or is waived.
    pub reason: Option<String>,
}

/// Work that belongs to no unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanReport {
    /// What was done.
    pub name: String,
    /// The stage it began in.
    pub stage: Stage,
    /// When it began.
    pub start_ms: f64,
    /// When it ended; `None` while it runs.
    pub end_ms: Option<f64>,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepReport {
    /// Which step.
    pub step: Step,
    /// When it began.
    pub start_ms: f64,
    /// When it ended; `None` while it runs.
    pub end_ms: Option<f64>,
    /// How it ended; `None` while it runs.
    pub end: Option<StepEnd>,
}

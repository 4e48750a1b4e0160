//! `datanode startup`: the report of a start, or following one.

use std::time::{Duration, Instant};

use datanode_client::proto::{StageReport, StartupReport, UnitReport};
use serde::Serialize;

use super::connect::AdminArgs;
use super::words;
use crate::Failure;
use crate::output::{Format, Output, Rows, millis};

/// A follower is told of progress within a stage so often.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Arguments of `datanode startup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Follow the start until the gate is open; with JSON, a report a line.
    #[arg(long)]
    watch: bool,
    /// How long to wait for an answer; with --watch, for a node that is not up.
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    timeout: humantime::Duration,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Report {
    stage: &'static str,
    ready: bool,
    ready_ms: Option<f64>,
    stages: Vec<Stage>,
    slowest: Vec<Unit>,
    blocking: Vec<Unit>,
    quarantined: Vec<Unit>,
    waived: Vec<Unit>,
    critical_path: String,
    gate_overhead_ms: f64,
    /// Since when all partitions vote and append.
    voting_ms: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Stage {
    stage: &'static str,
    start_ms: f64,
    end_ms: Option<f64>,
    units_total: u64,
    units_done: u64,
    units_failed: u64,
    units_waived: u64,
    units_deferred: u64,
    units_gone: u64,
}

#[derive(Debug, Serialize)]
struct Unit {
    unit: String,
    stage: &'static str,
    start_ms: f64,
    end_ms: Option<f64>,
    reason: String,
}

/// Prints the report, once or at each change.
///
/// # Errors
/// [`Failure`] when the node does not answer.
pub async fn run(args: Args) -> Result<(), Failure> {
    let Args { watch, timeout, admin, output } = args;
    let client = admin.client(Duration::from(timeout))?;
    if !watch {
        let report = Report::from(client.startup().await?);
        output.print(&report, stages)?;
        return epilogue(output, &report);
    }
    let mut reports = client.watch_startup();
    let mut shown = Shown::default();
    while let Some(report) = reports.next().await? {
        let report = Report::from(report);
        if output.format == Format::Json {
            output.print_line(&report, |_| String::new())?;
        } else if report.ready {
            output.print(&report, stages)?;
            epilogue(output, &report)?;
        } else if let Some(line) = shown.next(&report) {
            output.print_line(&report, |_| line)?;
        }
    }
    Ok(())
}

/// What a follower has read so far.
#[derive(Default)]
struct Shown {
    stage: &'static str,
    line: String,
    at: Option<Instant>,
}

impl Shown {
    /// The line to print now: at once for another stage, else not too often,
    /// since the report changes with each partition.
    fn next(&mut self, report: &Report) -> Option<String> {
        let line = progress(report);
        let due = self.at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if report.stage == self.stage && (line == self.line || !due) {
            return None;
        }
        *self = Self { stage: report.stage, line: line.clone(), at: Some(Instant::now()) };
        Some(line)
    }
}

/// `load 312/1024: partition 7 loading`, for the stage that runs.
fn progress(report: &Report) -> String {
    let current = report.stages.iter().rev().find(|stage| stage.stage == report.stage);
    let (Some(stage), false) = (current, report.ready) else {
        return match report.ready_ms {
            Some(ready_ms) if report.ready => format!("open after {}", millis(ready_ms)),
            _ => report.stage.to_owned(),
        };
    };
    let aside = stage.units_failed + stage.units_waived + stage.units_deferred;
    let passed = stage.units_done + aside;
    let mut line = format!("{} {passed}/{}", stage.stage, stage.units_total);
    if let Some(first) = report.blocking.first() {
        line += &format!(": partition {} {}", first.unit, first.reason);
    }
    line
}

fn stages(report: &Report) -> Rows {
    let mut rows = Rows::new(&[
        "STAGE", ">START", ">END", ">TOOK", ">DONE", ">FAILED", ">WAIVED", ">IDLE", ">GONE",
    ]);
    for stage in &report.stages {
        let end = stage.end_ms;
        rows.push([
            stage.stage.to_owned(),
            millis(stage.start_ms),
            end.map(millis).unwrap_or_default(),
            end.map(|end| millis(end - stage.start_ms)).unwrap_or_default(),
            format!("{}/{}", stage.units_done, stage.units_total),
            stage.units_failed.to_string(),
            stage.units_waived.to_string(),
            stage.units_deferred.to_string(),
            stage.units_gone.to_string(),
        ]);
    }
    rows
}

/// What the table of stages cannot say.
fn epilogue(output: Output, report: &Report) -> Result<(), Failure> {
    if output.format == Format::Json {
        return Ok(());
    }
    let mut lines = vec![String::new(), progress(report)];
    lines.extend(report.voting_ms.map(|ms| format!("all partitions vote after {}", millis(ms))));
    if !report.critical_path.is_empty() {
        lines.push(report.critical_path.clone());
    }
    let lists = [
        ("slowest", &report.slowest),
        ("blocking", &report.blocking),
        ("quarantined", &report.quarantined),
        ("waived", &report.waived),
    ];
    for (what, units) in lists {
        for unit in units {
            let mut line = format!("{what}: partition {} {}", unit.unit, unit.stage);
            // Of a partition that went bad later it would be how long it served.
            if let Some(end_ms) = unit.end_ms.filter(|_| what == "slowest") {
                line += &format!(" {}", millis(end_ms - unit.start_ms));
            }
            if !unit.reason.is_empty() {
                line += &format!(": {}", unit.reason);
            }
            lines.push(line);
        }
    }
    for line in lines {
        output.print_line(&line, Clone::clone)?;
    }
    Ok(())
}

impl From<StartupReport> for Report {
    fn from(report: StartupReport) -> Self {
        let units = |units: Vec<UnitReport>| units.into_iter().map(Unit::from).collect();
        Self {
            stage: words::stage(report.stage),
            ready: report.ready,
            ready_ms: report.ready_ms,
            stages: report.stages.into_iter().map(Stage::from).collect(),
            slowest: units(report.slowest),
            blocking: units(report.blocking),
            quarantined: units(report.quarantined),
            waived: units(report.waived),
            critical_path: report.critical_path,
            gate_overhead_ms: report.gate_overhead_ms,
            voting_ms: report.voting_ms,
        }
    }
}

impl From<StageReport> for Stage {
    fn from(stage: StageReport) -> Self {
        Self {
            stage: words::stage(stage.stage),
            start_ms: stage.start_ms,
            end_ms: stage.end_ms,
            units_total: stage.units_total,
            units_done: stage.units_done,
            units_failed: stage.units_failed,
            units_waived: stage.units_waived,
            units_gone: stage.units_gone,
            units_deferred: stage.units_deferred,
        }
    }
}

impl From<UnitReport> for Unit {
    fn from(unit: UnitReport) -> Self {
        Self {
            stage: words::stage(unit.stage),
            unit: unit.unit,
            start_ms: unit.start_ms,
            end_ms: unit.end_ms,
            reason: unit.reason,
        }
    }
}

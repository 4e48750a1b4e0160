//! `datanode startup`: the report of a start, or following one.

use std::time::Duration;

use datanode_client::proto::{StageReport, StartupReport, UnitReport};
use serde::Serialize;

use super::connect::AdminArgs;
use super::words;
use crate::Failure;
use crate::output::{Format, Output, Rows, millis};

/// Arguments of `datanode startup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Follow the start until the gate is open; with JSON, a report a line.
    #[arg(long)]
    watch: bool,
    /// How long to wait for an answer.
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
    let mut shown = String::new();
    while let Some(report) = reports.next().await? {
        let report = Report::from(report);
        let line = progress(&report);
        // The report changes with each unit; the line for people does not.
        if output.format == Format::Json || line != shown {
            output.print_line(&report, |_| line.clone())?;
            shown = line;
        }
        if report.ready && output.format == Format::Table {
            output.print(&report, stages)?;
            epilogue(output, &report)?;
        }
    }
    Ok(())
}

/// `load 312/1024`, for the stage that runs.
fn progress(report: &Report) -> String {
    let current = report.stages.iter().rev().find(|stage| stage.stage == report.stage);
    match (report.ready_ms, current) {
        (Some(ready_ms), _) => format!("open after {}", millis(ready_ms)),
        (None, Some(stage)) => {
            format!("{} {}/{}", stage.stage, stage.units_done, stage.units_total)
        }
        (None, None) => report.stage.to_owned(),
    }
}

fn stages(report: &Report) -> Rows {
    let mut rows = Rows::new(&["STAGE", ">START", ">END", ">TOOK", ">DONE", ">FAILED", ">WAIVED"]);
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
            let took = unit.end_ms.map(|end| millis(end - unit.start_ms)).unwrap_or_default();
            let line =
                format!("{what}: partition {} {} {took} {}", unit.unit, unit.stage, unit.reason);
            lines.push(line.trim_end().to_owned());
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

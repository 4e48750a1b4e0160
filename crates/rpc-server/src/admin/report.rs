//! The start-up report in the words of the wire.

use datanode_proto::v1;
use startup_gate::{Report, StageReport, UnitReport};

use crate::peer::stage_to_wire;

/// The report for `GetStartup` and `WatchStartup`.
pub(super) fn to_wire(report: Report) -> v1::StartupReport {
    let units = |units: Vec<UnitReport>| units.into_iter().map(unit).collect();
    v1::StartupReport {
        stage: stage_to_wire(report.stage).into(),
        ready: report.ready,
        ready_ms: report.ready_ms,
        stages: report.stages.iter().map(stage).collect(),
        slowest: units(report.slowest),
        blocking: units(report.blocking),
        quarantined: units(report.quarantined),
        waived: units(report.waived),
        critical_path: report.critical_path,
        gate_overhead_ms: report.gate_overhead_ms,
        voting_ms: report.voting_ms,
    }
}

fn stage(stage: &StageReport) -> v1::StageReport {
    v1::StageReport {
        stage: stage_to_wire(stage.stage).into(),
        start_ms: stage.start_ms,
        end_ms: stage.end_ms,
        units_total: stage.units_total as u64,
        units_done: stage.units_done as u64,
        units_failed: stage.units_failed as u64,
        units_waived: stage.units_waived as u64,
        units_gone: stage.units_gone as u64,
        units_deferred: stage.units_deferred as u64,
    }
}

fn unit(unit: UnitReport) -> v1::UnitReport {
    v1::UnitReport {
        unit: unit.unit,
        stage: stage_to_wire(unit.stage).into(),
        start_ms: unit.start_ms,
        end_ms: unit.end_ms,
        reason: unit.reason.unwrap_or_default(),
    }
}

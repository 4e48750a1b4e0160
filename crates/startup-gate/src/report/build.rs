//! How a report is made from the machine and the time-line.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Report, SpanReport, StageReport, StepReport, UnitReport};
use crate::config::Config;
use crate::critical_path::{critical_path, lane_name};
use crate::machine::Machine;
use crate::stage::Stage;
use crate::timeline::{StageTimes, Timeline, UnitTimes};
use crate::unit::{Unit, UnitState};

const SLOWEST_MAX: usize = 10;
const BLOCKING_MAX: usize = 100;

/// Which units to count.
type Which = fn(&UnitTimes) -> bool;

/// What a report is made from.
pub(crate) struct Source<'a, U: Unit> {
    pub(crate) machine: &'a Machine<U>,
    pub(crate) timeline: &'a Timeline<U>,
    pub(crate) config: &'a Config,
    pub(crate) failure: Option<&'a str>,
    pub(crate) overhead: Duration,
    pub(crate) now: Duration,
}

impl<U: Unit> Source<'_, U> {
    pub(crate) fn report(&self) -> Report {
        let (machine, timeline) = (self.machine, self.timeline);
        let select = |which: fn(&UnitState) -> bool, max: usize| -> Vec<UnitReport> {
            let units = machine.units().filter(|(_, _, state)| which(state)).take(max);
            units.filter_map(|(unit, lane, state)| self.unit(unit, lane, state)).collect()
        };
        let starting = machine.stage().is_starting();
        Report {
            stage: machine.stage(),
            ready: machine.stage() == Stage::Serving,
            ready_ms: timeline.opened.map(ms),
            voting_ms: timeline.voting.map(ms),
            stages: timeline.stages.iter().map(|times| self.stage(times)).collect(),
            units: machine.counts(),
            slowest: self.slowest(),
            blocking: if starting {
                select(|state| !state.is_settled(), BLOCKING_MAX)
            } else {
                Vec::new()
            },
            quarantined: select(|s| matches!(s, UnitState::Quarantined { .. }), usize::MAX),
            waived: select(|s| matches!(s, UnitState::Waived { .. }), usize::MAX),
            spans: timeline.spans.iter().map(span).collect(),
            steps: timeline.steps.iter().map(step).collect(),
            failure: self.failure.map(str::to_owned),
            critical_path: critical_path(machine, timeline, self.config, self.failure, self.now),
            gate_overhead_ms: ms(self.overhead),
        }
    }

    fn stage(&self, times: &StageTimes) -> StageReport {
        // Units admitted while serving are no part of the start.
        let units = || self.timeline.units.values().filter(|unit| !unit.admitted);
        let stage = times.stage;
        let (total, done): (Which, Which) = match stage {
            Stage::Load => (|_| true, |u| u.loaded.is_some()),
            Stage::Check => (|u| u.loaded.is_some(), |u| u.checked.is_some()),
            Stage::Elect => (|u| u.electing.is_some(), UnitTimes::was_confirmed_in_time),
            _ => (|_| false, |_| false),
        };
        let elect = stage == Stage::Elect;
        StageReport {
            stage,
            start_ms: ms(times.start),
            end_ms: times.end.map(ms),
            units_total: units().filter(|u| total(u)).count(),
            units_done: units().filter(|u| total(u) && done(u)).count(),
            units_failed: units().filter(|u| u.failed_in == Some(stage)).count(),
            units_waived: units().filter(|u| elect && u.waived.is_some()).count(),
            units_deferred: units().filter(|u| elect && u.deferred.is_some()).count(),
            units_gone: times.gone,
        }
    }

    fn slowest(&self) -> Vec<UnitReport> {
        let mut spent: Vec<_> = self
            .machine
            .units()
            .filter_map(|(unit, lane, state)| {
                let times = self.timeline.units.get(unit)?;
                let total: Duration = times.spent(self.now).iter().sum();
                (!total.is_zero()).then_some((Reverse(total), unit, lane, state))
            })
            .collect();
        if spent.len() > SLOWEST_MAX {
            spent.select_nth_unstable_by_key(SLOWEST_MAX, |(total, unit, ..)| (*total, *unit));
            spent.truncate(SLOWEST_MAX);
        }
        spent.sort_unstable_by_key(|(total, unit, ..)| (*total, *unit));
        let units = spent.into_iter();
        units.filter_map(|(_, unit, lane, state)| self.unit(unit, lane, state)).collect()
    }

    fn unit(&self, unit: &U, lane: usize, state: &UnitState) -> Option<UnitReport> {
        let times = self.timeline.units.get(unit)?;
        let [join, load, check, elect] = times.spent(self.now);
        let pending = self.machine.pending_reason(unit);
        let reason = match state {
            UnitState::Quarantined { fault } => Some(fault.to_string()),
            UnitState::Waived { reason } => Some(reason.to_string()),
            UnitState::Electing if !pending.is_empty() => Some(pending.to_owned()),
            UnitState::Ready => None,
            _ => Some(state.to_string()),
        };
        Some(UnitReport {
            unit: unit.to_string(),
            lane: lane_name(self.config, lane),
            stage: times.failed_in.unwrap_or_else(|| stage_of(state)),
            state: state.as_str(),
            start_ms: ms(times.joining.or(times.loading).unwrap_or(times.waiting)),
            end_ms: times.settled.or(times.waived).or(times.deferred).map(ms),
            join_ms: ms(join),
            load_ms: ms(load),
            check_ms: ms(check),
            elect_ms: ms(elect),
            reason,
        })
    }
}

fn stage_of(state: &UnitState) -> Stage {
    match state {
        UnitState::Waiting | UnitState::Joining | UnitState::Joined | UnitState::Loading => {
            Stage::Load
        }
        UnitState::Loaded | UnitState::Checking | UnitState::Checked => Stage::Check,
        UnitState::Electing
        | UnitState::Ready
        | UnitState::Waived { .. }
        | UnitState::Deferred
        | UnitState::Quarantined { .. } => Stage::Elect,
    }
}

fn span(span: &crate::timeline::Span) -> SpanReport {
    SpanReport {
        name: span.name.clone(),
        stage: span.stage,
        start_ms: ms(span.start),
        end_ms: span.end.map(ms),
    }
}

fn step(times: &crate::timeline::StepTimes) -> StepReport {
    StepReport {
        step: times.step,
        start_ms: ms(times.start),
        end_ms: times.end.map(|(at, _)| ms(at)),
        end: times.end.map(|(_, end)| end),
    }
}

/// Whole microseconds: what is finer is noise.
fn ms(duration: Duration) -> f64 {
    duration.as_secs() as f64 * 1_000.0 + f64::from(duration.subsec_micros()) / 1_000.0
}

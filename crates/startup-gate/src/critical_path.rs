//! The one line that says what the time of a start went into.

use std::fmt::Write as _;
use std::time::Duration;

use crate::config::Config;
use crate::machine::Machine;
use crate::stage::Stage;
use crate::timeline::{StageTimes, Timeline};
use crate::unit::{Unit, UnitState};

/// Parts shorter than this are left out of the line.
const WORTH_NAMING: Duration = Duration::from_millis(1);
/// Nor is less than such a part of its stage named.
const PARTS_MAX: u32 = 5;

/// E.g. `listening after 1.84 s: load 1.31 s, of which open disks 1.02 s, last 17 on disk 2:
/// queued 0.21 s, load 80.0 ms; elect 0.41 s, last 17: waiting for node 3`.
pub(crate) fn critical_path<U: Unit>(
    machine: &Machine<U>,
    timeline: &Timeline<U>,
    config: &Config,
    failure: Option<&str>,
    now: Duration,
) -> String {
    let until = timeline.opened.or(timeline.stopped).unwrap_or(now);
    let parts = parts(machine, timeline, config, until);
    let mut line = match (timeline.opened, failure) {
        (Some(at), _) => format!("listening after {}", seconds(at)),
        (None, Some(why)) => format!("stopped after {} ({why})", seconds(until)),
        (None, None) => format!("{} for {}", machine.stage(), seconds(until)),
    };
    if !parts.is_empty() {
        let _ = write!(line, ": {}", parts.join("; "));
    }
    let deferred = timeline.units.values().filter(|unit| unit.deferred.is_some()).count();
    if deferred > 0 {
        let _ = write!(line, "; {deferred} idle, each confirmed when it is needed");
    }
    line
}

fn parts<U: Unit>(
    machine: &Machine<U>,
    timeline: &Timeline<U>,
    config: &Config,
    until: Duration,
) -> Vec<String> {
    let mut parts = Vec::new();
    for times in &timeline.stages {
        if times.stage == Stage::Load && times.start >= WORTH_NAMING {
            parts.push(format!("before the gate {}", seconds(times.start)));
        }
        let took = times.end.unwrap_or(until).saturating_sub(times.start);
        if took < WORTH_NAMING {
            continue;
        }
        let mut part = format!("{} {}", times.stage, seconds(took));
        if let Some(why) = reason(machine, timeline, config, *times, until) {
            let _ = write!(part, ", {why}");
        }
        parts.push(part);
    }
    parts
}

/// What a stage's time went into, as far as it is worth naming: the longest span, and the unit
/// that it waits for or ended with.
fn reason<U: Unit>(
    machine: &Machine<U>,
    timeline: &Timeline<U>,
    config: &Config,
    times: StageTimes,
    until: Duration,
) -> Option<String> {
    let took = times.end.unwrap_or(until).saturating_sub(times.start);
    let is_worth_naming = |part: Duration| part * PARTS_MAX >= took;
    let span = longest_span(timeline, times.stage).filter(|(_, took)| is_worth_naming(*took));
    let span = span.map(|(name, took)| format!("of which {name} {}", seconds(took)));
    let unit = waits_for(machine, times.stage).or_else(|| {
        let (unit, took) = ended_with(machine, timeline, config, times)?;
        (span.is_none() || is_worth_naming(took)).then_some(unit)
    });
    let known: Vec<_> = span.into_iter().chain(unit).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

fn longest_span<U>(timeline: &Timeline<U>, stage: Stage) -> Option<(&str, Duration)> {
    let spans = timeline.spans.iter().filter(|span| span.stage == stage);
    let ended = spans.filter_map(|span| Some((&*span.name, span.end?.saturating_sub(span.start))));
    ended.max_by_key(|(_, took)| *took)
}

/// Of the stage that is under way, the first unit that is not through.
fn waits_for<U: Unit>(machine: &Machine<U>, stage: Stage) -> Option<String> {
    if stage != machine.stage() {
        return None;
    }
    let (unit, _, state) = machine.units().find(|(_, _, state)| blocks(state, stage))?;
    let pending = machine.pending_reason(unit);
    let why = if pending.is_empty() { state.as_str() } else { pending };
    Some(format!("waits for {unit}: {why}"))
}

/// The unit that was through last, what it did in the stage, and how long that took.
fn ended_with<U: Unit>(
    machine: &Machine<U>,
    timeline: &Timeline<U>,
    config: &Config,
    stage: StageTimes,
) -> Option<(String, Duration)> {
    let unit = match stage.stage {
        Stage::Load => timeline.last.loaded.as_ref(),
        Stage::Check => timeline.last.checked.as_ref(),
        Stage::Elect => timeline.last.settled.as_ref(),
        _ => None,
    }?;
    let work = timeline.units.get(unit)?.work_in(stage);
    let took = work.iter().map(|(_, took)| *took).sum();
    let mut line = format!("last {unit}");
    if stage.stage == Stage::Elect {
        // All of them wait at the same time: what for is of interest, not for how long.
        let why = machine.pending_reason(unit);
        if !why.is_empty() {
            let _ = write!(line, ": {why}");
        }
        return Some((line, took));
    }
    let lane = machine.units().find(|(other, ..)| *other == unit).map_or(0, |(_, lane, _)| lane);
    // Of a single lane the name says nothing.
    if machine.units().any(|(_, other, _)| other != lane) {
        let _ = write!(line, " on {}", lane_name(config, lane));
    }
    let named: Vec<_> = work.iter().filter(|(_, took)| *took >= WORTH_NAMING).collect();
    match named[..] {
        [] => {}
        [(name, took)] if *name == stage.stage.as_str() => {
            let _ = write!(line, ": {}", seconds(*took));
        }
        _ => {
            let named = named.iter().map(|(name, took)| format!("{name} {}", seconds(*took)));
            let _ = write!(line, ": {}", named.collect::<Vec<_>>().join(", "));
        }
    }
    Some((line, took))
}

fn blocks(state: &UnitState, stage: Stage) -> bool {
    match stage {
        Stage::Load => matches!(state, UnitState::Joining | UnitState::Loading),
        Stage::Check => matches!(state, UnitState::Checking | UnitState::Loaded),
        Stage::Elect => matches!(state, UnitState::Electing),
        _ => false,
    }
}

pub(crate) fn lane_name(config: &Config, lane: usize) -> String {
    config.lane_names.get(lane).cloned().unwrap_or_else(|| format!("lane {lane}"))
}

fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.1 { format!("{:.1} ms", seconds * 1_000.0) } else { format!("{seconds:.2} s") }
}

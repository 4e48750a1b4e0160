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

/// E.g. `listening after 1.84 s: load 1.31 s, of which open disk 2 1.02 s;
/// elect 0.41 s, last 17: waiting for node 3`.
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

/// What a stage's time went into: a span that makes up most of it, else the
/// unit that it ended with, or still waits for.
fn reason<U: Unit>(
    machine: &Machine<U>,
    timeline: &Timeline<U>,
    config: &Config,
    times: StageTimes,
    until: Duration,
) -> Option<String> {
    let stage = times.stage;
    let took = times.end.unwrap_or(until).saturating_sub(times.start);
    let span = timeline
        .spans
        .iter()
        .filter(|span| span.stage == stage)
        .filter_map(|span| Some((span.end?.saturating_sub(span.start), &span.name)))
        .max();
    if let Some((length, name)) = span.filter(|(length, _)| *length * 2 >= took) {
        return Some(format!("of which {name} {}", seconds(length)));
    }
    if stage == machine.stage()
        && let Some((unit, _, state)) = machine.units().find(|(_, _, state)| blocks(state, stage))
    {
        let pending = machine.pending_reason(unit);
        let why = if pending.is_empty() { state.as_str() } else { pending };
        return Some(format!("waits for {unit}: {why}"));
    }
    let last = &timeline.last;
    let unit = match stage {
        Stage::Load => last.loaded.as_ref(),
        Stage::Check => last.checked.as_ref(),
        Stage::Elect => last.settled.as_ref(),
        _ => None,
    }?;
    let [join, load, check, _] = timeline.units.get(unit)?.spent(until);
    let lane = machine.units().find(|(other, ..)| *other == unit).map_or(0, |(_, lane, _)| lane);
    let lane = lane_name(config, lane);
    match stage {
        // Its queue for a load slot lies between the two and is part of neither.
        Stage::Load if join > load => Some(format!("last {unit} on {lane} join {}", seconds(join))),
        Stage::Load => Some(format!("last {unit} on {lane} {}", seconds(load))),
        Stage::Check => Some(format!("last {unit} on {lane} {}", seconds(check))),
        _ if machine.pending_reason(unit).is_empty() => Some(format!("last {unit}")),
        _ => Some(format!("last {unit}: {}", machine.pending_reason(unit))),
    }
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

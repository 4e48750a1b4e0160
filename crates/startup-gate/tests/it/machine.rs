//! Every reachable state of a small gate: all events in all orders.

use std::collections::{HashSet, VecDeque};

use startup_gate::machine::{Effect, Event, Machine, Rules};
use startup_gate::{
    Concurrency, Priority, Stage, Step, StepEnd, Transition, UnitFault, UnitSpec, UnitState,
};

type Unit = u32;

const UNITS: [Unit; 2] = [1, 2];

fn rules(strict: bool, max_quarantined_ppm: u32) -> Rules {
    Rules {
        strict,
        max_quarantined_ppm,
        accept_degraded: false,
        join_concurrency: Concurrency::new(1, 2),
        load_concurrency: Concurrency::new(1, 2),
        check_concurrency: Concurrency::new(1, 1),
    }
}

/// Everything that may happen to these units on the way up, sensible or not.
fn up(units: &[Unit]) -> Vec<Event<Unit>> {
    let specs: Vec<_> = units.iter().copied().map(UnitSpec::new).collect();
    let mut events = vec![
        Event::Begin(specs.clone()),
        Event::BeginJoining(specs),
        Event::LoadDeadline,
        Event::NodeChecked,
        Event::ElectDeadline,
        Event::Open,
        Event::Opened,
        Event::Failed,
        Event::Cancel,
    ];
    for unit in units.iter().copied() {
        events.extend([
            Event::LogReadable(unit),
            Event::Joined(unit),
            Event::Loaded(unit),
            Event::Checked(unit),
            Event::Faulted(unit, UnitFault::corrupt("")),
            Event::Stalled(unit, UnitFault::failed("")),
            Event::Confirmed(unit),
            Event::Remove(unit),
        ]);
    }
    // Each event more makes many states more; one unit shows what this one does.
    events.extend(units.first().copied().map(Event::Deferred));
    events
}

/// The rest: what comes and goes, and the way down.
fn down(unit: Unit) -> Vec<Event<Unit>> {
    let mut events = vec![
        Event::Drain,
        Event::Resume,
        Event::Released,
        Event::Pending(unit, "no leader".into()),
        Event::Raise(unit, Priority::QUORUM),
        Event::Admit(unit, 0),
    ];
    for step in Step::ALL {
        events.extend([Event::StepBegan(step), Event::StepEnded(step, StepEnd::Done)]);
    }
    events
}

/// What holds between a state and the next one.
fn check_step(before: &Machine<Unit>, effects: &[Effect<Unit>], after: &Machine<Unit>) {
    if let Err(violation) = after.check_invariants() {
        panic!("{violation} in {after:#?}");
    }
    let told = |effect: &Effect<_>| matches!(effect, Effect::Changed(_));
    assert!(
        before.stage() != Stage::Stopped || effects.iter().all(told),
        "what is stopped begins nothing and grants nothing: {effects:#?}"
    );
    check_rights_to_vote(before, effects, after);
    let begun: Vec<_> = effects.iter().filter_map(begun).collect();
    let ordered: Vec<_> = effects.iter().filter_map(ordered).collect();
    assert_eq!(begun, ordered, "work is begun if and only if it is ordered: {effects:#?}");
    for effect in effects {
        match effect {
            Effect::Changed(Transition::Unit { from, to, .. }) => {
                assert!(is_allowed(from.as_ref(), to.as_ref(), after.joins()), "{effects:#?}");
            }
            Effect::GrantCampaign(unit) => {
                assert!(!before.may_campaign(unit), "twice: {before:#?}");
                let state = after.state_of(unit).expect("known");
                assert!(matches!(state, UnitState::Electing | UnitState::Ready), "{after:#?}");
                assert!(matches!(before.stage(), Stage::Check | Stage::Serving), "{before:#?}");
            }
            Effect::GrantServe => {
                assert_eq!(before.stage(), Stage::Listen);
                assert!(!before.may_serve(), "twice: {before:#?}");
            }
            Effect::Changed(Transition::StepBegan { step }) => {
                let entry = if before.stage() == Stage::Draining { 0 } else { 3 };
                let position = |step| Step::ALL.iter().position(|other| *other == step);
                let expected = before.last_step().and_then(position).map_or(entry, |at| at + 1);
                assert_eq!(position(*step), Some(expected), "steps in order: {before:#?}");
            }
            _ => {}
        }
    }
    if before.stage() == Stage::Draining && after.stage() == Stage::Serving {
        assert!(before.last_step() < Some(Step::Close), "no way back once the port is closed");
    }
    let draining = before.stage() == Stage::Draining && after.stage() == Stage::Draining;
    let granted = effects.iter().any(|effect| matches!(effect, Effect::GrantCampaign(_)));
    assert!(!(draining && granted), "the count of leaderships never grows while draining");
    assert!(
        before.stage() <= after.stage() || before.stage() == Stage::Draining,
        "no way back but from draining: {before:#?}"
    );
}

/// Granted where vote and log are read, once, and never lost again.
fn check_rights_to_vote(before: &Machine<Unit>, effects: &[Effect<Unit>], after: &Machine<Unit>) {
    for effect in effects {
        let Effect::GrantVote(unit) = effect else { continue };
        assert!(!before.may_vote(unit), "twice: {before:#?}");
        let reads = if before.joins() { UnitState::Joining } else { UnitState::Loading };
        let admitted = before.stage() == Stage::Serving && before.state_of(unit).is_none();
        assert!(admitted || before.state_of(unit) == Some(&reads), "{before:#?}");
    }
    for (unit, _, _) in after.units() {
        assert!(after.may_vote(unit) || !before.may_vote(unit), "taken back: {after:#?}");
    }
}

/// The drawing at [`UnitState`], arrow by arrow.
fn is_allowed(from: Option<&UnitState>, to: Option<&UnitState>, joins: bool) -> bool {
    use UnitState::{
        Checked, Checking, Deferred, Electing, Joined, Joining, Loaded, Loading, Quarantined,
        Ready, Waiting, Waived,
    };
    match (from, to) {
        (None, Some(Waiting | Ready)) | (Some(_), None) => true,
        (Some(Waiting), Some(Joining)) | (Some(Joined), Some(Loading)) => joins,
        (Some(Waiting), Some(Loading)) => !joins,
        (Some(Joining), Some(Joined))
        | (Some(Loading), Some(Loaded))
        | (Some(Loaded), Some(Checking))
        | (Some(Checking), Some(Checked))
        | (Some(Checked), Some(Electing))
        | (Some(Electing), Some(Ready | Waived { .. } | Deferred))
        | (Some(Waived { .. } | Deferred), Some(Ready)) => true,
        (Some(from), Some(Quarantined { .. })) => !matches!(from, Quarantined { .. }),
        _ => false,
    }
}

/// A unit that came into a state of work.
fn begun(effect: &Effect<Unit>) -> Option<(Unit, UnitState)> {
    use UnitState::{Checking, Joining, Loading};
    match effect {
        Effect::Changed(Transition::Unit { unit, to: Some(to), .. }) => {
            matches!(to, Joining | Loading | Checking).then(|| (*unit, to.clone()))
        }
        _ => None,
    }
}

/// A unit whose work is asked for, and the state that goes with it.
fn ordered(effect: &Effect<Unit>) -> Option<(Unit, UnitState)> {
    match effect {
        Effect::Join(unit) => Some((*unit, UnitState::Joining)),
        Effect::Load(unit) => Some((*unit, UnitState::Loading)),
        Effect::Check(unit) => Some((*unit, UnitState::Checking)),
        _ => None,
    }
}

/// Visits every state that can be reached; returns how many there are and how
/// many of them serve.
fn explore(rules: Rules, events: &[Event<Unit>]) -> (usize, usize) {
    let start = Machine::new(rules);
    let mut seen = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([start]);
    let mut serving = 0;
    while let Some(state) = queue.pop_front() {
        serving += usize::from(state.stage() == Stage::Serving);
        for event in events {
            let mut next = state.clone();
            let effects = next.step(event.clone());
            check_step(&state, &effects, &next);
            if next != state && seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    (seen.len(), serving)
}

#[test]
fn every_reachable_state_is_sound() {
    let both_up = up(&UNITS);
    let one_up_and_down = [up(&UNITS[..1]), down(UNITS[0])].concat();
    for (strict, budget_ppm) in [(false, 500_000), (false, 1_000_000), (false, 0), (true, 0)] {
        for events in [&both_up, &one_up_and_down] {
            let (states, serving) = explore(rules(strict, budget_ppm), events);
            println!("strict {strict}, {budget_ppm} ppm: {states} states, {serving} serve");
            assert!(states > 100, "{states} states: the exploration is broken");
            assert!(serving > 0, "the gate can open");
        }
    }
}

#[test]
fn a_strict_gate_never_opens_over_a_fault() {
    for (strict, expected) in [(true, Stage::Stopped), (false, Stage::Listen)] {
        let mut machine = Machine::new(rules(strict, 500_000));
        let way = [
            Event::Begin(UNITS.map(UnitSpec::new).to_vec()),
            Event::Loaded(1),
            Event::Checked(1),
            Event::Faulted(2, UnitFault::missing("no directory")),
            Event::NodeChecked,
            Event::Confirmed(1),
        ];
        for event in way {
            let _ = machine.step(event);
        }
        assert_eq!(machine.stage(), expected);
    }
}

#[test]
fn the_budget_is_rounded_up() {
    let cases =
        [(0, 10, 0), (100_000, 1, 1), (100_000, 10, 1), (100_000, 11, 2), (1_000_000, 7, 7)];
    for (ppm, total, allowed) in cases {
        assert_eq!(rules(false, ppm).allowed(total), allowed, "{ppm} ppm of {total}");
    }
}

/// Whoever waits only for a unit that goes waits no longer, whatever that unit was doing.
#[test]
fn a_unit_that_goes_holds_up_nobody() {
    let ways: [&[Event<Unit>]; 7] = [
        &[],
        &[Event::Loaded(1)],
        &[Event::Stalled(1, UnitFault::failed(""))],
        &[Event::Loaded(1), Event::Checked(1), Event::Loaded(2)],
        &[Event::Loaded(1), Event::Checked(1), Event::Loaded(2), Event::Checked(2)],
        &[Event::Faulted(2, UnitFault::corrupt(""))],
        &[Event::Loaded(2), Event::Checked(2), Event::Loaded(1), Event::Checked(1)],
    ];
    for way in ways {
        let mut machine = Machine::new(rules(false, 0));
        let begin = Event::Begin(UNITS.map(UnitSpec::new).to_vec());
        let rest = [
            Event::Remove(2),
            Event::Loaded(1),
            Event::Checked(1),
            Event::NodeChecked,
            Event::Confirmed(1),
        ];
        let is_sound = !matches!(way.first(), Some(Event::Stalled(..)));
        for event in [begin].into_iter().chain(way.iter().cloned()).chain(rest) {
            let before = machine.clone();
            let effects = machine.step(event);
            check_step(&before, &effects, &machine);
        }
        let expected = if is_sound { Stage::Listen } else { Stage::Stopped };
        assert_eq!(machine.stage(), expected, "{way:?}");
        assert_eq!(machine.counts().total(), 1, "{way:?}");
    }
}

#[test]
fn the_last_one_to_be_confirmed_may_go_instead() {
    let mut machine = Machine::new(rules(true, 0));
    let way = [
        Event::Begin(UNITS.map(UnitSpec::new).to_vec()),
        Event::Loaded(1),
        Event::Checked(1),
        Event::Loaded(2),
        Event::Checked(2),
        Event::NodeChecked,
        Event::Confirmed(1),
    ];
    for event in way {
        let _ = machine.step(event);
    }
    assert_eq!(machine.stage(), Stage::Elect, "it waits for the other one");
    let effects = machine.step(Event::Remove(2));
    assert!(effects.contains(&Effect::Abandon(2)), "nobody asks for it any more: {effects:?}");
    assert_eq!(machine.stage(), Stage::Listen, "a strict gate too: nothing is wrong with it");
    assert!(machine.step(Event::Confirmed(2)).is_empty(), "a late answer is ignored");
}

//! The gates of the modelled nodes: real [`Machine`]s, each kept once.
//!
//! A world names its gates by number, so that it stays small; a step of a gate
//! is computed once, by the machine itself, and looked up from then on.

use std::collections::HashMap;

use startup_gate::machine::{Effect, Event, Machine, Rules};
use startup_gate::{
    Concurrency, FaultKind, Stage, Step, StepEnd, Transition, UnitFault, UnitSpec, UnitState,
};

use super::world::PARTITIONS;

/// A set of partitions.
pub(crate) type UnitSet = u8;

/// What the model tells a gate. The way down is told in the parts that the
/// other nodes can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum GateEvent {
    LogReadable(u8),
    Joined(u8),
    Loaded(u8),
    Checked(u8),
    Faulted(u8),
    Stalled(u8),
    NodeChecked,
    Confirmed(u8),
    ElectDeadline,
    Open,
    Opened,
    Cancel,
    /// Drain, the notice, and the begin of hand over.
    HandOver,
    /// The end of hand over, and close from begin to end.
    Close {
        in_time: bool,
    },
}

/// What a gate asked for, as far as the model carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Granted {
    pub(crate) vote: UnitSet,
    pub(crate) campaign: UnitSet,
    pub(crate) serve: bool,
    /// Its observers heard that these are quarantined now.
    pub(crate) quarantined: UnitSet,
}

/// What can be seen of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) stage: Stage,
    pub(crate) joining: UnitSet,
    pub(crate) loading: UnitSet,
    pub(crate) checking: UnitSet,
    pub(crate) may_vote: UnitSet,
    /// Electing or waived: it is asked for.
    pub(crate) unconfirmed: UnitSet,
    pub(crate) ready: UnitSet,
    pub(crate) waived: UnitSet,
    pub(crate) quarantined: UnitSet,
    pub(crate) at_barrier: bool,
    pub(crate) may_serve: bool,
    /// An invariant of the machine's own that does not hold.
    pub(crate) violated: Option<String>,
}

/// Every gate state met so far.
pub(crate) struct Gates {
    rules: Rules,
    partitions: u8,
    machines: Vec<Machine<u8>>,
    facts: Vec<Facts>,
    numbers: HashMap<Machine<u8>, u16>,
    steps: HashMap<(u16, GateEvent), (u16, Granted)>,
}

impl Gates {
    /// Gates of nodes that host `partitions` units.
    pub(crate) fn new(partitions: usize, strict: bool) -> Self {
        let one_of_each = Concurrency::new(PARTITIONS, PARTITIONS);
        let rules = Rules {
            strict,
            max_quarantined_ppm: 100_000,
            accept_degraded: false,
            join_concurrency: one_of_each,
            load_concurrency: one_of_each,
            check_concurrency: one_of_each,
        };
        let mut gates = Self {
            rules,
            partitions: u8::try_from(partitions).expect("at most PARTITIONS"),
            machines: Vec::new(),
            facts: Vec::new(),
            numbers: HashMap::new(),
            steps: HashMap::new(),
        };
        gates.begun();
        gates
    }

    /// A gate that was told its units just now.
    pub(crate) fn begun(&mut self) -> u16 {
        let mut machine = Machine::new(self.rules);
        // Its joins begin with no further word.
        let _ =
            machine.step(Event::BeginJoining((0..self.partitions).map(UnitSpec::new).collect()));
        self.number(machine)
    }

    /// Takes an event. `None`: the gate ignores it.
    pub(crate) fn step(&mut self, gate: u16, event: GateEvent) -> Option<(u16, Granted)> {
        if let Some(known) = self.steps.get(&(gate, event)) {
            return (known.0 != gate).then_some(*known);
        }
        let mut machine = self.machines[gate as usize].clone();
        let mut granted = Granted::default();
        for event in events(event) {
            for effect in machine.step(event) {
                granted.take(&effect);
            }
        }
        let next = (self.number(machine), granted);
        self.steps.insert((gate, event), next);
        (next.0 != gate).then_some(next)
    }

    pub(crate) fn facts(&self, gate: u16) -> &Facts {
        &self.facts[gate as usize]
    }

    fn number(&mut self, machine: Machine<u8>) -> u16 {
        if let Some(number) = self.numbers.get(&machine) {
            return *number;
        }
        let number = u16::try_from(self.machines.len()).expect("few gates differ");
        self.facts.push(Facts::of(&machine));
        self.machines.push(machine.clone());
        self.numbers.insert(machine, number);
        number
    }
}

fn events(event: GateEvent) -> Vec<Event<u8>> {
    let fault = |kind| UnitFault::new(kind, "as the scenario has it");
    match event {
        GateEvent::LogReadable(p) => vec![Event::LogReadable(p)],
        GateEvent::Joined(p) => vec![Event::Joined(p)],
        GateEvent::Loaded(p) => vec![Event::Loaded(p)],
        GateEvent::Checked(p) => vec![Event::Checked(p)],
        GateEvent::Faulted(p) => vec![Event::Faulted(p, fault(FaultKind::Corrupt))],
        GateEvent::Stalled(p) => vec![Event::Stalled(p, fault(FaultKind::Stalled))],
        GateEvent::NodeChecked => vec![Event::NodeChecked],
        GateEvent::Confirmed(p) => vec![Event::Confirmed(p)],
        GateEvent::ElectDeadline => vec![Event::ElectDeadline],
        GateEvent::Open => vec![Event::Open],
        GateEvent::Opened => vec![Event::Opened],
        GateEvent::Cancel => vec![Event::Cancel],
        GateEvent::HandOver => vec![
            Event::Drain,
            Event::StepBegan(Step::Notice),
            Event::StepEnded(Step::Notice, StepEnd::Done),
            Event::StepBegan(Step::HandOver),
        ],
        GateEvent::Close { in_time } => {
            let end = if in_time { StepEnd::Done } else { StepEnd::TimedOut };
            vec![
                Event::StepEnded(Step::HandOver, end),
                Event::StepBegan(Step::Close),
                Event::StepEnded(Step::Close, StepEnd::Done),
            ]
        }
    }
}

impl Granted {
    fn take(&mut self, effect: &Effect<u8>) {
        match effect {
            Effect::GrantVote(p) => self.vote |= 1 << p,
            Effect::GrantCampaign(p) => self.campaign |= 1 << p,
            Effect::GrantServe => self.serve = true,
            Effect::Changed(Transition::Unit {
                unit,
                to: Some(UnitState::Quarantined { .. }),
                ..
            }) => self.quarantined |= 1 << unit,
            _ => {}
        }
    }
}

impl Facts {
    fn of(machine: &Machine<u8>) -> Self {
        let set = |which: &dyn Fn(&u8, &UnitState) -> bool| {
            let chosen = machine.units().filter(|(unit, _, state)| which(unit, state));
            chosen.fold(0, |set, (unit, _, _)| set | 1 << unit)
        };
        Self {
            stage: machine.stage(),
            joining: set(&|_, state| *state == UnitState::Joining),
            loading: set(&|_, state| *state == UnitState::Loading),
            checking: set(&|_, state| *state == UnitState::Checking),
            may_vote: set(&|unit, _| machine.may_vote(unit)),
            unconfirmed: set(&|_, state| {
                matches!(state, UnitState::Electing | UnitState::Waived { .. })
            }),
            ready: set(&|_, state| *state == UnitState::Ready),
            waived: set(&|_, state| matches!(state, UnitState::Waived { .. })),
            quarantined: set(&|_, state| matches!(state, UnitState::Quarantined { .. })),
            at_barrier: machine.is_at_barrier(),
            may_serve: machine.may_serve(),
            violated: machine.check_invariants().err().map(|violation| violation.to_string()),
        }
    }
}

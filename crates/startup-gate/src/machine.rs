//! The protocol itself: state and event in, state and effects out. No clock, no
//! tasks, no locks; the runner in this crate drives it, and so can a model
//! checker, through the same [`Machine::step`].
//!
//! ```text
//! Begin → {Joined, Loaded, Checked}* → NodeChecked → {Confirmed, Pending}* → Open → Opened
//!   Load            Check                  Elect                      Listen     Serving
//! → Drain → {StepBegan, StepEnded}* → Stopped          Resume: back to Serving
//! Remove: at any time, a unit that is gone
//! ```
//!
//! An event that does not fit the present state is ignored: late results of
//! work that the gate has given up on are an everyday thing, not an error.

mod barrier;
mod climb;
mod descend;
mod event;
mod invariant;
mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use event::{Effect, End, Event, Rules};
pub use invariant::Violation;

use crate::observer::Transition;
use crate::stage::{Stage, Step};
use crate::unit::{Counts, Priority, Unit, UnitState};
use queue::Queue;

/// The state of a gate. Cheap to compare and to hash, so that reachable states
/// can be counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine<U: Unit> {
    rules: Rules,
    stage: Stage,
    units: BTreeMap<U, Record>,
    counts: Counts,
    /// Empty in a start that does not join.
    join_queue: Queue<U>,
    load_queue: Queue<U>,
    check_queue: Queue<U>,
    /// Units given up by stall in a row, by lane.
    stalls: BTreeMap<usize, usize>,
    begun: bool,
    /// Whether units are joined before they are loaded.
    joins: bool,
    barrier_passed: bool,
    serve_granted: bool,
    step: Option<Step>,
    step_running: bool,
    end: Option<End<U>>,
    released: bool,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record {
    lane: usize,
    priority: Priority,
    /// The order in which units were given.
    seq: usize,
    state: UnitState,
    votes: bool,
    campaigns: bool,
    /// What it last waited for in elect.
    pending: Arc<str>,
}

impl<U: Unit> Machine<U> {
    /// A gate before its start.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            stage: Stage::Load,
            units: BTreeMap::new(),
            counts: Counts::default(),
            join_queue: Queue::new(rules.join_concurrency),
            load_queue: Queue::new(rules.load_concurrency),
            check_queue: Queue::new(rules.check_concurrency),
            stalls: BTreeMap::new(),
            begun: false,
            joins: false,
            barrier_passed: false,
            serve_granted: false,
            step: None,
            step_running: false,
            end: None,
            released: false,
        }
    }

    /// Takes one event and says what has to be done about it, in order.
    #[must_use = "effects are to be carried out"]
    pub fn step(&mut self, event: Event<U>) -> Vec<Effect<U>> {
        let mut effects = Vec::new();
        let out = &mut effects;
        match event {
            Event::Begin(specs) => self.begin(specs, false, out),
            Event::BeginJoining(specs) => self.begin(specs, true, out),
            Event::LogReadable(unit) => self.log_readable(&unit, out),
            Event::Joined(unit) => self.joined(&unit, out),
            Event::Loaded(unit) => self.loaded(&unit, out),
            Event::Checked(unit) => self.checked(&unit, out),
            Event::Faulted(unit, fault) => self.faulted(&unit, &fault, out),
            Event::Stalled(unit, fault) => self.stalled(&unit, &fault, out),
            Event::LoadDeadline => self.load_deadline(out),
            Event::Raise(unit, priority) => self.raise(&unit, priority),
            Event::NodeChecked => self.node_checked(out),
            Event::Confirmed(unit) => self.confirmed(&unit, out),
            Event::Pending(unit, reason) => self.pending(&unit, reason),
            Event::Deferred(unit) => self.deferred(&unit, out),
            Event::ElectDeadline => self.elect_deadline(out),
            Event::Open => self.open(out),
            Event::Opened => self.opened(out),
            Event::Failed => self.failed(out),
            Event::Cancel => self.cancel(out),
            Event::Admit(unit, lane) => self.admit(&unit, lane, out),
            Event::Remove(unit) => self.remove(&unit, out),
            Event::Drain => self.drain(out),
            Event::StepBegan(step) => self.step_began(step, out),
            Event::StepEnded(step, end) => self.step_ended(step, end, out),
            Event::Resume => self.resume(out),
            Event::Released => self.release(out),
        }
        effects
    }

    /// How far the node has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How far a unit has come.
    #[must_use]
    pub fn state_of(&self, unit: &U) -> Option<&UnitState> {
        self.units.get(unit).map(|record| &record.state)
    }

    /// What a unit last waited for in elect; empty if it never had to.
    #[must_use]
    pub fn pending_reason(&self, unit: &U) -> &str {
        self.units.get(unit).map_or("", |record| &record.pending)
    }

    /// All units with their lanes and states, in the order of their names.
    pub fn units(&self) -> impl Iterator<Item = (&U, usize, &UnitState)> {
        self.units.iter().map(|(unit, record)| (unit, record.lane, &record.state))
    }

    /// How many units are in each state.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the node-wide check may be run: every unit is checked or quarantined.
    #[must_use]
    pub fn is_at_barrier(&self) -> bool {
        self.stage == Stage::Check && self.before_barrier() == 0
    }

    /// Whether the gate still waits for the unit's check.
    pub(crate) fn is_wanted(&self, unit: &U) -> bool {
        self.state_of(unit).is_some_and(UnitState::is_before_barrier)
    }

    /// The lane of a unit that is being joined, loaded or checked.
    pub(crate) fn lane_at_work(&self, unit: &U) -> Option<usize> {
        let record = self.units.get(unit)?;
        let at_work =
            matches!(record.state, UnitState::Joining | UnitState::Loading | UnitState::Checking);
        at_work.then_some(record.lane)
    }

    /// Whether units are joined before they are loaded, see [`Event::BeginJoining`].
    #[must_use]
    pub fn joins(&self) -> bool {
        self.joins
    }

    /// Whether a unit holds the right to vote.
    #[must_use]
    pub fn may_vote(&self, unit: &U) -> bool {
        self.units.get(unit).is_some_and(|record| record.votes)
    }

    /// Whether a unit holds the right to campaign and has not lost it again.
    #[must_use]
    pub fn may_campaign(&self, unit: &U) -> bool {
        self.units.get(unit).is_some_and(|record| {
            record.campaigns && !matches!(record.state, UnitState::Quarantined { .. })
        })
    }

    /// Whether the node holds the right to serve.
    #[must_use]
    pub fn may_serve(&self) -> bool {
        self.serve_granted
    }

    /// Why the start failed, if it did.
    #[must_use]
    pub fn end(&self) -> Option<&End<U>> {
        self.end.as_ref()
    }

    /// The step down that was begun last, if any.
    #[must_use]
    pub fn last_step(&self) -> Option<Step> {
        self.step
    }

    /// Whether a failed start has let go of its work, so that it can be unwound.
    #[must_use]
    pub fn can_unwind(&self) -> bool {
        self.end.is_some() && self.released && self.step.is_none()
    }

    /// The one place where a unit changes its state.
    fn set(&mut self, unit: &U, to: UnitState, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get_mut(unit) else { return };
        *self.counts.slot(&record.state) -= 1;
        *self.counts.slot(&to) += 1;
        let from = Some(std::mem::replace(&mut record.state, to.clone()));
        let transition = Transition::Unit { unit: unit.clone(), from, to: Some(to) };
        out.push(Effect::Changed(transition));
    }

    /// The one place where the node changes its stage.
    fn set_stage(&mut self, to: Stage, out: &mut Vec<Effect<U>>) {
        let from = std::mem::replace(&mut self.stage, to);
        out.push(Effect::Changed(Transition::Stage { from, to }));
    }

    fn grant_vote(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get_mut(unit) else { return };
        record.votes = true;
        out.push(Effect::GrantVote(unit.clone()));
        out.push(Effect::Changed(Transition::VoteGranted { unit: unit.clone() }));
    }

    fn grant_campaign(&mut self, unit: &U, out: &mut Vec<Effect<U>>) {
        let Some(record) = self.units.get_mut(unit) else { return };
        record.campaigns = true;
        out.push(Effect::GrantCampaign(unit.clone()));
        out.push(Effect::Changed(Transition::CampaignGranted { unit: unit.clone() }));
    }
}

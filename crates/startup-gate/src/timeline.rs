//! When everything happened: fed with every transition, read by the report.

use std::collections::HashMap;
use std::time::Duration;

use crate::observer::Transition;
use crate::stage::{Stage, Step, StepEnd};
use crate::unit::{Unit, UnitState};

/// When everything happened. All times are since the process started.
#[derive(Debug)]
pub(crate) struct Timeline<U> {
    /// By stage; load begins when the gate is made.
    pub(crate) stages: Vec<StageTimes>,
    pub(crate) units: HashMap<U, UnitTimes>,
    pub(crate) spans: Vec<Span>,
    pub(crate) steps: Vec<StepTimes>,
    pub(crate) opened: Option<Duration>,
    pub(crate) stopped: Option<Duration>,
    /// When every unit that was not quarantined held its right to vote.
    pub(crate) voting: Option<Duration>,
    /// Units of the start, not quarantined, without the right to vote.
    voteless: usize,
    /// The units that were last to be loaded, to be checked and to settle.
    pub(crate) last: Last<U>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct StageTimes {
    pub(crate) stage: Stage,
    pub(crate) start: Duration,
    pub(crate) end: Option<Duration>,
    /// Units that were removed in it.
    pub(crate) gone: usize,
}

/// The moments of one unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnitTimes {
    pub(crate) waiting: Duration,
    pub(crate) joining: Option<Duration>,
    pub(crate) joined: Option<Duration>,
    pub(crate) loading: Option<Duration>,
    pub(crate) loaded: Option<Duration>,
    pub(crate) checking: Option<Duration>,
    pub(crate) checked: Option<Duration>,
    pub(crate) electing: Option<Duration>,
    pub(crate) waived: Option<Duration>,
    pub(crate) deferred: Option<Duration>,
    pub(crate) settled: Option<Duration>,
    /// Where it was quarantined.
    pub(crate) failed_in: Option<Stage>,
    /// It holds the right to vote.
    votes: bool,
    /// It came while the node served.
    pub(crate) admitted: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) stage: Stage,
    pub(crate) start: Duration,
    pub(crate) end: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct StepTimes {
    pub(crate) step: Step,
    pub(crate) start: Duration,
    pub(crate) end: Option<(Duration, StepEnd)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Last<U> {
    pub(crate) loaded: Option<U>,
    pub(crate) checked: Option<U>,
    pub(crate) settled: Option<U>,
}

impl<U: Unit> Timeline<U> {
    pub(crate) fn new(at: Duration) -> Self {
        Self {
            stages: vec![StageTimes { stage: Stage::Load, start: at, end: None, gone: 0 }],
            units: HashMap::new(),
            spans: Vec::new(),
            steps: Vec::new(),
            opened: None,
            stopped: None,
            voting: None,
            voteless: 0,
            last: Last { loaded: None, checked: None, settled: None },
            stage: Stage::Load,
        }
    }

    pub(crate) fn observe(&mut self, transition: &Transition<U>, at: Duration) {
        match transition {
            Transition::Stage { to, .. } => self.enter(*to, at),
            Transition::Unit { unit, to: Some(to), .. } => self.unit(unit, to, at),
            Transition::Unit { unit, to: None, .. } => self.gone(unit, at),
            Transition::VoteGranted { unit } => self.vote(unit, at),
            Transition::StepBegan { step } => {
                self.steps.push(StepTimes { step: *step, start: at, end: None });
            }
            Transition::StepEnded { end, .. } => {
                if let Some(last) = self.steps.last_mut() {
                    last.end = Some((at, *end));
                }
            }
            Transition::CampaignGranted { .. } | Transition::ServeGranted => {}
        }
    }

    /// Nothing while the node serves: the list would grow for ever.
    pub(crate) fn begin_span(&mut self, name: String, at: Duration) -> Option<usize> {
        if self.stage == Stage::Serving {
            return None;
        }
        self.spans.push(Span { name, stage: self.stage, start: at, end: None });
        Some(self.spans.len() - 1)
    }

    pub(crate) fn end_span(&mut self, index: usize, at: Duration) {
        self.spans[index].end = Some(at);
    }

    fn enter(&mut self, to: Stage, at: Duration) {
        if let Some(last) = self.stages.last_mut() {
            last.end.get_or_insert(at);
        }
        self.stage = to;
        match to {
            Stage::Serving => self.opened = self.opened.or(Some(at)),
            Stage::Stopped => self.stopped = Some(at),
            // An earlier way down that was called off is forgotten.
            Stage::Draining => self.steps.clear(),
            up => self.stages.push(StageTimes { stage: up, start: at, end: None, gone: 0 }),
        }
    }

    fn unit(&mut self, unit: &U, to: &UnitState, at: Duration) {
        let stage = self.stage;
        if !self.units.contains_key(unit) {
            let admitted = stage == Stage::Serving;
            let times = UnitTimes { waiting: at, admitted, ..UnitTimes::default() };
            self.units.insert(unit.clone(), times);
            self.voteless += usize::from(!admitted);
        }
        let Some(times) = self.units.get_mut(unit) else { return };
        match to {
            UnitState::Waiting => {}
            UnitState::Joining => times.joining = Some(at),
            UnitState::Joined => times.joined = Some(at),
            UnitState::Loading => times.loading = Some(at),
            UnitState::Loaded => {
                times.loaded = Some(at);
                self.last.loaded = Some(unit.clone());
            }
            UnitState::Checking => times.checking = Some(at),
            UnitState::Checked => {
                times.checked = Some(at);
                self.last.checked = Some(unit.clone());
            }
            UnitState::Electing => times.electing = Some(at),
            UnitState::Waived { .. } => times.waived = Some(at),
            UnitState::Deferred => times.deferred = Some(at),
            UnitState::Ready => times.settled = Some(at),
            UnitState::Quarantined { .. } => {
                // One that was ready long ago costs the start nothing now.
                times.settled.get_or_insert(at);
                times.failed_in = Some(times.stage_of_fault(stage));
                if !times.votes && !times.admitted {
                    self.voteless -= 1;
                    self.settle_voting(at);
                }
            }
        }
        if stage == Stage::Elect && to.is_settled() {
            self.last.settled = Some(unit.clone());
        }
    }

    /// Of a start, only its number stays.
    fn gone(&mut self, unit: &U, at: Duration) {
        let Some(times) = self.units.remove(unit) else { return };
        if self.stage.is_starting()
            && let Some(stage) = self.stages.last_mut()
        {
            stage.gone += 1;
        }
        if !times.votes && !times.admitted && times.failed_in.is_none() {
            self.voteless -= 1;
            self.settle_voting(at);
        }
    }

    fn vote(&mut self, unit: &U, at: Duration) {
        let Some(times) = self.units.get_mut(unit) else { return };
        times.votes = true;
        if !times.admitted {
            self.voteless -= 1;
            self.settle_voting(at);
        }
    }

    /// Once set it stays: units that come later are no part of the start.
    fn settle_voting(&mut self, at: Duration) {
        if self.voteless == 0 && self.units.values().any(|times| times.votes) {
            self.voting.get_or_insert(at);
        }
    }
}

impl UnitTimes {
    /// The stage whose work was under way for the unit: its check may fail
    /// while the node still loads others.
    fn stage_of_fault(&self, node: Stage) -> Stage {
        match node {
            Stage::Load if self.loaded.is_some() => Stage::Check,
            Stage::Check if self.loaded.is_none() => Stage::Load,
            other => other,
        }
    }

    pub(crate) fn was_confirmed_in_time(&self) -> bool {
        let put_off = self.waived.or(self.deferred);
        self.settled.is_some() && put_off.is_none() && self.failed_in != Some(Stage::Elect)
    }

    /// Where its time went in a stage that is over for it: in queues, and in work.
    pub(crate) fn work_in(&self, stage: StageTimes) -> Vec<(&'static str, Duration)> {
        let span = |from: Option<Duration>, to: Option<Duration>| match (from, to) {
            (Some(from), Some(to)) => to.saturating_sub(from.max(stage.start)),
            _ => Duration::ZERO,
        };
        match stage.stage {
            Stage::Load => {
                let first = self.joining.or(self.loading);
                let queued = span(Some(self.waiting), first) + span(self.joined, self.loading);
                vec![
                    ("queued", queued),
                    ("join", span(self.joining, self.joined)),
                    ("load", span(self.loading, self.loaded)),
                ]
            }
            Stage::Check => vec![
                ("queued", span(self.loaded, self.checking)),
                ("check", span(self.checking, self.checked)),
            ],
            Stage::Elect => vec![("elect", span(self.electing, self.settled))],
            _ => Vec::new(),
        }
    }

    /// Time in join, load, check and elect, up to `now` for what is under way.
    pub(crate) fn spent(&self, now: Duration) -> [Duration; 4] {
        let put_off = self.waived.or(self.deferred);
        let until = self.settled.or(put_off).unwrap_or(now);
        let span = |from: Option<Duration>, to: Option<Duration>| {
            from.map_or(Duration::ZERO, |from| to.unwrap_or(until).saturating_sub(from))
        };
        [
            span(self.joining, self.joined),
            span(self.loading, self.loaded),
            span(self.checking, self.checked),
            span(self.electing, put_off.or(self.settled)),
        ]
    }
}

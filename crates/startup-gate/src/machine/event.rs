//! What a [`Machine`](super::Machine) is told, and what it asks for.

use std::sync::Arc;

use crate::config::{Concurrency, Config, Policy};
use crate::fault::UnitFault;
use crate::observer::Transition;
use crate::stage::{Stage, Step, StepEnd};
use crate::unit::{Priority, UnitSpec};

/// The part of [`Config`] that decides transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// [`Policy::Strict`].
    pub strict: bool,
    /// [`Config::max_quarantined`] in parts per million.
    pub max_quarantined_ppm: u32,
    /// [`Config::accept_degraded`].
    pub accept_degraded: bool,
    /// [`Config::join_concurrency`].
    pub join_concurrency: Concurrency,
    /// [`Config::load_concurrency`].
    pub load_concurrency: Concurrency,
    /// [`Config::check_concurrency`].
    pub check_concurrency: Concurrency,
}

impl Rules {
    const MILLION: u32 = 1_000_000;

    /// How many of `total` units may be quarantined.
    #[must_use]
    pub fn allowed(&self, total: usize) -> usize {
        let million = Self::MILLION as usize;
        (total.saturating_mul(self.max_quarantined_ppm as usize)).div_ceil(million)
    }
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let parts = config.max_quarantined.clamp(0.0, 1.0) * f64::from(Self::MILLION);
        // In range by the clamp; `as` drops nothing but the fraction.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let max_quarantined_ppm = parts.round() as u32;
        Self {
            strict: config.policy == Policy::Strict,
            max_quarantined_ppm,
            accept_degraded: config.accept_degraded,
            join_concurrency: config.join_concurrency,
            load_concurrency: config.load_concurrency,
            check_concurrency: config.check_concurrency,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event<U> {
    /// The units are known, and are loaded at once. The first event of a start;
    /// a unit that is given twice counts once.
    Begin(Vec<UnitSpec<U>>),
    /// Like [`Event::Begin`], but each unit is joined before it is loaded.
    BeginJoining(Vec<UnitSpec<U>>),
    /// The vote and log of a unit are readable: of one that is being joined, or
    /// being loaded in a start that does not join.
    LogReadable(U),
    /// A unit's join finished.
    Joined(U),
    /// A unit's load finished.
    Loaded(U),
    /// A unit's check finished.
    Checked(U),
    /// A unit is faulty, found by its own work or from outside.
    Faulted(U, UnitFault),
    /// A unit's join, load or check makes no progress.
    Stalled(U, UnitFault),
    /// Joining, loading and checking have taken long enough.
    LoadDeadline,
    /// A unit should be taken earlier.
    Raise(U, Priority),
    /// The node-wide check passed.
    NodeChecked,
    /// A unit's leader is verified.
    Confirmed(U),
    /// A unit is not confirmed yet, for this reason.
    Pending(U, Arc<str>),
    /// Nobody needs a unit: its confirmation waits.
    Deferred(U),
    /// Electing has taken long enough.
    ElectDeadline,
    /// The port is about to be opened.
    Open,
    /// The port is open.
    Opened,
    /// The node-wide check, the opening of the port or a stage's deadline failed.
    Failed,
    /// The start is told to stop.
    Cancel,
    /// A unit was made while the node serves.
    Admit(U, usize),
    /// A unit is gone: it was deleted, or turned out to be nobody's any more.
    Remove(U),
    /// The way down begins.
    Drain,
    /// A step down begins.
    StepBegan(Step),
    /// A step down ended.
    StepEnded(Step, StepEnd),
    /// The way down is called off.
    Resume,
    /// The owner of the gate is gone: its start returned, or it was dropped.
    Released,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect<U> {
    /// Begin to join the unit.
    Join(U),
    /// Begin to load the unit.
    Load(U),
    /// Begin to check the unit.
    Check(U),
    /// Drop whatever work is under way for the unit.
    Abandon(U),
    /// Mint the unit's right to vote.
    GrantVote(U),
    /// Mint the unit's right to campaign.
    GrantCampaign(U),
    /// Mint the right to serve.
    GrantServe,
    /// Tell observers.
    Changed(Transition<U>),
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End<U> {
    /// Told to stop, or dropped.
    Cancelled {
        /// In this stage.
        stage: Stage,
    },
    /// The runner said [`Event::Failed`] and knows why.
    Failed {
        /// In this stage.
        stage: Stage,
    },
    /// More quarantined units than allowed.
    OverBudget {
        /// Quarantined units.
        quarantined: usize,
        /// The budget.
        allowed: usize,
        /// The first of them.
        first: U,
        /// Its fault.
        fault: UnitFault,
    },
    /// Quarantined units under a strict policy.
    Strict {
        /// Quarantined units.
        quarantined: usize,
        /// The first of them.
        first: U,
        /// Its fault.
        fault: UnitFault,
    },
}

//! Observers: who wants to know of every transition.

use std::time::Duration;

use crate::stage::{Stage, Step, StepEnd};
use crate::unit::UnitState;

/// Is told of every transition of the node and of its units, in order, one at
/// a time, outside of the gate's locks: it may call any method of
/// [`Handle`](crate::Handle). It runs on whatever task caused the transition,
/// so it must not block. A panic in it is logged and otherwise ignored.
pub trait Observer<U>: Send + Sync + 'static {
    /// One transition.
    fn on_change(&self, change: &Change<U>);
}

impl<U, F: Fn(&Change<U>) + Send + Sync + 'static> Observer<U> for F {
    fn on_change(&self, change: &Change<U>) {
        self(change);
    }
}

/// A transition and when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<U> {
    /// Since [`Config::process_start`](crate::Config::process_start).
    pub at: Duration,
    /// What happened.
    pub transition: Transition<U>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transition<U> {
    /// The node came to another stage.
    Stage {
        /// From here.
        from: Stage,
        /// To here.
        to: Stage,
    },
    /// A unit came to another state.
    Unit {
        /// Which unit.
        unit: U,
        /// From here; `None` when the gate just learned of it.
        from: Option<UnitState>,
        /// To here; `None` when it was removed.
        to: Option<UnitState>,
    },
    /// A unit was granted the right to vote.
    VoteGranted {
        /// Which unit.
        unit: U,
    },
    /// A unit was granted the right to campaign.
    CampaignGranted {
        /// Which unit.
        unit: U,
    },
    /// The node was granted the right to serve.
    ServeGranted,
    /// A step down began.
    StepBegan {
        /// Which step.
        step: Step,
    },
    /// A step down ended.
    StepEnded {
        /// Which step.
        step: Step,
        /// How.
        end: StepEnd,
    },
}

/// Writes transitions to `tracing`: stages and steps at `info`, quarantines and
/// waivers at `warn`, everything else at `debug`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingObserver;

impl<U: crate::Unit> Observer<U> for TracingObserver {
    fn on_change(&self, change: &Change<U>) {
        let at_ms = change.at.as_secs_f64() * 1_000.0;
        match &change.transition {
            Transition::Stage { from, to } => {
                tracing::info!(target: "startup_gate", at_ms, %from, %to, "stage");
            }
            Transition::Unit { unit, to: Some(UnitState::Quarantined { fault }), .. } => {
                tracing::warn!(target: "startup_gate", at_ms, %unit, %fault, "unit quarantined");
            }
            Transition::Unit { unit, to: Some(UnitState::Waived { reason }), .. } => {
                tracing::warn!(target: "startup_gate", at_ms, %unit, %reason, "unit waived");
            }
            Transition::Unit { unit, to, .. } => {
                let state = to.as_ref().map_or("removed", UnitState::as_str);
                tracing::debug!(target: "startup_gate", at_ms, %unit, state, "unit");
            }
            Transition::VoteGranted { unit } => {
                tracing::debug!(target: "startup_gate", at_ms, %unit, "vote granted");
            }
            Transition::CampaignGranted { unit } => {
                tracing::debug!(target: "startup_gate", at_ms, %unit, "campaign granted");
            }
            Transition::ServeGranted => {
                tracing::info!(target: "startup_gate", at_ms, "serve granted");
            }
            Transition::StepBegan { step } => {
                tracing::info!(target: "startup_gate", at_ms, %step, "step down began");
            }
            Transition::StepEnded { step, end } => {
                tracing::info!(target: "startup_gate", at_ms, %step, %end, "step down ended");
            }
        }
    }
}

//! Why a start did not reach *serving*.

use std::io;
use std::time::Duration;

use crate::config::ConfigError;
use crate::fault::{NodeFault, UnitFault};
use crate::machine::{End, Machine};
use crate::stage::Stage;
use crate::unit::Unit;

/// Why a start ended before the gate opened. The port was never opened, or is
/// closed again with the future that opened it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is outside its bounds.
    #[error("bad start-up setting: {0}")]
    Config(#[from] ConfigError),
    /// [`Handle::cancel`](crate::Handle::cancel) was called.
    #[error("start cancelled in {stage}")]
    Cancelled {
        /// How far it had come.
        stage: Stage,
    },
    /// The same unit was given twice.
    #[error("unit {unit} was given twice")]
    DuplicateUnit {
        /// Its name.
        unit: String,
    },
    /// The whole node is unfit.
    #[error("{stage}: {fault}")]
    Node {
        /// Where it was found.
        stage: Stage,
        /// What is wrong.
        #[source]
        fault: NodeFault,
    },
    /// More units are quarantined than [`Config::max_quarantined`](crate::Config::max_quarantined) allows.
    #[error("{quarantined} of {total} units are quarantined, {allowed} are allowed; first {first}")]
    OverBudget {
        /// Quarantined units.
        quarantined: usize,
        /// All units.
        total: usize,
        /// The budget.
        allowed: usize,
        /// One of them and its fault.
        first: UnitAndFault,
    },
    /// [`Policy::Strict`](crate::Policy::Strict), and a unit is faulty.
    #[error("{quarantined} of {total} units are faulty and the policy is strict; first {first}")]
    Strict {
        /// Faulty units.
        quarantined: usize,
        /// All units.
        total: usize,
        /// One of them and its fault.
        first: UnitAndFault,
    },
    /// A stage took longer than its deadline in [`Deadlines`](crate::Deadlines).
    #[error("{stage} took longer than {after:?}")]
    Deadline {
        /// Which stage.
        stage: Stage,
        /// Its deadline.
        after: Duration,
    },
    /// The port could not be opened.
    #[error("open the port: {source}")]
    Open {
        /// What the operating system said.
        source: io::Error,
    },
    /// Code that the gate was given panicked outside of any unit.
    #[error("{stage} panicked: {message}")]
    Panicked {
        /// Which stage.
        stage: Stage,
        /// The panic's message.
        message: String,
    },
}

/// A unit's name with its fault, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitAndFault {
    /// The unit's name.
    pub unit: String,
    /// What is wrong with it.
    pub fault: UnitFault,
}

impl std::fmt::Display for UnitAndFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.unit, self.fault)
    }
}

/// What the caller of a failed start has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartErrorKind {
    /// Nothing: it was told to stop.
    Stop,
    /// Change a setting or the program.
    Configure,
    /// Look at the node: starting again unchanged fails again.
    Repair,
    /// Start again: it may pass.
    Retry,
}

impl StartError {
    /// Why the machine ended. What [`Event::Failed`](crate::machine::Event::Failed)
    /// stands for is known to whoever sent it; anybody else was cancelled by it.
    pub(crate) fn from_end<U: Unit>(machine: &Machine<U>) -> Self {
        let total = machine.counts().total();
        match machine.end() {
            None => Self::Cancelled { stage: machine.stage() },
            Some(End::Cancelled { stage } | End::Failed { stage }) => {
                Self::Cancelled { stage: *stage }
            }
            Some(End::OverBudget { quarantined, allowed, first, fault }) => Self::OverBudget {
                quarantined: *quarantined,
                total,
                allowed: *allowed,
                first: UnitAndFault { unit: first.to_string(), fault: fault.clone() },
            },
            Some(End::Strict { quarantined, first, fault }) => Self::Strict {
                quarantined: *quarantined,
                total,
                first: UnitAndFault { unit: first.to_string(), fault: fault.clone() },
            },
        }
    }

    /// What has to be done about it.
    #[must_use]
    pub fn kind(&self) -> StartErrorKind {
        match self {
            Self::Cancelled { .. } => StartErrorKind::Stop,
            Self::Config(_) | Self::DuplicateUnit { .. } | Self::Panicked { .. } => {
                StartErrorKind::Configure
            }
            Self::Node { .. } | Self::OverBudget { .. } | Self::Strict { .. } => {
                StartErrorKind::Repair
            }
            Self::Deadline { .. } | Self::Open { .. } => StartErrorKind::Retry,
        }
    }
}

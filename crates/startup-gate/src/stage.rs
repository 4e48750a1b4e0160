//! The words of the protocol: stages of a node's life, and the steps down.

use std::fmt;

use serde::Serialize;

/// How far a node has come. Stages are passed in this order; none is skipped
/// on the way up.
///
/// ```text
/// Load → Check → Elect → Listen → Serving ⇄ Draining → Stopped
///   └───────┴──────┴───────┴── cancelled or refused ──────▲
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Units are being joined and loaded. Checks of loaded units already run.
    Load,
    /// Every unit is loaded or quarantined; checks finish, then the node-wide check.
    Check,
    /// The barrier is passed: units may campaign, each waits to be confirmed.
    Elect,
    /// Every unit is ready, waived or quarantined; the port is being opened.
    Listen,
    /// The gate is open.
    Serving,
    /// Going down: nothing new is admitted, see [`Step`].
    Draining,
    /// Down, or never came up.
    Stopped,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 7] = [
        Self::Load,
        Self::Check,
        Self::Elect,
        Self::Listen,
        Self::Serving,
        Self::Draining,
        Self::Stopped,
    ];

    /// The stage's word, as used in reports, spans and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Check => "check",
            Self::Elect => "elect",
            Self::Listen => "listen",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the node is still on its way up.
    #[must_use]
    pub fn is_starting(self) -> bool {
        self < Self::Serving
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step on the way down. Steps are passed in this order.
///
/// Leadership is handed over while the port still serves, and the port is
/// closed only then: the other order would leave leaders behind a closed port,
/// which is the window that this crate exists to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Readiness is off; load balancers get time to notice. The port serves.
    Notice,
    /// Leaderships and other duties move away. The port serves.
    HandOver,
    /// Requests in flight finish, the port closes.
    Close,
    /// Volatile state is made durable, so that the next load is short.
    Flush,
    /// Resources are released.
    Unload,
}

impl Step {
    /// All steps in order.
    pub const ALL: [Self; 5] =
        [Self::Notice, Self::HandOver, Self::Close, Self::Flush, Self::Unload];

    /// The step's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::HandOver => "hand_over",
            Self::Close => "close",
            Self::Flush => "flush",
            Self::Unload => "unload",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a [`Step`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepEnd {
    /// Its work finished.
    Done,
    /// Its work was dropped at the step's deadline.
    TimedOut,
    /// Its work was dropped, or not begun, because of [`Handle::hurry`](crate::Handle::hurry).
    Cut,
    /// Its work panicked.
    Panicked,
}

impl StepEnd {
    /// The word used in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TimedOut => "timed_out",
            Self::Cut => "cut",
            Self::Panicked => "panicked",
        }
    }
}

impl fmt::Display for StepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! Faults: of one unit, and of the whole node.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// The class of a [`UnitFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// Expected, but not there.
    Missing,
    /// There, but not what it should be.
    Corrupt,
    /// Could not be read.
    Unreadable,
    /// Anything else that the unit's owner found.
    Failed,
    /// No progress for [`Config::stall_timeout`](crate::Config::stall_timeout).
    Stalled,
    /// Not begun: its lane gave up, see [`Config::stall_timeout`](crate::Config::stall_timeout).
    LaneStalled,
    /// Longer than [`Deadlines::unit`](crate::Deadlines::unit) or its stage's deadline.
    TimedOut,
    /// Its work panicked.
    Panicked,
    /// Its gate has given up on it, or is going down.
    Withdrawn,
}

impl FaultKind {
    /// The word used in reports and metric labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
            Self::Stalled => "stalled",
            Self::LaneStalled => "lane_stalled",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with one unit. It is quarantined for it; the others go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct UnitFault {
    kind: FaultKind,
    detail: Arc<str>,
}

impl UnitFault {
    /// A fault of any kind; `detail` is what an operator reads.
    pub fn new(kind: FaultKind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string().into() }
    }

    /// Expected, but not there.
    pub fn missing(detail: impl fmt::Display) -> Self {
        Self::new(FaultKind::Missing, detail)
    }

    /// There, but not what it should be.
    pub fn corrupt(detail: impl fmt::Display) -> Self {
        Self::new(FaultKind::Corrupt, detail)
    }

    /// Could not be read.
    pub fn unreadable(detail: impl fmt::Display) -> Self {
        Self::new(FaultKind::Unreadable, detail)
    }

    /// Anything else.
    pub fn failed(detail: impl fmt::Display) -> Self {
        Self::new(FaultKind::Failed, detail)
    }

    /// The class of the fault.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// What was found, without the class.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// What is wrong with the whole node: the start fails for it.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct NodeFault {
    source: Box<dyn Error + Send + Sync>,
}

impl NodeFault {
    /// From an error, or from a text.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }

    /// The error it was made from, for a caller that maps it to an exit code.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        self.source
    }
}

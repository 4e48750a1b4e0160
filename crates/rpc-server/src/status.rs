//! Failures: what a caller is told when a request is not carried out.
//!
//! The table (`status/table.rs`) has one row a reason: its code, how long to
//! wait, and what a repeat may do. Everything else is derived from it.

mod convert;
mod table;
mod wire;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use partition_types::Reason;

pub(crate) use table::Repeat;
pub(crate) use wire::LEADER_METADATA;

/// Why a request was not carried out, in the words of the contract.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    reason: Reason,
    message: Cow<'static, str>,
    metadata: Vec<(Cow<'static, str>, String)>,
    violations: Vec<Violation>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq)]
struct Violation {
    field: Cow<'static, str>,
    problem: Cow<'static, str>,
}

impl Failure {
    /// A failure without details yet.
    pub(crate) fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into(), metadata: Vec::new(), violations: Vec::new() }
    }

    /// A field of the request is not as it must be.
    pub(crate) fn field(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (field, problem) = (field.into(), problem.into());
        let mut failure = Self::new(Reason::InvalidRequest, format!("{field} {problem}"))
            .with("field", field.as_ref());
        failure.violations.push(Violation { field, problem });
        failure
    }

    /// Adds a value of the message, for programs.
    #[must_use]
    pub(crate) fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.push((Cow::Borrowed(key), value.to_string()));
        self
    }

    /// Says first what was being done.
    #[must_use]
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message).into();
        self
    }

    /// The word on the wire.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// A value that [`Failure::with`] added.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// What a repeat of the request may do.
    pub(crate) fn repeat(&self) -> Repeat {
        table::row(self.reason).repeat
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Failure {}

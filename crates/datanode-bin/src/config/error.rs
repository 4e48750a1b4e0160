//! What is wrong with a configuration, where, and what to do.

use std::fmt;

use super::place::FilePlace;

/// A configuration that no node can run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    place: Option<Place>,
    message: String,
    advice: Option<String>,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(FilePlace),
    /// `NAME=value` of the environment.
    Env(String),
    /// `--set key=value`.
    Set(String),
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), advice: None }
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                write!(f, "\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(Place::File(place)) => {
                writeln!(f, "{place}: {}", self.message)?;
                place.write_caret(f)?;
            }
            Some(Place::Env(name)) => write!(f, "{name}: {}", self.message)?,
            Some(Place::Set(argument)) => write!(f, "--set {argument}: {}", self.message)?,
            None => f.write_str(&self.message)?,
        }
        match &self.advice {
            Some(advice) => write!(f, "\n  = {advice}"),
            None => Ok(()),
        }
    }
}

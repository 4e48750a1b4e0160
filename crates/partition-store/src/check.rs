//! The check of a partition before it may lead: what is stored makes sense, and
//! its bytes are the ones that were stored. It only reads.
//!
//! The same code checks a partition that was just loaded and, offline, a whole
//! data directory.

mod extents;
mod log;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::path::PathBuf;

use partition_types::{LogId, PartitionId};

use crate::codec::CodecError;
use crate::engine::{EngineError, Read};
use crate::error::OpenError;
use crate::state::{Damage, StateError, View, generation};

/// How much of the stored bytes a check reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verify {
    /// No payload; only watermarks and the ends of the log.
    None,
    /// A few extents, and a few chunks of each.
    #[default]
    Sample,
    /// Everything, and that there is nothing else.
    Full,
}

/// What is wrong with a partition: it must not lead or serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A watermark is where it cannot be: `purged ≤ applied ≤ last`.
    #[error("{lower} {lower_at} is after {upper} {upper_at}", lower_at = At(lower_at), upper_at = At(upper_at))]
    Watermarks {
        /// The watermark that must not be after the other.
        lower: &'static str,
        /// Where it is.
        lower_at: Option<LogId>,
        /// The other watermark.
        upper: &'static str,
        /// Where it is.
        upper_at: Option<LogId>,
    },
    /// The log ends with another entry than its bounds say.
    #[error("bounds' last {recorded} is not entries' last {found}")]
    LogEnd {
        /// What the bounds say.
        recorded: LogId,
        /// What is there.
        found: LogId,
    },
    /// An entry that must be in the log is not there.
    #[error("log entry {index} is missing")]
    LogGap {
        /// Which one.
        index: u64,
    },
    /// An entry of the log cannot be read.
    #[error("log entry {index} is damaged")]
    LogEntry {
        /// Which one.
        index: u64,
        /// Why not.
        source: CodecError,
    },
    /// The log has an entry of a new leader and no record of it, or the other way round.
    #[error("the log's next leader begins at {expected}, and its record says {recorded}", expected = At(expected), recorded = At(recorded))]
    LogLeader {
        /// The first entry of the leader.
        expected: Option<LogId>,
        /// The record in its place.
        recorded: Option<LogId>,
    },
    /// A record of the partition cannot be read.
    #[error("{what} is damaged")]
    Record {
        /// Which record.
        what: &'static str,
        /// Why not.
        source: CodecError,
    },
    /// Stored bytes are not what was stored.
    #[error("{0}")]
    Damaged(Damage),
    /// The parts of an extent do not make a whole.
    #[error("extent {extent_id}: {problem}")]
    Extent {
        /// Which extent.
        extent_id: u64,
        /// Which rule does not hold.
        problem: &'static str,
    },
    /// The partition has another number of something than its state says.
    #[error("there are {found} {what}, and the state says {recorded}")]
    Counter {
        /// What is counted.
        what: &'static str,
        /// What the state record says.
        recorded: u64,
        /// What is there.
        found: u64,
    },
    /// The disk does not answer.
    #[error("cannot read")]
    Io(#[from] io::Error),
}

/// A watermark in a message.
struct At<'a>(&'a Option<LogId>);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(log_id) => log_id.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// What a check went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries of the log.
    pub entries: u64,
    /// Extents, staged ones included.
    pub extents: u64,
    /// Chunks.
    pub chunks: u64,
    /// Payload in those chunks.
    pub chunk_bytes: u64,
}

/// What an offline check of a data directory found.
#[derive(Debug)]
pub struct CheckReport {
    /// The directory.
    pub path: PathBuf,
    /// Why nothing in it could be checked, if so.
    pub fault: Option<OpenError>,
    /// Every partition that its manifest names, in the order of their ids.
    pub partitions: Vec<(PartitionId, Result<Checked, CheckError>)>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.fault.is_none() && self.partitions.iter().all(|(_, result)| result.is_ok())
    }
}

/// Checks one partition. Blocks.
pub(crate) fn check_partition(
    raft: &dyn Read,
    data: &dyn Read,
    id: PartitionId,
    verify: Verify,
) -> Result<Checked, CheckError> {
    let view = View::current(data, id)?;
    let state = view.state()?;
    let mut checked = Checked::default();
    let has_installed = view.space().generation > generation::FIRST;
    log::check(raft, id, state.applied, has_installed, verify, &mut checked)?;
    match verify {
        Verify::None => {}
        Verify::Sample => extents::sample(view, &state, &mut checked)?,
        Verify::Full => extents::all(data, view, &state, &mut checked)?,
    }
    Ok(checked)
}

impl From<StateError> for CheckError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Damaged(damage) => Self::Damaged(damage),
            StateError::Record { what, source, .. } => Self::Record { what, source },
            other => Self::Io(other.into()),
        }
    }
}

impl From<EngineError> for CheckError {
    fn from(error: EngineError) -> Self {
        Self::Io(error.into())
    }
}

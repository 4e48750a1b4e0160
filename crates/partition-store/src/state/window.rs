//! The clock of the request window: how much time has passed, by what the log says.
//!
//! No clock of a node, and no comparison of two of them: those may be hours apart. It
//! goes on by how far *one* leader's clock went between two of its entries, and a leader
//! of another term begins anew with its first one. So a change of the leader costs it
//! the time between, a clock that is set back stops it until that clock is where it
//! was, and of a clock that is set ahead it believes [`STEP_MAX_MS`]. Late is harmless:
//! outcomes are kept longer, up to their greatest number. Early would apply a change twice.

use partition_types::{LogId, NodeId};

/// The most that it goes on between two entries. Idle partitions have longer pauses,
/// which it takes for shorter ones.
pub(crate) const STEP_MAX_MS: u64 = 60 * 1000;

/// Time as the log has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WindowClock {
    /// What it shows, in milliseconds. Only differences mean something.
    pub(crate) now_ms: u64,
    /// Whose clock it goes by; `None` before the first command.
    pub(crate) reading: Option<Reading>,
}

/// The furthest that the clock of one leader was seen in one term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) term: u64,
    pub(crate) leader: Option<NodeId>,
    /// In milliseconds since the epoch, by that leader.
    pub(crate) at_ms: u64,
}

impl WindowClock {
    /// Goes on by an entry whose leader's clock showed `at_ms`.
    pub(crate) fn read(&mut self, entry: LogId, at_ms: u64) {
        let LogId { term, leader, .. } = entry;
        let before = self.reading.filter(|last| (last.term, last.leader) == (term, leader));
        let before_ms = before.map_or(at_ms, |last| last.at_ms);
        let step_ms = at_ms.saturating_sub(before_ms).min(STEP_MAX_MS);
        self.now_ms = self.now_ms.saturating_add(step_ms);
        // The furthest, not the last: commands are stamped before they are put in order,
        // and what goes back and forth between two of them must not add up.
        self.reading = Some(Reading { term, leader, at_ms: before_ms.max(at_ms) });
    }
}

//! Bugs that a simulator plants to see whether it catches them. They are compiled
//! with the feature `planted` only, which no build of the program has, and even
//! then each is asleep until it is woken by name.

use std::sync::OnceLock;

/// A known bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Entries are reported durable before they are.
    AckBeforeSync,
    /// Likewise votes.
    VoteLost,
    /// A replica that led before a crash leads again at once, without a right.
    LeaderRestored,
}

static AWAKE: OnceLock<Bug> = OnceLock::new();

/// Wakes a bug, for the rest of the process.
///
/// # Panics
/// When another one is awake.
pub fn plant(bug: Bug) {
    assert_eq!(*AWAKE.get_or_init(|| bug), bug, "one bug a process");
}

/// Whether a bug is awake.
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    AWAKE.get() == Some(&bug)
}

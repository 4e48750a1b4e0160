//! What a run came to, for people and for `cargo xtask sim`.

use super::world::Violation;

/// What was done and seen.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Counts {
    /// Nodes that lost their power.
    pub crashes: u64,
    /// Writes that were not synced when the power went, and were lost.
    pub writes_lost_unsynced: u64,
    /// Links that were cut, one-way or both ways.
    pub partitions: u64,
    /// Nodes that stood still for a while.
    pub pauses: u64,
    /// Nodes that were stopped in order and started again.
    pub restarts: u64,
    /// Nodes that were restarted in order in quiet times.
    pub rolled: u64,
    /// Nodes that were drained and taken back.
    pub drains: u64,
    /// Starts that a crash ended before the node served.
    pub crashes_in_start: u64,
    /// Gates that opened.
    pub gates_opened: u64,
    /// Leaderships that began.
    pub leaderships: u64,
    /// Groups that fell asleep, by their leaders.
    pub sleeps: u64,
    /// Replicas that woke.
    pub wakes: u64,
    /// Replicas that left memory.
    pub unloads: u64,
    /// Replicas that were brought into memory.
    pub activations: u64,
    /// Nodes that lost their power while replicas slept there.
    pub crashes_asleep: u64,
    /// Snapshots that were sent.
    pub snapshots: u64,
    /// Messages between all machines.
    pub messages: u64,
    /// Writes whose outcome clients were told.
    pub writes_acknowledged: u64,
    /// Writes whose outcome they never learned.
    pub writes_unknown: u64,
    /// Reads that were judged.
    pub reads_judged: u64,
    /// States that were compared with others'.
    pub sums_compared: u64,
}

/// What one seed came to.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Equal in all runs of the seed with the same program.
    pub log_hash: String,
    /// Events and messages in that hash.
    pub log_len: u64,
    /// How long it was for the nodes.
    pub simulated_ms: u64,
    /// What was wrong.
    pub violations: Vec<Violation>,
    /// What was done.
    pub counts: Counts,
}

impl Report {
    /// Whether everything held, and enough was done for that to mean something.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

//! True time, and what the clocks of leaders show of it: they are hours apart, and
//! are set while a node leads. The window's clock, once more and in another way, and what
//! is promised of it.

use std::collections::HashMap;

use partition_types::RequestId;

const MINUTE_MS: u64 = 60_000;
/// What is promised to clients, in true time.
const PROMISED_MS: u64 = 10 * MINUTE_MS;
/// How often a clock may be set ahead in that time.
const SET_AHEAD_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Time {
    true_ms: u64,
    pub(super) term: u64,
    pub(super) leader: u64,
    /// How far the clocks of nodes are off.
    off_ms: HashMap<u64, i64>,
    /// All that this leader's clock showed in this term.
    shown: Vec<u64>,
    /// What the window's clock showed when this term's first entry came.
    window_before_ms: u64,
    /// When a clock was set, in true time.
    set: Vec<u64>,
    /// When each request was applied first, in true time.
    applied: HashMap<RequestId, u64>,
}

impl Default for Time {
    fn default() -> Self {
        Self {
            // Far enough for clocks that are behind.
            true_ms: 30 * 24 * 60 * MINUTE_MS,
            term: 3,
            leader: 1,
            off_ms: HashMap::new(),
            shown: Vec::new(),
            window_before_ms: 0,
            set: Vec::new(),
            applied: HashMap::new(),
        }
    }
}

impl Time {
    /// A node leads from now on.
    pub(super) fn lead(&mut self, node: u64) {
        self.window_before_ms = self.window_ms();
        self.shown.clear();
        self.term += 1;
        self.leader = node;
    }

    /// The leader's clock is set.
    pub(super) fn set(&mut self, off_ms: i64) {
        self.off_ms.insert(self.leader, off_ms);
        self.set.push(self.true_ms);
    }

    /// Time passes; what the leader's clock shows then.
    pub(super) fn pass(&mut self, later_ms: u64) -> u64 {
        self.true_ms += later_ms;
        let off_ms = self.off_ms.get(&self.leader).copied().unwrap_or(0);
        let shown_ms =
            self.true_ms.checked_add_signed(off_ms).expect("clocks are not that far off");
        self.shown.push(shown_ms);
        shown_ms
    }

    /// What the window's clock shows: each time that a clock went further than ever in
    /// a term counts, for a minute at most.
    pub(super) fn window_ms(&self) -> u64 {
        let mut furthest = self.shown.clone();
        for nth in 1..furthest.len() {
            furthest[nth] = furthest[nth].max(furthest[nth - 1]);
        }
        let steps = furthest.windows(2).map(|pair| (pair[1] - pair[0]).min(MINUTE_MS));
        self.window_before_ms + steps.sum::<u64>()
    }

    /// A request was not known and is applied.
    ///
    /// # Panics
    /// When it was promised that it is known.
    pub(super) fn applies(&mut self, id: RequestId) {
        let Some(first_ms) = self.applied.insert(id, self.true_ms) else { return };
        let set = self.set.iter().filter(|at_ms| **at_ms >= first_ms).count();
        let age_ms = self.true_ms - first_ms;
        assert!(
            age_ms > PROMISED_MS || set > SET_AHEAD_MAX,
            "applied twice within {age_ms} ms, clocks set {set} times",
        );
    }
}

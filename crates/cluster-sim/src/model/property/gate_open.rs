//! When the port opens, each partition has a leader that was really there, or
//! is known not to.
//!
//! *Verified* is judged by what really was: when that leader spoke, it led and
//! nobody later had been elected; and when the gate was told, this replica had
//! everything that had been acknowledged under it and before.

use super::{Property, Step};

pub(super) const PROPERTY: Property = Property {
    name: "gate opens on verified leaders",
    says: "at gate-open: for all p: VerifiedLeader(p) or Quarantined(p) or Waived(p)",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    step.replicas().all(|(p, n)| {
        let opens = step.after.nodes[n].listening && !step.before.nodes[n].listening;
        let facts = step.model.facts(step.after, n);
        let excused = (facts.quarantined | facts.waived) & 1 << p > 0;
        // What was verified is forgotten once the port is open: it is of before.
        !opens || excused || step.before.replica(p, n).ghost.verified
    })
}

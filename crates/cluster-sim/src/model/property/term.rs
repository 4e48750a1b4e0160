//! At most one leader a leader id. openraft's advanced ids are a term and a
//! node: one term may see two leaders, in the order of their ids, and the later
//! one has a quorum that turned away from the earlier one. What must never be
//! is that one id leads twice, for then two entries can have one log id.

use super::{Property, Step};

pub(super) const PROPERTY: Property =
    Property { name: "one leader a leader id", says: "no term and node is elected twice", holds };

fn holds(step: &Step<'_>) -> bool {
    step.new_leaders().all(|(p, n)| {
        let ballot = step.after.replica(p, n).vote;
        step.before.groups[p].won & ballot.bit() == 0
    })
}

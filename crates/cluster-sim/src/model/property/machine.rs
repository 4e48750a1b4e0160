//! The gate's own invariants hold in every state that a cluster brings it to.

use super::{Property, Step};
use crate::model::world::NODES;

pub(super) const PROPERTY: Property = Property {
    name: "gate invariants",
    says: "startup_gate::machine::Machine::check_invariants finds nothing",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    let up = (0..NODES).filter(|n| step.after.nodes[*n].up);
    up.into_iter().all(|n| step.model.facts(step.after, n).violated.is_none())
}

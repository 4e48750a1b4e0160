//! A node that gives its leaderships away gets none.

use super::{Property, Step};

pub(super) const PROPERTY: Property = Property {
    name: "drain gains no leadership",
    says: "while draining: the count of leaderships on the node never grows",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    step.new_leaders().all(|(_, n)| !step.after.nodes[n].draining)
}

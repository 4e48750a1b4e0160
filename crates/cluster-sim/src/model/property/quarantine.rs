//! A quarantined replica never becomes leader. One that is found bad while it
//! leads gives the leadership away; that is no new one.

use super::{Property, Step};

pub(super) const PROPERTY: Property = Property {
    name: "quarantined never leads",
    says: "Quarantined(p,n) => n does not become leader of p",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    step.new_leaders().all(|(p, n)| step.model.facts(step.after, n).quarantined & 1 << p == 0)
}

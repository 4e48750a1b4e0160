//! Nobody leads behind a closed port where somebody who serves could have led
//! instead.
//!
//! *Could have* is judged by what really was, not by what was answered; for a
//! voter that was asked, at the moment of its answer, and for a campaign that
//! follows no question, when it begins. A voter that cannot be reached may be
//! overlooked: nobody can tell it from one that is dead.

use super::{Property, Step};

pub(super) const PROPERTY: Property = Property {
    name: "no leader behind a closed port without need",
    says: "Leader(p,n) and not Listening(n) => no serving replica of p could have led \
           when the campaign began",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    step.replicas().all(|(p, n)| {
        let unserved = step.after.leads(p, n) && !step.after.nodes[n].listening;
        !(unserved && step.after.replica(p, n).ghost.usurps)
    })
}

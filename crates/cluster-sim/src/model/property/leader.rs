//! Nobody leads before it is loaded and checked and its node's check has passed.

use startup_gate::Stage;

use super::{Property, Step};

pub(super) const PROPERTY: Property = Property {
    name: "leader is loaded and checked",
    says: "Leader(p,n) => Loaded(p,n) and Checked(p,n) and CheckStagePassed(n)",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    step.replicas().filter(|(p, n)| step.after.leads(*p, *n)).all(|(p, n)| {
        let ghost = step.after.replica(p, n).ghost;
        let passed = step.model.facts(step.after, n).stage >= Stage::Elect;
        ghost.loaded && ghost.checked && passed
    })
}

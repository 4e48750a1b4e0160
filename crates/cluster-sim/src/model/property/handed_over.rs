//! A port that closes after a hand over in time leaves no leader behind it that
//! somebody else could replace, then or later.

use raft_glue::protocol::Target;

use super::{Property, Step};
use crate::model::action::Action;
use crate::model::world::NODES;

pub(super) const PROPERTY: Property = Property {
    name: "port closes on no leader",
    says: "hand over ended in time => the node leads nothing that a voter that is up could take",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    let Some(Action::Close { n, in_time: true }) = step.action else { return true };
    (0..step.model.scenario.partitions).filter(|p| step.after.leads(*p, n)).all(|p| {
        let others = (0..NODES).filter(|to| *to != n);
        let target = |to| step.model.target(step.before, p, n, to);
        others.into_iter().all(|to| matches!(target(to), Target::Nobody { .. }))
    })
}

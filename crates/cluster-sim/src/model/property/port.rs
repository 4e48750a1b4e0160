//! The client port takes connections only with the right to serve, and behind
//! the stage *elect*.

use startup_gate::Stage;

use super::{Property, Step};
use crate::model::world::NODES;

pub(super) const PROPERTY: Property = Property {
    name: "port listens last",
    says: "Listening(n) => ServeRight(n) and ElectStagePassed(n)",
    holds,
};

fn holds(step: &Step<'_>) -> bool {
    (0..NODES).filter(|n| step.after.nodes[*n].listening).all(|n| {
        let facts = step.model.facts(step.after, n);
        facts.may_serve && facts.stage >= Stage::Listen
    })
}

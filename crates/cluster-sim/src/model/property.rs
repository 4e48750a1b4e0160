//! What must hold, one property a file. Each looks at a step: the state
//! before, what happened, the state after. The first state is looked at as a
//! step from itself.

mod acknowledged;
mod drain;
mod gate_open;
mod handed_over;
mod leader;
mod machine;
mod port;
mod quarantine;
mod term;
mod unserved;

use super::action::Action;
use super::step::Model;
use super::world::World;

/// One step to be looked at.
pub(crate) struct Step<'a> {
    pub(crate) model: &'a Model,
    pub(crate) before: &'a World,
    /// `None` for the first state.
    pub(crate) action: Option<Action>,
    pub(crate) after: &'a World,
}

/// A property that every reachable step has.
pub(crate) struct Property {
    pub(crate) name: &'static str,
    /// As the design has it.
    pub(crate) says: &'static str,
    pub(crate) holds: fn(&Step<'_>) -> bool,
}

/// All of them.
pub(crate) const ALL: [Property; 10] = [
    leader::PROPERTY,
    unserved::PROPERTY,
    port::PROPERTY,
    gate_open::PROPERTY,
    drain::PROPERTY,
    handed_over::PROPERTY,
    term::PROPERTY,
    quarantine::PROPERTY,
    acknowledged::PROPERTY,
    machine::PROPERTY,
];

impl Step<'_> {
    /// Replicas, by partition and node.
    fn replicas(&self) -> impl Iterator<Item = (usize, usize)> {
        let partitions = 0..self.model.scenario.partitions;
        partitions.flat_map(|p| (0..super::world::NODES).map(move |n| (p, n)))
    }

    /// Replicas that lead now and did not before.
    fn new_leaders(&self) -> impl Iterator<Item = (usize, usize)> {
        let new = |(p, n): &(usize, usize)| self.after.leads(*p, *n) && !self.before.leads(*p, *n);
        self.replicas().filter(new)
    }
}

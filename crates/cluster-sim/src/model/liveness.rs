//! Liveness: in the end every partition with a live quorum has a leader that
//! serves, and every gate is open.
//!
//! Checked as: from every reachable state a good state can be reached without
//! any further fault. The graph is finite, and a state never loses the steps of
//! those that are still to come to a good one, so if every step that stays
//! possible is taken in the end, a good state is not only possible but certain.
//! Asked backwards: which states lead to a good one?
//!
//! A state in which some replica has reached the scenario's last term is not
//! asked: what it may need is another election.

use startup_gate::Stage;

use super::step::Model;
use super::world::{NODES, Role, World, is_quorum};

/// The name of the property.
pub(crate) const NAME: &str = "in the end leaders serve and gates are open";
/// As the design has it.
pub(crate) const SAYS: &str =
    "every partition with a live quorum has a leader in the end, also from cold";

/// Steps that are no faults, by the states they go from and to.
#[derive(Default)]
pub(crate) struct Edges(Vec<(u32, u32)>);

impl Edges {
    pub(crate) fn add(&mut self, from: usize, to: usize) {
        let short = |index| u32::try_from(index).expect("fewer states than 2^32");
        self.0.push((short(from), short(to)));
    }
}

/// The first state from which no good one can be reached, if there is one.
pub(crate) fn first_stuck(model: &Model, states: &[World], edges: Edges) -> Option<usize> {
    let mut starts = vec![0_u32; states.len() + 1];
    for (_, to) in &edges.0 {
        starts[*to as usize + 1] += 1;
    }
    for index in 0..states.len() {
        starts[index + 1] += starts[index];
    }
    let mut sources = vec![0_u32; edges.0.len()];
    let mut filled = starts.clone();
    for (from, to) in &edges.0 {
        let place = &mut filled[*to as usize];
        sources[*place as usize] = *from;
        *place += 1;
    }
    drop((edges, filled));
    let mut leads_there: Vec<bool> = states.iter().map(|world| is_good(model, world)).collect();
    let mut open: Vec<u32> =
        (0_u32..).zip(&leads_there).filter(|(_, good)| **good).map(|(index, _)| index).collect();
    while let Some(index) = open.pop() {
        let (from, upto) = (starts[index as usize], starts[index as usize + 1]);
        for source in &sources[from as usize..upto as usize] {
            let known = &mut leads_there[*source as usize];
            if !*known {
                *known = true;
                open.push(*source);
            }
        }
    }
    let is_asked = |world: &World| !has_reached_last_term(model, world);
    (0..states.len()).find(|index| !leads_there[*index] && is_asked(&states[*index]))
}

fn has_reached_last_term(model: &Model, world: &World) -> bool {
    (0..model.scenario.partitions).any(|p| {
        let last = model.scenario.terms[p];
        (0..NODES).any(|n| world.replica(p, n).vote.term() >= last)
    })
}

/// Every node that is on its way up has opened its gate, and every partition
/// with a quorum that could elect somebody is led by a node that serves.
fn is_good(model: &Model, world: &World) -> bool {
    let stays = |n: &usize| world.nodes[*n].up && model.facts(world, *n).stage <= Stage::Serving;
    let all_open = (0..NODES)
        .filter(stays)
        .all(|n| model.facts(world, n).stage == Stage::Serving || cannot_open(model, world));
    all_open && (0..model.scenario.partitions).all(|p| is_led(model, world, p, &stays))
}

/// A strict start waits for as long as a partition has no quorum.
fn cannot_open(model: &Model, world: &World) -> bool {
    let up = (0..NODES).filter(|n| world.nodes[*n].up);
    !model.scenario.deadline && !is_quorum(up.fold(0, |set, n| set | 1 << n))
}

fn is_led(model: &Model, world: &World, p: usize, stays: &impl Fn(&usize) -> bool) -> bool {
    let served = |n: usize| {
        let replica = world.replica(p, n);
        let acknowledges = world.groups[p].acknowledged & replica.vote.bit() > 0;
        stays(&n)
            && world.nodes[n].serving
            && replica.role == Role::Leader
            && acknowledges
            && world.quorum_confirms(p, n)
    };
    if (0..NODES).any(served) {
        return true;
    }
    // Votes: all that stay and run, or will; leads: those that are not bad.
    let votes = |n: &usize| {
        stays(n)
            && (world.replica(p, *n).runs
                || model.facts(world, *n).quarantined & 1 << p == 0 && !model.is_unloadable(*n, p))
    };
    let able = |n: usize| {
        let log = world.replica(p, n).log;
        let grants =
            (0..NODES).filter(votes).filter(|v| log.is_as_new_as(world.replica(p, *v).log));
        votes(&n)
            && model.facts(world, n).quarantined & 1 << p == 0
            && is_quorum(grants.fold(0, |set, v| set | 1 << v))
    };
    !(0..NODES).any(able)
}

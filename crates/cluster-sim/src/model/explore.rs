//! Every state that can be reached, breadth first, so that a counter-example
//! is one of the shortest.
//!
//! Whole states are kept and compared: two states never count as one because
//! their hashes are the same.

use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use super::action::Action;
use super::liveness::{self, Edges};
use super::property::{self, Step};
use super::step::{Model, Next};
use super::world::World;

/// What a scenario's exploration found.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The longest way that is needed to reach a state.
    pub(crate) depth: usize,
    pub(crate) violation: Option<Violation>,
    /// Whether every state within the bounds was reached.
    pub(crate) is_complete: bool,
}

/// A property that does not hold, and how to get there.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) property: &'static str,
    pub(crate) trace: Vec<String>,
}

/// Explores a scenario until everything was reached, a property is violated, or
/// there are more than `states_max` states.
pub(crate) fn explore(model: &mut Model, states_max: usize) -> Explored {
    let first = model.first();
    let mut seen = Seen::default();
    seen.add(first, 0);
    let mut edges = Edges::default();
    let mut next = Next::new();
    let (mut steps, mut depth, mut layer_end) = (0, 0, 1);
    if let Some(property) = violated(model, &first, None, &first) {
        let violation = Some(Violation { property, trace: Vec::new() });
        return Explored { states: 1, steps, depth, violation, is_complete: false };
    }
    let mut at = 0;
    while at < seen.states.len() {
        if at == layer_end {
            (depth, layer_end) = (depth + 1, seen.states.len());
        }
        let world = seen.states[at];
        model.next(&world, &mut next);
        steps += next.len();
        for (action, after) in &next {
            let index = seen.add(*after, at);
            if !action.is_fault() {
                edges.add(at, index);
            }
            let Some(property) = violated(model, &world, Some(*action), after) else { continue };
            let mut trace = trace(model, &seen, at);
            trace.push(action.to_string());
            let violation = Some(Violation { property, trace });
            let states = seen.states.len();
            return Explored { states, steps, depth, violation, is_complete: false };
        }
        at += 1;
        if seen.states.len() > states_max {
            let states = seen.states.len();
            return Explored { states, steps, depth, violation: None, is_complete: false };
        }
    }
    let states = seen.states.len();
    let stuck = liveness::first_stuck(model, &seen.states, edges);
    let violation = stuck
        .map(|index| Violation { property: liveness::NAME, trace: trace(model, &seen, index) });
    Explored { states, steps, depth, violation, is_complete: true }
}

fn violated(
    model: &Model,
    before: &World,
    action: Option<Action>,
    after: &World,
) -> Option<&'static str> {
    let step = Step { model, before, action, after };
    property::ALL.iter().find(|property| !(property.holds)(&step)).map(|property| property.name)
}

/// What happened on the way to a state.
fn trace(model: &mut Model, seen: &Seen, mut index: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut next = Next::new();
    while index != 0 {
        let parent = seen.parents[index] as usize;
        model.next(&seen.states[parent], &mut next);
        let step = next.iter().find(|(_, after)| *after == seen.states[index]);
        lines.push(step.map_or_else(String::new, |(action, _)| action.to_string()));
        index = parent;
    }
    lines.reverse();
    lines
}

/// The states reached so far, in the order in which they were, and from where.
#[derive(Default)]
struct Seen {
    states: Vec<World>,
    parents: Vec<u32>,
    /// Open addressing; 0 is free, anything else an index plus 1.
    table: Vec<u32>,
    hash: BuildHasherDefault<Mix>,
}

impl Seen {
    /// Returns the state's index.
    fn add(&mut self, state: World, parent: usize) -> usize {
        if self.states.len() * 2 >= self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut slot = self.slot_of(&state);
        loop {
            match self.table[slot] {
                0 => break,
                index if self.states[index as usize - 1] == state => {
                    return index as usize - 1;
                }
                _ => slot = (slot + 1) & mask,
            }
        }
        let index = self.states.len();
        self.states.push(state);
        self.parents.push(u32::try_from(parent).expect("fewer states than 2^32"));
        self.table[slot] = u32::try_from(index + 1).expect("fewer states than 2^32");
        index
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1 << 10);
        self.table = vec![0; size];
        for (index, state) in self.states.iter().enumerate() {
            let mut slot = self.slot_of(state);
            while self.table[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.table[slot] = u32::try_from(index + 1).expect("fewer states than 2^32");
        }
    }

    fn slot_of(&self, state: &World) -> usize {
        let hash = self.hash.hash_one(state);
        // The high bits are the mixed ones.
        usize::try_from(hash >> 20).expect("64 bits") & (self.table.len() - 1)
    }
}

/// A quick hash of small fields; nobody chooses the keys against it.
#[derive(Default)]
struct Mix(u64);

impl Mix {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word.unsigned_abs() as u64);
    }
}

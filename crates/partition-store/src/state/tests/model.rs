//! The state machine against plain byte vectors: random commands in random
//! batches, with reopening, crashes that lose what was not flushed, and replay.

mod acts;
mod plain;
mod time;

use std::sync::Arc;

use bytes::Bytes;
use partition_types::{Crc32c, Entry, Outcome, Payload};
use proptest::prelude::*;

use self::acts::{Act, IDS, Step, step};
use self::plain::{Model, ModelExtent};
use crate::check::Verify;
use crate::engine::image::Image;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Engine, Table};
use crate::state::machine::Machine;
use crate::state::{View, Visibility, read, sum};
use crate::testing::{
    bytes, check_state, command, delete, entry, extent, led_by, partition, request,
};

/// The machine under test, its log, and what its log once led to.
struct Subject {
    engine: Arc<MemoryEngine>,
    machine: Machine,
    log: Vec<Entry>,
    outcomes: Vec<Outcome>,
    applied: usize,
}

impl Subject {
    fn new() -> Self {
        let (engine, machine) = open(Image::default());
        Self { engine, machine, log: Vec::new(), outcomes: Vec::new(), applied: 0 }
    }

    fn propose(&mut self, payload: Entry, outcome: Outcome) {
        self.log.push(payload);
        self.outcomes.push(outcome);
    }

    /// Applies what is in the log and not in the state, as one batch.
    fn catch_up(&mut self) {
        let applied = self.machine.apply(&self.log[self.applied..]).expect("entries apply");
        assert_eq!(applied.outcomes, self.outcomes[self.applied..]);
        self.applied = self.log.len();
    }

    fn restart(&mut self, image: Image) {
        (self.engine, self.machine) = open(image);
        let applied = self.machine.state().applied;
        self.applied =
            applied.map_or(0, |log_id| usize::try_from(log_id.index).expect("logs are short") + 1);
    }

    fn step(&mut self, step: &Step, model: &mut Model) {
        let index = self.log.len() as u64;
        match step {
            Step::Blank => self.propose(entry(index, Payload::Blank), Outcome::Nothing),
            Step::Lead(node) => model.time.lead(*node),
            Step::SetClock(off_ms) => model.time.set(*off_ms),
            Step::Command { act, request: name, later_ms } => {
                let at_ms = model.time.pass(*later_ms);
                let act = match act {
                    Act::Create | Act::Put(..) | Act::Stage if model.last_id >= IDS => {
                        &Act::Seal(IDS)
                    }
                    act => act,
                };
                let op = model.op(act);
                let request_id = name.map(request);
                let outcome = model.apply(request_id, at_ms, &op);
                let proposed = command(index, request_id, at_ms, op);
                self.propose(led_by(model.time.term, model.time.leader, proposed), outcome);
            }
            Step::EndBatch => self.catch_up(),
            Step::Flush => self.engine.flush().expect("memory flushes"),
            Step::Reopen => {
                self.catch_up();
                self.restart(self.engine.image());
            }
            Step::Crash => {
                self.catch_up();
                self.restart(self.engine.durable_image());
                self.catch_up();
            }
        }
    }

    fn view(&self) -> View<'_> {
        View::current(self.engine.as_ref(), partition(7)).expect("the state is readable")
    }
}

fn open(image: Image) -> (Arc<MemoryEngine>, Machine) {
    let engine = MemoryEngine::open(image);
    let dynamic = Arc::clone(&engine) as Arc<dyn Engine>;
    (engine, Machine::open(dynamic, partition(7)).expect("the state is readable"))
}

fn check_content(subject: &Subject, model: &Model) {
    let view = subject.view();
    for (&id, expected) in &model.extents {
        let visibility = if expected.is_staged { Visibility::Staged } else { Visibility::Visible };
        let record = view.extent(extent(id), visibility).expect("readable").expect("there");
        assert_eq!(record.size, expected.size(), "size of extent {id}");
        assert_eq!(record.sealed_crc32c.is_some(), expected.is_sealed, "extent {id}");
        assert_eq!(record.modified_at_ms, expected.modified_at_ms, "extent {id}");
        if !expected.is_staged {
            assert_eq!(read_whole(view, id), expected.whole().expect("gapless"), "extent {id}");
        }
    }
    let state = subject.machine.state();
    let staged = model.extents.values().filter(|e| e.is_staged).count() as u64;
    assert_eq!(state.staged_count, staged);
    assert_eq!(state.extent_count, model.extents.len() as u64 - staged);
    assert_eq!(state.request_count, model.order.len() as u64);
    let written = |e: &ModelExtent| e.bytes.iter().flatten().count() as u64;
    assert_eq!(state.size_bytes, model.extents.values().map(written).sum::<u64>());
    // Every run has its chunk, every chunk its runs, every counter is right.
    check_state(subject.engine.as_ref(), state.applied, Verify::Full).expect("it is sound");
}

fn read_whole(view: View<'_>, id: u64) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let (frames, size) =
            read::read(view, extent(id), whole.len() as u64, 300_000).expect("readable");
        for frame in frames {
            assert_eq!(Crc32c::of(&frame.data), frame.crc32c);
            whole.extend_from_slice(&frame.data);
        }
        if whole.len() as u64 == size {
            return whole;
        }
    }
}

/// Another replica, fed the same log in batches of `len`.
fn replica(log: &[Entry], len: usize) -> Subject {
    let mut subject = Subject::new();
    for batch in log.chunks(len) {
        subject.machine.apply(batch).expect("entries apply");
    }
    subject
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_state_machine_is_its_model(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::default();
        let mut subject = Subject::new();
        for step in &steps {
            subject.step(step, &mut model);
        }
        subject.catch_up();
        check_content(&subject, &model);

        // Cut into other batches, the same log leads to the same state.
        let expected = sum::sum(subject.view()).expect("readable");
        for len in [1, 7, usize::MAX] {
            let other = replica(&subject.log, len);
            prop_assert_eq!(sum::sum(other.view()).expect("readable"), expected);
            // Key by key, not only in the sum.
            prop_assert!(other.engine.image() == subject.engine.image());
        }

        // What is deleted gives everything back.
        let ids: Vec<u64> = model.extents.keys().copied().collect();
        let index = subject.log.len() as u64;
        subject.machine.apply(&[command(index, None, 0, delete(&ids))]).expect("it applies");
        prop_assert_eq!(subject.engine.image().keys(Table::Chunk).len(), 0);
        let left = subject.engine.image().keys(Table::StateMeta).len() as u64;
        prop_assert_eq!(left, 1 + 2 * model.order.len() as u64);
    }
}

#[test]
fn bytes_differ_by_seed() {
    assert_ne!(bytes(1, 100), bytes(2, 100));
    assert_eq!(bytes(1, 100), Bytes::copy_from_slice(&bytes(1, 1000)[..100]));
}

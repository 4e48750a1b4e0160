//! The state machine against plain byte vectors: random commands in random
//! batches, with reopening, crashes that lose what was not flushed, and replay.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use partition_types::{
    Crc32c, Deleted, Entry, ExtentId, Op, Outcome, Payload, Rejection, RequestId,
};
use proptest::prelude::*;

use crate::check::Verify;
use crate::engine::memory::{Image, MemoryEngine};
use crate::engine::{Engine, Table};
use crate::state::machine::Machine;
use crate::state::{View, Visibility, read, sum};
use crate::testing::{
    append, bytes, check_state, command, delete, entry, extent, partition, publish, put, request,
    stage_part, write,
};

/// How many ids commands choose from, and how many extents are made at most.
const IDS: u64 = 4;

/// How much is written, into an extent whose size is known only then.
#[derive(Debug, Clone, Copy)]
enum Len {
    Bytes(usize),
    /// Of the size, so that pieces meet exactly.
    Eighths(u8),
}

/// A position in such an extent.
#[derive(Debug, Clone, Copy)]
enum Where {
    /// Eighths of the size.
    Eighths(u8),
    /// Sixteenths of the size, and some bytes more.
    Inside(u8, u8),
    End,
    Beyond(u8),
    Greatest,
}

#[derive(Debug, Clone)]
enum Act {
    Create,
    Put(u8, usize),
    Append(u64, u8, usize),
    Write(u64, Where, u8, Len),
    Seal(u64),
    Delete(Vec<u64>),
    Stage,
    StagePart(u64, Where, u8, Len),
    /// With the true size and sum, or with others.
    Publish(u64, bool),
    ExpireStaged(u64),
}

#[derive(Debug, Clone)]
enum Step {
    Blank,
    Command { act: Act, request: Option<u8>, later_ms: u64 },
    EndBatch,
    Flush,
    Reopen,
    Crash,
}

fn len() -> impl Strategy<Value = usize> {
    const CHUNK: usize = 128 * 1024;
    prop_oneof![
        4 => 0..40usize,
        2 => 40..5000usize,
        1 => CHUNK - 2..CHUNK + 3,
        1 => CHUNK..3 * CHUNK,
    ]
}

fn part() -> impl Strategy<Value = Len> {
    prop_oneof![
        1 => len().prop_map(Len::Bytes),
        2 => (1..5u8).prop_map(Len::Eighths),
    ]
}

fn place() -> impl Strategy<Value = Where> {
    prop_oneof![
        8 => (0..8u8).prop_map(Where::Eighths),
        4 => (0..16u8, any::<u8>()).prop_map(|(part, more)| Where::Inside(part, more % 4)),
        3 => Just(Where::End),
        4 => (1..40u8).prop_map(Where::Beyond),
        1 => Just(Where::Greatest),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let id = || 1..=IDS;
    prop_oneof![
        2 => Just(Act::Create),
        1 => (any::<u8>(), len()).prop_map(|(seed, len)| Act::Put(seed, len)),
        6 => (id(), any::<u8>(), len()).prop_map(|(id, seed, len)| Act::Append(id, seed, len)),
        16 => (id(), place(), any::<u8>(), part())
            .prop_map(|(id, at, seed, len)| Act::Write(id, at, seed, len)),
        1 => id().prop_map(Act::Seal),
        1 => prop::collection::vec(id(), 0..3).prop_map(Act::Delete),
        3 => Just(Act::Stage),
        12 => (id(), place(), any::<u8>(), part())
            .prop_map(|(id, at, seed, len)| Act::StagePart(id, at, seed, len)),
        2 => (id(), any::<bool>()).prop_map(|(id, is_true)| Act::Publish(id, is_true)),
        1 => (0..2000u64).prop_map(Act::ExpireStaged),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let later_ms = prop_oneof![20 => 0..50u64, 1 => Just(11 * 60 * 1000)];
    prop_oneof![
        20 => (act(), prop::option::weighted(0.2, 0..12u8), later_ms)
            .prop_map(|(act, request, later_ms)| Step::Command { act, request, later_ms }),
        1 => Just(Step::Blank),
        6 => Just(Step::EndBatch),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

#[derive(Debug, Clone, Default)]
struct ModelExtent {
    /// `None` where nothing was written yet.
    bytes: Vec<Option<u8>>,
    is_staged: bool,
    is_sealed: bool,
    modified_at_ms: u64,
}

impl ModelExtent {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn whole(&self) -> Option<Vec<u8>> {
        self.bytes.iter().copied().collect()
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let begin = usize::try_from(offset).expect("the model holds small extents");
        let end = begin + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, None);
        }
        for (to, from) in self.bytes[begin..end].iter_mut().zip(data) {
            *to = Some(*from);
        }
    }
}

/// The same rules, over byte vectors.
#[derive(Debug, Default)]
struct Model {
    extents: BTreeMap<u64, ModelExtent>,
    last_id: u64,
    latest_at_ms: u64,
    outcomes: HashMap<RequestId, Outcome>,
    order: VecDeque<(RequestId, u64)>,
}

impl Model {
    fn resolve(&self, id: u64, place: Where) -> u64 {
        let size = self.extents.get(&id).map_or(0, ModelExtent::size);
        match place {
            Where::Eighths(eighths) => size / 8 * u64::from(eighths),
            Where::Inside(part, more) => (size / 16 * u64::from(part) + u64::from(more)).min(size),
            Where::End => size,
            Where::Beyond(more) => size + u64::from(more),
            Where::Greatest => u64::MAX,
        }
    }

    fn len(&self, id: u64, len: Len) -> usize {
        let size = self.extents.get(&id).map_or(0, |extent| extent.bytes.len());
        match len {
            Len::Bytes(len) => len,
            Len::Eighths(eighths) => size / 8 * usize::from(eighths),
        }
    }

    /// What an act is as a command on the model's state.
    fn op(&self, act: &Act) -> Op {
        match act {
            Act::Create => Op::Create,
            Act::Put(seed, len) => put(&bytes(*seed, *len)),
            Act::Append(id, seed, len) => append(*id, &bytes(*seed, *len)),
            Act::Write(id, place, seed, len) => {
                write(*id, self.resolve(*id, *place), &bytes(*seed, self.len(*id, *len)))
            }
            Act::Seal(id) => Op::Seal { extent_id: extent(*id) },
            Act::Delete(ids) => delete(ids),
            Act::Stage => Op::Stage,
            Act::StagePart(id, place, seed, len) => {
                stage_part(*id, self.resolve(*id, *place), &bytes(*seed, self.len(*id, *len)))
            }
            Act::Publish(id, is_true) => {
                let whole = self.extents.get(id).and_then(ModelExtent::whole).unwrap_or_default();
                publish(*id, if *is_true { &whole } else { b"something else" })
            }
            Act::ExpireStaged(ago_ms) => {
                Op::ExpireStaged { before_ms: self.latest_at_ms.saturating_sub(*ago_ms) }
            }
        }
    }

    fn apply(&mut self, request_id: Option<RequestId>, at_ms: u64, op: &Op) -> Outcome {
        self.latest_at_ms = self.latest_at_ms.max(at_ms);
        let known = request_id.and_then(|id| self.outcomes.get(&id).cloned());
        let outcome = match known {
            Some(known) => known,
            None => {
                let outcome = self.apply_op(at_ms, op).unwrap_or_else(Outcome::Rejected);
                if let Some(id) = request_id {
                    self.outcomes.insert(id, outcome.clone());
                    self.order.push_back((id, self.latest_at_ms));
                }
                outcome
            }
        };
        for _ in 0..16 {
            match self.order.front() {
                Some((id, at_ms)) if at_ms + 600_000 < self.latest_at_ms => {
                    self.outcomes.remove(id);
                    self.order.pop_front();
                }
                _ => break,
            }
        }
        outcome
    }

    fn apply_op(&mut self, at_ms: u64, op: &Op) -> Result<Outcome, Rejection> {
        Ok(match op {
            Op::Create => Outcome::Created { extent_id: self.make(at_ms, false) },
            Op::Stage => Outcome::Created { extent_id: self.make(at_ms, true) },
            Op::Put { data, crc32c } => {
                let extent_id = self.make(at_ms, false);
                let made = self.extents.get_mut(&extent_id.get()).expect("just made");
                made.write(0, data);
                made.is_sealed = true;
                Outcome::Stored { extent_id, size: made.size(), crc32c: *crc32c }
            }
            Op::Append { extent_id, data, .. } => {
                let offset = self.find(*extent_id, false)?.size();
                self.write(at_ms, *extent_id, offset, data)?
            }
            Op::Write { extent_id, offset, data, .. } => {
                self.write(at_ms, *extent_id, *offset, data)?
            }
            Op::Seal { extent_id } => {
                let found = self.find(*extent_id, false)?;
                if !found.is_sealed {
                    found.is_sealed = true;
                    found.modified_at_ms = at_ms;
                }
                let whole = found.whole().expect("visible extents have no gaps");
                Outcome::Sealed { size: found.size(), crc32c: Crc32c::of(&whole) }
            }
            Op::Delete { extent_ids } => {
                let mut gone = |&extent_id: &ExtentId| Deleted {
                    extent_id,
                    found: self.extents.remove(&extent_id.get()).is_some(),
                };
                Outcome::Deleted(extent_ids.iter().map(&mut gone).collect())
            }
            Op::StagePart { extent_id, offset, data, .. } => {
                let found = self.find(*extent_id, true)?;
                if offset.checked_add(data.len() as u64).is_none() {
                    return Err(Rejection::TooLarge(*extent_id));
                }
                found.write(*offset, data);
                found.modified_at_ms = found.modified_at_ms.max(at_ms);
                Outcome::Written { offset: *offset, size: found.size() }
            }
            Op::Publish { extent_id, size, crc32c } => {
                let found = self.find(*extent_id, true)?;
                let whole = found.whole().filter(|whole| whole.len() as u64 == *size);
                if whole.is_none_or(|whole| Crc32c::of(&whole) != *crc32c) {
                    return Err(Rejection::StagedMismatch(*extent_id));
                }
                found.is_staged = false;
                found.is_sealed = true;
                found.modified_at_ms = at_ms;
                Outcome::Stored { extent_id: *extent_id, size: *size, crc32c: *crc32c }
            }
            Op::ExpireStaged { before_ms } => {
                let old = |e: &ModelExtent| e.is_staged && e.modified_at_ms < *before_ms;
                let gone: Vec<u64> =
                    self.extents.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
                self.extents.retain(|_, e| !old(e));
                let deleted = |id| Deleted { extent_id: extent(id), found: true };
                Outcome::Deleted(gone.into_iter().map(deleted).collect())
            }
        })
    }

    fn make(&mut self, at_ms: u64, is_staged: bool) -> ExtentId {
        self.last_id += 1;
        let made = ModelExtent { is_staged, modified_at_ms: at_ms, ..ModelExtent::default() };
        self.extents.insert(self.last_id, made);
        extent(self.last_id)
    }

    fn find(&mut self, id: ExtentId, is_staged: bool) -> Result<&mut ModelExtent, Rejection> {
        self.extents
            .get_mut(&id.get())
            .filter(|found| found.is_staged == is_staged)
            .ok_or(Rejection::ExtentNotFound(id))
    }

    fn write(
        &mut self,
        at_ms: u64,
        id: ExtentId,
        offset: u64,
        data: &[u8],
    ) -> Result<Outcome, Rejection> {
        let found = self.find(id, false)?;
        if found.is_sealed {
            return Err(Rejection::ExtentSealed(id));
        }
        let size = found.size();
        if offset > size {
            return Err(Rejection::OffsetOutOfRange { extent_id: id, offset, size });
        }
        found.write(offset, data);
        found.modified_at_ms = at_ms;
        Ok(Outcome::Written { offset, size: found.size() })
    }
}

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
            Step::Command { act, request: name, later_ms } => {
                // Clocks of proposers differ: time goes back a little, too.
                let at_ms = (model.latest_at_ms + later_ms).saturating_sub(10);
                let act = match act {
                    Act::Create | Act::Put(..) | Act::Stage if model.last_id >= IDS => {
                        &Act::Seal(IDS)
                    }
                    act => act,
                };
                let op = model.op(act);
                let request_id = name.map(request);
                let outcome = model.apply(request_id, at_ms, &op);
                self.propose(command(index, request_id, at_ms, op), outcome);
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

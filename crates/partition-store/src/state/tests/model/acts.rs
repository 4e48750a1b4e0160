//! Random commands, whose sizes and offsets depend on the extents they meet.

use proptest::prelude::*;

/// How many ids commands choose from, and how many extents are made at most.
pub(super) const IDS: u64 = 4;

const DAY_MS: i64 = 24 * 3_600_000;

/// How much is written, into an extent whose size is known only then.
#[derive(Debug, Clone, Copy)]
pub(super) enum Len {
    Bytes(usize),
    /// Of the size, so that pieces meet exactly.
    Eighths(u8),
}

/// A position in such an extent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Where {
    /// Eighths of the size.
    Eighths(u8),
    /// Sixteenths of the size, and some bytes more.
    Inside(u8, u8),
    End,
    Beyond(u8),
    Greatest,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
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
pub(super) enum Step {
    Blank,
    /// So much later than the one before, in true time.
    Command {
        act: Act,
        request: Option<u8>,
        later_ms: u64,
    },
    /// Another node leads, or the same one in another term.
    Lead(u64),
    /// The leader's clock is set, by so much ahead of the true time or behind it.
    SetClock(i64),
    EndBatch,
    Flush,
    Reopen,
    Crash,
}

pub(super) fn len() -> impl Strategy<Value = usize> {
    const CHUNK: usize = 128 * 1024;
    prop_oneof![
        4 => 0..40usize,
        2 => 40..5000usize,
        1 => CHUNK - 2..CHUNK + 3,
        1 => CHUNK..3 * CHUNK,
    ]
}

pub(super) fn part() -> impl Strategy<Value = Len> {
    prop_oneof![
        1 => len().prop_map(Len::Bytes),
        2 => (1..5u8).prop_map(Len::Eighths),
    ]
}

pub(super) fn place() -> impl Strategy<Value = Where> {
    prop_oneof![
        8 => (0..8u8).prop_map(Where::Eighths),
        4 => (0..16u8, any::<u8>()).prop_map(|(part, more)| Where::Inside(part, more % 4)),
        3 => Just(Where::End),
        4 => (1..40u8).prop_map(Where::Beyond),
        1 => Just(Where::Greatest),
    ]
}

pub(super) fn act() -> impl Strategy<Value = Act> {
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
        1 => (0..300_000u64).prop_map(Act::ExpireStaged),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let later_ms = prop_oneof![16 => 0..50u64, 8 => 30_000..90_000u64, 1 => Just(11 * 60 * 1000)];
    let off_ms = || prop::sample::select(vec![0, 3_600_000, -3_600_000, 90_000, -500, 10 * DAY_MS]);
    prop_oneof![
        1 => (1..=3u64).prop_map(Step::Lead),
        1 => off_ms().prop_map(Step::SetClock),
        24 => (act(), prop::option::weighted(0.2, 0..12u8), later_ms)
            .prop_map(|(act, request, later_ms)| Step::Command { act, request, later_ms }),
        1 => Just(Step::Blank),
        6 => Just(Step::EndBatch),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

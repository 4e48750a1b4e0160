//! The request window: repeats are answered, not applied, for a while.

use partition_types::{Entry, Op, Outcome};

use crate::check::Verify;
use crate::codec;
use crate::engine::{Batch, Durability, Engine, Table};
use crate::state::{RequestRecord, Space, WindowClock};
use crate::testing::{Rig, append, bytes, command, extent, led_by, partition, request};

const MINUTE_MS: u64 = 60 * 1000;
const WINDOW_MS: u64 = 15 * MINUTE_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

#[tokio::test]
async fn a_repeat_has_the_first_outcome() {
    let rig = Rig::new();
    rig.apply([Op::Create]).await;
    let data = bytes(1, 100);
    let repeat = |index| command(index, Some(request(9)), 5, append(1, &data));
    let first = Outcome::Written { offset: 0, size: 100 };
    // In one batch, in a later one, after a reopening, and after a crash.
    let outcomes = rig.state.apply(vec![repeat(1), repeat(2)]).await.unwrap();
    assert_eq!(outcomes, [first.clone(), first.clone()]);
    assert_eq!(rig.state.apply(vec![repeat(3)]).await.unwrap()[0], first);
    let reopened = Rig::open(rig.engine.image()).unwrap();
    assert_eq!(reopened.state.apply(vec![repeat(4)]).await.unwrap()[0], first);
    reopened.state.flush().await.unwrap();
    let crashed = Rig::open(reopened.engine.durable_image()).unwrap();
    assert_eq!(crashed.state.apply(vec![repeat(5)]).await.unwrap(), [first]);
    assert_eq!(crashed.read(1).await, data);
    // Another name is another request.
    let other = command(6, Some(request(8)), 5, append(1, &data));
    let second = Outcome::Written { offset: 100, size: 200 };
    assert_eq!(crashed.state.apply(vec![other]).await.unwrap(), [second]);
}

#[tokio::test]
async fn a_rejection_is_remembered_like_any_outcome() {
    let rig = Rig::new();
    let seal = |index| command(index, Some(request(1)), 0, Op::Seal { extent_id: extent(1) });
    let first = rig.state.apply(vec![seal(0)]).await.unwrap();
    rig.apply([Op::Create]).await;
    assert_eq!(rig.state.apply(vec![seal(2)]).await.unwrap(), first);
}

/// Entries without a name, a minute apart by the clock of their leader, from `at_ms`
/// on, that together take as long as the window is.
fn a_window(first_index: u64, at_ms: u64) -> Vec<Entry> {
    let nth = |n| command(first_index + n, None, at_ms + n * MINUTE_MS, Op::Create);
    (0..=WINDOW_MS / MINUTE_MS).map(nth).collect()
}

#[tokio::test]
async fn outcomes_are_forgotten_after_the_window() {
    let rig = Rig::new();
    let create = |index, at_ms| command(index, Some(request(1)), at_ms, Op::Create);
    rig.state.apply(vec![create(0, 1000)]).await.unwrap();
    rig.state.apply(a_window(1, 1000)).await.unwrap();
    let applied = rig
        .state
        .apply(vec![
            create(20, 1000 + WINDOW_MS),
            // The clock passes the end of the window with this one.
            command(21, None, 1001 + WINDOW_MS, Op::Create),
            create(22, 1001 + WINDOW_MS),
        ])
        .await
        .unwrap();
    let created = |id| Outcome::Created { extent_id: extent(id) };
    assert_eq!(applied, [created(1), created(18), created(19)]);
    rig.check(Verify::Full).unwrap();
}

/// What the whole matter is about: the leadership moves to a node whose clock is an
/// hour off, in either direction, and back, and the client repeats each time.
#[tokio::test]
async fn leaders_whose_clocks_differ_apply_nothing_twice() {
    for [first, second] in [[0, HOUR_MS], [HOUR_MS, 0], [0, 1000 * HOUR_MS], [u64::MAX, 0]] {
        let rig = Rig::new();
        let data = bytes(1, 100);
        let append = |index, at_ms| command(index, Some(request(1)), at_ms, append(1, &data));
        rig.apply([Op::Create]).await;
        let applied = rig
            .state
            .apply(vec![
                led_by(4, 1, append(1, first)),
                led_by(5, 2, append(2, second)),
                // It uses the clock on: a second passes.
                led_by(5, 2, command(3, None, second + 1000, Op::Create)),
                led_by(5, 2, append(4, second + 1000)),
                led_by(6, 1, append(5, first)),
                led_by(6, 1, append(6, first.saturating_add(1000))),
                // The same term of another leader, or the same leader in another term,
                // as a state that is ahead of its log would have them.
                led_by(6, 2, append(7, second)),
                led_by(7, 2, append(8, second + HOUR_MS)),
            ])
            .await
            .unwrap();
        assert_eq!(applied[0], Outcome::Written { offset: 0, size: 100 });
        for repeat in [1, 3, 4, 5, 6, 7] {
            assert_eq!(applied[repeat], applied[0], "{first} {second}: entry {repeat}");
        }
        assert_eq!(rig.read(1).await, data);
        rig.check(Verify::Full).unwrap();
    }
}

/// The clock of a leader is set an hour ahead, and back, and ahead: each time that it
/// goes further than ever, the window loses a minute at most.
#[tokio::test]
async fn a_clock_that_is_set_ahead_is_not_believed() {
    let rig = Rig::new();
    let create = |index, at_ms| command(index, Some(request(1)), at_ms, Op::Create);
    let jumps = [0, HOUR_MS, 0, HOUR_MS, 2 * HOUR_MS, 1, 3 * HOUR_MS, 4 * HOUR_MS];
    let entries = (0..).zip(jumps).map(|(index, at_ms)| create(index, at_ms)).collect();
    let applied = rig.state.apply(entries).await.unwrap();
    assert!(applied.iter().all(|outcome| *outcome == applied[0]), "{applied:?}");
    let window = rig.state.shared.machine.lock().state().window;
    assert_eq!(window.now_ms, 4 * MINUTE_MS);
    // Nor does a clock that goes back and forth add up.
    let entries = (8..500).map(|index| create(index, 4 * HOUR_MS - index % 2 * 100)).collect();
    rig.state.apply(entries).await.unwrap();
    let window = rig.state.shared.machine.lock().state().window;
    assert_eq!(window.now_ms, 4 * MINUTE_MS);
}

/// What an older program stored counts on from where its own clock was.
#[tokio::test]
async fn the_window_of_an_older_state_counts_on() {
    const LATE_MS: u64 = 1_700_000_000_000;
    let rig = Rig::new();
    let create = |index, at_ms| command(index, Some(request(1)), at_ms, Op::Create);
    let first = rig.state.apply(vec![create(0, LATE_MS)]).await.unwrap();
    let mut state = rig.state.shared.machine.lock().state().clone();
    state.window = WindowClock { now_ms: LATE_MS, reading: None };
    let at_ms = LATE_MS;
    let stored = RequestRecord { request_id: request(1), at_ms };
    let space = Space::new(partition(7), 1);
    let mut batch = Batch::default();
    batch.put(Table::StateMeta, space.state(), codec::encode_state(&state));
    batch.put(Table::StateMeta, space.request(0), codec::encode_request(&stored));
    rig.engine.write(&batch, Durability::Buffered).unwrap();
    let rig = Rig::open(rig.engine.image()).unwrap();
    // By the old program's clock, one that is an hour behind; by that of the new
    // one, whoever leads.
    for (index, at_ms) in [(1, LATE_MS - HOUR_MS), (2, LATE_MS - HOUR_MS + 1000)] {
        assert_eq!(rig.state.apply(vec![create(index, at_ms)]).await.unwrap(), first);
    }
    rig.state.apply(a_window(3, LATE_MS - HOUR_MS)).await.unwrap();
    let late = rig.state.apply(vec![create(30, LATE_MS - HOUR_MS + WINDOW_MS + 1001)]).await;
    assert_eq!(late.unwrap(), first, "only the entry that passes the end forgets");
    let forgotten = rig.state.apply(vec![create(31, LATE_MS)]).await.unwrap();
    assert_ne!(forgotten, first);
    rig.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn an_expired_window_shrinks_step_by_step() {
    let rig = Rig::new();
    let named = |index: u64, at_ms| {
        let id = u8::try_from(index).expect("few entries");
        command(index, Some(request(id)), at_ms, Op::Create)
    };
    rig.state.apply((0..100).map(|index| named(index, 0)).collect()).await.unwrap();
    rig.state.apply(a_window(100, 0)).await.unwrap();
    let mut left = vec![];
    for index in 120..130 {
        rig.state.apply(vec![named(index, WINDOW_MS + 1)]).await.unwrap();
        let checked = rig.check(Verify::Full);
        checked.unwrap();
        left.push(rig.engine.image().keys(Table::StateMeta).len());
    }
    assert!(rig.state.shared.machine.lock().state().request_floor > 90);
    // Each adds an extent and two records of its own, and drops two of sixteen.
    assert_eq!(left[0] - left[1], 32 - 3);
    let extents = 100 + 16 + 10;
    let state_record = 1;
    assert_eq!(left[9], extents + state_record + 2 * 10);
}

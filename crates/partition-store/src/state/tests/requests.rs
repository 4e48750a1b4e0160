//! The request window: repeats are answered, not applied, for a while.

use partition_types::{Op, Outcome};

use crate::check::Verify;
use crate::testing::{Rig, append, bytes, command, extent, request};

const WINDOW_MS: u64 = 10 * 60 * 1000;

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

#[tokio::test]
async fn outcomes_are_forgotten_after_the_window() {
    let rig = Rig::new();
    let create = |index, at_ms| command(index, Some(request(1)), at_ms, Op::Create);
    let created = |id| Outcome::Created { extent_id: extent(id) };
    let applied = rig
        .state
        .apply(vec![
            create(0, 1000),
            create(1, 1000 + WINDOW_MS),
            create(2, 1000 + WINDOW_MS),
            // The clock passes the end of the window with this one.
            command(3, None, 1001 + WINDOW_MS, Op::Create),
            create(4, 1001 + WINDOW_MS),
        ])
        .await
        .unwrap();
    assert_eq!(applied, [created(1), created(1), created(1), created(2), created(3)]);
    rig.check(Verify::Full).unwrap();
}

#[tokio::test]
async fn a_clock_that_is_behind_does_not_turn_back_time() {
    let rig = Rig::new();
    let late = 10 * WINDOW_MS;
    let create = |index| command(index, Some(request(1)), 0, Op::Create);
    let applied = rig
        .state
        .apply(vec![
            command(0, None, late, Op::Create),
            create(1),
            command(2, None, late, Op::Create),
            create(3),
        ])
        .await
        .unwrap();
    assert_eq!(applied[3], applied[1]);
}

#[tokio::test]
async fn an_expired_window_shrinks_step_by_step() {
    let rig = Rig::new();
    let named = |index: u64, at_ms| {
        let id = u8::try_from(index).expect("few entries");
        command(index, Some(request(id)), at_ms, Op::Create)
    };
    rig.state.apply((0..100).map(|index| named(index, 0)).collect()).await.unwrap();
    let mut left = vec![];
    for index in 100..110 {
        rig.state.apply(vec![named(index, WINDOW_MS + 1)]).await.unwrap();
        let checked = rig.check(Verify::Full);
        checked.unwrap();
        left.push(rig.engine.image().keys(crate::engine::Table::StateMeta).len());
    }
    assert!(rig.state.shared.machine.lock().state().request_floor > 90);
    // Each adds an extent and two records of its own, and drops two of sixteen.
    assert_eq!(left[0] - left[1], 32 - 3);
    let extents = 110;
    let state_record = 1;
    assert_eq!(left[9], extents + state_record + 2 * 10);
}

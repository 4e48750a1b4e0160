//! Bounded, in order of priority, and nobody waits for another's check.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use startup_gate::{Concurrency, Config, Handle, Priority, UnitSpec};
use tokio::time::sleep;

use crate::support::{Script, Unit, climb, config, scripts, traced};

/// How much ran at once: now and at most, by lane; lane `usize::MAX` is all.
#[derive(Default)]
struct Load(Mutex<BTreeMap<usize, (usize, usize)>>);

impl Load {
    async fn hold(&self, lane: usize, time: Duration) {
        self.change(lane, true);
        sleep(time).await;
        self.change(lane, false);
    }

    fn change(&self, lane: usize, more: bool) {
        let mut lanes = self.0.lock().expect("no panic");
        for lane in [lane, usize::MAX] {
            let (now, most) = lanes.entry(lane).or_default();
            *now = if more { *now + 1 } else { *now - 1 };
            *most = (*most).max(*now);
        }
    }

    fn most(&self, lane: usize) -> usize {
        self.0.lock().expect("no panic")[&lane].1
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_and_the_whole_are_bounded() {
    for (per_lane, overall, expected) in [(2, 8, 6), (2, 5, 5), (4, 3, 3), (1, 1, 1), (8, 64, 24)] {
        let bound = Concurrency::new(per_lane, overall);
        let (startup, _) =
            traced(Config { load_concurrency: bound, check_concurrency: bound, ..config() });
        let (loads, checks) = (Arc::new(Load::default()), Arc::new(Load::default()));
        let (load, check) = (Arc::clone(&loads), Arc::clone(&checks));
        let units = (1..=60).map(|unit| UnitSpec::new(unit).lane(unit as usize % 3));
        let startup = startup
            .load(
                units,
                move |ticket| {
                    let load = Arc::clone(&load);
                    async move {
                        load.hold(ticket.lane(), Duration::from_millis(7)).await;
                        Ok(())
                    }
                },
                move |ticket, ()| {
                    let check = Arc::clone(&check);
                    async move {
                        check.hold(ticket.lane(), Duration::from_millis(20)).await;
                        Ok(())
                    }
                },
            )
            .await
            .expect("loads");
        for held in [&loads, &checks] {
            assert!((0..3).all(|lane| held.most(lane) <= per_lane), "{bound:?}");
            assert_eq!(held.most(usize::MAX), expected, "{bound:?}");
        }
        assert_eq!(startup.handle().counts().checked, 60);
    }
}

/// A slow lane does not slow another down.
#[tokio::test(start_paused = true)]
async fn lanes_do_not_wait_for_each_other() {
    let slow = Script { lane: 1, load_ms: 5_000, ..Script::good() };
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(50, &vec![slow; 10])).await.expect("all are good");
    let first_slow = trace.at("51 loaded");
    assert!((1..=50).all(|unit| trace.at(&format!("{unit} checked")) < first_slow));
    drop(serving);
}

/// A check begins while others still load.
#[tokio::test(start_paused = true)]
async fn checks_run_beside_loads() {
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(9, &[])).await.expect("all are good");
    assert!(trace.at("1 checked") < trace.at("9 loading"));
    drop(serving);
}

async fn order_of_loads(
    units: Vec<UnitSpec<Unit>>,
    meanwhile: impl FnOnce(Handle<Unit>) + Send + 'static,
) -> Vec<Unit> {
    let one = Concurrency::new(1, 1);
    let (startup, _) = traced(Config { load_concurrency: one, ..config() });
    let handle = startup.handle();
    tokio::spawn(async move {
        sleep(Duration::from_millis(15)).await;
        meanwhile(handle);
    });
    let order = Arc::new(Mutex::new(Vec::new()));
    let load = Arc::clone(&order);
    let startup = startup
        .load(
            units,
            move |ticket| {
                load.lock().expect("no panic").push(*ticket.unit());
                async {
                    sleep(Duration::from_millis(10)).await;
                    Ok(())
                }
            },
            |_, ()| async { Ok(()) },
        )
        .await;
    assert!(startup.is_ok());
    let order = order.lock().expect("no panic");
    order.clone()
}

#[tokio::test(start_paused = true)]
async fn who_is_next() {
    let plain: Vec<_> = (1..=6).map(UnitSpec::new).collect();
    let ranked = vec![
        UnitSpec::new(1),
        UnitSpec::new(2).priority(Priority::HOT),
        UnitSpec::new(3).priority(Priority::QUORUM),
        UnitSpec::new(4).priority(Priority::AWAITED),
        UnitSpec::new(5).priority(Priority::QUORUM),
        UnitSpec::new(6),
    ];
    assert_eq!(order_of_loads(plain.clone(), |_| {}).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(order_of_loads(ranked.clone(), |_| {}).await, [3, 5, 4, 2, 1, 6]);
    // At 15 ms the first is done and the second runs.
    let raised = order_of_loads(plain.clone(), |handle| {
        handle.raise(&6, Priority::AWAITED);
        handle.raise(&5, Priority::QUORUM);
        handle.raise(&1, Priority::QUORUM);
        handle.raise(&99, Priority::QUORUM);
    });
    assert_eq!(raised.await, [1, 2, 5, 6, 3, 4]);
    let lowered = order_of_loads(ranked, |handle| handle.raise(&4, Priority::REST));
    assert_eq!(lowered.await, [3, 5, 4, 2, 1, 6], "a priority is never lowered");
}

/// With few slots overall, a priority counts across lanes.
#[tokio::test(start_paused = true)]
async fn priorities_count_across_lanes() {
    let units = vec![
        UnitSpec::new(1),
        UnitSpec::new(2),
        UnitSpec::new(3).lane(1),
        UnitSpec::new(4).lane(1).priority(Priority::HOT),
        UnitSpec::new(5).lane(2),
        UnitSpec::new(6).lane(2).priority(Priority::QUORUM),
    ];
    assert_eq!(order_of_loads(units, |_| {}).await, [6, 4, 1, 2, 3, 5]);
}

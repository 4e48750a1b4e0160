//! Votes before loads: what the join phase promises.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use startup_gate::{
    Concurrency, Config, Deadlines, FaultKind, JoinTicket, LoadTicket, Priority, Stage, Startup,
    UnitFault, UnitSpec, UnitState, state,
};
use tokio::time::{Instant, sleep};

use crate::support::{End, Script, Trace, Unit, climb, climb_joined, config, scripts, traced};

fn kind(state: Option<UnitState>) -> Option<FaultKind> {
    match state {
        Some(UnitState::Quarantined { fault }) => Some(fault.kind()),
        _ => None,
    }
}

/// One load slot, a tenth of a second a load.
fn slow() -> (Config, Script) {
    let config = Config { load_concurrency: Concurrency::new(1, 1), ..config() };
    (config, Script { join_ms: 1, load_ms: 100, ..Script::good() })
}

#[tokio::test(start_paused = true)]
async fn votes_do_not_wait_for_slow_loads() {
    let (config, script) = slow();
    let all = scripts(0, &vec![script; 20]);
    let (startup, trace) = traced(config);
    let serving = climb_joined(startup, all.clone()).await.expect("all are good");
    let first_loaded = trace.at("1 loaded");
    for unit in 1..=20 {
        let vote = trace.at(&format!("vote {unit}"));
        assert!(trace.at(&format!("{unit} joining")) < vote);
        assert!(vote < trace.at(&format!("{unit} joined")));
        assert!(vote < first_loaded);
        assert!(trace.at(&format!("{unit} joined")) < trace.at(&format!("{unit} loading")));
    }
    let report = serving.handle().report();
    assert_eq!(report.voting_ms, Some(5.0), "twenty joins of 1 ms in four slots");
    assert_eq!(report.slowest[0].join_ms, 1.0);
    assert_eq!(report.ready_ms, Some(2_006.0));

    let (startup, _) = traced(slow().0);
    let serving = climb(startup, all).await.expect("all are good");
    assert_eq!(serving.handle().report().voting_ms, Some(1_900.0), "what it is there to avoid");
}

/// In what order units were begun.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<Unit>>>);

impl Order {
    fn push(&self, unit: Unit) {
        self.0.lock().expect("no panic").push(unit);
    }

    fn get(&self) -> Vec<Unit> {
        self.0.lock().expect("no panic").clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_raised_unit_joins_and_loads_first() {
    let one = Concurrency::new(1, 1);
    let (startup, _) = traced(Config { join_concurrency: one, load_concurrency: one, ..config() });
    let handle = startup.handle();
    tokio::spawn(async move {
        // The second of six joins is under way.
        sleep(Duration::from_millis(15)).await;
        handle.raise(&6, Priority::HOT);
        // All are joined, the first loads.
        sleep(Duration::from_millis(55)).await;
        assert_eq!(handle.counts().joined, 5);
        handle.raise(&5, Priority::QUORUM);
    });
    let (joins, loads) = (Order::default(), Order::default());
    let (joined, loaded) = (joins.clone(), loads.clone());
    let join = move |ticket: JoinTicket<Unit>| {
        joined.push(*ticket.unit());
        async move {
            sleep(Duration::from_millis(10)).await;
            ticket.log_readable()
        }
    };
    let load = move |ticket: LoadTicket<Unit>, _vote| {
        loaded.push(*ticket.unit());
        async {
            sleep(Duration::from_millis(100)).await;
            Ok(())
        }
    };
    let units = (1..=6).map(UnitSpec::new);
    let startup = startup.load_joined(units, join, load, |_, ()| async { Ok(()) }).await;
    assert!(startup.is_ok());
    assert_eq!(joins.get(), [1, 2, 6, 3, 4, 5]);
    assert_eq!(loads.get(), [1, 5, 6, 2, 3, 4]);
}

/// A dead disk costs one stall timeout, and only its own units, even if it
/// never filled its slots.
#[tokio::test(start_paused = true)]
async fn a_join_that_stalls_costs_its_lane_only() {
    for (join_concurrency, stalled_units) in
        [(Concurrency::new(4, 16), 4), (Concurrency::new(16, 64), 16), (Concurrency::new(16, 6), 6)]
    {
        let began = Instant::now();
        let (startup, trace) =
            traced(Config { join_concurrency, max_quarantined: 0.5, ..config() });
        let handle = startup.handle();
        let good = Script { join_ms: 1, ..Script::good() };
        let hung = Script { join: End::Hang, lane: 1, ..good.clone() };
        let all = scripts(0, &[vec![good; 20], vec![hung; 20]].concat());
        let climbing = tokio::spawn(climb_joined(startup, all));
        sleep(Duration::from_secs(1)).await;
        let checked = |unit| handle.state_of(&unit) == Some(UnitState::Checked);
        assert!((1..=20).all(checked), "the other lane does not wait");
        assert_eq!(handle.report().voting_ms, None);
        let serving = climbing.await.expect("no panic").expect("half is allowed");
        assert_eq!(began.elapsed().as_secs(), 10, "{join_concurrency:?}");
        let kinds: Vec<_> = (21..=40).map(|unit| kind(handle.state_of(&unit))).collect();
        let count = |kind| kinds.iter().filter(|other| **other == Some(kind)).count();
        assert_eq!(count(FaultKind::Stalled), stalled_units, "{kinds:?}");
        assert_eq!(count(FaultKind::LaneStalled), 20 - stalled_units, "{kinds:?}");
        assert!(!trace.has("vote 21"));
        let voting_ms = handle.report().voting_ms.expect("of those that are left");
        assert!((10_000.0..10_100.0).contains(&voting_ms), "{voting_ms}");
        drop(serving);
    }
}

/// A stalled join holds back what its lane would begin next, loads too.
#[tokio::test(start_paused = true)]
async fn a_suspect_lane_loads_nothing_new() {
    let hung = Script { join: End::Hang, ..Script::good() };
    let slow = Script { load_ms: 9_900, ..Script::good() };
    let late = Script { join_ms: 9_000, ..Script::good() };
    let one = Concurrency::new(1, 1);
    let (startup, trace) =
        traced(Config { load_concurrency: one, max_quarantined: 1.0, ..config() });
    let handle = startup.handle();
    // The first load ends before the stall, the second is under way then.
    let all = scripts(0, &[slow.clone(), hung, slow, late]);
    let climbing = tokio::spawn(climb_joined(startup, all));
    sleep(Duration::from_millis(10_500)).await;
    assert_eq!(kind(handle.state_of(&2)), Some(FaultKind::Stalled));
    assert_eq!(handle.state_of(&3), Some(UnitState::Loading));
    assert_eq!(handle.state_of(&4), Some(UnitState::Joined), "no slot is free");
    let serving = climbing.await.expect("no panic");
    assert!(serving.is_ok());
    assert!(trace.at("3 loaded") < trace.at("4 loading"), "an answer ends the suspicion");
}

#[tokio::test(start_paused = true)]
async fn a_fault_after_the_join_keeps_the_vote() {
    let bad_load = Script { join_ms: 1, ..Script::corrupt() };
    let bad_check = Script {
        join_ms: 1,
        check: End::Fault(UnitFault::corrupt("applied 9 is above last 7")),
        ..Script::good()
    };
    let bad_join = Script { join: End::Fault(UnitFault::missing("no vote")), ..Script::good() };
    let (startup, trace) = traced(Config { max_quarantined: 1.0, ..config() });
    let all = scripts(1, &[bad_load, bad_check, bad_join]);
    let serving = climb_joined(startup, all).await.expect("accepted");
    let handle = serving.handle();
    let kinds: Vec<_> = (1..=4).map(|unit| kind(handle.state_of(&unit))).collect();
    let corrupt = Some(FaultKind::Corrupt);
    assert_eq!(kinds, [None, corrupt, corrupt, Some(FaultKind::Missing)]);
    for (unit, votes) in [(1, true), (2, true), (3, true), (4, false)] {
        assert_eq!(trace.has(&format!("vote {unit}")), votes, "{unit}");
        assert_eq!(trace.has(&format!("campaign {unit}")), unit == 1, "{unit}");
    }
    let report = handle.report();
    let stages: Vec<_> = report.quarantined.iter().map(|unit| unit.stage).collect();
    assert_eq!(stages, [Stage::Load, Stage::Check, Stage::Load]);
    assert_eq!((report.quarantined[0].join_ms, report.quarantined[0].load_ms), (1.0, 10.0));
    assert_eq!(report.voting_ms, Some(1.0), "who is quarantined is not waited for");
}

#[tokio::test(start_paused = true)]
async fn a_join_has_the_bounds_of_a_load() {
    let panics = Script { join: End::Panic, ..Script::good() };
    let hangs = Script { join: End::Hang, ..Script::good() };
    let late = Script { join_ms: 5_000, ..Script::good() };
    let none = Deadlines::default();
    let unit = Deadlines { unit: Some(Duration::from_secs(4)), ..none };
    let load = Deadlines { load: Some(Duration::from_secs(4)), ..none };
    let cases = [
        (panics, none, FaultKind::Panicked, 0),
        (hangs, none, FaultKind::Stalled, 10),
        (late.clone(), unit, FaultKind::TimedOut, 4),
        (late, load, FaultKind::TimedOut, 4),
    ];
    for (bad, deadlines, expected, after_s) in cases {
        let began = Instant::now();
        let (startup, trace) = traced(Config { deadlines, ..config() });
        let serving = climb_joined(startup, scripts(9, &[bad])).await.expect("within the budget");
        assert_eq!(kind(serving.handle().state_of(&10)), Some(expected));
        assert_eq!(began.elapsed().as_secs(), after_s, "{expected}");
        assert!(!trace.has("vote 10"), "{expected}");
    }
}

/// The deadline of the stage covers units in all states before the barrier.
#[tokio::test(start_paused = true)]
async fn a_deadline_empties_every_queue() {
    let deadlines = Deadlines { load: Some(Duration::from_millis(250)), ..Deadlines::default() };
    let (config, slow) = slow();
    let one = Concurrency::new(1, 1);
    let (startup, _) =
        traced(Config { join_concurrency: one, deadlines, accept_degraded: true, ..config });
    let handle = startup.handle();
    let late = Script { join_ms: 60, ..slow };
    let climbing = tokio::spawn(climb_joined(startup, scripts(0, &vec![late; 8])));
    sleep(Duration::from_millis(249)).await;
    let counts = handle.counts();
    let states = (counts.waiting, counts.joining, counts.joined, counts.loading, counts.checked);
    assert_eq!(states, (3, 1, 2, 1, 1));
    let serving = climbing.await.expect("no panic");
    assert!(serving.is_ok());
    assert_eq!((handle.counts().ready, handle.counts().quarantined), (1, 7));
}

/// Joins without an answer that never says its log is readable.
async fn join_silently(
    startup: Startup<Unit, state::Load>,
    keep: Arc<Mutex<Option<JoinTicket<Unit>>>>,
) -> Startup<Unit, state::Check> {
    let join = move |ticket| {
        *keep.lock().expect("no panic") = Some(ticket);
        async { Ok(()) }
    };
    let load = |ticket: LoadTicket<Unit>, ()| async {
        let refused = ticket.log_readable().expect_err("too late");
        assert_eq!(refused.kind(), FaultKind::Failed);
        assert!(refused.detail().contains("in the join"), "{refused}");
        Ok(())
    };
    let check = |_, ()| async { Ok(()) };
    startup.load_joined([UnitSpec::new(1)], join, load, check).await.expect("loads")
}

#[tokio::test(start_paused = true)]
async fn a_join_without_a_vote_is_allowed_and_final() {
    let (startup, trace) = traced(config());
    let handle = startup.handle();
    let kept = Arc::new(Mutex::new(None));
    let startup = join_silently(startup, Arc::clone(&kept)).await;
    let ticket = kept.lock().expect("no panic").take().expect("it was joined");
    let late = ticket.log_readable().expect_err("the join is over");
    assert_eq!(late.kind(), FaultKind::Withdrawn);
    let startup = startup.check(async { Ok(()) }).await.expect("fit");
    let startup = startup.elect(drop, |_| async { Ok(()) }).await;
    assert!(startup.is_ok());
    assert!(trace.has("campaign 1") && !trace.has("vote 1"));
    assert_eq!(handle.state_of(&1), Some(UnitState::Ready));
    assert_eq!(handle.report().voting_ms, None);
}

/// What was joined and waits for its load is not kept for who was given up.
#[tokio::test(start_paused = true)]
async fn what_was_joined_is_dropped_with_its_unit() {
    let (config, _) = slow();
    let (startup, _) = traced(Config { accept_degraded: true, ..config });
    let handle = startup.handle();
    let alive = Arc::new(());
    let count = Arc::downgrade(&alive);
    let join = move |ticket: JoinTicket<Unit>| {
        let alive = Arc::clone(&alive);
        async move { ticket.log_readable().map(|_vote| alive) }
    };
    let load = |_, alive: Arc<()>| async move {
        sleep(Duration::from_millis(100)).await;
        drop(alive);
        Ok(())
    };
    let units = (1..=5).map(UnitSpec::new);
    let loading = tokio::spawn(async move {
        startup.load_joined(units, join, load, |_, ()| async { Ok(()) }).await.map(drop)
    });
    sleep(Duration::from_millis(50)).await;
    // The closure's own, the one that loads, four that wait.
    assert_eq!(count.strong_count(), 6);
    handle.quarantine(&3, UnitFault::unreadable("disk 0 failed"));
    handle.quarantine(&1, UnitFault::unreadable("disk 0 failed"));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(count.strong_count(), 4);
    assert_eq!(handle.state_of(&2), Some(UnitState::Loading), "the slot is free again");
    assert!(loading.await.expect("no panic").is_ok());
    assert_eq!(count.strong_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_report_knows_of_joins() {
    let slow = Script { join_ms: 3_000, lane: 1, ..Script::good() };
    let (startup, _) = traced(config());
    let handle = startup.handle();
    let climbing = tokio::spawn(climb_joined(startup, scripts(1, &[slow])));
    sleep(Duration::from_secs(2)).await;
    let report = handle.report();
    assert_eq!((report.stage, report.units.joining, report.units.checked), (Stage::Load, 1, 1));
    assert_eq!(report.critical_path, "load for 2.00 s: load 2.00 s, waits for 2: joining");
    let blocking = &report.blocking[1];
    assert_eq!(
        (blocking.stage, blocking.state, blocking.join_ms),
        (Stage::Load, "joining", 2_000.0)
    );
    let serving = climbing.await.expect("no panic").expect("all are good");
    let report = serving.handle().report();
    assert_eq!(
        report.critical_path,
        "listening after 3.02 s: load 3.01 s, last 2 on lane 1: join 3.00 s, load 10.0 ms; check 5.0 ms, last 2 on lane 1: 5.0 ms"
    );
    let slowest = &report.slowest[0];
    assert_eq!((slowest.unit.as_str(), slowest.start_ms, slowest.join_ms), ("2", 0.0, 3_000.0));
    assert_eq!(report.stages[0].units_done, 2);
}

/// A cancelled start grants nothing more, whoever still holds a ticket.
#[tokio::test(start_paused = true)]
async fn no_vote_after_a_cancel() {
    let (startup, trace): (_, Arc<Trace>) = traced(config());
    let handle = startup.handle();
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let join = move |ticket| {
        *keep.lock().expect("no panic") = Some(ticket);
        std::future::pending::<Result<(), UnitFault>>()
    };
    let joining = tokio::spawn(async move {
        let load = |_, ()| async { Ok(()) };
        startup.load_joined([UnitSpec::new(1)], join, load, |_, ()| async { Ok(()) }).await
    });
    sleep(Duration::from_millis(10)).await;
    assert_eq!(handle.state_of(&1), Some(UnitState::Joining));
    assert!(handle.cancel());
    let error = joining.await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.to_string(), "start cancelled in load");
    let ticket: JoinTicket<Unit> = kept.lock().expect("no panic").take().expect("it began");
    assert!(ticket.progress().is_withdrawn());
    assert_eq!(ticket.log_readable().expect_err("over").kind(), FaultKind::Withdrawn);
    assert!(!trace.has("vote 1"));
}

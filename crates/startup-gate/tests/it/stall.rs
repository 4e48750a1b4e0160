//! No progress, slow progress, and hard deadlines.

use std::time::Duration;

use startup_gate::{Concurrency, Config, Deadlines, FaultKind, StartError, UnitSpec, UnitState};
use tokio::time::{Instant, sleep};

use crate::support::{End, Script, climb, config, scripts, traced};

fn kind(state: Option<UnitState>) -> Option<FaultKind> {
    match state {
        Some(UnitState::Quarantined { fault }) => Some(fault.kind()),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn one_hung_unit_does_not_hold_the_others() {
    for hung in [Script::hung(), Script { check: End::Hang, ..Script::good() }] {
        let began = Instant::now();
        let (startup, trace) = traced(config());
        let serving = climb(startup, scripts(9, &[hung])).await.expect("within the budget");
        assert_eq!(kind(serving.handle().state_of(&10)), Some(FaultKind::Stalled));
        assert!(!trace.has("campaign 10"));
        let took = began.elapsed();
        assert!((10.0..10.1).contains(&took.as_secs_f64()), "at the stall timeout, not {took:?}");
    }
}

/// Ten times the stall timeout is fine as long as it moves.
#[tokio::test(start_paused = true)]
async fn slow_but_moving_is_left_alone() {
    let began = Instant::now();
    let (startup, _) = traced(config());
    let startup = startup
        .load(
            [UnitSpec::new(1)],
            |ticket| async move {
                for _ in 0..20 {
                    sleep(Duration::from_secs(5)).await;
                    ticket.progress().tick();
                }
                Ok(())
            },
            |_, ()| async { Ok(()) },
        )
        .await
        .expect("loads");
    assert_eq!(startup.handle().state_of(&1), Some(UnitState::Checked));
    assert_eq!(began.elapsed(), Duration::from_secs(100));
}

/// A dead disk costs one stall timeout, not one for every unit on it.
#[tokio::test(start_paused = true)]
async fn a_dead_lane_is_given_up_as_a_whole() {
    let on_dead_lane = Script { lane: 1, ..Script::hung() };
    let began = Instant::now();
    let (startup, trace) = traced(Config { max_quarantined: 0.5, ..config() });
    let all = scripts(20, &vec![on_dead_lane; 20]);
    let serving = climb(startup, all).await.expect("half is allowed");
    assert_eq!(began.elapsed().as_secs(), 10);
    let kinds: Vec<_> = (21..=40).map(|unit| kind(serving.handle().state_of(&unit))).collect();
    let stalled = kinds.iter().filter(|kind| **kind == Some(FaultKind::Stalled)).count();
    let behind = kinds.iter().filter(|kind| **kind == Some(FaultKind::LaneStalled)).count();
    assert_eq!((stalled, behind), (2, 18), "{kinds:?}");
    assert_eq!(serving.handle().counts().ready, 20);
    assert!(!trace.has("vote 40"), "it was never begun");
}

/// A lane with one slot: one hung unit does not condemn it, two in a row do.
#[tokio::test(start_paused = true)]
async fn scattered_stalls_do_not_kill_a_lane() {
    let (hung, good) = (Script::hung, Script::good);
    let cases = [
        (1, vec![hung(), good(), good()], 3),
        (1, vec![hung(), good(), hung(), good()], 3),
        (1, vec![hung(), hung(), good(), good()], 1),
        (2, vec![hung(), hung(), good(), good()], 1),
        (1, vec![hung(), Script::corrupt(), hung(), good()], 2),
        (3, vec![hung(), hung(), good(), good(), good()], 4),
    ];
    for (slots, others, ready) in cases {
        let load_concurrency = Concurrency::new(slots, 8);
        let config = Config { load_concurrency, accept_degraded: true, ..config() };
        let (startup, _) = traced(config);
        let serving = climb(startup, scripts(1, &others)).await.expect("accepted");
        assert_eq!(serving.handle().counts().ready, ready, "{slots} slots, {others:?}");
    }
}

/// While it is unknown whether a lane lives, nothing more is sent into it.
#[tokio::test(start_paused = true)]
async fn a_suspect_lane_begins_nothing_new() {
    let slow = Script { load_ms: 13_000, ..Script::good() };
    let (startup, trace) = traced(Config { stall_timeout: Duration::from_secs(10), ..config() });
    let handle = startup.handle();
    let climbing = tokio::spawn(async move {
        let load = move |ticket: startup_gate::LoadTicket<u32>| {
            let slow = slow.clone();
            async move {
                if *ticket.unit() == 1 {
                    return std::future::pending().await;
                }
                sleep(Duration::from_millis(slow.load_ms / 2)).await;
                ticket.progress().tick();
                sleep(Duration::from_millis(slow.load_ms / 2)).await;
                Ok(())
            }
        };
        startup.load([1, 2, 3].map(UnitSpec::new), load, |_, ()| async { Ok(()) }).await
    });
    sleep(Duration::from_secs(12)).await;
    assert_eq!(kind(handle.state_of(&1)), Some(FaultKind::Stalled));
    assert_eq!(handle.state_of(&3), Some(UnitState::Waiting));
    assert!(climbing.await.expect("no panic").is_ok());
    assert!(trace.at("2 loaded") < trace.at("3 loading"));
    assert_eq!(handle.state_of(&3), Some(UnitState::Checked));
}

#[tokio::test(start_paused = true)]
async fn hard_deadlines_hold_even_for_what_moves() {
    let slow = Script { load_ms: 9_000, ..Script::good() };
    let unit = Deadlines { unit: Some(Duration::from_secs(4)), ..Deadlines::default() };
    let load = Deadlines { load: Some(Duration::from_secs(4)), ..Deadlines::default() };
    for deadlines in [unit, load] {
        let began = Instant::now();
        let (startup, _) = traced(Config { deadlines, ..config() });
        let all = scripts(9, std::slice::from_ref(&slow));
        let serving = climb(startup, all).await.expect("within the budget");
        assert_eq!(kind(serving.handle().state_of(&10)), Some(FaultKind::TimedOut));
        assert_eq!(began.elapsed().as_secs(), 4, "{deadlines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_blocks_its_thread_learns_that_it_is_not_wanted() {
    let (told, learns) = std::sync::mpsc::channel();
    let (startup, _) = traced(Config { accept_degraded: true, ..config() });
    let result = startup
        .load(
            [UnitSpec::new(1)],
            move |ticket| {
                let told = told.clone();
                async move {
                    let progress = ticket.progress().clone();
                    tokio::spawn(async move {
                        progress.withdrawn().await;
                        let _ = told.send((progress.is_withdrawn(), ticket.log_readable()));
                    });
                    std::future::pending::<Result<(), _>>().await
                }
            },
            |_, ()| async { Ok(()) },
        )
        .await;
    assert!(result.is_ok());
    tokio::task::yield_now().await;
    let (withdrawn, vote) = learns.try_recv().expect("it was told");
    assert!(withdrawn);
    assert_eq!(vote.expect_err("no vote any more").kind(), FaultKind::Withdrawn);
}

#[tokio::test(start_paused = true)]
async fn the_port_has_its_deadline() {
    let deadlines = Deadlines { listen: Some(Duration::from_secs(2)), ..Deadlines::default() };
    let (startup, _) = traced(Config { deadlines, ..config() });
    let startup = startup.load([], |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    let startup = startup.expect("nothing to load").check(async { Ok(()) }).await;
    let startup = startup.expect("fit").elect(drop, |_| async { Ok(()) }).await;
    let listening = startup.expect("nobody to wait for");
    let never = listening.listen(|_right| std::future::pending::<std::io::Result<()>>()).await;
    assert!(matches!(never, Err(StartError::Deadline { .. })), "{never:?}");
}

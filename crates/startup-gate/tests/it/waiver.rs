//! Units whose quorum is elsewhere and away.

use std::time::Duration;

use startup_gate::{Policy, Stage, UnitState};
use tokio::time::{Instant, sleep};

use crate::support::{Script, climb, config, scripts, traced};

/// One that is not to be here any more is none of them.
#[tokio::test(start_paused = true)]
async fn a_unit_that_is_gone_is_not_waited_for() {
    let began = Instant::now();
    let strict = startup_gate::Config { policy: Policy::Strict, ..config() };
    let (startup, trace) = traced(strict);
    let gone = Script { gone_ms: Some(500), ..Script::leaderless() };
    let serving = climb(startup, scripts(2, &[gone])).await.expect("nothing is wrong");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "it was waited for: {took:?}");
    let handle = serving.handle();
    assert_eq!(handle.state_of(&3), None);
    assert!(trace.has("3 removed"));
    let report = handle.report();
    assert!(report.waived.is_empty() && report.quarantined.is_empty());
    assert_eq!((report.units.total(), report.units.ready), (2, 2));
    let elect = report.stages[2].clone();
    assert_eq!((elect.units_total, elect.units_done, elect.units_gone), (2, 2, 1));
    assert_eq!((elect.units_failed, elect.units_waived), (0, 0));
    assert!(serving.admission().admit(3, 0).is_ok(), "it may come again");
}

/// One that was waived may go too, and the gate stays open.
#[tokio::test(start_paused = true)]
async fn a_waived_unit_goes_when_it_is_found_to_be_gone() {
    let (startup, _) = traced(config());
    let gone = Script { gone_ms: Some(60_000), ..Script::leaderless() };
    let serving = climb(startup, scripts(1, &[gone])).await.expect("waived");
    let handle = serving.handle();
    assert_eq!(handle.counts().waived, 1);
    sleep(Duration::from_secs(70)).await;
    assert_eq!((handle.state_of(&2), handle.counts().total()), (None, 1));
    assert!(handle.is_open());
    assert_eq!(handle.report().stages[2].units_gone, 0, "not while it started");
}

/// Its owner may say so at any time, also while it is loaded.
#[tokio::test(start_paused = true)]
async fn a_unit_that_is_deleted_while_it_loads_holds_up_nobody() {
    let (startup, trace) = traced(config());
    let handle = startup.handle();
    let climbing = tokio::spawn(climb(startup, scripts(1, &[Script::hung()])));
    sleep(Duration::from_millis(100)).await;
    assert!(handle.remove(&2));
    assert!(!handle.remove(&2), "it is gone already");
    let serving = climbing.await.expect("no panic").expect("good");
    assert!(trace.has("2 removed") && !trace.has("2 quarantined"));
    let report = serving.handle().report();
    assert_eq!((report.stages[0].units_gone, report.units.total()), (1, 1));
    assert!(report.voting_ms.is_some(), "every unit that is left votes");
}

#[tokio::test(start_paused = true)]
async fn the_gate_opens_without_them_at_the_timeout() {
    let began = Instant::now();
    let (startup, trace) = traced(config());
    let all = scripts(2, &[Script::leaderless()]);
    let serving = climb(startup, all).await.expect("waived");
    assert_eq!(began.elapsed().as_secs(), 3);
    let state = serving.handle().state_of(&3).expect("known");
    assert_eq!(state, UnitState::Waived { reason: "no leader for 3".into() });
    assert!(trace.has("campaign 3"), "a waived unit may campaign: its quorum may need it");
    let report = serving.handle().report();
    assert_eq!(report.waived.len(), 1);
    assert_eq!(report.waived[0].reason.as_deref(), Some("no leader for 3"));
}

/// It is asked on, and turns ready without a restart.
#[tokio::test(start_paused = true)]
async fn they_turn_ready_when_their_quorum_is_back() {
    let (startup, trace) = traced(config());
    let late = Script { confirm_ms: Some(60_000), ..Script::good() };
    let serving = climb(startup, scripts(1, &[late])).await.expect("waived");
    let handle = serving.handle();
    assert_eq!(handle.counts().waived, 1);
    sleep(Duration::from_secs(50)).await;
    assert_eq!(handle.counts().waived, 1, "not yet");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(handle.state_of(&2), Some(UnitState::Ready));
    assert!(trace.at("2 waived") < trace.at("2 ready"));
    assert!(handle.report().waived.is_empty());
    let elect = handle.report().stages[2].clone();
    assert_eq!((elect.units_done, elect.units_waived), (1, 1), "the start's story stays");
}

/// The last answer is what is shown, even after the gate opened.
#[tokio::test(start_paused = true)]
async fn the_reason_follows_the_answers() {
    let (startup, _) = traced(config());
    let startup = startup
        .load([startup_gate::UnitSpec::new(1)], |_| async { Ok(()) }, |_, ()| async { Ok(()) })
        .await
        .expect("loads");
    let startup = startup.check(async { Ok(()) }).await.expect("fit");
    let startup = startup
        .elect(drop, |ask| async move {
            Err(startup_gate::NotConfirmed::pending(ask.waited.as_secs() / 20))
        })
        .await
        .expect("waived");
    let reason = || startup.handle().report().waived[0].reason.clone();
    assert_eq!(reason().as_deref(), Some("0"));
    sleep(Duration::from_secs(50)).await;
    assert_eq!(reason().as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_answer_is_waived_too() {
    let (startup, _) = traced(config());
    let startup = startup
        .load([startup_gate::UnitSpec::new(1)], |_| async { Ok(()) }, |_, ()| async { Ok(()) })
        .await
        .expect("loads");
    let startup = startup.check(async { Ok(()) }).await.expect("fit");
    let startup = startup.elect(drop, |_| std::future::pending()).await.expect("waived");
    let state = startup.handle().state_of(&1);
    assert_eq!(state, Some(UnitState::Waived { reason: "never answered".into() }));
}

#[tokio::test(start_paused = true)]
async fn strict_keeps_the_port_closed_until_they_are_confirmed() {
    let (startup, trace) = traced(startup_gate::Config { policy: Policy::Strict, ..config() });
    let handle = startup.handle();
    let late = Script { confirm_ms: Some(600_000), ..Script::good() };
    let climbing = tokio::spawn(climb(startup, scripts(1, &[late])));
    sleep(Duration::from_secs(500)).await;
    assert_eq!(handle.stage(), Stage::Elect);
    assert_eq!(handle.report().blocking[0].reason.as_deref(), Some("no leader for 2"));
    let serving = climbing.await.expect("no panic").expect("all are confirmed");
    assert!(!trace.has("2 waived"));
    assert!(serving.handle().is_open());
}

/// What nobody needs is loaded, checked and may campaign; its confirmation waits for
/// whoever does.
#[tokio::test(start_paused = true)]
async fn what_is_idle_is_confirmed_when_it_is_needed() {
    let began = Instant::now();
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(2, &[Script::idle()])).await.expect("nothing is wrong");
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for it");
    let handle = serving.handle();
    assert_eq!(handle.state_of(&3), Some(UnitState::Deferred));
    assert!(trace.has("campaign 3"), "somebody may need it at any time");
    assert!(trace.at("3 checked") < trace.at("campaign 3"));
    let report = handle.report();
    assert_eq!((report.units.ready, report.units.deferred, report.units.total()), (2, 1, 3));
    let elect = report.stages[2].clone();
    assert_eq!((elect.units_done, elect.units_deferred, elect.units_waived), (2, 1, 0));
    let line = &report.critical_path;
    assert!(line.ends_with("; 1 idle, each confirmed when it is needed"), "{line}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(handle.counts().deferred, 1, "it is not asked about again");

    assert!(handle.confirm(&3));
    assert_eq!(handle.state_of(&3), Some(UnitState::Ready));
    assert!(!handle.confirm(&3), "it is no news");
    assert!(!handle.confirm(&4), "nobody knows it");
    assert_eq!(handle.report().stages[2].units_deferred, 1, "the start's story stays");
}

/// It opens when it is told that it was confirmed after all.
#[tokio::test(start_paused = true)]
async fn a_strict_gate_waits_for_what_is_idle() {
    let strict = startup_gate::Config { policy: Policy::Strict, ..config() };
    let (startup, _) = traced(strict);
    let handle = startup.handle();
    let climbing = tokio::spawn(climb(startup, scripts(1, &[Script::idle()])));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(handle.stage(), Stage::Elect, "it opens for nothing less");
    assert!(handle.confirm(&2));
    let serving = climbing.await.expect("no panic").expect("good");
    assert_eq!(serving.handle().counts().ready, 2);
}

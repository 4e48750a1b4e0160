//! A start that is told to stop, or dropped, in any stage.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use startup_gate::{
    Handle, NotOpened, Stage, StartError, StartErrorKind, Startup, StepEnd, UnitSpec, state,
};
use tokio::time::sleep;

use crate::support::{Unit, config, traced};

/// Counts futures that are alive.
#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Breath(Arc<AtomicUsize>);

impl Alive {
    fn breathe(&self) -> Breath {
        self.0.fetch_add(1, Ordering::SeqCst);
        Breath(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Breath {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Climbs and hangs in one stage.
async fn hang_in(
    stage: &'static str,
    startup: Startup<Unit, state::Load>,
    alive: Alive,
) -> Result<(), StartError> {
    let alive_too = alive.clone();
    let hang = move |at: &'static str| {
        let breath = alive.breathe();
        async move {
            if stage == at {
                pending::<()>().await;
            }
            drop(breath);
        }
    };
    let (join, load, check, confirm) = (hang.clone(), hang.clone(), hang.clone(), hang.clone());
    let joined = alive_too;
    let startup = startup
        .load_joined(
            (1..=5).map(UnitSpec::new),
            move |ticket| {
                let (hang, joined) = (join("join"), joined.breathe());
                async move {
                    hang.await;
                    let _vote = ticket.log_readable()?;
                    Ok(joined)
                }
            },
            move |_, _joined| {
                let hang = load("load");
                async move {
                    hang.await;
                    Ok(())
                }
            },
            move |_, ()| {
                let hang = check("unit check");
                async move {
                    hang.await;
                    Ok(())
                }
            },
        )
        .await?;
    let hang_check = hang("check");
    let startup = startup
        .check(async {
            hang_check.await;
            Ok(())
        })
        .await?;
    let startup = startup
        .elect(drop, move |_| {
            let hang = confirm("elect");
            async move {
                hang.await;
                Ok(())
            }
        })
        .await?;
    let opening = hang("listen");
    let (_serving, ()) = startup
        .listen(|_right| async {
            opening.await;
            Ok(())
        })
        .await?;
    Ok(())
}

const STAGES: [(&str, Stage); 6] = [
    ("join", Stage::Load),
    ("load", Stage::Load),
    ("unit check", Stage::Check),
    ("check", Stage::Check),
    ("elect", Stage::Elect),
    ("listen", Stage::Listen),
];

#[tokio::test(start_paused = true)]
async fn told_to_stop_in_each_stage() {
    for (name, stage) in STAGES {
        let (startup, trace) = traced(config());
        let handle = startup.handle();
        let alive = Alive::default();
        let climbing = tokio::spawn(hang_in(name, startup, alive.clone()));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(handle.stage(), stage, "{name}");
        assert!(alive.count() > 0, "{name}");
        assert!(handle.unwind().is_none(), "{name}: still going up");

        assert!(handle.cancel(), "{name}");
        assert!(handle.unwind().is_none(), "{name}: the start has not let go yet");
        let error = climbing.await.expect("no panic").expect_err("cancelled");
        assert_eq!(error.to_string(), format!("start cancelled in {stage}"), "{name}");
        assert_eq!(error.kind(), StartErrorKind::Stop);
        assert_eq!(alive.count(), 0, "{name}: nothing is left running");
        assert!(!handle.cancel(), "{name}: nothing is left to stop");
        assert_eq!(handle.opened().await, Err(NotOpened { stage: Stage::Stopped }));
        assert!(!trace.has("stage serving"), "{name}");
        unwind(&handle).await;
    }
}

async fn unwind(handle: &Handle<Unit>) {
    let down = handle.unwind().expect("a failed start can be unwound");
    let report = down.flush(async {}).await.unload(async {}).await;
    let steps: Vec<_> = report.steps.iter().map(|step| (step.step.as_str(), step.end)).collect();
    assert_eq!(steps, [("flush", Some(StepEnd::Done)), ("unload", Some(StepEnd::Done))]);
    assert!(handle.unwind().is_none(), "once");
}

#[tokio::test(start_paused = true)]
async fn dropped_in_each_stage() {
    for (name, stage) in STAGES {
        let (startup, _) = traced(config());
        let handle = startup.handle();
        let alive = Alive::default();
        let climbing = tokio::spawn(hang_in(name, startup, alive.clone()));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(handle.stage(), stage, "{name}");
        climbing.abort();
        assert!(climbing.await.expect_err("aborted").is_cancelled());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(handle.stage(), Stage::Stopped, "{name}");
        assert_eq!(alive.count(), 0, "{name}: nothing is left running");
        unwind(&handle).await;
    }
}

/// A load that does not let go of its thread at once is waited for: the caller
/// is about to close what it works on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_load_is_gone_when_the_call_returns() {
    let startup = Startup::new(startup_gate::Config::default(), Vec::new()).expect("good");
    let handle = startup.handle();
    let alive = Alive::default();
    let counted = alive.clone();
    let climbing = tokio::spawn(async move {
        let load = move |_| {
            let breath = counted.breathe();
            async move {
                loop {
                    std::thread::sleep(Duration::from_millis(100));
                    tokio::task::yield_now().await;
                    let _ = &breath;
                }
            }
        };
        startup.load([UnitSpec::new(1)], load, |_, ()| async { Ok(()) }).await
    });
    sleep(Duration::from_millis(150)).await;
    handle.cancel();
    assert!(climbing.await.expect("no panic").is_err());
    assert_eq!(alive.count(), 0);
}

/// A cancel between two stages is not lost.
#[tokio::test(start_paused = true)]
async fn told_to_stop_between_stages() {
    let (startup, _) = traced(config());
    let handle = startup.handle();
    let startup = startup.load([], |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    handle.cancel();
    let checked = startup.expect("came first").check(async { Ok(()) }).await;
    assert!(matches!(checked, Err(StartError::Cancelled { stage: Stage::Check })), "{checked:?}");

    let (startup, _) = traced(config());
    startup.handle().cancel();
    let loaded = startup.load([], |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    assert!(matches!(loaded, Err(StartError::Cancelled { stage: Stage::Load })), "{loaded:?}");
}

/// A cancel while `open` finishes: either it serves or it is cancelled, and in
/// the latter case what was opened is dropped.
#[tokio::test(start_paused = true)]
async fn a_cancel_that_comes_first_closes_the_port_again() {
    let (startup, _) = traced(config());
    let handle = startup.handle();
    let startup = startup.load([], |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    let startup = startup.expect("no units").check(async { Ok(()) }).await.expect("fit");
    let startup = startup.elect(drop, |_| async { Ok(()) }).await.expect("nobody");
    let port = Alive::default();
    let open = port.clone();
    let opened = startup
        .listen(|_right| async move {
            let port = open.breathe();
            handle.cancel();
            Ok(port)
        })
        .await;
    assert!(matches!(opened, Err(StartError::Cancelled { stage: Stage::Listen })));
    assert_eq!(port.count(), 0);
}

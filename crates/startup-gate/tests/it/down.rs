//! The same list backwards.

use std::time::Duration;

use startup_gate::{DownDeadlines, NotAdmitted, Stage, StepEnd};
use tokio::time::sleep;

use crate::support::{Script, climb, config, scripts, traced};

#[tokio::test(start_paused = true)]
async fn the_steps_in_order() {
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(1, &[])).await.expect("good");
    let handle = serving.handle();
    let admission = serving.admission();
    let down = serving
        .drain(async {
            assert_eq!(handle.stage(), Stage::Draining, "before the notice, not after it");
            assert!(!handle.is_open());
            sleep(Duration::from_secs(2)).await;
        })
        .await;
    let refused = admission.admit(7, 0).expect_err("nothing new");
    assert_eq!(refused, NotAdmitted::NotServing { stage: Stage::Draining });
    let down = down.hand_over(async {}).await.close(async {}).await.flush(async {}).await;
    assert_eq!(handle.stage(), Stage::Draining);
    let report = down.unload(async {}).await;
    assert_eq!(report.stage, Stage::Stopped);
    assert!(!report.ready && report.failure.is_none());
    assert_eq!(report.steps[0].end_ms.map(|end| end - report.steps[0].start_ms), Some(2_000.0));
    let lines = trace.lines();
    assert_eq!(
        lines[trace.at("stage draining")..],
        [
            "stage draining",
            "step notice",
            "step notice done",
            "step hand_over",
            "step hand_over done",
            "step close",
            "step close done",
            "step flush",
            "step flush done",
            "step unload",
            "step unload done",
            "stage stopped"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn each_step_ends_at_its_deadline_or_its_panic() {
    let second = Some(Duration::from_secs(1));
    let down = DownDeadlines {
        notice: second,
        hand_over: second,
        close: second,
        flush: second,
        unload: second,
    };
    let (startup, _) = traced(startup_gate::Config { down, ..config() });
    let serving = climb(startup, scripts(1, &[])).await.expect("good");
    let never = std::future::pending::<()>;
    let down = serving.drain(never()).await.hand_over(never()).await;
    let down = down.close(async { panic!("scripted panic") }).await;
    let report = down.flush(never()).await.unload(never()).await;
    let ends: Vec<_> = report.steps.iter().filter_map(|step| step.end).collect();
    use StepEnd::{Panicked, TimedOut};
    assert_eq!(ends, [TimedOut, TimedOut, Panicked, TimedOut, TimedOut]);
    assert_eq!(report.stage, Stage::Stopped);
}

/// The second signal: no more waiting for others, but nothing volatile is lost.
#[tokio::test(start_paused = true)]
async fn a_hurry_cuts_what_waits_for_others() {
    let (startup, _) = traced(config());
    let serving = climb(startup, scripts(1, &[])).await.expect("good");
    let handle = serving.handle();
    assert!(!handle.cancel(), "a node that serves is drained by its owner");
    assert!(!handle.hurry(), "nor is there anything to cut short");
    assert!(handle.is_open());
    let hurry = async {
        assert!(!handle.cancel(), "a late cancel of the start harms nobody");
        tokio::task::yield_now().await;
        assert!(handle.hurry());
        std::future::pending::<()>().await;
    };
    let down = serving.drain(async {}).await.hand_over(hurry).await;
    let mut flushed = false;
    let down = down.close(async { unreachable!("it is cut before it begins") }).await;
    let down = down.flush(async { flushed = true }).await;
    let report = down.unload(async {}).await;
    let ends: Vec<_> = report.steps.iter().filter_map(|step| step.end).collect();
    assert_eq!(ends, [StepEnd::Done, StepEnd::Cut, StepEnd::Cut, StepEnd::Done, StepEnd::Done]);
    assert!(flushed);
}

#[tokio::test(start_paused = true)]
async fn it_can_be_called_off_while_the_port_is_open() {
    let (startup, trace) = traced(config());
    let late = Script { confirm_ms: Some(100_000), ..Script::good() };
    let serving = climb(startup, scripts(1, &[late])).await.expect("waived");
    let handle = serving.handle();
    let serving = serving.drain(async {}).await.resume();
    assert!(handle.is_open());
    let down = serving.drain(async {}).await;
    handle.hurry();
    let serving = down.hand_over(async {}).await.resume();
    assert!(handle.is_open());
    assert!(serving.admission().admit(7, 0).is_ok());
    sleep(Duration::from_secs(100)).await;
    assert!(trace.has("2 ready"), "waived units are still asked");
    let down = serving.drain(async {}).await.hand_over(async {}).await.close(async {}).await;
    let report = down.flush(async {}).await.unload(async {}).await;
    assert!(report.steps.iter().all(|step| step.end == Some(StepEnd::Done)), "the cut is over");
    assert_eq!(report.steps.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn dropped_half_way_it_is_stopped() {
    let (startup, _) = traced(config());
    let serving = climb(startup, scripts(1, &[])).await.expect("good");
    let handle = serving.handle();
    drop(serving.drain(async {}).await);
    assert_eq!(handle.stage(), Stage::Stopped);
    assert!(handle.unwind().is_none(), "that is for failed starts");
}

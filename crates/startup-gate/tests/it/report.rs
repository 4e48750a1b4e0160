//! The time-line: what took how long, and what the gate waits for.

use std::time::Duration;

use startup_gate::{Config, Report, Stage};
use tokio::time::sleep;

use crate::support::{Script, climb, config, scripts, traced};

async fn report_of(good: u32, others: &[Script]) -> Report {
    let lane_names = vec!["disk 0".to_owned(), "disk 1".to_owned()];
    let (startup, _) = traced(Config { lane_names, ..config() });
    let serving = climb(startup, scripts(good, others)).await.expect("opens");
    serving.handle().report()
}

#[tokio::test(start_paused = true)]
async fn the_critical_path_names_what_the_time_went_into() {
    let slow_load = Script { lane: 1, load_ms: 1_200, ..Script::good() };
    let slow_check = Script { lane: 1, check_ms: 700, ..Script::good() };
    let slow_elect = Script { confirm_ms: Some(2_000), ..Script::good() };
    let cases: [(&[Script], &str); 5] = [
        (
            &[],
            "listening after 25.0 ms: load 20.0 ms, last 4: queued 10.0 ms, load 10.0 ms; check 5.0 ms, last 4: 5.0 ms",
        ),
        (
            &[slow_load],
            "listening after 1.21 s: load 1.20 s, last 5 on disk 1: 1.20 s; check 5.0 ms, last 5 on disk 1: 5.0 ms",
        ),
        (
            &[slow_check],
            "listening after 0.71 s: load 20.0 ms, last 4 on disk 0: queued 10.0 ms, load 10.0 ms; check 0.69 s, last 5 on disk 1: 0.69 s",
        ),
        (
            &[slow_elect],
            "listening after 2.58 s: load 30.0 ms, last 5: queued 20.0 ms, load 10.0 ms; check 5.0 ms, last 5: 5.0 ms; elect 2.55 s, last 5: no leader for 5",
        ),
        (
            &[Script::leaderless()],
            "listening after 3.04 s: load 30.0 ms, last 5: queued 20.0 ms, load 10.0 ms; check 5.0 ms, last 5: 5.0 ms; elect 3.00 s, last 5: no leader for 5",
        ),
    ];
    for (others, expected) in cases {
        assert_eq!(report_of(4, others).await.critical_path, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn spans_are_named_where_they_are_worth_it() {
    let (startup, _) = traced(config());
    let handle = startup.handle();
    sleep(Duration::from_millis(5)).await;
    let opening = handle.span("open disk 2");
    sleep(Duration::from_secs(2)).await;
    drop(opening);
    let serving = climb(startup, scripts(2, &[])).await.expect("opens");
    let report = serving.handle().report();
    assert!(
        report
            .critical_path
            .starts_with("listening after 2.02 s: load 2.02 s, of which open disk 2 2.00 s; check"),
        "{}",
        report.critical_path
    );
    assert_eq!(report.spans.len(), 1);
    assert_eq!((report.spans[0].start_ms, report.spans[0].end_ms), (5.0, Some(2_005.0)));
    drop(serving.handle().span("compaction"));
    assert_eq!(serving.handle().report().spans.len(), 1, "no list that grows for ever");
}

/// Neither is all of the stage: together they are.
#[tokio::test(start_paused = true)]
async fn a_span_is_named_beside_the_last_unit() {
    let (startup, _) = traced(config());
    let opening = startup.handle().span("open disks");
    sleep(Duration::from_millis(25)).await;
    drop(opening);
    let serving = climb(startup, scripts(4, &[])).await.expect("opens");
    let line = serving.handle().report().critical_path;
    let expected = "listening after 50.0 ms: load 45.0 ms, of which open disks 25.0 ms, last 4: queued 10.0 ms, load 10.0 ms; check";
    assert!(line.starts_with(expected), "{line}");
}

#[tokio::test(start_paused = true)]
async fn stages_and_units_are_counted_and_timed() {
    let report = report_of(3, &[Script::corrupt(), Script::leaderless()]).await;
    assert_eq!((report.stage, report.ready), (Stage::Serving, true));
    let stages: Vec<_> = report
        .stages
        .iter()
        .map(|s| (s.stage.as_str(), s.units_total, s.units_done, s.units_failed, s.units_waived))
        .collect();
    assert_eq!(
        stages,
        [
            ("load", 5, 4, 1, 0),
            ("check", 4, 4, 0, 0),
            ("elect", 4, 3, 0, 1),
            ("listen", 0, 0, 0, 0)
        ]
    );
    let mut end = 0.0;
    for stage in &report.stages {
        assert!(stage.start_ms >= end, "{stage:?}");
        end = stage.end_ms.expect("it is over");
    }
    assert_eq!(report.ready_ms, Some(end));
    assert_eq!(report.slowest[0].unit, "5");
    assert_eq!((report.slowest[0].load_ms, report.slowest[0].elect_ms), (10.0, 3_000.0));
    assert_eq!(report.quarantined[0].unit, "4");
    assert_eq!(report.quarantined[0].stage, Stage::Load);
    assert_eq!(report.quarantined[0].reason.as_deref(), Some("corrupt: bad checksum"));
    assert!(report.blocking.is_empty());
    assert!(report.gate_overhead_ms > 0.0);
}

#[tokio::test(start_paused = true)]
async fn while_it_starts_it_says_what_it_waits_for() {
    let (startup, _) = traced(config());
    let handle = startup.handle();
    let changes = handle.subscribe();
    let slow = Script { load_ms: 5_000, lane: 1, ..Script::good() };
    let climbing = tokio::spawn(climb(startup, scripts(1, &vec![slow; 300])));
    sleep(Duration::from_secs(2)).await;
    assert!(changes.has_changed().expect("alive"));
    assert!(handle.progress_count() > 300);
    let report = handle.report();
    assert_eq!((report.stage, report.ready, report.ready_ms), (Stage::Load, false, None));
    assert_eq!(report.blocking.len(), 100, "bounded");
    assert_eq!(report.units.total(), 301);
    assert_eq!(report.critical_path, "load for 2.00 s: load 2.00 s, waits for 2: loading");
    assert_eq!(report.slowest[0].load_ms, 2_000.0);
    handle.cancel();
    assert!(climbing.await.expect("no panic").is_err());
    let report = handle.report();
    assert_eq!(report.failure.as_deref(), Some("start cancelled in load"));
    assert!(report.critical_path.starts_with("stopped after 2.00 s (start cancelled in load)"));
}

/// The names in the JSON are an interface.
#[tokio::test(start_paused = true)]
async fn the_json_has_stable_names() {
    let report = report_of(1, &[Script::corrupt()]).await;
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["stage"], "serving");
    assert_eq!(json["units"]["quarantined"], 1);
    assert_eq!(
        json["quarantined"][0],
        serde_json::json!({
            "unit": "2", "lane": "disk 0", "stage": "load", "state": "quarantined",
            "start_ms": 0.0, "end_ms": 10.0, "join_ms": 0.0, "load_ms": 10.0, "check_ms": 0.0,
            "elect_ms": 0.0, "reason": "corrupt: bad checksum",
        })
    );
    let mut names: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "blocking",
            "critical_path",
            "failure",
            "gate_overhead_ms",
            "quarantined",
            "ready",
            "ready_ms",
            "slowest",
            "spans",
            "stage",
            "stages",
            "steps",
            "units",
            "voting_ms",
            "waived"
        ]
    );
    let mut states: Vec<_> = json["units"].as_object().expect("counts").keys().cloned().collect();
    states.sort();
    assert_eq!(
        states,
        [
            "checked",
            "checking",
            "deferred",
            "electing",
            "joined",
            "joining",
            "loaded",
            "loading",
            "quarantined",
            "ready",
            "waiting",
            "waived"
        ]
    );
}

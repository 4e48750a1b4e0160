//! One bad unit, too many of them, and a bad node.

use std::time::Duration;

use startup_gate::{
    Deadlines, FaultKind, NodeFault, Policy, Stage, StartError, StartErrorKind, UnitFault,
    UnitState,
};

use crate::support::{End, Script, climb, climb_with, config, scripts, traced};

/// What a start came to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Opens { quarantined: usize },
    OverBudget { quarantined: usize, allowed: usize },
    Strict { quarantined: usize },
}

struct Case {
    name: &'static str,
    good: u32,
    others: Vec<Script>,
    policy: Policy,
    max_quarantined: f64,
    accept_degraded: bool,
    expected: Outcome,
}

fn case(name: &'static str, good: u32, others: &[Script], expected: Outcome) -> Case {
    Case {
        name,
        good,
        others: others.to_vec(),
        policy: Policy::Quarantine,
        max_quarantined: 0.1,
        accept_degraded: false,
        expected,
    }
}

async fn check(case: Case) {
    let (startup, trace) = traced(startup_gate::Config {
        policy: case.policy,
        max_quarantined: case.max_quarantined,
        accept_degraded: case.accept_degraded,
        ..config()
    });
    let handle = startup.handle();
    let ended = climb(startup, scripts(case.good, &case.others)).await;
    let outcome = match &ended {
        Ok(serving) => {
            let counts = serving.handle().counts();
            assert_eq!(counts.ready, case.good as usize, "{}", case.name);
            Outcome::Opens { quarantined: counts.quarantined }
        }
        Err(StartError::OverBudget { quarantined, allowed, .. }) => {
            Outcome::OverBudget { quarantined: *quarantined, allowed: *allowed }
        }
        Err(StartError::Strict { quarantined, .. }) => {
            Outcome::Strict { quarantined: *quarantined }
        }
        Err(other) => panic!("{}: {other}", case.name),
    };
    assert_eq!(outcome, case.expected, "{}", case.name);
    assert_eq!(trace.has("serve"), ended.is_ok(), "{}", case.name);
    if let Err(error) = ended {
        assert_eq!(error.kind(), StartErrorKind::Repair, "{}", case.name);
        assert_eq!(handle.stage(), Stage::Stopped, "{}", case.name);
        assert_eq!(handle.report().failure, Some(error.to_string()), "{}", case.name);
    }
}

#[tokio::test(start_paused = true)]
async fn quarantine_budget_and_strictness() {
    use Outcome::{Opens, OverBudget, Strict};
    let bad = Script::corrupt;
    let missing = || Script { load: End::Fault(UnitFault::missing("no directory")), ..bad() };
    let in_check = || Script {
        check: End::Fault(UnitFault::corrupt("applied 9 is above last 7")),
        ..Script::good()
    };
    let in_elect = || Script { confirm_fault: true, ..Script::good() };
    let panics = || Script { load: End::Panic, ..Script::good() };
    let cases = [
        case("all are good", 9, &[], Opens { quarantined: 0 }),
        case("corrupt", 9, &[bad()], Opens { quarantined: 1 }),
        case("missing", 9, &[missing()], Opens { quarantined: 1 }),
        case("fails its check", 9, &[in_check()], Opens { quarantined: 1 }),
        case("fails in elect", 9, &[in_elect()], Opens { quarantined: 1 }),
        case("panics", 9, &[panics()], Opens { quarantined: 1 }),
        case("one of few: the budget is rounded up", 1, &[bad()], Opens { quarantined: 1 }),
        case("two of ten", 8, &[bad(), bad()], OverBudget { quarantined: 2, allowed: 1 }),
        case(
            "the second is found in elect",
            8,
            &[bad(), in_elect()],
            OverBudget { quarantined: 2, allowed: 1 },
        ),
        Case {
            max_quarantined: 0.0,
            ..case("no budget", 9, &[bad()], OverBudget { quarantined: 1, allowed: 0 })
        },
        Case {
            max_quarantined: 0.2,
            ..case("a larger budget", 8, &[bad(), bad()], Opens { quarantined: 2 })
        },
        Case {
            accept_degraded: true,
            ..case("accepted", 1, &[bad(), bad(), bad()], Opens { quarantined: 3 })
        },
        Case { policy: Policy::Strict, ..case("strict", 9, &[bad()], Strict { quarantined: 1 }) },
        Case {
            policy: Policy::Strict,
            accept_degraded: true,
            ..case("strict beats accepted", 9, &[in_check()], Strict { quarantined: 1 })
        },
        Case {
            policy: Policy::Strict,
            ..case("strict in elect", 9, &[in_elect()], Strict { quarantined: 1 })
        },
        Case { policy: Policy::Strict, ..case("strict, good", 9, &[], Opens { quarantined: 0 }) },
    ];
    for case in cases {
        check(case).await;
    }
}

/// A faulty unit never gets the right to campaign, but keeps its vote.
#[tokio::test(start_paused = true)]
async fn the_quarantined_vote_but_do_not_campaign() {
    let (startup, trace) = traced(config());
    let panics = Script { check: End::Panic, ..Script::good() };
    let serving = climb(startup, scripts(1, &[panics])).await.expect("within the budget");
    let Some(UnitState::Quarantined { fault }) = serving.handle().state_of(&2) else {
        panic!("{:?}", serving.handle().state_of(&2))
    };
    assert_eq!((fault.kind(), fault.detail()), (FaultKind::Panicked, "scripted panic"));
    assert!(trace.has("vote 2") && trace.has("campaign 1"));
    assert!(!trace.has("campaign 2"));
}

#[tokio::test(start_paused = true)]
async fn a_bad_node_does_not_start() {
    let (startup, trace) = traced(config());
    let handle = startup.handle();
    let foreign = async { Err(NodeFault::new("this directory belongs to node 7")) };
    let error = climb_with(startup, scripts(2, &[]), foreign).await.expect_err("unfit");
    assert_eq!(error.to_string(), "check: this directory belongs to node 7");
    assert_eq!(error.kind(), StartErrorKind::Repair);
    let StartError::Node { fault, .. } = error else { panic!("{error}") };
    assert_eq!(fault.into_inner().to_string(), "this directory belongs to node 7");
    assert_eq!(handle.stage(), Stage::Stopped);
    assert!(!trace.has("campaign 1"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_node_wide_check_is_an_error() {
    let (startup, _) = traced(config());
    let error = climb_with(startup, scripts(1, &[]), async { panic!("index") }).await;
    let error = error.expect_err("it panicked");
    assert_eq!(error.to_string(), "check panicked: index");
}

#[tokio::test(start_paused = true)]
async fn the_node_wide_check_has_its_deadline() {
    let deadlines = Deadlines { check: Some(Duration::from_secs(2)), ..Deadlines::default() };
    let (startup, _) = traced(startup_gate::Config { deadlines, ..config() });
    let error = climb_with(startup, scripts(1, &[]), std::future::pending()).await;
    let error = error.expect_err("too long");
    assert_eq!(error.kind(), StartErrorKind::Retry);
    assert_eq!(error.to_string(), "check took longer than 2s");
}

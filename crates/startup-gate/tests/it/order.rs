//! Nothing happens before its turn.

use std::sync::Arc;
use std::time::Duration;

use startup_gate::{
    Change, ConfigError, Observer, Priority, Stage, StartError, Startup, TracingObserver, UnitSpec,
};

use crate::support::{Unit, climb, config, scripts, traced};

#[tokio::test(start_paused = true)]
async fn each_right_is_granted_in_its_stage() {
    let (startup, trace) = traced(config());
    let handle = startup.handle();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.opened().await }
    });
    let serving = climb(startup, scripts(5, &[])).await.expect("all are good");
    assert!(handle.is_open());
    assert_eq!(waiting.await.expect("no panic"), Ok(()));

    let barrier = trace.at("stage elect");
    let gate = trace.at("stage listen");
    for unit in 1..=5 {
        let vote = trace.at(&format!("vote {unit}"));
        assert!(trace.at(&format!("{unit} loading")) < vote);
        assert!(vote < trace.at(&format!("{unit} loaded")), "votes while it loads");
        assert!(trace.at(&format!("{unit} checked")) < barrier);
        assert!(barrier < trace.at(&format!("campaign {unit}")));
        assert!(trace.at(&format!("{unit} ready")) < gate);
    }
    assert!(trace.at("stage check") < barrier);
    assert!(gate < trace.at("serve"));
    assert!(trace.at("serve") < trace.at("stage serving"));
    drop(serving);
    assert_eq!(handle.stage(), Stage::Stopped, "a dropped owner is a stop");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_units_opens_at_once() {
    let (startup, trace) = traced(config());
    let serving = climb(startup, scripts(0, &[])).await.expect("nothing to wait for");
    assert_eq!(
        trace.lines(),
        ["stage check", "stage elect", "stage listen", "serve", "stage serving"]
    );
    drop(serving);
}

#[tokio::test(start_paused = true)]
async fn a_unit_given_twice_is_refused() {
    let (startup, _) = traced(config());
    let units = [1, 2, 1].map(UnitSpec::new);
    let refused = startup.load(units, |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    assert!(matches!(refused, Err(StartError::DuplicateUnit { unit }) if unit == "1"));
}

#[test]
fn settings_are_checked() {
    let cases = [
        (1.5, 50, 60, Some(ConfigError::MaxQuarantined { value: 1.5 })),
        (-0.1, 50, 60, Some(ConfigError::MaxQuarantined { value: -0.1 })),
        (0.1, 0, 60, Some(short("confirm_interval"))),
        (0.1, 50, 0, Some(short("stall_timeout"))),
        (0.0, 1, 1, None),
    ];
    for (max_quarantined, confirm_ms, stall_ms, expected) in cases {
        let config = startup_gate::Config {
            max_quarantined,
            confirm_interval: Duration::from_millis(confirm_ms),
            stall_timeout: Duration::from_millis(stall_ms),
            ..startup_gate::Config::default()
        };
        assert_eq!(config.validate().err(), expected);
        let startup = Startup::<Unit, _>::new(config, Vec::new());
        assert_eq!(startup.err(), expected);
    }
}

fn short(name: &'static str) -> ConfigError {
    ConfigError::TooShort { name, value: Duration::ZERO }
}

/// An observer may use the handle, and its panic harms nobody.
#[tokio::test(start_paused = true)]
async fn observers_may_look_back_and_may_panic() {
    struct Curious(std::sync::OnceLock<startup_gate::Handle<Unit>>);
    impl Observer<Unit> for Curious {
        fn on_change(&self, change: &Change<Unit>) {
            let report = self.0.get().map(startup_gate::Handle::report);
            assert!(report.is_none_or(|report| report.units.total() != 3), "at {change:?}");
        }
    }
    let curious = Arc::new(Curious(std::sync::OnceLock::new()));
    let observers: Vec<Arc<dyn Observer<Unit>>> = vec![Arc::clone(&curious) as _];
    let startup = Startup::new(config(), observers).expect("a good config");
    curious.0.set(startup.handle()).expect("set once");
    let serving = climb(startup, scripts(3, &[])).await.expect("the gate goes on");
    assert!(serving.handle().is_open());
}

/// Rights to campaign are handed out by priority, then in the given order, and
/// not at all to who was quarantined meanwhile.
#[tokio::test(start_paused = true)]
async fn who_campaigns_first() {
    let (startup, _) = traced(config());
    let handle = startup.handle();
    let units = [
        UnitSpec::new(1),
        UnitSpec::new(2).priority(Priority::HOT),
        UnitSpec::new(3).priority(Priority::QUORUM),
        UnitSpec::new(4),
    ];
    let startup = startup.load(units, |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    handle.raise(&4, Priority::AWAITED);
    let startup = startup.expect("loads").check(async { Ok(()) }).await.expect("fit");
    handle.quarantine(&2, startup_gate::UnitFault::unreadable("disk 0 failed"));
    let mut order = Vec::new();
    let startup = startup.elect(|right| order.push(*right.unit()), |_| async { Ok(()) }).await;
    assert!(startup.is_ok());
    assert_eq!(order, [3, 4, 1]);
}

/// The gate itself costs little, and in proportion to the number of units.
#[tokio::test]
async fn ten_thousand_units_cost_little() {
    let observers: Vec<Arc<dyn Observer<Unit>>> = vec![Arc::new(TracingObserver)];
    let startup = Startup::new(startup_gate::Config::default(), observers).expect("good");
    let units = (1..=10_000).map(|unit| UnitSpec::new(unit).lane(unit as usize % 4));
    let startup = startup.load(units, |_| async { Ok(()) }, |_, ()| async { Ok(()) }).await;
    let startup = startup.expect("loads").check(async { Ok(()) }).await.expect("fit");
    let startup = startup.elect(drop, |_| async { Ok(()) }).await.expect("all are confirmed");
    let (serving, ()) = startup.listen(|_right| async { Ok(()) }).await.expect("opens");
    let report = serving.handle().report();
    assert_eq!(report.units.ready, 10_000);
    // Generous: this is an unoptimised build on a busy machine.
    let per_unit_ms = report.gate_overhead_ms / 10_000.0;
    assert!(per_unit_ms < 1.0, "{per_unit_ms} ms a unit");
}

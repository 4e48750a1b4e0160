//! Rolling restarts under load, in short: what clients were left with is
//! counted; how long it took is for `cargo xtask roll` to measure.

use serde_json::Value;

use crate::foreign::program;
use crate::node::datanode;

/// Small, but with all there is.
const SMALL: &[&str] = &[
    "trial",
    "roll",
    "--partitions=12",
    "--baseline-s=1",
    "--return-timeout-s=3",
    "--pause-ms=5",
    "--json",
];

/// Runs a roll; gives whether it was content, its report, and what it said.
fn roll(arguments: &[&str]) -> (bool, Value, String) {
    let few: &[&str] = match arguments.contains(&"--python") {
        true => &["--clients=0", "--python-clients=4"],
        false => &["--clients=8"],
    };
    trial(&[SMALL, few, arguments].concat())
}

fn trial(arguments: &[&str]) -> (bool, Value, String) {
    // A trial that finds something keeps its nodes' directories, to be looked at.
    let dir = tempfile::tempdir().unwrap();
    let output = datanode().args(arguments).env("TMPDIR", dir.path()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let report = said.lines().find(|line| line.starts_with('{'));
    let report = serde_json::from_str(report.unwrap_or_else(|| panic!("{said}"))).unwrap();
    (output.status.success(), report, said)
}

/// Each of three nodes was restarted by `signal`, and nobody was left with anything.
fn check(arguments: &[&str], signal: &str) -> Value {
    check_nodes(&[1, 2, 3], arguments, signal)
}

fn check_nodes(expected: &[u64], arguments: &[&str], signal: &str) -> Value {
    let (content, report, said) = roll(&[&["--rounds=1"], arguments].concat());
    assert!(content, "{said}");
    for zero in
        ["errors", "lost", "stale", "wrong", "self_led_prelisten", "leader_unserved_seconds"]
    {
        assert_eq!(report[zero], 0, "{zero}: {said}");
    }
    let restarts = report["restarts"].as_array().unwrap();
    let nodes: Vec<_> = restarts.iter().map(|row| row["node"].as_u64().unwrap()).collect();
    assert_eq!(nodes, expected);
    for row in restarts {
        assert_eq!(row["signal"], signal);
        assert!(row["reads"].as_u64() > Some(0) && row["writes"].as_u64() > Some(0), "{row}");
    }
    assert!(report["checked"]["objects"].as_u64() >= Some(12), "{said}");
    assert_eq!(report["checked"]["partitions_compared"], 12, "{said}");
    report
}

#[test]
fn clients_do_not_notice_a_rolling_restart() {
    let plot = tempfile::NamedTempFile::new().unwrap();
    let report = check(&["--plot", plot.path().to_str().unwrap()], "SIGTERM");
    // The way down is in order: each was seen to lead nothing before it went.
    for row in report["restarts"].as_array().unwrap() {
        assert!(row["led"] == 0 || row["drain_ms"].is_number(), "{row}");
    }
    let plot = std::fs::read_to_string(plot.path()).unwrap();
    assert_eq!(plot.matches("class=\"down\"").count(), 3, "{plot}");
}

#[test]
fn clients_are_left_with_no_error_by_kills_and_slow_loads() {
    let report = check(&["--kill", "--load-delay-ms=20"], "SIGKILL");
    assert_eq!(report["load_delay_ms"], 20);
}

/// The fourth node has no replica at first; each move waits for the nodes that it needs.
#[test]
fn clients_do_not_notice_a_roll_while_replicas_move() {
    let report = check_nodes(&[1, 2, 3, 4], &["--during=membership"], "SIGTERM");
    let churn = &report["churn"];
    // A busy machine may take longer to start a node than a change waits for it.
    assert!(churn["failed"].as_u64() <= Some(1), "{churn}");
    assert!(churn["added"].as_u64() >= Some(4), "{churn}");
}

#[test]
fn a_stock_python_client_does_not_notice_a_rolling_restart() {
    let python = program("DATANODE_TEST_PYTHON", "python3");
    let report = check(&["--python", python.to_str().unwrap()], "SIGTERM");
    assert_eq!(report["own"], Value::Null);
    let python = &report["python"];
    assert_eq!(python["errors"], 0);
    assert!(python["ops"].as_u64() > Some(100), "{python}");
    assert!(python["objects"].as_u64() >= Some(12), "{python}");
}

#[test]
fn planted_faults_are_found() {
    for (plant, found) in
        [("forget-ack", "lost"), ("stale-read", "stale"), ("append-twice", "wrong")]
    {
        let (content, report, said) = roll(&["--rounds=0", "--plant", plant]);
        assert!(!content, "{plant}: {said}");
        assert!(report[found].as_u64() > Some(0), "{plant}: {said}");
        assert!(said.contains("error: "), "{plant}: {said}");
    }
}

/// What `cargo xtask bench startup` measures, of few partitions: each kind of start happens,
/// and leads when it may.
#[test]
fn starts_are_measured() {
    let (content, report, said) = trial(&[
        "trial",
        "startup",
        "--partitions=6,12",
        "--rounds=1",
        "--extents=3",
        "--unflushed-mib=1",
        "--json",
    ]);
    assert!(content, "{said}");
    let rows = report["rows"].as_array().unwrap();
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| (row["partitions"].as_u64().unwrap(), row["mode"].as_str().unwrap()))
        .collect();
    let modes = ["sigterm", "sigkill", "replay", "cold"];
    let expected: Vec<_> =
        [6, 12].into_iter().flat_map(|of| modes.map(|mode| (of, mode))).collect();
    assert_eq!(kinds, expected);
    for row in rows {
        assert!(row["gate_overhead_ratio"].is_number(), "{row}");
        let has_to_replay = row["unflushed_mib"].as_f64() >= Some(1.0);
        assert_eq!(has_to_replay, row["mode"] == "replay", "{row}");
        let led = row["leader_spread"].as_array().unwrap().iter().map(|led| led.as_u64().unwrap());
        let led: Vec<_> = led.collect();
        assert_eq!(led.iter().sum::<u64>(), row["partitions"].as_u64().unwrap(), "{row}");
        // Who starts beside others leaves it to them; when all start, somebody has to.
        let before_port = row["self_led_prelisten"].as_u64().unwrap();
        if row["mode"] == "cold" {
            assert!(before_port >= row["partitions"].as_u64().unwrap(), "{row}");
        } else {
            assert_eq!((before_port, &row["leader_unserved_seconds"]), (0, &0.0.into()), "{row}");
        }
    }
    assert_eq!(report["growth"].as_array().unwrap().len(), modes.len(), "{said}");
}

/// What `cargo xtask bench idle` measures, of few partitions: groups that sleep say nothing, and
/// the first request to each succeeds.
#[test]
fn sleep_is_measured() {
    let (content, report, said) =
        trial(&["trial", "idle", "--partitions=12", "--window-s=2", "--json"]);
    assert!(content, "{said}");
    let rows = report["rows"].as_array().unwrap();
    let calls: Vec<_> = rows
        .iter()
        .map(|row| {
            assert_eq!((&row["failed"], row["samples"].as_u64() > Some(0)), (&0.into(), true));
            (row["mode"].as_str().unwrap(), row["calls_per_second_and_pair"].as_f64() > Some(1.0))
        })
        .collect();
    assert_eq!(calls, [("asleep", false), ("awake", true)], "{said}");
}

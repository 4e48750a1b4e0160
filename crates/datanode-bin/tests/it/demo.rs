//! The demo on a few files, restarts and all.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::datanode;

#[test]
fn stores_a_tree_and_restarts_every_node_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let files: [(&str, usize); 6] = [
        ("empty", 0),
        ("a/one", 1),
        ("a/limit", 1 << 20),
        ("a/over", (1 << 20) + 1),
        ("b/large", 5_000_000),
        ("b/text", 1234),
    ];
    for (name, len) in files {
        let path = from.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, (0..len).map(|at| (at * 13 % 247) as u8).collect::<Vec<_>>()).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", from.join("broken-link")).unwrap();
    let output = datanode()
        .args(["demo", "--partitions", "6", "--json", "--from"])
        .arg(&from)
        .arg("--dir")
        .arg(&to)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(stderr, "", "explanations are for terminals");
    let report: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(report["files"], files.len());
    assert_eq!(report["bytes"], files.iter().map(|(_, len)| len).sum::<usize>());
    assert_eq!((&report["mismatches"], &report["client_errors"]), (&0.into(), &0.into()));
    let restarts: Vec<_> = report["restarts"].as_array().unwrap().iter().collect();
    let signals: Vec<_> = restarts.iter().map(|row| row["signal"].as_str().unwrap()).collect();
    assert_eq!(signals, ["SIGTERM", "SIGTERM", "SIGTERM", "SIGKILL"]);
    let nodes: Vec<_> = restarts.iter().map(|row| row["node"].as_u64().unwrap()).collect();
    assert_eq!(nodes[..3], [1, 2, 3], "each in turn");
    // The kill is of the node that leads the most, so it leads something.
    assert!(restarts[3]["led"].as_u64().unwrap() > 0, "{}", restarts[3]);
    for row in restarts {
        assert!(row["ready_ms"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["max_latency_ms"].as_f64().unwrap() > 0.0, "{row}");
        let path = row["critical_path"].as_str().unwrap();
        assert!(path.starts_with("listening after ") && path.contains("load "), "{row}");
        assert!(stdout.contains(&format!("node {} after ", row["node"])), "{stdout}");
        assert!(stdout.matches(path).count() >= 2, "in the table too: {stdout}");
    }
    // The directory was named, so it stays; nobody holds its lock any more.
    for node in 1..=3 {
        let data = to.join(format!("node-{node}/data"));
        let check = datanode().arg("check").arg(&data).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}

#[test]
fn a_cluster_to_look_at_goes_down_with_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = datanode()
        .args(["demo", "--partitions", "2", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(demo.stdout.take().unwrap()));
    let announced = lines.by_ref().map(Result::unwrap).find(|line| line.contains("Ctrl-C"));
    assert!(announced.is_some(), "it ended before it was up");
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&demo),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let asked = Instant::now();
    assert!(demo.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(40));
    for node in 1..=3 {
        let log = fs::read_to_string(dir.path().join(format!("node-{node}/datanode.log"))).unwrap();
        assert!(log.contains("stopped"), "node {node} was not taken down in order: {log}");
    }
}

//! One node: that it comes up and goes down, and that it refuses, quickly and
//! in one line, what it cannot run with.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use partition_types::Crc32c;

use crate::node::{Ended, Node, Place, datanode, http, http_status, is_empty, is_open};

/// A refusal: exit code, and an error of one line with these words.
fn check_refused(command: Command, code: i32, words: &[&str]) -> Ended {
    let ended = Node::spawn(command).ended();
    let stderr = &ended.stderr;
    assert_eq!(ended.status.code(), Some(code), "{stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line: {stderr}");
    for word in words {
        assert!(errors[0].contains(word), "{word:?} is not in {stderr}");
    }
    ended
}

fn set(mut command: Command, argument: &str) -> Command {
    command.args(["--set", argument]);
    command
}

#[test]
fn without_a_file_it_takes_a_file_and_gives_it_back_also_after_a_restart() {
    let place = Place::new();
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 253) as u8).collect();
    let file = place.dir.path().join("file");
    std::fs::write(&file, &content).unwrap();
    let endpoint = place.client.to_string();

    let node = place.start();
    let put = datanode().args(["extent", "put"]).arg(&file);
    let put = put.args(["--endpoints", &endpoint, "-o", "json"]).output().unwrap();
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    let put: serde_json::Value = serde_json::from_slice(&put.stdout).unwrap();
    let extent = put["extent_id"].to_string();

    let mut node = Some(node);
    for round in 0..2 {
        let got = place.dir.path().join(format!("got-{round}"));
        let get = datanode().args(["extent", "get", "1", &extent, "--endpoints", &endpoint]);
        let get = get.arg("--to").arg(&got).output().unwrap();
        assert!(get.status.success(), "{}", String::from_utf8_lossy(&get.stderr));
        assert!(std::fs::read(&got).unwrap() == content, "round {round}: other bytes");
        if let Some(node) = node.take() {
            node.terminate();
            let ended = node.ended();
            assert!(ended.status.success(), "{}", ended.stderr);
            node_is_gone(&place);
        }
        if round == 0 {
            node = Some(place.start());
        }
    }
}

fn node_is_gone(place: &Place) {
    for address in [place.client, place.admin, place.peer] {
        assert!(!is_open(address), "{address} is still open");
    }
}

#[test]
fn a_taken_port_fails_at_once_and_touches_no_data() {
    for key in ["listen.client", "listen.admin", "listen.peer"] {
        let place = Place::new();
        let address = match key {
            "listen.client" => place.client,
            "listen.admin" => place.admin,
            _ => place.peer,
        };
        let taken = TcpListener::bind(address).unwrap();
        let ended = check_refused(place.serve(), 1, &[key, &address.to_string(), "has the port"]);
        assert!(ended.took < Duration::from_secs(1), "took {:?}", ended.took);
        assert!(is_empty(&place.data()), "nothing was made before the port was had");
        drop(taken);
    }
}

#[test]
fn a_directory_that_is_not_this_nodes_is_refused_with_a_code_of_its_own() {
    let place = Place::new();
    let other = Place::new();
    let mut at_other_ports = || {
        let mut command = other.serve();
        command.arg("--set").arg(format!("disk.0.path={}", place.data().display()));
        command
    };
    let dir = place.data().display().to_string();

    let node = place.start();
    check_refused(at_other_ports(), 10, &[&dir, "in use"]);
    node.terminate();
    assert!(node.ended().status.success());

    check_refused(set(place.serve(), "cluster_id=another"), 11, &[&dir, "\"another\"", "default"]);
    check_refused(set(place.serve(), "node_id=7"), 12, &[&dir, "node 1", "node 7"]);

    let identity = place.data().join("identity");
    let made = std::fs::read(&identity).unwrap();
    let mut newer = made.clone();
    newer[0] = 200;
    let body = newer.len() - 4;
    let sum = Crc32c::of(&newer[..body]).get().to_le_bytes();
    newer[body..].copy_from_slice(&sum);
    std::fs::write(&identity, &newer).unwrap();
    check_refused(place.serve(), 13, &[&dir, "format 200"]);

    let mut damaged = made.clone();
    damaged[body / 2] ^= 1;
    std::fs::write(&identity, &damaged).unwrap();
    check_refused(place.serve(), 14, &[&dir, "damaged"]);

    std::fs::remove_file(&identity).unwrap();
    check_refused(place.serve(), 15, &[&dir, "no identity"]);

    // None of the refusals harmed anything.
    std::fs::write(&identity, &made).unwrap();
    let node = place.start();
    node.terminate();
    assert!(node.ended().status.success());
    let check = datanode().arg("check").arg(place.data()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn a_bad_configuration_is_bad_usage() {
    let place = Place::new();
    let file = place.dir.path().join("node.toml");
    std::fs::write(&file, "node_id = 1\n[raft]\nheartbeat = \"1s\"\n").unwrap();
    let mut command = datanode();
    command.arg("serve").arg("-c").arg(&file);
    let ended = check_refused(command, 2, &["node.toml:3:1: unknown key `heartbeat`"]);
    assert!(ended.stderr.contains("3 | heartbeat = \"1s\""), "{}", ended.stderr);
}

#[test]
fn while_it_loads_it_is_alive_not_ready_and_its_client_port_closed_and_sigterm_ends_it() {
    let place = Place::new();
    let node = place.start();
    node.terminate();
    assert!(node.ended().status.success());

    let mut slow = place.serve();
    slow.env("DATANODE_TEST_LOAD_DELAY_MS", "20000");
    let node = Node::spawn(slow);
    let since = Instant::now();
    while http_status(place.admin, "/livez") != Some(200) {
        assert!(since.elapsed() < Duration::from_secs(10), "the admin port opens first");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(http_status(place.admin, "/readyz"), Some(503));
    assert!(!is_open(place.client), "the client port is closed until the gate is open");
    let startup = http(place.admin, "/startup").unwrap();
    assert!(startup.contains("\"load\""), "{startup}");

    node.terminate();
    let ended = node.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(5), "took {:?}", ended.took);
    node_is_gone(&place);

    // A start that was cancelled leaves a directory that starts.
    let node = place.start();
    node.terminate();
    assert!(node.ended().status.success());
}

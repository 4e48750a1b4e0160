//! One node: that it comes up and goes down, and that it refuses, quickly and
//! in one line, what it cannot run with.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
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
    let mut extent = None;
    for round in 0..3 {
        let node = place.start();
        let extent = extent.get_or_insert_with(|| put(&place, &file));
        assert!(get(&place, extent) == content, "round {round}: other bytes");
        node.terminate();
        let ended = node.ended();
        assert!(ended.status.success(), "{}", ended.stderr);
        node_is_gone(&place);
    }
}

/// Stores a file; its extent's id.
fn put(place: &Place, file: &Path) -> String {
    let mut command = datanode();
    command.args(["extent", "put", "--endpoints", &place.client.to_string(), "-o", "json"]);
    let put = command.arg(file).output().unwrap();
    assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
    let put: serde_json::Value = serde_json::from_slice(&put.stdout).unwrap();
    put[0]["extent_id"].to_string()
}

fn get(place: &Place, extent: &str) -> Vec<u8> {
    let mut command = datanode();
    command.args(["extent", "get", "1", extent, "--endpoints", &place.client.to_string()]);
    let get = command.output().unwrap();
    assert!(get.status.success(), "{}", String::from_utf8_lossy(&get.stderr));
    get.stdout
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
    let at_other_ports = || {
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

#[test]
fn a_second_signal_stops_at_once_and_loses_nothing() {
    let place = Place::new();
    let node = Node::spawn(set(place.serve(), "shutdown.notice=20s"));
    let node = node.ready(place.admin);
    let file = place.dir.path().join("file");
    std::fs::write(&file, b"acknowledged").unwrap();
    let extent = put(&place, &file);

    node.terminate();
    let since = Instant::now();
    while http_status(place.admin, "/readyz") != Some(503) {
        assert!(since.elapsed() < Duration::from_secs(5), "readiness goes off at once");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(is_open(place.client), "during the notice it still serves");
    assert_eq!(get(&place, &extent), b"acknowledged");
    node.terminate();
    let ended = node.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(3), "took {:?}", ended.took);
    assert!(ended.stderr.contains("a second signal"), "{}", ended.stderr);

    let node = place.start();
    assert_eq!(get(&place, &extent), b"acknowledged");
    node.terminate();
    assert!(node.ended().status.success());
}

#[test]
fn systemd_is_told_ready_after_the_port_opened_and_stopping_on_the_way_down() {
    let place = Place::new();
    let path = place.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut command = place.serve();
    command.env("NOTIFY_SOCKET", &path);
    let node = Node::spawn(command);

    let mut told = String::new();
    let mut wait_for = |word: &str| {
        let mut buffer = [0; 4096];
        while !told.contains(word) {
            let len = socket.recv(&mut buffer).expect(word);
            told.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
        }
        told.clone()
    };
    let told = wait_for("READY=1");
    assert!(is_open(place.client), "READY comes after listen(2)");
    assert!(told.contains("EXTEND_TIMEOUT_USEC="), "{told}");
    assert!(!told.contains("STOPPING=1"), "{told}");
    node.terminate();
    wait_for("STOPPING=1");
    assert!(node.ended().status.success());
}

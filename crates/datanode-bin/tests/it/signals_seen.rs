//! What a node shows of itself, seen from outside of a real process: what
//! systemd, Prometheus, probes and people get to know of a start and of a
//! partition that goes bad.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use datanode_proto::v1;
use datanode_proto::v1::partition_service_client::PartitionServiceClient;
use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{json, run};
use crate::node::{Node, Place, datanode, http, http_status, is_open};

const PATIENCE: Duration = Duration::from_secs(30);

/// A place whose node has so many partitions of one replica.
fn place_with(partitions: u64) -> Place {
    let place = Place::new();
    let node = place.start();
    // It made the first one by itself.
    let more = (partitions - 1).to_string();
    let admin = place.admin.to_string();
    let create = ["partition", "create", "--replicas", "1", "--count", &more, "--endpoints"];
    let created = run(&[&create[..], &[&admin]].concat());
    assert_eq!(created.code, 0, "{}", created.stderr);
    node.terminate();
    let ended = node.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    place
}

/// Its `serve`, one load at a time and each of so many milliseconds.
fn slow(place: &Place, load_ms: u32) -> Command {
    let mut command = place.serve();
    command.args(["--set", "startup.load_concurrency=1"]);
    command.env("DATANODE_TEST_LOAD_DELAY_MS", load_ms.to_string());
    command
}

/// What stands in for systemd.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(place: &Place) -> Self {
        let path = place.dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// The next message, if it comes in time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(String::from_utf8(buffer[..len].to_vec()).unwrap()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// All messages until one has this in it.
    fn hear_until(&self, text: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let message = self.hear(PATIENCE);
            let message = message.unwrap_or_else(|| panic!("no {text:?} after {heard:?}"));
            let last = message.contains(text);
            heard.push(message);
            if last {
                return heard;
            }
        }
    }

    /// All messages of so long a time.
    fn hear_for(&self, time: Duration) -> Vec<String> {
        let since = Instant::now();
        let mut heard = Vec::new();
        while let Some(left) = time.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
            heard.extend(self.hear(left));
        }
        heard
    }
}

fn count(messages: &[String], text: &str) -> usize {
    messages.iter().filter(|message| message.contains(text)).count()
}

#[test]
fn systemd_gives_a_start_that_moves_more_time_and_hears_ready_once_the_port_is_open() {
    let place = place_with(8);
    let manager = Manager::listen(&place);
    let mut command = slow(&place, 800);
    command.env("NOTIFY_SOCKET", &manager.path);
    let node = Node::spawn(command);
    let heard = manager.hear_until("READY=1");
    assert!(is_open(place.client), "READY comes after listen(2)");

    let loading: Vec<_> = heard.iter().filter(|message| message.contains("STATUS=load ")).collect();
    let moving = loading.iter().filter(|message| message.contains("EXTEND_TIMEOUT_USEC="));
    assert!(moving.count() >= 4, "8 loads of 0.8 s, looked at each second: {heard:?}");
    let done: Vec<u32> = loading
        .iter()
        .filter_map(|message| message.split_once("/8 partitions")?.0.rsplit(' ').next())
        .map(|done| done.parse().unwrap())
        .collect();
    assert!(done.len() >= 4 && done.is_sorted() && done.last() >= Some(&5), "{heard:?}");
    let named = count(&heard, "/8 partitions: partition ");
    assert!(named >= 4, "it says what it waits for: {heard:?}");
    assert!(heard.last().unwrap().contains("STATUS=serving 8/8 partitions"), "{heard:?}");
    assert_eq!(count(&heard, "STOPPING=1"), 0, "{heard:?}");
    assert_eq!(count(&heard, "WATCHDOG="), 0, "nobody asked for it: {heard:?}");

    node.terminate();
    let heard = manager.hear_until("STOPPING=1");
    let last = heard.last().unwrap();
    assert!(last.contains("EXTEND_TIMEOUT_USEC="), "the way down has its time: {last}");
    assert!(node.ended().status.success());
}

#[test]
fn systemd_gives_a_start_that_hangs_no_more_time() {
    let place = place_with(3);
    let manager = Manager::listen(&place);
    let mut command = slow(&place, 60_000);
    command.env("NOTIFY_SOCKET", &manager.path);
    let node = Node::spawn(command);
    manager.hear_until(" loading");
    // What moved until then may still be told of by the next look.
    manager.hear_for(Duration::from_millis(2500));
    let heard = manager.hear_for(Duration::from_secs(4));
    assert_eq!(count(&heard, "EXTEND_TIMEOUT_USEC="), 0, "{heard:?}");

    // A start that is told to stop says that it does.
    node.terminate();
    let heard = manager.hear_until("STOPPING=1");
    assert_eq!(count(&heard, "READY=1"), 0, "{heard:?}");
    assert!(node.ended().status.success());
}

#[test]
fn the_watchdog_is_fed_from_the_start_on_as_long_as_the_process_turns() {
    let place = place_with(4);
    let manager = Manager::listen(&place);
    let mut command = slow(&place, 500);
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "400000");
    let node = Node::spawn(command);
    let starting = manager.hear_until("READY=1");
    // 2 s, each 200 ms; half of them may be late on a busy machine.
    assert!(count(&starting, "WATCHDOG=1") >= 5, "{starting:?}");
    let serving = manager.hear_for(Duration::from_secs(2));
    assert!(count(&serving, "WATCHDOG=1") >= 5, "{serving:?}");

    // Nothing of it turns.
    signal(&node, Signal::STOP);
    manager.hear_for(Duration::from_millis(300));
    let stopped = manager.hear_for(Duration::from_secs(1));
    assert!(stopped.is_empty(), "{stopped:?}");
    signal(&node, Signal::CONT);
    manager.hear_until("WATCHDOG=1");
    node.terminate();
    assert!(node.ended().status.success());

    // Meant for somebody else.
    let mut command = place.serve();
    command.env("NOTIFY_SOCKET", &manager.path);
    command.env("WATCHDOG_USEC", "400000").env("WATCHDOG_PID", "1");
    let node = Node::spawn(command);
    manager.hear_until("READY=1");
    let heard = manager.hear_for(Duration::from_secs(1));
    assert_eq!(count(&heard, "WATCHDOG=1"), 0, "{heard:?}");
    node.terminate();
    assert!(node.ended().status.success());
}

fn signal(node: &Node, signal: Signal) {
    rustix::process::kill_process(node.pid(), signal).unwrap();
}

#[test]
fn a_manager_that_does_not_read_holds_nothing_up() {
    let place = place_with(2);
    let manager = Manager::listen(&place);
    let mut command = place.serve();
    // A message each millisecond: its queue is full at once.
    command.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "2000");
    let node = Node::spawn(command).ready(place.admin);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(http_status(place.admin, "/livez"), Some(200));
    node.terminate();
    assert!(node.ended().status.success());
}

#[test]
fn a_start_is_followed_from_before_its_first_moment_to_its_end() {
    let place = place_with(8);
    let admin = place.admin.to_string();
    let follow = |format: &str| {
        let mut command = datanode();
        command.args(["startup", "--watch", "--timeout", "30s", "--endpoints", &admin]);
        command.args(["-o", format]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let (table, lines) = (follow("table"), follow("json"));
    std::thread::sleep(Duration::from_secs(1));
    let early = run(&["wait-ready", "--timeout", "300ms", "--endpoints", &admin]);
    assert_eq!(early.code, 4, "nobody is there: {}", early.stderr);

    let node = Node::spawn(slow(&place, 500));
    let since = Instant::now();
    while http_status(place.admin, "/livez") != Some(200) {
        assert!(since.elapsed() < PATIENCE, "the admin port opens first");
        std::thread::sleep(Duration::from_millis(10));
    }
    let early = run(&["wait-ready", "--timeout", "500ms", "--endpoints", &admin]);
    assert_eq!(early.code, 4, "{}", early.stderr);
    assert!(early.stderr.contains("(load)"), "it says where it stands: {}", early.stderr);
    let open = run(&["wait-ready", "--timeout", "30s", "--endpoints", &admin]);
    assert_eq!(open.code, 0, "{}", open.stderr);
    assert!(is_open(place.client), "and the port is open");

    let [table, lines] = [table, lines].map(|child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    });
    let reports: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (&reports[0], reports.last().unwrap());
    assert_eq!((&first["stage"], &first["ready"]), (&"load".into(), &false.into()), "{first}");
    assert_eq!((&last["stage"], &last["ready"]), (&"serving".into(), &true.into()), "{last}");
    assert!(reports.len() >= 8, "at each change: {lines}");
    assert_eq!(reports.iter().filter(|report| report["ready"] == true).count(), 1, "{lines}");

    assert!(table.contains("/8: partition "), "{table}");
    assert!(table.contains("listening after "), "{table}");
    // 4 s of loading: a line a second and stage, not one a change.
    let told = table.lines().take_while(|line| !line.starts_with("STAGE")).count();
    assert!((3..=12).contains(&told), "{table}");
    node.terminate();
    assert!(node.ended().status.success());
}

#[test]
fn at_debug_the_log_has_a_span_with_its_time_for_each_stage_and_partition() {
    let place = place_with(3);
    let mut command = slow(&place, 100);
    command.args(["--set", "log.level=info,startup_gate=debug", "--set", "log.format=json"]);
    let node = Node::spawn(command).ready(place.admin);
    node.terminate();
    let stderr = node.ended().stderr;
    let closed: Vec<Value> = stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"] == "close")
        .collect();
    let has = |name: &str, key: &str, value: &str| {
        let found = closed.iter().find(|line| {
            let span = &line["span"];
            // A number in the log is a number in JSON, too.
            let told = span[key].as_str().map_or_else(|| span[key].to_string(), str::to_owned);
            let is_it = told == *value;
            span["name"] == *name && is_it
        });
        let line = found.unwrap_or_else(|| panic!("no {name} {value} in {stderr}"));
        assert!(line["time.idle"].is_string() && line["time.busy"].is_string(), "{line}");
    };
    for stage in ["load", "check", "elect", "listen"] {
        has("stage", "stage", stage);
    }
    for stage in ["load", "check", "elect"] {
        for unit in ["1", "2", "3"] {
            has(stage, "unit", unit);
        }
    }
    // Not at `info`: a start of many partitions would fill the log.
    let node = place.start();
    node.terminate();
    let stderr = node.ended().stderr;
    assert!(!stderr.contains("time.busy"), "{stderr}");
}

#[test]
fn metrics_of_a_node_that_loads_are_complete_and_promtool_takes_them() {
    let place = place_with(2);
    let node = Node::spawn(slow(&place, 60_000));
    let since = Instant::now();
    let loading = "datanode_startup_partitions{state=\"loading\"} 1";
    let metrics = loop {
        let answer = http(place.admin, "/metrics").unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        // One load at a time: the other one has joined and waits for its turn.
        if body.contains(loading) && body.contains("{state=\"joined\"} 1") {
            break body.to_owned();
        }
        assert!(since.elapsed() < PATIENCE, "no {loading} in {answer}");
        std::thread::sleep(Duration::from_millis(10));
    };
    for line in [
        "datanode_startup_stage{stage=\"load\"} 1",
        "datanode_startup_stage{stage=\"serving\"} 0",
        "datanode_startup_stage_duration_seconds{stage=\"elect\"} 0",
        "datanode_startup_partitions{state=\"joined\"} 1",
        "datanode_startup_partitions{state=\"quarantined\"} 0",
        "datanode_partition_leaders 0",
        "datanode_election_fence_suppressed_total{path=\"transfer\"} 0",
        "datanode_self_led_prelisten_total 0",
        "datanode_leader_unserved_seconds_total 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in {metrics}");
    }
    promtool(&metrics);
    node.terminate();
    assert!(node.ended().status.success());

    // Alone it must lead before it listens: counted, and timed with a fraction.
    let node = Node::spawn(slow(&place, 0)).ready(place.admin);
    let metrics = http(place.admin, "/metrics").unwrap();
    let metrics = metrics.split_once("\r\n\r\n").unwrap().1;
    assert!(metrics.contains("\ndatanode_self_led_prelisten_total 2\n"), "{metrics}");
    let name = "datanode_leader_unserved_seconds_total ";
    let unserved = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let unserved: f64 = unserved.parse().unwrap();
    assert!(unserved > 0.0 && unserved.fract() > 0.0, "{unserved}");
    promtool(metrics);
    node.terminate();
    assert!(node.ended().status.success());
}

fn promtool(metrics: &str) {
    let program = std::env::var_os("DATANODE_TEST_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let mut promtool = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_goes_bad_while_it_serves_is_seen_everywhere() {
    let place = place_with(2);
    let node = place.start();
    // Bytes that nothing compresses, and that are in one file only.
    let mut state = 0x9e37_79b9_u32;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    })
    .take(200_000)
    .collect();
    let file = place.dir.path().join("file");
    fs::write(&file, &content).unwrap();
    let (client, admin) = (place.client.to_string(), place.admin.to_string());
    let put = ["extent", "put", file.to_str().unwrap(), "--partition", "1"];
    let put = json(&[&put[..], &["--endpoints", &client]].concat());
    let extent = put[0]["extent_id"].to_string();
    let channel = tonic::transport::Endpoint::try_from(format!("http://{admin}")).unwrap();
    let mut partitions = PartitionServiceClient::new(channel.connect_lazy());
    let snapshot = v1::SnapshotPartitionRequest { partition_id: 1 };
    partitions.snapshot_partition(snapshot).await.unwrap();

    let damaged = flip(&place.data().join("data"), &content[100_000..100_032]);
    assert_eq!(damaged, 1, "the bytes are in one file");
    let get = run(&["extent", "get", "1", &extent, "--endpoints", &client, "--timeout", "5s"]);
    assert_ne!(get.code, 0, "damaged bytes were served");

    let told = "quarantined: partition 1 in serving: corrupt: ";
    let page = http(place.admin, "/readyz?verbose").unwrap();
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains(told), "{page}");
    let startup = http(place.admin, "/startup").unwrap();
    let startup: Value = serde_json::from_str(startup.split_once("\r\n\r\n").unwrap().1).unwrap();
    let quarantined = &startup["quarantined"][0];
    assert_eq!((&quarantined["unit"], &startup["ready"]), (&"1".into(), &true.into()));
    assert!(quarantined["reason"].as_str().unwrap().starts_with("corrupt: "), "{startup}");
    let metrics = http(place.admin, "/metrics").unwrap();
    for line in ["{state=\"quarantined\"} 1", "{state=\"ready\"} 1"] {
        let line = format!("datanode_startup_partitions{line}");
        assert!(metrics.lines().any(|one| one == line), "{line} is not in {metrics}");
    }
    let report = run(&["startup", "--endpoints", &admin]);
    let stdout = String::from_utf8(report.stdout).unwrap();
    assert!(stdout.contains("quarantined: partition 1 serving"), "{stdout}");

    // The other one serves on.
    let put = ["extent", "put", file.to_str().unwrap(), "--partition", "2"];
    json(&[&put[..], &["--endpoints", &client]].concat());
    node.terminate();
    let ended = node.ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    let quarantines = ended.stderr.matches("quarantined the partition").count();
    assert_eq!(quarantines, 1, "once: {}", ended.stderr);
}

/// Flips a bit of these bytes in each file that has them. How many had.
fn flip(dir: &Path, bytes: &[u8]) -> usize {
    let mut flipped = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flipped += flip(&path, bytes);
            continue;
        }
        let content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[bytes[0] ^ 1], at as u64).unwrap();
            flipped += 1;
        }
    }
    flipped
}

#[test]
fn a_long_start_and_a_long_way_down_tell_a_line_every_few_seconds() {
    let place = place_with(3);
    let mut command = slow(&place, 2500);
    command.args(["--set", "shutdown.notice=6s"]);
    let mut node = Node::spawn(command);
    let lines = BufReader::new(node.take_stderr()).lines().map(Result::unwrap);
    let mut log = String::new();
    for line in lines {
        log += &(line.clone() + "\n");
        // The log's last line of a start.
        if line.contains("listening after") {
            node.terminate();
        }
    }
    assert!(node.ended().status.success(), "{log}");
    assert!(log.contains("/3 partitions: partition "), "{log}");
    assert!(log.contains("going down: notice, 3 partitions still led here"), "{log}");
}

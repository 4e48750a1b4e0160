//! Disks: one that is slow, one that is lost, and lists of partitions that are
//! damaged or gone, which are never taken for "there are none".

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use datanode_client::{Bytes, Client, ClientConfig, NodeId, PartitionId};
use serde_json::Value;

use crate::damage::{content, files, restore, wipe};
use crate::fixture::{Kept, Nodes, json, never_led_by, unlike_any};
use crate::node::{Node, Place};
use crate::probe::{page, report, report_when, units};

const PARTITIONS: u64 = 12;

/// A node that stands alone, with two disks.
struct Lone {
    place: Place,
    kept: Vec<Kept>,
}

impl Lone {
    /// With something in every partition.
    async fn new(disks: usize) -> Self {
        let mut lone = Self { place: Place::new(), kept: Vec::new() };
        let node = Node::spawn(lone.serve(disks)).ready(lone.place.admin);
        let count = (PARTITIONS - 1).to_string();
        let admin = lone.place.admin.to_string();
        let create = ["partition", "create", "--replicas", "1", "--count", &count];
        let created = json(&[&create[..], &["--endpoints", &admin]].concat());
        assert_eq!(created.as_array().unwrap().len() as u64, PARTITIONS - 1);
        let client = lone.client();
        for id in 1..=PARTITIONS {
            let partition = PartitionId::new(id).unwrap();
            let data: Bytes = unlike_any(id.into(), 5000).into();
            let extent = client.put(partition, data.clone()).await.unwrap().extent_id;
            lone.kept.push(Kept { partition, extent, data });
        }
        node.terminate();
        assert!(node.ended().status.success());
        lone
    }

    fn client(&self) -> Client {
        Client::new([self.place.client.to_string()], ClientConfig::default()).unwrap()
    }

    fn disk(&self, disk: usize) -> PathBuf {
        match disk {
            0 => self.place.data(),
            disk => self.place.dir.path().join(format!("disk{disk}")),
        }
    }

    fn serve(&self, disks: usize) -> Command {
        let mut command = self.place.serve();
        for disk in 1..disks {
            let path = self.disk(disk).display().to_string();
            command.arg("--set").arg(format!("disk.{disk}.path={path}"));
            command.arg("--set").arg(format!("disk.{disk}.reserve=0"));
        }
        command
    }

    /// Starts it, finds everything, and stops it.
    async fn check_whole(&self, disks: usize) {
        let node = Node::spawn(self.serve(disks)).ready(self.place.admin);
        let client = self.client();
        for Kept { partition, extent, data } in &self.kept {
            let read = client.read(*partition, *extent).collect().await.unwrap();
            assert!(read == *data, "other bytes in partition {partition}");
        }
        node.terminate();
        assert!(node.ended().status.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_holds_up_its_own_partitions_only_and_is_named() {
    let lone = Lone::new(2).await;
    let admin = lone.place.admin;
    let mut slow = lone.serve(2);
    slow.env("DATANODE_TEST_LOAD_DELAY_MS", "1:500");
    let node = Node::spawn(slow);
    let slow_lane = lone.disk(1).display().to_string();
    let on_slow = |unit: &&Value| unit["lane"] == slow_lane.as_str();

    // Everything of the fast disk is checked while nothing of the slow one is
    // even loaded; it votes all the same.
    let report = report_when(admin, "the fast disk is done and the slow one is not", |report| {
        let blocking = report["blocking"].as_array().unwrap();
        let (slow, fast): (Vec<_>, Vec<_>) = blocking.iter().partition(on_slow);
        let is = |unit: &&Value, states: &[&str]| states.contains(&unit["state"].as_str().unwrap());
        fast.len() as u64 == PARTITIONS / 2
            && fast.iter().all(|unit| is(unit, &["checked"]))
            && slow.iter().all(|unit| is(unit, &["loading", "joined"]))
    });
    assert_eq!(report["stage"], "load", "{report}");
    assert!(!crate::node::is_open(lone.place.client), "all or none: {report}");

    let node = node.ready(admin);
    let report = crate::probe::report(admin).unwrap();
    let line = report["critical_path"].as_str().unwrap();
    assert!(line.contains(&format!("on {slow_lane}")), "{line}");
    let slowest = report["slowest"].as_array().unwrap();
    let named: Vec<_> = slowest.iter().take((PARTITIONS / 2) as usize).collect();
    assert!(named.iter().all(on_slow), "the slow ones come first: {slowest:?}");
    assert!(named.iter().all(|unit| unit["load_ms"].as_f64().unwrap() >= 500.0), "{named:?}");
    let fast = slowest.iter().filter(|unit| !on_slow(unit));
    let fast_ms = fast.map(|unit| unit["load_ms"].as_f64().unwrap()).fold(0.0, f64::max);
    println!("{line}; slowest load of the fast disk {fast_ms} ms");
    assert!(fast_ms < 500.0, "{slowest:?}");
    node.terminate();
    assert!(node.ended().status.success());
}

/// What is done to a database, by its directory.
type Harm = fn(&Path);

/// Every way in which the list of partitions can be lost or damaged, and the
/// exit code that each must end in.
const HARMS: [(&str, &[i32], Harm); 8] = [
    ("the directory is gone", &[18], |raft| fs::remove_dir_all(raft).unwrap()),
    ("the directory is empty", &[18], wipe),
    ("the tables are empty", &[19], |raft| truncate(raft, "sst")),
    ("the tables are gone", &[19], |raft| remove(raft, "sst")),
    ("the tables are garbled", &[19, 20], |raft| garble(raft, "sst")),
    ("the engine's manifest is empty", &[19], |raft| truncate(raft, "MANIFEST")),
    ("the engine's manifest is gone", &[18], |raft| remove(raft, "MANIFEST")),
    ("the pointer to it is gone", &[18], |raft| remove(raft, "CURRENT")),
];

fn matching(raft: &Path, word: &str) -> Vec<PathBuf> {
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(word) || name.ends_with(&format!(".{word}"))
    };
    let found: Vec<_> = files(raft).into_iter().filter(is_meant).collect();
    assert!(!found.is_empty(), "there is no {word} to damage");
    found
}

fn truncate(raft: &Path, word: &str) {
    for path in matching(raft, word) {
        fs::write(path, "").unwrap();
    }
}

fn remove(raft: &Path, word: &str) {
    for path in matching(raft, word) {
        fs::remove_file(path).unwrap();
    }
}

/// Flips a bit in every 50th byte.
fn garble(raft: &Path, word: &str) {
    for path in matching(raft, word) {
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().step_by(50).for_each(|byte| *byte ^= 4);
        fs::write(path, bytes).unwrap();
    }
}

/// A start that must refuse, with a code of its own and in one line; the
/// directory stays as it is, to the byte.
fn check_refused(what: &str, serve: Command, codes: &[i32], dir: &Path) {
    let before = content(dir);
    let ended = Node::spawn(serve).ended();
    let code = ended.status.code().unwrap();
    assert!(codes.contains(&code), "{what}: exit code {code}: {}", ended.stderr);
    let errors = ended.stderr.lines().filter(|line| line.starts_with("error: "));
    let errors: Vec<&str> = errors.collect();
    assert_eq!(errors.len(), 1, "{what}: {}", ended.stderr);
    println!("{what}: {code}: {}", errors[0]);
    assert!(errors[0].contains(dir.to_str().unwrap()), "{what}: {} says not where", errors[0]);
    let after = content(dir);
    let names = |content: &BTreeMap<PathBuf, Vec<u8>>| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "{what}: files came or went");
    assert!(after == before, "{what}: a file was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_partitions_that_is_damaged_or_gone_is_refused_and_left_alone() {
    let lone = Lone::new(1).await;
    let data = lone.disk(0);
    let whole = content(&data);
    for (what, codes, harm) in HARMS {
        harm(&data.join("raft"));
        check_refused(what, lone.serve(1), codes, &data);
        restore(&data, &whole);
    }
    // Another node's database, whole and empty.
    let other = Place::new();
    let node = other.start();
    node.terminate();
    assert!(node.ended().status.success());
    wipe(&data.join("raft"));
    for from in files(&other.data().join("raft")) {
        fs::copy(&from, data.join("raft").join(from.file_name().unwrap())).unwrap();
    }
    let ended = Node::spawn(lone.serve(1)).ended();
    assert_eq!(ended.status.code(), Some(18), "{}", ended.stderr);
    assert!(ended.stderr.contains("belongs to another data directory"), "{}", ended.stderr);
    restore(&data, &whole);
    lone.check_whole(1).await;
}

/// What can happen to the log that a killed node left, and all must be noticed:
/// the partitions that were made since the last flush are only there.
const HARMS_AFTER_A_KILL: [(&str, &[i32], Harm); 4] = [
    ("the log is gone", &[19], |raft| remove(raft, "log")),
    ("the log is empty", &[19], |raft| truncate(raft, "log")),
    ("the log is cut short", &[19], |raft| {
        for path in matching(raft, "log") {
            let len = fs::metadata(&path).unwrap().len() / 2;
            fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
        }
    }),
    ("the log is garbled", &[19, 20], |raft| garble(raft, "log")),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_damaged_or_gone_after_a_kill_is_refused_and_left_alone() {
    let mut lone = Lone::new(1).await;
    let node = lone.place.start();
    let admin = lone.place.admin.to_string();
    let create = ["partition", "create", "--replicas", "1", "--count", "1"];
    json(&[&create[..], &["--endpoints", &admin]].concat());
    let partition = PartitionId::new(PARTITIONS + 1).unwrap();
    let data: Bytes = unlike_any(99, 5000).into();
    let extent = lone.client().put(partition, data.clone()).await.unwrap().extent_id;
    lone.kept.push(Kept { partition, extent, data });
    // What is older than a second or two is marked, and its loss is seen.
    std::thread::sleep(Duration::from_secs(3));
    // Dropped, it is killed.
    drop(node);
    let dir = lone.disk(0);
    let whole = content(&dir);
    for (what, codes, harm) in HARMS_AFTER_A_KILL {
        harm(&dir.join("raft"));
        check_refused(what, lone.serve(1), codes, &dir);
        restore(&dir, &whole);
    }
    lone.check_whole(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_disk_knows_the_partitions_of_the_other() {
    let lone = Lone::new(2).await;
    for damaged in [1, 0] {
        let (dir, other) = (lone.disk(damaged), lone.disk(1 - damaged));
        let (whole, others) = (content(&dir), content(&other));
        garble(&dir.join("raft"), "sst");
        check_refused("one of two is damaged", lone.serve(2), &[19, 20], &dir);
        wipe(&dir);
        check_refused("one of two is empty", lone.serve(2), &[16], &dir);

        // With the operator's word, what was there is still known, and missing.
        let mut degraded = lone.serve(2);
        degraded.arg("--accept-degraded");
        let node = Node::spawn(degraded).ready(lone.place.admin);
        let report = report(lone.place.admin).unwrap();
        let quarantined = units(&report, "quarantined").len() as u64;
        assert_eq!(report["units"]["ready"].as_u64().unwrap() + quarantined, PARTITIONS);
        assert_eq!(quarantined, PARTITIONS / 2, "{report}");
        let client = lone.client();
        let mut read = 0;
        for Kept { partition, extent, data } in &lone.kept {
            if units(&report, "quarantined").contains(&partition.get()) {
                continue;
            }
            assert!(client.read(*partition, *extent).collect().await.unwrap() == *data);
            read += 1;
        }
        assert_eq!(read, PARTITIONS / 2);
        node.terminate();
        assert!(node.ended().status.success());
        restore(&dir, &whole);
        restore(&other, &others);
    }
    lone.check_whole(2).await;
}

/// The arguments that give the third node a second disk.
struct Second {
    path: PathBuf,
    arguments: Vec<String>,
}

impl Second {
    /// A cluster whose third node has two disks.
    async fn of_three() -> (Nodes, Self) {
        let mut nodes = Nodes::three(0).await;
        let path = nodes.cluster.node(3).dir().join("data2");
        let set = [format!("disk.1.path={}", path.display()), "disk.1.reserve=0".to_owned()];
        let arguments = set.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect();
        let second = Self { path, arguments };
        nodes.terminate(&[3]).await;
        second.configure(&mut nodes, None);
        nodes.start(&[3]).await;
        nodes.partitions = nodes.cluster.create_partitions(PARTITIONS, 3, || {}).await.unwrap();
        (nodes, second)
    }

    fn configure(&self, nodes: &mut Nodes, more: Option<&str>) {
        let more = more.map(str::to_owned);
        let arguments = self.arguments.iter().cloned().chain(more);
        nodes.cluster.node_mut(3).set_arguments(arguments);
    }
}

const DEGRADED: Option<&str> = Some("--accept-degraded");

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_a_lost_disk_are_missing_here_and_served_by_the_others() {
    let (mut nodes, second) = Second::of_three().await;
    let kept = nodes.fill(3000).await;
    nodes.terminate(&[3]).await;
    wipe(&second.path);

    let (code, line) = nodes.refused(3).await;
    assert_eq!(code, 16, "{line}");
    assert!(line.contains("data2 is empty") && line.contains("--accept-degraded"), "{line}");
    assert!(content(&second.path).is_empty(), "a start that refuses makes nothing");

    second.configure(&mut nodes, DEGRADED);
    nodes.start(&[3]).await;
    let missing = missing_is_told(&nodes);
    for id in 1..=3 {
        nodes.check_through(id, &kept).await;
    }
    let lost = missing[0].to_string();
    never_led_by(&nodes.admins(), &lost, 3);

    // Said once, it is not said for good: without the operator's word it refuses
    // as long as half of its partitions are missing.
    nodes.terminate(&[3]).await;
    second.configure(&mut nodes, None);
    let (code, line) = nodes.refused(3).await;
    assert_eq!(code, 1, "{line}");
    assert!(line.contains("6 of 12") && line.contains("--accept-degraded"), "{line}");

    // Rebuilt from their groups, they are whole again.
    second.configure(&mut nodes, DEGRADED);
    nodes.start(&[3]).await;
    for &id in &missing {
        let id = PartitionId::new(id).unwrap();
        nodes.admin_of(3).recover_partition(id, NodeId::new(3).ok()).await.unwrap();
    }
    nodes.check_local(3, &kept).await;
    nodes.terminate(&[3]).await;
    second.configure(&mut nodes, None);
    nodes.start(&[3]).await;
    assert_eq!(nodes.report(3)["units"]["ready"], PARTITIONS);
    nodes.check_local(3, &kept).await;
    nodes.stop().await;
}

/// Everywhere an operator looks. Which ones are missing.
fn missing_is_told(nodes: &Nodes) -> Vec<u64> {
    let report = nodes.report(3);
    let missing = units(&report, "quarantined");
    assert_eq!(missing.len() as u64, PARTITIONS / 2, "{report}");
    assert_eq!(report["units"]["ready"], PARTITIONS / 2, "{report}");
    for unit in report["quarantined"].as_array().unwrap() {
        assert!(unit["reason"].as_str().unwrap().contains("missing"), "{unit}");
    }
    let admin = nodes.cluster.node(3).ports().admin;
    let readyz = page(admin, "/readyz?verbose");
    for id in &missing {
        assert!(readyz.contains(&format!("quarantined: partition {id} in load:")), "{readyz}");
    }
    let status = json(&["status", "--endpoints", &admin.to_string()]);
    let row = status.as_array().unwrap().iter().find(|row| row["node_id"] == 3).unwrap();
    assert_eq!((&row["quarantined"], &row["ready"]), (&missing.len().into(), &true.into()));
    missing
}

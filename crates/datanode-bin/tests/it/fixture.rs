//! Three real nodes on loopback, and the program's commands against them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use datanode_bin::cluster::{Cluster, ClusterConfig, STOP_TIMEOUT};
use datanode_client::{AdminClient, Bytes, Client, ClientConfig, ExtentId, PartitionId};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::node::{datanode, is_open};
use crate::probe::{Once, PATIENCE, Whose, report, report_when};

/// Elections that a test can wait for.
const SETTINGS: [&str; 3] = [
    "raft.heartbeat_interval=100ms",
    r#"raft.election_timeout=["600ms", "1200ms"]"#,
    "disk.0.reserve=0",
];

/// A cluster in a directory of its own.
pub(crate) struct Nodes {
    pub(crate) cluster: Cluster,
    pub(crate) partitions: Vec<PartitionId>,
    dir: TempDir,
}

/// An extent that was acknowledged.
pub(crate) struct Kept {
    pub(crate) partition: PartitionId,
    pub(crate) extent: ExtentId,
    pub(crate) data: Bytes,
}

impl Nodes {
    /// Three nodes with so many partitions, three replicas each.
    pub(crate) async fn three(partitions: u64) -> Self {
        Self::three_with(partitions, &[]).await
    }

    /// Likewise, with further settings.
    pub(crate) async fn three_with(partitions: u64, settings: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = ClusterConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_datanode")),
            dir: dir.path().to_owned(),
            nodes: 3,
            set: SETTINGS.iter().chain(settings).map(|&setting| setting.to_owned()).collect(),
        };
        let cluster = Cluster::start(&config).await.unwrap();
        let partitions = cluster.create_partitions(partitions, 3, || {}).await.unwrap();
        Self { cluster, partitions, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A client that begins at one node only.
    pub(crate) fn client_of(&self, id: u64) -> Client {
        let address = self.cluster.node(id).ports().client.to_string();
        Client::new([address], ClientConfig::default()).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.cluster.client(ClientConfig::default())
    }

    /// Stores one extent in each partition, with bytes that nothing else has.
    pub(crate) async fn fill(&self, len: usize) -> Vec<Kept> {
        let (client, mut kept) = (self.client(), Vec::new());
        for &partition in &self.partitions {
            let seed = Uuid::now_v7().as_u128();
            let data: Bytes = unlike_any(seed, len).into();
            let stored = client.put(partition, data.clone()).await.unwrap();
            kept.push(Kept { partition, extent: stored.extent_id, data });
        }
        kept
    }

    /// Reads extents through a node, each once: an error is one too many.
    pub(crate) async fn check_through(&self, id: u64, kept: &[Kept]) {
        let mut node = Once::connect(self.cluster.node(id).ports().client).await;
        for Kept { partition, extent, data } in kept {
            let read = node.read(*partition, *extent, Whose::Any).await;
            let read = read.unwrap_or_else(|e| panic!("partition {partition} at {id}: {e:?}"));
            assert!(read == *data, "other bytes of partition {partition} through node {id}");
        }
    }

    /// Reads extents from a node's own replicas, once they have caught up.
    pub(crate) async fn check_local(&self, id: u64, kept: &[Kept]) {
        let mut node = Once::connect(self.cluster.node(id).ports().client).await;
        let give_up = Instant::now() + PATIENCE;
        for Kept { partition, extent, data } in kept {
            loop {
                let read = node.read(*partition, *extent, Whose::Local).await;
                match read {
                    Ok(read) => {
                        assert!(read == *data, "other bytes of partition {partition} on {id}");
                        break;
                    }
                    Err(_) if Instant::now() < give_up => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("partition {partition} on node {id}: {error:?}"),
                }
            }
        }
    }

    /// The term of each partition, as the nodes in `ids` know it.
    pub(crate) async fn terms(&self, ids: &[u64]) -> HashMap<u64, u64> {
        let mut terms = HashMap::new();
        for &id in ids {
            for partition in self.admin_of(id).partitions().await.unwrap() {
                let term = terms.entry(partition.partition_id).or_default();
                *term = partition.term.max(*term);
            }
        }
        terms
    }

    pub(crate) fn admin_of(&self, id: u64) -> AdminClient {
        let address = self.cluster.node(id).ports().admin.to_string();
        AdminClient::new([address], ClientConfig::default()).unwrap()
    }

    /// The start-up report of a node that answers.
    pub(crate) fn report(&self, id: u64) -> Value {
        let admin = self.cluster.node(id).ports().admin;
        report(admin).unwrap_or_else(|| panic!("node {id} does not answer"))
    }

    /// Ends nodes by SIGTERM, all at once; each must go cleanly.
    pub(crate) async fn terminate(&mut self, ids: &[u64]) {
        for &id in ids {
            self.cluster.node(id).signal(Signal::TERM).unwrap();
        }
        for &id in ids {
            let node = self.cluster.node_mut(id);
            let stopped = node.wait_ended(PATIENCE).await.unwrap();
            assert!(stopped.status.success(), "node {id}: {}", node.log_tail());
        }
    }

    /// Starts nodes, all at once, and waits until all listen and say so. Gives
    /// the time until all listened.
    pub(crate) async fn start(&mut self, ids: &[u64]) -> Duration {
        let since = Instant::now();
        for &id in ids {
            self.cluster.node_mut(id).spawn().unwrap();
        }
        for &id in ids {
            self.cluster.node_mut(id).wait_listening(PATIENCE).await.unwrap();
        }
        let took = since.elapsed();
        for &id in ids {
            let admin = self.cluster.node(id).ports().admin;
            report_when(admin, "it is ready", |report| report["ready"] == true);
        }
        took
    }

    /// Starts a node that must end by itself: its exit code, and the one line
    /// that says why. Its client port must stay closed.
    pub(crate) async fn refused(&mut self, id: u64) -> (i32, String) {
        let node = self.cluster.node_mut(id);
        let log_path = node.log_path();
        std::fs::remove_file(&log_path).unwrap();
        node.spawn().unwrap();
        let client = node.ports().client;
        let port = tokio::task::spawn_blocking(move || is_ever_open(client));
        let ended = node.wait_ended(PATIENCE).await.unwrap();
        assert!(!port.await.unwrap(), "a start that refuses opened its port");
        let log = std::fs::read_to_string(log_path).unwrap();
        let errors: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one line: {log}");
        (ended.status.code().unwrap(), errors[0].to_owned())
    }

    /// All client addresses, as an argument.
    pub(crate) fn clients(&self) -> String {
        self.cluster.addresses(|ports| ports.client).join(",")
    }

    /// All admin addresses, as an argument.
    pub(crate) fn admins(&self) -> String {
        self.cluster.addresses(|ports| ports.admin).join(",")
    }

    /// Takes the nodes down in order; each must go cleanly.
    pub(crate) async fn stop(self) {
        self.cluster.stop(STOP_TIMEOUT).await.unwrap();
    }
}

/// Whether a port takes a connection within the first second.
fn is_ever_open(port: SocketAddr) -> bool {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        if is_open(port) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// Bytes that are found nowhere else, whatever their place in a file.
pub(crate) fn unlike_any(seed: u128, len: usize) -> Vec<u8> {
    let blocks = (0u64..).flat_map(|block| {
        let mixed = (seed as u64 ^ (seed >> 64) as u64).wrapping_add(block);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).to_le_bytes()
    });
    blocks.take(len).collect()
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// Runs a command of the program.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    let output = datanode().args(arguments).env_remove("DATANODE_ENDPOINTS").output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that must succeed and print JSON.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let ran = run(&[arguments, &["-o", "json"]].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// Asks for a node as leader that must not be one: another may take over, or
/// none.
pub(crate) fn never_led_by(admins: &str, partition: &str, node: u64) {
    let to = node.to_string();
    let transfer = ["partition", "transfer-leader", partition, "--to", &to];
    let ran = run(&[&transfer[..], &["--endpoints", admins, "-o", "json"]].concat());
    if ran.code == 0 {
        let moved: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_ne!(moved["leader_node_id"], node, "{moved}");
    }
    let shown = json(&["partition", "show", partition, "--endpoints", admins]);
    assert_ne!(shown["leader_node_id"], node, "{shown}");
}

/// Waits until `what` holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within 10 s: {what}");
}

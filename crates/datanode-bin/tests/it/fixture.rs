//! Three real nodes on loopback, and the program's commands against them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use datanode_bin::cluster::{Cluster, ClusterConfig, STOP_TIMEOUT};
use datanode_client::{Client, ClientConfig, PartitionId};
use serde_json::Value;
use tempfile::TempDir;

use crate::node::datanode;

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

impl Nodes {
    /// Three nodes with so many partitions, three replicas each.
    pub(crate) async fn three(partitions: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = ClusterConfig {
            program: PathBuf::from(env!("CARGO_BIN_EXE_datanode")),
            dir: dir.path().to_owned(),
            nodes: 3,
            set: SETTINGS.map(str::to_owned).to_vec(),
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

//! The cluster of a demo and its directory: set up, shown, and cleared away.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use datanode_client::{Client, ClientConfig, PartitionId};

use super::bar;
use crate::Failure;
use crate::cluster::{Cluster, ClusterConfig, Ports, STOP_TIMEOUT};
use crate::output::Rows;

/// Where there are enough nodes.
const REPLICAS: u64 = 3;

/// A cluster that is ready to be played with.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) partitions: Vec<PartitionId>,
    pub(crate) replicas: u64,
    /// From the first exec until every node listened.
    pub(crate) start: Duration,
    dir: Dir,
}

impl Stage {
    /// Starts the nodes, with these settings beside their own, and creates the
    /// partitions.
    pub(crate) async fn set(
        nodes: u64,
        partitions: u64,
        dir: Option<PathBuf>,
        set: Vec<String>,
    ) -> Result<Self, Failure> {
        let dir = Dir::make(dir)?;
        let started = Instant::now();
        let starting = bar::note(format!("starting {nodes} nodes in {}", dir.path.display()));
        let program = std::env::current_exe().context("find the program")?;
        let config = ClusterConfig { program, dir: dir.path.clone(), nodes, set };
        let cluster = Cluster::start(&config).await.map_err(anyhow::Error::from)?;
        let start = started.elapsed();
        starting.finish();
        let replicas = REPLICAS.min(nodes);
        let creating = bar::count("partitions", partitions);
        let partitions = cluster
            .create_partitions(partitions, usize::try_from(replicas).unwrap_or(1), || {
                creating.inc(1);
            })
            .await
            .map_err(anyhow::Error::from)?;
        creating.finish();
        Ok(Self { cluster, partitions, replicas, start, dir })
    }

    /// Where the nodes keep their files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// A client that begins at every node.
    pub(crate) fn client(&self) -> Client {
        self.cluster.client(ClientConfig::default())
    }

    /// Shows what there is, three commands to try, and `last`.
    pub(crate) fn announce(&self, last: &str) -> io::Result<()> {
        let mut rows = Rows::new(&["NODE", "CLIENT", "ADMIN", "PEER", "LOG"]);
        for node in self.cluster.nodes() {
            let Ports { client, admin, peer } = node.ports();
            rows.push([
                node.id().to_string(),
                client.to_string(),
                admin.to_string(),
                peer.to_string(),
                node.log_path().display().to_string(),
            ]);
        }
        let clients = self.cluster.addresses(|ports| ports.client).join(",");
        let admins = self.cluster.addresses(|ports| ports.admin).join(",");
        let (partitions, replicas) = (self.partitions.len(), self.replicas);
        let mut out = io::stdout().lock();
        rows.write(&mut out)?;
        writeln!(out, "\n{partitions} partitions × {replicas} replicas. Try:")?;
        writeln!(out, "  datanode status --endpoints {admins}")?;
        writeln!(out, "  datanode extent put Cargo.toml --endpoints {clients}")?;
        writeln!(out, "  datanode startup --endpoints {admins}")?;
        writeln!(out, "{last}")?;
        out.flush()
    }

    /// Stops the nodes in order and removes what is temporary.
    pub(crate) async fn clear(self) -> Result<(), Failure> {
        let stopping = bar::note("draining and stopping");
        let stopped = self.cluster.stop(STOP_TIMEOUT).await;
        stopping.finish();
        if stopped.is_err() {
            self.dir.keep();
        }
        Ok(stopped.map_err(anyhow::Error::from)?)
    }

    /// Leaves the cluster running and says how to use and to stop it.
    pub(crate) fn keep(self) -> io::Result<()> {
        let pids = self.cluster.nodes().iter().filter_map(|node| node.pid());
        let pids = pids.map(|pid| pid.to_string()).collect::<Vec<_>>().join(" ");
        self.announce(&format!("It runs until it is stopped: kill {pids}"))?;
        self.dir.keep();
        // The process ids were shown.
        let _ = self.cluster.leave();
        Ok(())
    }

    /// Ends the cluster but leaves its files, for a look at what went wrong.
    pub(crate) fn leave_files(self) {
        eprintln!("logs and data are left in {}", self.dir.path.display());
        self.dir.keep();
    }
}

/// The directory of a demo; a temporary one is removed when it is dropped.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    temporary: bool,
}

impl Dir {
    fn make(given: Option<PathBuf>) -> anyhow::Result<Self> {
        let temporary = given.is_none();
        let path = given.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("datanode-demo-{}", uuid::Uuid::now_v7()))
        });
        let made = fs::create_dir_all(&path).and_then(|()| fs::canonicalize(&path));
        let path = made.with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path, temporary })
    }

    fn keep(mut self) {
        self.temporary = false;
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.temporary && self.path != Path::new("/") {
            // A directory that stays behind does no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

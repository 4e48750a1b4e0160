//! Clusters of real `serve` child processes on loopback, for the demo and for
//! tests: started, stopped, killed and started again like on machines of their
//! own, with a configuration file and a log file each.
//!
//! A cluster ends its own children and nothing else: on [`Cluster::stop`], and
//! without ceremony when it is dropped, so also on a panic. The children are in
//! process groups of their own: Ctrl-C reaches the parent only, which takes
//! them down in order.

mod config;
mod error;
mod node;
mod ports;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use datanode_client::proto::StartupReport;
use datanode_client::{AdminClient, Client, ClientConfig, NodeId, PartitionId};
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};

use crate::commands::partition::placement;

pub use error::ClusterError;
pub use node::{Node, Stopped};
pub use ports::Ports;

/// How long a start may take until the client port listens.
pub const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a node may take to go down by itself.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Partitions that are created at once.
const CREATE_AT_ONCE: usize = 8;

/// What a cluster is made from.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The `datanode` program.
    pub program: PathBuf,
    /// Holds a directory a node: configuration, log, data.
    pub dir: PathBuf,
    /// How many nodes, with the ids from 1 on.
    pub nodes: u64,
    /// Further settings, `KEY=VALUE` as for `serve --set`.
    pub set: Vec<String>,
}

/// How to end a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ask it to go down in order.
    Term,
    /// End it where it stands.
    Kill,
}

impl Signal {
    /// `SIGTERM` or `SIGKILL`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Kill => "SIGKILL",
        }
    }
}

/// A restart, as it was seen from outside.
#[derive(Debug, Clone, Copy)]
pub struct Restart {
    /// From the signal to the end of the process.
    pub down: Duration,
    /// From exec to the first connection that the client port took.
    pub ready: Duration,
}

/// Running nodes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Writes the configuration, starts every node and waits until all of them
    /// listen. A directory with an earlier cluster is taken up again.
    ///
    /// # Errors
    /// [`ClusterError`] with the end of the log of the node that failed.
    ///
    /// # Cancel safety
    /// The nodes are ended.
    pub async fn start(config: &ClusterConfig) -> Result<Self, ClusterError> {
        let mut nodes = Vec::new();
        for (id, ports) in (1..).zip(ports::choose(&config.dir, config.nodes)?) {
            nodes.push(Node::new(id, ports, config));
        }
        let mut cluster = Self { nodes };
        let peers: Vec<_> = cluster.nodes.iter().map(|node| node.ports().peer).collect();
        for node in &mut cluster.nodes {
            node.write_config(&peers, &config.set)?;
            node.spawn()?;
        }
        try_join_all(cluster.nodes.iter_mut().map(|node| node.wait_listening(READY_TIMEOUT)))
            .await?;
        Ok(cluster)
    }

    /// The nodes in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this id.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.id() == id).expect("the caller knows the ids")
    }

    /// The same, to be started and ended.
    ///
    /// # Panics
    /// If there is none.
    pub fn node_mut(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id() == id).expect("the caller knows the ids")
    }

    /// All nodes, to be started and ended.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut()
    }

    /// A client of all nodes.
    #[must_use]
    pub fn client(&self, config: ClientConfig) -> Client {
        Client::new(self.addresses(|ports| ports.client), config).expect("these are addresses")
    }

    /// A client of all admin ports.
    #[must_use]
    pub fn admin(&self, config: ClientConfig) -> AdminClient {
        AdminClient::new(self.addresses(|ports| ports.admin), config).expect("these are addresses")
    }

    /// The addresses of one port of all nodes.
    pub fn addresses(&self, port: impl Fn(&Ports) -> std::net::SocketAddr) -> Vec<String> {
        self.nodes.iter().map(|node| port(node.ports()).to_string()).collect()
    }

    /// Creates the partitions 1 to `count`, replicas and leaders spread evenly.
    /// `on_created` hears of each.
    ///
    /// # Errors
    /// What the cluster says.
    ///
    /// # Cancel safety
    /// Some may have been created; creating them again is fine.
    pub async fn create_partitions(
        &self,
        count: u64,
        replicas: usize,
        on_created: impl Fn(),
    ) -> Result<Vec<PartitionId>, ClusterError> {
        let config = ClientConfig { timeout: Duration::from_secs(60), ..ClientConfig::default() };
        let (admin, on_created) = (self.admin(config), &on_created);
        let node_ids: Vec<u64> = self.nodes.iter().map(Node::id).collect();
        stream::iter(0..count)
            .map(|index| {
                let replicas = placement(&node_ids, replicas, index);
                let admin = &admin;
                async move {
                    let id = PartitionId::new(index + 1).expect("above 0");
                    let replicas = replicas.into_iter().map(|id| self.node(id).as_replica());
                    admin.create_partition(id, replicas.collect()).await?;
                    on_created();
                    Ok(id)
                }
            })
            .buffered(CREATE_AT_ONCE)
            .try_collect()
            .await
    }

    /// Ends a node and starts it again.
    ///
    /// # Errors
    /// [`ClusterError`] when it does not end, or does not come back.
    ///
    /// # Cancel safety
    /// The node may be down; [`Cluster::stop`] copes with that.
    pub async fn restart(&mut self, id: u64, signal: Signal) -> Result<Restart, ClusterError> {
        let node = self.node_mut(id);
        let asked = Instant::now();
        match signal {
            Signal::Term => node.terminate(STOP_TIMEOUT).await?,
            Signal::Kill => node.kill()?,
        };
        let down = asked.elapsed();
        node.spawn()?;
        let ready = node.wait_listening(READY_TIMEOUT).await?;
        Ok(Restart { down, ready })
    }

    /// How many partitions each node leads, by its own word.
    ///
    /// # Errors
    /// [`ClusterError`] when a node does not answer.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn leaders(&self) -> Result<Vec<(u64, u64)>, ClusterError> {
        let asked = self.nodes.iter().map(|node| async move {
            let address = node.ports().admin.to_string();
            let admin = AdminClient::new([address], ClientConfig::default());
            let status = admin.expect("this is an address").status().await?;
            Ok((node.id(), status.leaders))
        });
        try_join_all(asked).await
    }

    /// The start-up report of a node.
    ///
    /// # Errors
    /// [`ClusterError`] when it does not answer.
    ///
    /// # Panics
    /// If there is no such node.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn startup(&self, id: u64) -> Result<StartupReport, ClusterError> {
        let address = self.node(id).ports().admin.to_string();
        let admin = AdminClient::new([address], ClientConfig::default());
        Ok(admin.expect("this is an address").startup().await?)
    }

    /// Waits until the cluster can spare a node.
    ///
    /// # Errors
    /// [`ClusterError::NotSpared`] with the reason when the time is up.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn wait_safe_to_stop(&self, id: u64, timeout: Duration) -> Result<(), ClusterError> {
        let admin = self.admin(ClientConfig::default());
        let node_id = NodeId::new(id).ok();
        let deadline = Instant::now() + timeout;
        loop {
            let answer = admin.safe_to_stop(node_id).await?;
            if answer.safe {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let why = answer.blockers.first().map(|first| {
                    let more = answer.blockers.len() - 1;
                    format!("partition {}: {} (and {more} more)", first.partition_id, first.reason)
                });
                let held = answer.held.map(|held| {
                    format!("node {} is about to stop, by {}", held.node_id, held.holder)
                });
                return Err(ClusterError::NotSpared { id, why: why.or(held).unwrap_or_default() });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Takes every node down in order, all at once.
    ///
    /// # Errors
    /// [`ClusterError`] of the first one that did not go down by itself; it is
    /// ended all the same.
    ///
    /// # Cancel safety
    /// What is still up is ended without ceremony.
    pub async fn stop(mut self, timeout: Duration) -> Result<(), ClusterError> {
        let running = self.nodes.iter_mut().filter(|node| node.is_running());
        let stopped = join_all(running.map(|node| node.terminate(timeout))).await;
        stopped.into_iter().try_for_each(|stopped| stopped.map(|_| ()))
    }

    /// Leaves the nodes running when this process ends. Gives their process ids.
    #[must_use]
    pub fn leave(self) -> Vec<u32> {
        self.nodes.into_iter().filter_map(Node::leave).collect()
    }
}

/// The directory of a node.
fn node_dir(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("node-{id}"))
}

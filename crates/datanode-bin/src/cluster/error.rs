//! Why a cluster of child processes does not do what it should.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A cluster that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A file or directory of a node.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The directory holds something else.
    #[error("{} holds another cluster: {problem}", path.display())]
    OtherCluster {
        /// Which directory.
        path: PathBuf,
        /// What is different.
        problem: String,
    },
    /// There is no port left.
    #[error("no free ports on 127.0.0.1")]
    NoPorts,
    /// A child process cannot be started, signalled or waited for.
    #[error("{what} node {id}: {source}")]
    Process {
        /// What was to be done.
        what: &'static str,
        /// With which node.
        id: u64,
        /// What the system says.
        source: io::Error,
    },
    /// A node ended by itself.
    #[error("node {id} ended with {status} before it was ready\n{log}")]
    Ended {
        /// Which node.
        id: u64,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A node does not listen in time.
    #[error("node {id} does not listen after {after:?}\n{log}")]
    NotReady {
        /// Which node.
        id: u64,
        /// When the waiting ended.
        after: Duration,
        /// The end of its log.
        log: String,
    },
    /// A node does not go down in time; it was killed.
    #[error("node {id} was still up {after:?} after SIGTERM\n{log}")]
    NotStopped {
        /// Which node.
        id: u64,
        /// When the waiting ended.
        after: Duration,
        /// The end of its log.
        log: String,
    },
    /// A node goes down with an error.
    #[error("node {id} ended with {status} after SIGTERM\n{log}")]
    BadEnd {
        /// Which node.
        id: u64,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The cluster cannot spare a node.
    #[error("node {id} cannot be spared: {why}")]
    NotSpared {
        /// Which node.
        id: u64,
        /// What keeps it.
        why: String,
    },
    /// What the cluster answered.
    #[error(transparent)]
    Client(#[from] datanode_client::Error),
}

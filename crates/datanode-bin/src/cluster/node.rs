//! One node: a `serve` child process with its directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use datanode_client::proto::PartitionReplica;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;

use super::{ClusterConfig, ClusterError, Ports, config, node_dir};

/// How often a start or an end is looked at; also the error of what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How much of a log is shown when a node fails.
const LOG_TAIL_LEN_BYTES: u64 = 4096;
/// Settings of the node that runs this must not reach its children.
const ENV_PREFIX: &str = "DATANODE__";

/// A node of a [`Cluster`](super::Cluster).
///
/// ```text
///           spawn                 terminate, kill
/// (down) ──────────▶ (running) ────────────────────▶ (down)
/// ```
#[derive(Debug)]
pub struct Node {
    id: u64,
    ports: Ports,
    program: PathBuf,
    dir: PathBuf,
    set: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    since: Instant,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Its exit code or signal.
    pub status: ExitStatus,
    /// From the signal, or from when its end was waited for.
    pub after: Duration,
}

impl Node {
    pub(super) fn new(id: u64, ports: Ports, config: &ClusterConfig) -> Self {
        let dir = node_dir(&config.dir, id);
        Self {
            id,
            ports,
            program: config.program.clone(),
            dir,
            set: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Where it listens.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        &self.ports
    }

    /// It as a replica's place, addresses and all: others may not know it yet.
    #[must_use]
    pub fn as_replica(&self) -> PartitionReplica {
        PartitionReplica {
            node_id: self.id,
            peer_address: self.ports.peer.to_string(),
            client_address: self.ports.client.to_string(),
            admin_address: self.ports.admin.to_string(),
        }
    }

    /// Its directory: configuration, log, data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it wrote to stdout and stderr, over all its runs.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("datanode.log")
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(|running| running.child.id())
    }

    /// Whether its process was started and not ended by us.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Gives further arguments of `serve` to all starts from now on, in place of
    /// earlier ones; they follow those of the cluster.
    pub fn set_arguments<S: Into<String>>(&mut self, arguments: impl IntoIterator<Item = S>) {
        self.arguments = arguments.into_iter().map(Into::into).collect();
    }

    /// Adds variables to the environment of all starts from now on, in place of
    /// earlier ones.
    pub fn set_environment(&mut self, variables: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.environment = variables.iter().map(owned).collect();
    }

    pub(super) fn write_config(
        &mut self,
        peers: &[SocketAddr],
        set: &[String],
    ) -> Result<(), ClusterError> {
        set.clone_into(&mut self.set);
        config::write(&self.dir, self.id, &self.ports, peers)
    }

    /// Starts the process.
    ///
    /// # Errors
    /// [`ClusterError`] when the program or the log file cannot be opened.
    pub fn spawn(&mut self) -> Result<(), ClusterError> {
        let log_path = self.log_path();
        let log = fs::create_dir_all(&self.dir)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&log_path))
            .and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) =
            log.map_err(|source| ClusterError::File { what: "open", path: log_path, source })?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(config::path(&self.dir));
        for setting in &self.set {
            command.arg("--set").arg(setting);
        }
        command.args(&self.arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(ENV_PREFIX) {
                command.env_remove(name);
            }
        }
        command.env_remove("NOTIFY_SOCKET");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let since = Instant::now();
        let child = command.spawn().map_err(|source| self.process("start", source))?;
        self.child = Some(Running { child, since });
        Ok(())
    }

    /// Waits until the client port takes a connection. Gives the time since the
    /// process was started.
    ///
    /// # Errors
    /// [`ClusterError`] when the process ends first, or the time is up.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn wait_listening(&mut self, timeout: Duration) -> Result<Duration, ClusterError> {
        loop {
            let since = self.child.as_ref().map(|running| running.since);
            let Some(since) = since else {
                let source = io::Error::other("it is not running");
                return Err(self.process("wait for", source));
            };
            if TcpStream::connect(self.ports.client).await.is_ok() {
                return Ok(since.elapsed());
            }
            if let Some(status) = self.try_wait()? {
                self.child = None;
                return Err(ClusterError::Ended { id: self.id, status, log: self.log_tail() });
            }
            let after = since.elapsed();
            if after >= timeout {
                return Err(ClusterError::NotReady { id: self.id, after, log: self.log_tail() });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// [`ClusterError`] when the node ends with an error, or was still up when
    /// the time is up; then it is killed.
    ///
    /// # Cancel safety
    /// It may be going down.
    pub async fn terminate(&mut self, timeout: Duration) -> Result<Stopped, ClusterError> {
        self.signal(Signal::TERM)?;
        let stopped = self.wait_ended(timeout).await?;
        if !stopped.status.success() {
            let (status, log) = (stopped.status, self.log_tail());
            return Err(ClusterError::BadEnd { id: self.id, status, log });
        }
        Ok(stopped)
    }

    /// Waits until the process has ended by itself, however it does.
    ///
    /// # Errors
    /// [`ClusterError::NotStopped`] when it was still up when the time is up;
    /// then it is killed.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub async fn wait_ended(&mut self, timeout: Duration) -> Result<Stopped, ClusterError> {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.try_wait()? {
                self.child = None;
                return Ok(Stopped { status, after: asked.elapsed() });
            }
            if asked.elapsed() >= timeout {
                let log = self.log_tail();
                self.kill()?;
                return Err(ClusterError::NotStopped { id: self.id, after: timeout, log });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the process where it stands (SIGKILL). It is gone on return.
    ///
    /// # Errors
    /// [`ClusterError`] when it was not running.
    pub fn kill(&mut self) -> Result<Stopped, ClusterError> {
        let asked = Instant::now();
        let Some(mut running) = self.child.take() else {
            return Err(self.process("kill", io::Error::other("it is not running")));
        };
        let ended = running.child.kill().and_then(|()| running.child.wait());
        let status = ended.map_err(|source| self.process("kill", source))?;
        Ok(Stopped { status, after: asked.elapsed() })
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// [`ClusterError`] when it is not running.
    pub fn signal(&self, signal: Signal) -> Result<(), ClusterError> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(pid) = pid else {
            return Err(self.process("signal", io::Error::other("it is not running")));
        };
        kill_process(pid, signal).map_err(|error| self.process("signal", error.into()))
    }

    /// The end of its log, indented.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let tail = File::open(self.log_path()).and_then(|mut file| {
            let len = file.metadata()?.len();
            file.seek(SeekFrom::Start(len.saturating_sub(LOG_TAIL_LEN_BYTES)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(tail)
        });
        let tail = tail.unwrap_or_default();
        let lines = String::from_utf8_lossy(&tail);
        let lines: Vec<_> = lines.lines().map(|line| format!("  {line}")).collect();
        lines.join("\n")
    }

    pub(super) fn leave(mut self) -> Option<u32> {
        let running = self.child.take()?;
        Some(running.child.id())
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>, ClusterError> {
        let ended = self.child.as_mut().map_or(Ok(None), |running| running.child.try_wait());
        ended.map_err(|source| self.process("wait for", source))
    }

    fn process(&self, what: &'static str, source: io::Error) -> ClusterError {
        ClusterError::Process { what, id: self.id, source }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut running) = self.child.take() {
            // It may have ended by itself; there is nobody left to tell.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

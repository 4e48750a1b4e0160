//! A `serve` process under test: its own ports and directory, bounded waits,
//! and gone when the test ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// The program under test.
pub(crate) fn datanode() -> Command {
    Command::new(env!("CARGO_BIN_EXE_datanode"))
}

/// Where a node lives and listens; several processes may try to live there.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) client: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) peer: SocketAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        // All three at once, so that they differ; free again when dropped.
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let [client, admin, peer] = [free(), free(), free()].map(|l| l.local_addr().unwrap());
        Self { dir: tempfile::tempdir().unwrap(), client, admin, peer }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// `serve` on this place's ports and directory.
    pub(crate) fn serve(&self) -> Command {
        let mut command = datanode();
        command.arg("serve");
        for (key, value) in [
            ("listen.client", self.client.to_string()),
            ("listen.admin", self.admin.to_string()),
            ("listen.peer", self.peer.to_string()),
            ("disk.0.path", self.data().display().to_string()),
            ("disk.0.reserve", "0".to_owned()),
        ] {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self) -> Node {
        Node::spawn(self.serve()).ready(self.admin)
    }
}

/// A running process.
pub(crate) struct Node {
    child: Child,
}

/// How a process ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Node {
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap() }
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn ready(mut self, admin: SocketAddr) -> Self {
        let since = Instant::now();
        while http_status(admin, "/readyz") != Some(200) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("ended with {status} before it was ready: {}", self.stderr());
            }
            assert!(since.elapsed() < PATIENCE, "not ready after {PATIENCE:?}");
            std::thread::sleep(POLL);
        }
        self
    }

    /// Asks it to go down.
    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Its log as it comes; [`Ended`] has none of it then.
    pub(crate) fn take_stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> Ended {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "still there after {PATIENCE:?}");
            std::thread::sleep(POLL);
        };
        Ended { status, took: since.elapsed(), stderr: self.stderr() }
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut text).unwrap();
        }
        text
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status of a GET, `None` when nobody answers.
pub(crate) fn http_status(address: SocketAddr, path: &str) -> Option<u16> {
    let answer = http(address, path)?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// A whole answer to a GET.
pub(crate) fn http(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Whether a connect is taken.
pub(crate) fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Whether there is nothing in `dir`, or no `dir`.
pub(crate) fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

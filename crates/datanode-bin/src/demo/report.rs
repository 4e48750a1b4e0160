//! What came of the main job: a table for people, one JSON object for programs,
//! and the verdict.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::amount;
use super::record::{Faults, Window};
use crate::cluster::Restart;
use crate::output::{Rows, millis};
use crate::{Exit, Failure};

/// A restart under fewer requests than this proves nothing.
const REQUESTS_MIN: u64 = 10;

/// Everything that is told at the end.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) mismatches: u64,
    pub(super) client_errors: u64,
    pub(super) restarts: Vec<RestartRow>,
    pub(super) skipped: u64,
    pub(super) nodes: usize,
    pub(super) partitions: usize,
    pub(super) replicas: u64,
    pub(super) start_ms: f64,
    pub(super) store: Phase,
    pub(super) read_back: Phase,
    pub(super) read_again: Phase,
    /// Extents that the writers of the load had acknowledged.
    pub(super) load_extents: usize,
    /// The first few faults, in words.
    pub(super) faults: Vec<String>,
}

/// A pass over all files.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Phase {
    pub(super) seconds: f64,
    /// Millions of bytes a second.
    pub(super) mb_s: f64,
}

impl Phase {
    pub(super) fn new(len_bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        // A rate to two digits: what f64 loses is far behind them.
        let mb_s = len_bytes as f64 / 1e6 / seconds.max(1e-9);
        Self { seconds, mb_s }
    }
}

/// One restart.
#[derive(Debug, Serialize)]
pub(super) struct RestartRow {
    node: u64,
    signal: &'static str,
    /// Partitions that it led when the signal came.
    led: u64,
    /// From exec to the first connection that the client port took.
    ready_ms: f64,
    /// From the signal to the end of the process.
    down_ms: f64,
    /// Of the requests from the signal until a second after the port opened.
    max_latency_ms: f64,
    client_errors: u64,
    reads: u64,
    writes: u64,
    /// What the time of the start went into, by the node's own report.
    critical_path: String,
}

impl RestartRow {
    pub(super) fn new(
        node: u64,
        signal: &'static str,
        led: u64,
        restart: Restart,
        window: Window,
        critical_path: String,
    ) -> Self {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        Self {
            node,
            signal,
            led,
            ready_ms: ms(restart.ready),
            down_ms: ms(restart.down),
            max_latency_ms: ms(window.slowest),
            client_errors: window.client_errors,
            reads: window.reads,
            writes: window.writes,
            critical_path,
        }
    }
}

impl Report {
    pub(super) fn blame(&mut self, faults: &Faults) {
        self.mismatches = faults.mismatches;
        self.client_errors = faults.client_errors;
        self.faults.clone_from(&faults.told);
    }

    /// Whether all is as it should be.
    ///
    /// # Errors
    /// [`Failure`] that says what is not.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let bad = |problem: String| Err(Failure::new(Exit::Failed, anyhow::anyhow!(problem)));
        if self.mismatches > 0 || self.client_errors > 0 {
            let (mismatches, errors) = (self.mismatches, self.client_errors);
            let told = self.faults.join("; ");
            return bad(format!("{mismatches} mismatches, {errors} client errors: {told}"));
        }
        for row in &self.restarts {
            if row.reads < REQUESTS_MIN || row.writes < REQUESTS_MIN {
                let (node, reads, writes) = (row.node, row.reads, row.writes);
                return bad(format!(
                    "the restart of node {node} saw {reads} reads and {writes} writes only, \
                     which proves nothing"
                ));
            }
        }
        Ok(())
    }

    /// The table.
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let Self { nodes, partitions, replicas, .. } = self;
        writeln!(out, "{nodes} nodes, {partitions} partitions × {replicas} replicas")?;
        writeln!(out, "{}\n", amount(self.files, self.bytes))?;
        let mut rows = Rows::new(&["", ">TOOK", ">MB/s"]);
        let phases = [
            ("stored", self.store),
            ("read back", self.read_back),
            ("read again", self.read_again),
        ];
        for (name, Phase { seconds, mb_s }) in phases {
            rows.push([name.to_owned(), format!("{seconds:.1} s"), format!("{mb_s:.1}")]);
        }
        rows.write(&mut out)?;
        writeln!(out)?;
        let mut rows = Rows::new(&[
            "RESTART",
            "SIGNAL",
            ">LED",
            ">DOWN AFTER",
            ">EXEC → LISTEN",
            ">READS",
            ">WRITES",
            ">CLIENT ERRORS",
            ">SLOWEST REQUEST",
        ]);
        for row in &self.restarts {
            rows.push([
                format!("node {}", row.node),
                row.signal.to_owned(),
                row.led.to_string(),
                millis(row.down_ms),
                millis(row.ready_ms),
                row.reads.to_string(),
                row.writes.to_string(),
                row.client_errors.to_string(),
                millis(row.max_latency_ms),
            ]);
        }
        rows.write(&mut out)?;
        for (at, row) in self.restarts.iter().enumerate() {
            let gap = if at == 0 { "\n" } else { "" };
            writeln!(out, "{gap}node {} after {}: {}", row.node, row.signal, row.critical_path)?;
        }
        let Self { mismatches, client_errors, load_extents, .. } = self;
        writeln!(out, "\n{load_extents} extents written under load, all read back")?;
        writeln!(out, "{mismatches} mismatches, {client_errors} client errors")?;
        out.flush()
    }

    /// The same in one line.
    pub(super) fn print_json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        writeln!(out)?;
        out.flush()
    }
}

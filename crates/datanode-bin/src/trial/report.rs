//! What came of a roll: a table for people, one JSON object for programs, and
//! the verdict.

use std::io::{self, Write};

use serde::Serialize;

use super::check::Checked;
use super::churn::Churned;
use super::figures::{Latency, Slow, Throughput};
use super::machine::Machine;
use super::python::Done;
use crate::output::{Rows, millis};
use crate::{Exit, Failure};

/// A restart under fewer requests than this, or without a read or a write of
/// each kind of client, proves nothing.
const OPS_MIN: u64 = 20;

/// So many of the slowest requests are shown to people.
const SLOW_SHOWN: usize = 3;

/// Everything that is told at the end.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Report {
    pub(super) rounds: u64,
    /// Requests of the baseline and of all restarts.
    pub(super) ops: u64,
    pub(super) errors: u64,
    /// Of the requests that were on their way while a node was restarted.
    pub(super) max_ms: f64,
    /// Likewise, where the times do not count in which the disk had requests and completed
    /// none; not known where the system does not count them.
    pub(super) max_moving_ms: Option<f64>,
    pub(super) p999_ms: f64,
    /// Which part of the baseline's throughput was missing meanwhile.
    pub(super) loss_ratio: f64,
    pub(super) self_led_prelisten: u64,
    pub(super) leader_unserved_seconds: u64,
    pub(super) lost: u64,
    pub(super) stale: u64,
    pub(super) wrong: u64,
    pub(super) nodes: usize,
    pub(super) partitions: usize,
    pub(super) clients: u64,
    pub(super) rate: Option<u64>,
    pub(super) pause_ms: Option<u64>,
    pub(super) load_delay_ms: Option<u64>,
    pub(super) seconds: f64,
    pub(super) baseline: Latency,
    pub(super) during_restarts: Latency,
    pub(super) throughput: Throughputs,
    /// What the machine did meanwhile: a bound on time that it broke says nothing of the nodes.
    pub(super) machine: Machine,
    pub(super) restarts: Vec<RestartRow>,
    pub(super) spread_before: Vec<NodeLeaders>,
    pub(super) spread_after: Vec<NodeLeaders>,
    /// Of our own client, of the whole time.
    pub(super) own: Option<Latency>,
    pub(super) python: Option<PythonRow>,
    pub(super) churn: Option<Churned>,
    pub(super) snapshots_installed: Option<u64>,
    pub(super) checked: Checked,
    pub(super) bounds: Vec<Bound>,
    /// The slowest requests while nodes were restarted.
    pub(super) slowest: Vec<Slow>,
    /// The first few faults, in words.
    pub(super) faults: Vec<String>,
    /// How many restarts were asked for.
    #[serde(skip)]
    pub(super) restarts_wanted: u64,
}

/// Requests a second, in windows of one second.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Throughputs {
    pub(super) baseline: Throughput,
    pub(super) restarts: Throughput,
}

/// How many partitions a node leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct NodeLeaders {
    pub(super) node: u64,
    pub(super) leaders: u64,
}

/// What the stock client saw.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct PythonRow {
    #[serde(flatten)]
    pub(super) latency: Latency,
    #[serde(flatten)]
    pub(super) done: Done,
}

/// One restart.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RestartRow {
    pub(super) round: u64,
    pub(super) node: u64,
    pub(super) signal: &'static str,
    /// Partitions that it led when the signal came.
    pub(super) led: u64,
    /// From the signal until it led nothing; none after a kill.
    pub(super) drain_ms: Option<f64>,
    /// From the signal to the end of the process.
    pub(super) down_ms: f64,
    /// From exec to the first connection that the client port took.
    pub(super) ready_ms: f64,
    /// From then until it led again what it led at first; none: not in time.
    pub(super) returned_ms: Option<f64>,
    pub(super) ops: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) errors: u64,
    pub(super) max_latency_ms: f64,
    /// See [`Report::max_moving_ms`].
    pub(super) max_moving_ms: Option<f64>,
    pub(super) p999_ms: f64,
    /// The slowest sync of one block that the disk took meanwhile.
    pub(super) slowest_sync_ms: f64,
}

/// A bound on a measured value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Bound {
    pub(super) name: &'static str,
    pub(super) limit: f64,
    pub(super) value: f64,
    pub(super) holds: bool,
}

impl Bound {
    pub(super) fn at_most(name: &'static str, limit: f64, value: f64) -> Self {
        Self { name, limit, value, holds: value <= limit }
    }

    pub(super) fn below(name: &'static str, limit: f64, value: f64) -> Self {
        Self { name, limit, value, holds: value < limit }
    }
}

impl Report {
    /// Whether all is as it should be. Bounds on times are broken by a busy
    /// machine too: they count only where `strict`.
    ///
    /// # Errors
    /// [`Failure`] that says what is not.
    pub(super) fn verdict(&self, strict: bool) -> Result<(), Failure> {
        let mut problems = self.faults_in_words();
        if (self.restarts.len() as u64) < self.restarts_wanted {
            let (made, wanted) = (self.restarts.len(), self.restarts_wanted);
            problems.push(format!("{made} of {wanted} restarts"));
        }
        for row in &self.restarts {
            let RestartRow { round, node, ops, reads, writes, .. } = row;
            if *ops < OPS_MIN || *reads == 0 || *writes == 0 {
                problems.push(format!(
                    "round {round}, node {node}: {reads} reads and {writes} writes only, which \
                     proves nothing"
                ));
            }
        }
        let moved = self.churn.as_ref().map(|churn| churn.added.min(churn.removed));
        if moved.or(self.snapshots_installed).is_some_and(|done| done < self.restarts_wanted) {
            problems.push("fewer moves or snapshots than restarts, which proves nothing".into());
        }
        if strict {
            problems.extend(self.broken_bounds());
        }
        if problems.is_empty() {
            return Ok(());
        }
        let told: String = self.faults.iter().map(|fault| format!("\n  {fault}")).collect();
        let problems = problems.join("; ");
        Err(Failure::new(Exit::Failed, anyhow::anyhow!("{problems}{told}")))
    }

    fn faults_in_words(&self) -> Vec<String> {
        let counts = [
            ("errors", self.errors),
            ("lost", self.lost),
            ("stale", self.stale),
            ("wrong", self.wrong),
            ("self_led_prelisten", self.self_led_prelisten),
            ("leader_unserved_seconds", self.leader_unserved_seconds),
        ];
        let some = counts.into_iter().filter(|(_, count)| *count > 0);
        some.map(|(name, count)| format!("{name} {count}")).collect()
    }

    fn broken_bounds(&self) -> impl Iterator<Item = String> {
        self.bounds.iter().filter(|bound| !bound.holds).map(|bound| {
            let Bound { name, limit, value, .. } = bound;
            format!("{name} is {value:.3}, the bound is {limit}")
        })
    }

    /// The tables.
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let Self { rounds, nodes, partitions, clients, rate, pause_ms, seconds, .. } = self;
        let pace = match (rate, pause_ms) {
            (Some(rate), _) => format!("{rate} requests due a second"),
            (None, pause) => format!("a pause of {} ms", pause.unwrap_or(0)),
        };
        writeln!(
            out,
            "{nodes} nodes, {partitions} partitions; {rounds} rounds in {seconds:.0} s; {clients} \
             clients with {pace}\n"
        )?;
        self.print_restarts(&mut out)?;
        self.print_latencies(&mut out)?;
        for slow in self.slowest.iter().take(SLOW_SHOWN) {
            let Slow { at_s, took_ms, kind, who, partition } = slow;
            writeln!(
                out,
                "slow: {took_ms:.0} ms, {who:?} {kind:?} of partition {partition} at {at_s:.2} s"
            )?;
        }
        let Throughputs { baseline, restarts } = self.throughput;
        for (name, rate) in [("before", baseline), ("restarts", restarts)] {
            let Throughput { windows, mean, min, median, max } = rate;
            writeln!(
                out,
                "{name}: {mean:.0} requests/s (min {min}, median {median}, max {max} of {windows} s)"
            )?;
        }
        let Machine { stolen_ratio: stolen, slowest_sync_ms: sync, longest_still_ms: still } =
            self.machine;
        for (name, stolen, sync, still) in [
            ("before", stolen.baseline, sync.baseline, still.baseline),
            ("during restarts", stolen.restarts, sync.restarts, still.restarts),
        ] {
            let still = still.map_or("for how long is not known".to_owned(), millis);
            writeln!(
                out,
                "the machine {name}: others took {:.1} % of its processors, the slowest sync of one \
                 block took {}, the disk stood still {still}",
                stolen * 100.0,
                millis(sync)
            )?;
        }
        let spread = |nodes: &[NodeLeaders]| {
            let leaders: Vec<_> = nodes.iter().map(|node| node.leaders.to_string()).collect();
            leaders.join(" ")
        };
        let (before, after) = (spread(&self.spread_before), spread(&self.spread_after));
        writeln!(out, "leaders of each node: {before} before, {after} after")?;
        self.print_faults(&mut out)?;
        out.flush()
    }

    fn print_restarts(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows = Rows::new(&[
            "RESTART",
            "SIGNAL",
            ">LED",
            ">DRAINED",
            ">DOWN AFTER",
            ">EXEC → LISTEN",
            ">LEADERS BACK",
            ">REQUESTS",
            ">ERRORS",
            ">SLOWEST",
            ">WHILE DISK MOVES",
            ">SLOWEST SYNC",
        ]);
        let some = |ms: Option<f64>| ms.map(millis).unwrap_or_default();
        for row in &self.restarts {
            rows.push([
                format!("{}: node {}", row.round, row.node),
                row.signal.to_owned(),
                row.led.to_string(),
                some(row.drain_ms),
                millis(row.down_ms),
                millis(row.ready_ms),
                some(row.returned_ms),
                row.ops.to_string(),
                row.errors.to_string(),
                millis(row.max_latency_ms),
                some(row.max_moving_ms),
                millis(row.slowest_sync_ms),
            ]);
        }
        rows.write(out)?;
        writeln!(out)
    }

    fn print_latencies(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows =
            Rows::new(&["", ">REQUESTS", ">ERRORS", ">p50", ">p99", ">p99.9", ">SLOWEST"]);
        let python = self.python.map(|python| python.latency);
        for (name, latency) in [
            ("before", Some(self.baseline)),
            ("restarts", Some(self.during_restarts)),
            ("own client", self.own),
            ("stock Python", python),
        ] {
            let Some(Latency { ops, errors, p50_ms, p99_ms, p999_ms, max_ms }) = latency else {
                continue;
            };
            let times = [p50_ms, p99_ms, p999_ms, max_ms].map(|ms| format!("{ms:.1} ms"));
            let counts = [name.to_owned(), ops.to_string(), errors.to_string()];
            rows.push(counts.into_iter().chain(times));
        }
        rows.write(out)?;
        writeln!(out)
    }

    fn print_faults(&self, out: &mut impl Write) -> io::Result<()> {
        if let Some(Churned { added, removed, failed, told }) = &self.churn {
            let told = told.join("; ");
            writeln!(out, "replicas: {added} added, {removed} removed, {failed} given up {told}")?;
        }
        if let Some(count) = self.snapshots_installed {
            writeln!(out, "snapshots installed by nodes that came back: {count}")?;
        }
        let Checked { objects, reads, partitions_compared } = self.checked;
        writeln!(
            out,
            "{objects} extents read back through every node ({reads} reads), the replicas of \
             {partitions_compared} partitions compared"
        )?;
        let Self { ops, errors, lost, stale, wrong, loss_ratio, .. } = self;
        writeln!(
            out,
            "{ops} requests: {errors} errors, {lost} lost, {stale} stale, {wrong} wrong; led \
             behind a closed port: {} times, {} s; throughput lost: {:.1} %",
            self.self_led_prelisten,
            self.leader_unserved_seconds,
            loss_ratio * 100.0
        )?;
        for broken in self.broken_bounds() {
            writeln!(out, "BOUND BROKEN: {broken}")?;
        }
        Ok(())
    }

    /// The same in one line.
    pub(super) fn print_json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        writeln!(out)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Report {
        let row = RestartRow {
            round: 1,
            node: 1,
            signal: "SIGTERM",
            led: 4,
            drain_ms: Some(1.0),
            down_ms: 1.0,
            ready_ms: 1.0,
            returned_ms: None,
            ops: 100,
            reads: 50,
            writes: 50,
            errors: 0,
            max_latency_ms: 1.0,
            max_moving_ms: Some(1.0),
            p999_ms: 1.0,
            slowest_sync_ms: 1.0,
        };
        Report { restarts: vec![row], restarts_wanted: 1, ..Report::default() }
    }

    fn check(change: impl Fn(&mut Report), says: &str) {
        let mut report = fine();
        change(&mut report);
        let failure = report.verdict(false).unwrap_err();
        assert_eq!(failure.exit(), Exit::Failed);
        assert!(failure.to_string().contains(says), "{failure}");
    }

    #[test]
    fn every_fault_is_fatal() {
        fine().verdict(true).unwrap();
        check(|report| report.errors = 2, "errors 2");
        check(|report| report.lost = 1, "lost 1");
        check(|report| report.stale = 1, "stale 1");
        check(|report| report.wrong = 1, "wrong 1");
        check(|report| report.self_led_prelisten = 1, "self_led_prelisten 1");
        check(|report| report.leader_unserved_seconds = 1, "leader_unserved_seconds 1");
        check(|report| report.restarts_wanted = 2, "1 of 2 restarts");
        check(|report| report.restarts[0].ops = OPS_MIN - 1, "proves nothing");
        check(|report| report.restarts[0].writes = 0, "proves nothing");
        check(|report| report.snapshots_installed = Some(0), "proves nothing");
        check(|report| report.churn = Some(Churned::default()), "proves nothing");
    }

    #[test]
    fn bounds_on_times_count_where_they_are_asked_to() {
        let mut report = fine();
        report.bounds = vec![Bound::at_most("max_ms", 250.0, 250.0)];
        report.verdict(true).unwrap();
        report.bounds.push(Bound::below("loss_ratio", 0.06, 0.06));
        report.verdict(false).unwrap();
        let failure = report.verdict(true).unwrap_err().to_string();
        assert!(failure.contains("loss_ratio is 0.060, the bound is 0.06"), "{failure}");
    }
}

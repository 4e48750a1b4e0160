//! How long starts take: one node of a cluster restarted, all of them started
//! cold, and what the gate itself costs; by the number of partitions.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use datanode_client::proto::Stage;
use datanode_client::{AdminClient, ClientConfig};
use futures::future::try_join_all;
use serde::Serialize;

use super::fill::{await_quiet, fill, leave_unflushed};
use super::machine::{load_average, rss_mib};
use super::overhead::{self, Overhead, Spread};
use super::scrape::scrape;
use crate::Failure;
use crate::cluster::{Cluster, ClusterConfig, READY_TIMEOUT, STOP_TIMEOUT, Signal};
use crate::output::Rows;

/// The cluster is left alone so long between two measurements.
const SETTLE: Duration = Duration::from_millis(1500);
/// How long it may take until the cluster can spare a node.
const SPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long leaderships may take to go back where they belong.
const HAND_BACK_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the overhead of the gate is measured, for each round of starts.
const OVERHEAD_TIME: Duration = Duration::from_secs(5);
/// Between two looks at that.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
const NODES: u64 = 3;
const MODES: [&str; 4] = ["sigterm", "sigkill", "replay", "cold"];
const LOAD_DELAY: &str = "DATANODE_TEST_LOAD_DELAY_MS";

/// Arguments of the measurement.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many partitions, three replicas each; several are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "300")]
    partitions: Vec<u64>,
    /// How often each start is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Extents that each partition has.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=100_000))]
    extents: u64,
    /// How long each extent is, in bytes.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    extent_bytes: u32,
    /// Kill a node also when it has this much to replay, in MiB: in a load, some time after its
    /// last flush. A flush comes after 24 to 40.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=24))]
    unflushed_mib: u32,
    /// Injected into each load of a partition, in milliseconds.
    #[arg(long, default_value_t = 0)]
    load_delay_ms: u64,
    /// Further settings of the nodes, as for `serve --set`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// End with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    rows: Vec<Row>,
    growth: Vec<Growth>,
    extents: u64,
    extent_bytes: u32,
    load_delay_ms: u64,
    /// The load of the machine when it began and when it ended.
    load_average: [f64; 2],
}

/// Starts of one kind. Times are medians over the rounds.
#[derive(Debug, Serialize)]
struct Row {
    partitions: u64,
    /// `sigterm`, `sigkill`: one node of a running cluster; `replay`: likewise killed, with
    /// `unflushed_mib` to replay; `cold`: all at once, the slowest of them.
    mode: &'static str,
    rounds: u64,
    /// What the node had applied since its last flush began when it was killed.
    unflushed_mib: Option<f64>,
    /// From exec to the first connection that the client port took.
    listen_ms: Spread,
    /// From exec to the opening of the gate, by the node's own report.
    ready_ms: f64,
    load_ms: f64,
    check_ms: f64,
    elect_ms: f64,
    /// What the gate adds, as `overhead` measured it, as a part of `ready_ms`.
    gate_overhead_ratio: Option<f64>,
    rss_mib: f64,
    /// How many partitions each node leads afterwards.
    leader_spread: Vec<u64>,
    /// Summed over the rounds and over the nodes that were started.
    self_led_prelisten: u64,
    leader_unserved_seconds: f64,
    overhead: Option<Overhead>,
    critical_path: String,
}

/// How the time of a kind of start grows with the number of partitions: as that
/// number to the power of `exponent`.
#[derive(Debug, Serialize)]
struct Growth {
    mode: &'static str,
    exponent: f64,
}

/// One start as it was seen.
struct Seen {
    listen_ms: f64,
    report: datanode_client::proto::StartupReport,
    rss_mib: f64,
    self_led: u64,
    unserved_seconds: f64,
}

/// Measures.
///
/// # Errors
/// [`Failure`] when a node does not come up.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let before = load_average();
    let mut rows = Vec::new();
    for partitions in &args.partitions {
        rows.extend(measure(*partitions, &args).await?);
    }
    let growth = growth(&rows);
    let load_average = [before, load_average()];
    let Args { extents, extent_bytes, load_delay_ms, .. } = args;
    let report = Report { rows, growth, extents, extent_bytes, load_delay_ms, load_average };
    show(&report, args.json)?;
    Ok(())
}

async fn measure(partitions: u64, args: &Args) -> Result<Vec<Row>> {
    let mut set = args.set.clone();
    if args.load_delay_ms > 0 {
        // Long enough for the slowest queue.
        set.push("startup.stall_timeout=600s".to_owned());
    }
    let (_dir, mut cluster) = fresh_cluster(set).await?;
    let ids = cluster.create_partitions(partitions, 3, || ()).await?;
    fill(&cluster, &ids, args.extents, args.extent_bytes).await?;
    if args.extents > 0 {
        await_quiet(&cluster).await?;
    }
    for id in 1..=NODES {
        cluster.node_mut(id).set_environment(&[(LOAD_DELAY, &args.load_delay_ms.to_string())]);
    }
    let mut rows = Vec::new();
    let mut kinds = vec![("sigterm", Signal::Term, 0), ("sigkill", Signal::Kill, 0)];
    if args.unflushed_mib > 0 {
        kinds.push(("replay", Signal::Kill, args.unflushed_mib));
    }
    for (mode, signal, unflushed_mib) in kinds {
        let (mut seen, mut unflushed) = (Vec::new(), Vec::new());
        for round in 0..args.rounds {
            let id = round % NODES + 1;
            tokio::time::sleep(SETTLE).await;
            await_hand_back(&cluster).await?;
            cluster.wait_safe_to_stop(id, SPARE_TIMEOUT).await?;
            if unflushed_mib > 0 {
                let mib = f64::from(unflushed_mib);
                unflushed.push(leave_unflushed(&cluster, id, &ids, mib, args.extent_bytes).await?);
            }
            let restart = cluster.restart(id, signal).await?;
            seen.push(see(&cluster, id, restart.ready).await?);
        }
        let mut row = row(partitions, mode, &cluster, seen).await?;
        row.unflushed_mib = (!unflushed.is_empty()).then(|| Spread::of(unflushed).median);
        rows.push(row);
    }
    let mut seen = Vec::new();
    for _ in 0..args.rounds {
        tokio::time::sleep(SETTLE).await;
        seen.push(cold(&mut cluster).await?);
    }
    // Each is asked for: on demand, nobody leads what nobody needs.
    fill(&cluster, &ids, 1, args.extent_bytes).await?;
    rows.push(row(partitions, "cold", &cluster, seen).await?);
    let data = cluster.node(1).dir().join("data");
    cluster.stop(STOP_TIMEOUT).await?;
    let time = OVERHEAD_TIME * u32::try_from(args.rounds)?;
    let overhead = overhead::measure(&data, 1, time).await?;
    for row in &mut rows {
        row.gate_overhead_ratio = Some(overhead.added_ms.median / row.ready_ms);
    }
    if let Some(last) = rows.last_mut() {
        last.overhead = Some(overhead);
    }
    Ok(rows)
}

/// Waits until each node leads about its share again, as whoever rolls a cluster does: where one
/// leads twice as much, it is twice as much that its end costs. At last it goes on as it is.
async fn await_hand_back(cluster: &Cluster) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < HAND_BACK_TIMEOUT {
        let leaders = cluster.leaders().await?;
        let fair = leaders.iter().map(|(_, led)| led).sum::<u64>() / NODES;
        if leaders.iter().all(|(_, led)| led * 10 >= fair * 9) {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// The slope of a line through the logarithms, by least squares; nothing where there
/// is one number of partitions only.
fn growth(rows: &[Row]) -> Vec<Growth> {
    let of = |mode: &'static str| {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| row.mode == mode)
            .map(|row| (float(row.partitions).ln(), row.listen_ms.median.ln()))
            .collect();
        let exponent = slope(&points)?;
        Some(Growth { mode, exponent })
    };
    MODES.into_iter().filter_map(of).collect()
}

fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = float(points.len() as u64);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (across > 0.0).then(|| along / across)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// All nodes down, then all up at once. What is told is the slowest one's.
async fn cold(cluster: &mut Cluster) -> Result<Seen> {
    let ids: Vec<u64> = cluster.nodes().iter().map(|node| node.id()).collect();
    try_join_all(cluster.nodes_mut().map(|node| node.terminate(STOP_TIMEOUT))).await?;
    for node in cluster.nodes_mut() {
        node.spawn()?;
    }
    let up = cluster.nodes_mut().map(|node| node.wait_listening(READY_TIMEOUT));
    let up = try_join_all(up).await?;
    let mut all = Vec::new();
    for (id, listening) in ids.into_iter().zip(up) {
        all.push(see(cluster, id, listening).await?);
    }
    let self_led = all.iter().map(|seen| seen.self_led).sum();
    let unserved_seconds = all.iter().map(|seen| seen.unserved_seconds).sum();
    let slowest = all.into_iter().max_by(|a, b| a.listen_ms.total_cmp(&b.listen_ms));
    let slowest = slowest.context("there are nodes")?;
    Ok(Seen { self_led, unserved_seconds, ..slowest })
}

async fn see(cluster: &Cluster, id: u64, listening: Duration) -> Result<Seen> {
    let node = cluster.node(id);
    let admin = AdminClient::new([node.ports().admin.to_string()], ClientConfig::default())?;
    // The port takes connections a moment before the gate says so.
    let ready = async {
        loop {
            let report = admin.startup().await?;
            if report.ready_ms.is_some() {
                return anyhow::Ok(report);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let report = tokio::time::timeout(READY_TIMEOUT, ready).await??;
    let told = scrape(node.ports().admin).await?;
    Ok(Seen {
        listen_ms: listening.as_secs_f64() * 1000.0,
        report,
        rss_mib: node.pid().map_or(0.0, rss_mib),
        self_led: told.self_led_prelisten,
        unserved_seconds: told.leader_unserved_seconds,
    })
}

async fn row(
    partitions: u64,
    mode: &'static str,
    cluster: &Cluster,
    seen: Vec<Seen>,
) -> Result<Row> {
    let median = |of: &dyn Fn(&Seen) -> f64| Spread::of(seen.iter().map(of).collect()).median;
    let stage = |stage: Stage| {
        move |seen: &Seen| {
            let stage = seen.report.stages.iter().find(|told| told.stage == i32::from(stage));
            stage.map_or(0.0, |told| told.end_ms.unwrap_or(told.start_ms) - told.start_ms)
        }
    };
    Ok(Row {
        partitions,
        mode,
        rounds: seen.len() as u64,
        unflushed_mib: None,
        listen_ms: Spread::of(seen.iter().map(|seen| seen.listen_ms).collect()),
        ready_ms: median(&|seen| seen.report.ready_ms.unwrap_or(0.0)),
        load_ms: median(&stage(Stage::Load)),
        check_ms: median(&stage(Stage::Check)),
        elect_ms: median(&stage(Stage::Elect)),
        gate_overhead_ratio: None,
        rss_mib: median(&|seen| seen.rss_mib),
        leader_spread: cluster.leaders().await?.into_iter().map(|(_, led)| led).collect(),
        self_led_prelisten: seen.iter().map(|seen| seen.self_led).sum(),
        leader_unserved_seconds: seen.iter().map(|seen| seen.unserved_seconds).sum(),
        overhead: None,
        critical_path: seen.last().map_or_else(String::new, |s| s.report.critical_path.clone()),
    })
}

/// A table for people, and the last line for programs.
fn show(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    rows(report).write(&mut out)?;
    let [before, after] = report.load_average;
    writeln!(out, "load average {before:.1} before, {after:.1} after")?;
    for Growth { mode, exponent } in &report.growth {
        writeln!(out, "{mode}: grows as partitions to the power of {exponent:.2}")?;
    }
    for row in &report.rows {
        writeln!(out, "{} {}: {}", row.partitions, row.mode, row.critical_path)?;
    }
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    }
    out.flush()
}

fn rows(report: &Report) -> Rows {
    let mut rows = Rows::new(&[
        ">PARTITIONS",
        "START",
        ">REPLAY MIB",
        ">LISTEN MS",
        ">MIN",
        ">MAX",
        ">LOAD",
        ">CHECK",
        ">ELECT",
        ">RSS MIB",
        "LEADERS",
        ">SELF-LED",
        ">UNSERVED S",
        ">GATE",
    ]);
    let ms = |value: f64| format!("{value:.0}");
    for row in &report.rows {
        let leaders: Vec<_> = row.leader_spread.iter().map(u64::to_string).collect();
        rows.push([
            row.partitions.to_string(),
            row.mode.to_owned(),
            row.unflushed_mib.map_or_else(String::new, |mib| format!("{mib:.0}")),
            ms(row.listen_ms.median),
            ms(row.listen_ms.min),
            ms(row.listen_ms.max),
            ms(row.load_ms),
            ms(row.check_ms),
            ms(row.elect_ms),
            ms(row.rss_mib),
            leaders.join("/"),
            row.self_led_prelisten.to_string(),
            format!("{:.2}", row.leader_unserved_seconds),
            row.gate_overhead_ratio.map_or_else(String::new, |r| format!("{:+.2} %", r * 100.0)),
        ]);
    }
    rows
}

/// A directory that goes with this value.
pub(super) struct TempDir(pub(super) PathBuf);

impl Drop for TempDir {
    fn drop(&mut self) {
        // What is left over is a temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A cluster to be measured, in a directory that goes with the first of the two.
///
/// # Errors
/// When a node does not come up.
pub(super) async fn fresh_cluster(set: Vec<String>) -> Result<(TempDir, Cluster)> {
    let dir = tempfile_dir()?;
    let mut all = vec!["disk.0.reserve=0".to_owned()];
    all.extend(set);
    let config = ClusterConfig {
        program: std::env::current_exe().context("find this program")?,
        dir: dir.0.clone(),
        nodes: NODES,
        set: all,
    };
    let cluster = Cluster::start(&config).await?;
    Ok((dir, cluster))
}

/// A new one.
pub(super) fn tempfile_dir() -> Result<TempDir> {
    let dir = std::env::temp_dir().join(format!("datanode-trial-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    Ok(TempDir(dir))
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_of_a_power_is_its_exponent() {
        let points: Vec<_> =
            [100.0_f64, 1000.0, 10_000.0].map(|p| (p.ln(), (3.0 * p.powf(0.7)).ln())).into();
        assert!((slope(&points).unwrap() - 0.7).abs() < 1e-9);
        assert!(slope(&points[..1]).is_none(), "one point is no line");
        assert!(slope(&[]).is_none());
    }
}

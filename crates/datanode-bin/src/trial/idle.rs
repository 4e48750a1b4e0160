//! What partitions cost that nobody uses, and how long the first request after
//! sleep takes; by the number of partitions, with sleep and without.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use datanode_client::{Client, ClientConfig, ExtentId, PartitionId};
use serde::Serialize;

use super::machine::{cpu_seconds, load_average, rss_mib};
use super::overhead::Spread;
use super::scrape::figure;
use super::startup::fresh_cluster;
use crate::Failure;
use crate::cluster::{Cluster, STOP_TIMEOUT};
use crate::output::Rows;

const NODES: u64 = 3;
/// How long after the last request a partition sleeps here.
const HIBERNATE_AFTER: Duration = Duration::from_secs(3);
/// How long it may take until all of them do.
const SLEEP_TIMEOUT: Duration = Duration::from_secs(180);
/// Partitions whose first request is timed, of each kind.
const SAMPLES_MAX: u64 = 50;
/// What is written to a partition whose first request is timed.
const EXTENT_LEN_BYTES: usize = 1024;

/// Arguments of the measurement.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many partitions, three replicas each; several are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "300")]
    partitions: Vec<u64>,
    /// How long the idle cluster is watched, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    window_s: u64,
    /// Measure only with sleep, or only without.
    #[arg(long, value_enum)]
    only: Option<Mode>,
    /// Further settings of the nodes, as for `serve --set`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// End with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

/// Whether partitions sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// They do.
    Asleep,
    /// They do not: `raft.hibernate_after` is zero.
    Awake,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    rows: Vec<Row>,
    window_s: u64,
    /// Of the program that was measured.
    profile: &'static str,
    /// The load of the machine when it began and when it ended.
    load_average: [f64; 2],
}

/// One cluster.
#[derive(Debug, Serialize)]
struct Row {
    partitions: u64,
    mode: Mode,
    /// From the last request until all slept.
    asleep_after_s: Option<f64>,
    /// Of one core, node by node.
    cpu_percent: Spread,
    rss_mib: Spread,
    /// Between two nodes, both ways: messages, and Raft calls in them.
    messages_per_second_and_pair: f64,
    calls_per_second_and_pair: f64,
    first_write_ms: Spread,
    first_read_ms: Spread,
    /// Requests that were timed, of each kind.
    samples: u64,
    /// Of those that failed.
    failed: u64,
}

/// Measures.
///
/// # Errors
/// [`Failure`] when a node does not come up, or a partition does not sleep.
pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let before = load_average();
    let mut rows = Vec::new();
    for partitions in &args.partitions {
        for mode in [Mode::Asleep, Mode::Awake] {
            if args.only.is_none_or(|only| only == mode) {
                rows.push(measure(*partitions, mode, &args).await?);
            }
        }
    }
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let load_average = [before, load_average()];
    show(&Report { rows, window_s: args.window_s, profile, load_average }, args.json)?;
    Ok(())
}

async fn measure(partitions: u64, mode: Mode, args: &Args) -> Result<Row> {
    let hibernate_after = match mode {
        Mode::Asleep => HIBERNATE_AFTER,
        Mode::Awake => Duration::ZERO,
    };
    let mut set = vec![format!("raft.hibernate_after={}s", hibernate_after.as_secs())];
    set.extend(args.set.iter().cloned());
    let (_dir, cluster) = fresh_cluster(set).await?;
    let ids = cluster.create_partitions(partitions, 3, || ()).await?;
    let client = cluster.client(ClientConfig::default());
    let samples = SAMPLES_MAX.min(partitions / 3).max(1);
    // Some are read first, others written first; the last one opens connections.
    let step = ids.len() / usize::try_from(samples)?;
    let sampled: Vec<PartitionId> = ids.iter().copied().step_by(step.max(1)).collect();
    let mut extents = Vec::new();
    for id in sampled.iter().skip(1).step_by(2) {
        extents.push((*id, client.put(*id, data()).await?.extent_id));
    }
    let idle_since = Instant::now();
    let asleep_after_s = match mode {
        Mode::Asleep => {
            all_asleep(&cluster, partitions * NODES).await?;
            Some(idle_since.elapsed().as_secs_f64())
        }
        Mode::Awake => {
            tokio::time::sleep(HIBERNATE_AFTER * 2).await;
            None
        }
    };
    let idle = watch(&cluster, Duration::from_secs(args.window_s)).await?;
    if mode == Mode::Asleep {
        all_asleep(&cluster, partitions * NODES).await?;
    }
    let (written, read, failed) = first_requests(&client, &sampled, &extents).await;
    let row = Row {
        partitions,
        mode,
        asleep_after_s,
        cpu_percent: Spread::of(idle.cpu_percent),
        rss_mib: Spread::of(idle.rss_mib),
        messages_per_second_and_pair: idle.messages_per_second / 3.0,
        calls_per_second_and_pair: idle.calls_per_second / 3.0,
        samples: (written.len() + read.len()) as u64,
        first_write_ms: Spread::of(written),
        first_read_ms: Spread::of(read),
        failed,
    };
    cluster.stop(STOP_TIMEOUT).await?;
    Ok(row)
}

fn data() -> Bytes {
    Bytes::from_static(&[7; EXTENT_LEN_BYTES])
}

/// What an idle cluster did in a while.
struct Idle {
    cpu_percent: Vec<f64>,
    rss_mib: Vec<f64>,
    messages_per_second: f64,
    calls_per_second: f64,
}

async fn watch(cluster: &Cluster, window: Duration) -> Result<Idle> {
    let (messages, calls) = sent(cluster).await?;
    // What asking costs them is not theirs.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = cpu_seconds(cluster)?;
    let began = Instant::now();
    tokio::time::sleep(window).await;
    let after = cpu_seconds(cluster)?;
    let seconds = began.elapsed().as_secs_f64();
    let since = Instant::now();
    let (messages_after, calls_after) = sent(cluster).await?;
    let counted_s = seconds + 0.5 + since.elapsed().as_secs_f64();
    let percent = |(before, after): (f64, f64)| (after - before) / seconds * 100.0;
    Ok(Idle {
        cpu_percent: before.into_iter().zip(after).map(percent).collect(),
        rss_mib: cluster.nodes().iter().filter_map(|node| Some(rss_mib(node.pid()?))).collect(),
        messages_per_second: (messages_after - messages) / counted_s,
        calls_per_second: (calls_after - calls) / counted_s,
    })
}

/// Messages to peers, and calls in them, of all nodes since they were started.
async fn sent(cluster: &Cluster) -> Result<(f64, f64)> {
    let (mut messages, mut calls) = (0.0, 0.0);
    for node in cluster.nodes() {
        messages += figure(node.ports().admin, "datanode_peer_messages_total").await?;
        calls += figure(node.ports().admin, "datanode_peer_calls_total").await?;
    }
    Ok((messages, calls))
}

async fn all_asleep(cluster: &Cluster, replicas: u64) -> Result<()> {
    let give_up = Instant::now() + SLEEP_TIMEOUT;
    loop {
        let mut asleep = 0.0;
        for node in cluster.nodes() {
            asleep += figure(node.ports().admin, "datanode_partitions_sleeping").await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
        if asleep >= replicas as f64 {
            return Ok(());
        }
        if Instant::now() >= give_up {
            return Err(anyhow!("{asleep} of {replicas} replicas sleep"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// One after the other: a write to some, a read of others. Milliseconds, and how
/// many failed.
async fn first_requests(
    client: &Client,
    sampled: &[PartitionId],
    extents: &[(PartitionId, ExtentId)],
) -> (Vec<f64>, Vec<f64>, u64) {
    let (mut written, mut read, mut failed) = (Vec::new(), Vec::new(), 0);
    let ms = |began: Instant| began.elapsed().as_secs_f64() * 1000.0;
    for (at, id) in sampled.iter().step_by(2).enumerate() {
        let began = Instant::now();
        let done = client.put(*id, data()).await;
        failed += u64::from(done.is_err());
        // The first three made connections.
        if at >= 3 || sampled.len() < 10 {
            written.push(ms(began));
        }
    }
    for (id, extent_id) in extents {
        let began = Instant::now();
        let done = client.read(*id, *extent_id).collect().await;
        failed += u64::from(done.is_err_and(|error| {
            tracing::warn!(%error, partition_id = %id, "the first read failed");
            true
        }));
        read.push(ms(began));
    }
    (written, read, failed)
}

/// A table for people, and the last line for programs.
fn show(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    rows(report).write(&mut out)?;
    let [before, after] = report.load_average;
    let (profile, window_s) = (report.profile, report.window_s);
    writeln!(
        out,
        "{profile} build, watched for {window_s} s; load average {before:.1} before, {after:.1} after"
    )?;
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    }
    out.flush()
}

fn rows(report: &Report) -> Rows {
    let mut rows = Rows::new(&[
        ">PARTITIONS",
        "MODE",
        ">CPU %",
        ">MAX",
        ">RSS MIB",
        ">MSG/S/PAIR",
        ">CALLS/S/PAIR",
        ">WRITE P50 MS",
        ">MAX",
        ">READ P50 MS",
        ">MAX",
        ">FAILED",
    ]);
    let two = |value: f64| format!("{value:.2}");
    for row in &report.rows {
        rows.push([
            row.partitions.to_string(),
            format!("{:?}", row.mode).to_lowercase(),
            two(row.cpu_percent.median),
            two(row.cpu_percent.max),
            format!("{:.0}", row.rss_mib.median),
            two(row.messages_per_second_and_pair),
            two(row.calls_per_second_and_pair),
            two(row.first_write_ms.median),
            two(row.first_write_ms.max),
            two(row.first_read_ms.median),
            two(row.first_read_ms.max),
            row.failed.to_string(),
        ]);
    }
    rows
}

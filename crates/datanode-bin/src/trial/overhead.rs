//! What the gate costs: the same loads and checks of the same data directory,
//! once through the gate and once through a plain bounded loop.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, TryStreamExt, stream};
use partition_store::{DiskConfig, ManifestEntry, Store, StoreConfig, Verify};
use partition_types::{ClusterId, NodeId, PartitionId};
use serde::Serialize;
use startup_gate::{
    Concurrency, Config, LoadTicket, NodeFault, NotConfirmed, Startup, UnitFault, UnitSpec,
};

/// Loads at once, on both sides.
const AT_ONCE: usize = 4;
const ROUNDS_MIN: usize = 5;
const ROUNDS_MAX: usize = 200;

/// Medians over all rounds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Overhead {
    rounds: usize,
    /// Loading and checking through the gate, to its opening.
    with_gate_ms: Spread,
    /// The same without.
    without_ms: Spread,
    /// What the gate added, round by round; noise can make it negative.
    pub(super) added_ms: Spread,
}

/// Of several rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    /// # Panics
    /// Without any value.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { min: values[0], median: values[values.len() / 2], max: values[values.len() - 1] }
    }
}

/// Measures for so long, in alternating rounds, the first of which is for warming up. What is
/// looked for is a hundredth of times that differ by a tenth, so it takes many.
pub(super) async fn measure(dir: &Path, node_id: u64, time: Duration) -> Result<Overhead> {
    let (mut with, mut without, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    for round in 0..=ROUNDS_MAX {
        if round > ROUNDS_MIN && began.elapsed() >= time {
            break;
        }
        // Who goes first profits from nothing: they take turns.
        let mut took = [Duration::ZERO; 2];
        for side in [round % 2, 1 - round % 2] {
            let store = open(dir, node_id).await?;
            let began = Instant::now();
            match side {
                0 => through_the_gate(&store).await?,
                _ => without_gate(&store).await?,
            }
            took[side] = began.elapsed();
            tokio::task::spawn_blocking(move || store.close()).await??;
        }
        if round > 0 {
            let [gate, plain] = took.map(|took| took.as_secs_f64() * 1000.0);
            with.push(gate);
            without.push(plain);
            added.push(gate - plain);
        }
    }
    Ok(Overhead {
        rounds: added.len(),
        with_gate_ms: Spread::of(with),
        without_ms: Spread::of(without),
        added_ms: Spread::of(added),
    })
}

async fn open(dir: &Path, node_id: u64) -> Result<Store> {
    let config = StoreConfig {
        cluster_id: "demo".parse::<ClusterId>().context("cluster id")?,
        node_id: NodeId::new(node_id)?,
        disks: vec![DiskConfig { path: dir.to_owned(), reserve_bytes: 0 }],
        accept_lost_disk: false,
        inject_load_delay: Vec::new(),
    };
    Ok(tokio::task::spawn_blocking(move || Store::open(config)).await??)
}

async fn through_the_gate(store: &Store) -> Result<()> {
    let config = Config {
        load_concurrency: Concurrency::new(AT_ONCE, AT_ONCE),
        check_concurrency: Concurrency::new(AT_ONCE, AT_ONCE),
        ..Config::default()
    };
    let startup = Startup::new(config, Vec::new())?;
    let units = store.manifest().into_iter().map(|entry| UnitSpec::new(entry.partition_id));
    let loads = store.clone();
    let load = move |ticket: LoadTicket<PartitionId>| {
        let store = loads.clone();
        async move {
            let id = *ticket.unit();
            drop(ticket.log_readable()?);
            load(&store, id).await.map_err(UnitFault::failed)
        }
    };
    let check = |_ticket, partition| async { check(partition).await.map_err(UnitFault::failed) };
    let loaded = startup.load(units, load, check).await?;
    let checked = loaded.check(async { Ok::<(), NodeFault>(()) }).await?;
    let elected = checked.elect(drop, |_ask| async { Ok::<(), NotConfirmed>(()) }).await?;
    let (serving, ()) = elected.listen(|_right| async { Ok(()) }).await?;
    drop(serving);
    Ok(())
}

async fn without_gate(store: &Store) -> Result<()> {
    stream::iter(store.manifest())
        .map(|entry: ManifestEntry| async move {
            check(load(store, entry.partition_id).await?).await
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn load(store: &Store, id: PartitionId) -> Result<partition_store::PartitionStore> {
    let store = store.clone();
    Ok(tokio::task::spawn_blocking(move || store.load(id)).await??)
}

async fn check(partition: partition_store::PartitionStore) -> Result<()> {
    let checked = tokio::task::spawn_blocking(move || partition.check(Verify::Sample)).await?;
    checked.map_err(|error| anyhow!(error))
}

//! The main job: store a tree, read it back, restart every node under load, and
//! read everything again.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::collect::Tree;
use super::load::{self, Load};
use super::record::Faults;
use super::report::{Phase, Report};
use super::stage::Stage;
use super::{bar, compare, restarts, store};
use crate::Failure;

/// Runs it.
///
/// # Errors
/// [`Failure`] when a node does not go down or come back. Mismatches and client
/// errors are in the report.
pub(super) async fn run(stage: &mut Stage, tree: Tree) -> Result<Report, Failure> {
    let client = stage.client();
    let faults = Arc::new(Mutex::new(Faults::default()));
    let Tree { files, len_bytes, skipped } = tree;
    let count = files.len();

    let (bar, began) = (bar::bytes("storing", len_bytes), Instant::now());
    let stored = store::store(&client, files, &stage.partitions, &faults, &bar).await;
    bar.finish();
    let store = Phase::new(len_bytes, began.elapsed());

    let (bar, began) = (bar::bytes("reading back", len_bytes), Instant::now());
    compare::all(&client, &stored, &faults, &bar).await;
    bar.finish();
    let read_back = Phase::new(len_bytes, began.elapsed());

    let stored: Arc<[_]> = stored.into();
    let partitions = stage.partitions.clone().into();
    let load = Load::start(client.clone(), Arc::clone(&stored), partitions, Arc::clone(&faults));
    let restarts = restarts::run(stage, &load).await?;
    let promises = load.stop().await;

    let (bar, began) = (bar::bytes("reading again", len_bytes), Instant::now());
    compare::all(&client, &stored, &faults, &bar).await;
    bar.finish();
    let read_again = Phase::new(len_bytes, began.elapsed());
    load::check(&client, &promises, &faults).await;

    let mut report = Report {
        files: count,
        bytes: len_bytes,
        mismatches: 0,
        client_errors: 0,
        restarts,
        skipped,
        nodes: stage.cluster.nodes().len(),
        partitions: stage.partitions.len(),
        replicas: stage.replicas,
        start_ms: stage.start.as_secs_f64() * 1e3,
        store,
        read_back,
        read_again,
        load_extents: promises.len(),
        faults: Vec::new(),
    };
    report.blame(&faults.lock().expect("no panics under it"));
    Ok(report)
}

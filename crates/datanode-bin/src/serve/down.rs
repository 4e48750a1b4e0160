//! The way down: hand over, close, flush, unload. In order when there is time,
//! at once when there is none; acknowledged writes survive both.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::anyhow;
use partition_store::Store;
use partition_types::PartitionId;
use raft_glue::PartitionHost;
use rpc_server::{AdminPort, ClientPortServing, NodeContext, PeerPort};
use startup_gate::state::Flush;
use startup_gate::{Down, Serving};
use tokio_util::sync::CancellationToken;

use super::owner::Owner;
use super::signals::Signals;
use crate::{Exit, Failure, progress};

/// What has to be taken apart, the client port aside.
pub(super) struct Parts {
    pub(super) context: NodeContext,
    pub(super) host: PartitionHost,
    pub(super) store: Store,
    pub(super) peer: PeerPort,
    pub(super) admin: AdminPort,
}

/// Lets a node serve until it is told to stop, and takes it down: readiness off
/// and notice, leaderships over to others, the port closed, the store flushed and
/// closed.
///
/// # Errors
/// It was forced: a second signal, or `shutdown.timeout`.
pub(super) async fn serving(
    serving: Serving<PartitionId>,
    client: ClientPortServing,
    parts: Parts,
    times: Times,
    signals: &Signals,
) -> Result<(), Failure> {
    let telling = telling(&parts);
    let owner = Owner {
        host: parts.host.clone(),
        notice: times.notice,
        orders: parts.context.take_orders(),
        stop: signals.stop.clone(),
    };
    let in_order = async {
        let down = owner.serve(serving).await;
        // Endless streams (watches) would keep the port open for ever.
        parts.context.closing().cancel();
        let down = down.close(client.close()).await;
        unload(down, parts).await;
    };
    within(times, signals, signals.stop.clone(), in_order, telling).await
}

/// Takes a node down whose start failed or was cancelled: it serves nobody.
pub(super) async fn unopened(
    down: Down<PartitionId, Flush>,
    parts: Parts,
    times: Times,
    signals: &Signals,
) -> Result<(), Failure> {
    parts.context.closing().cancel();
    let telling = telling(&parts);
    let began = CancellationToken::new();
    began.cancel();
    within(times, signals, began, unload(down, parts), telling).await
}

fn telling(parts: &Parts) -> impl Future<Output = Infallible> + use<> {
    progress::show_down(parts.context.gate().clone(), parts.host.clone())
}

async fn unload(down: Down<PartitionId, Flush>, parts: Parts) {
    let Parts { host, store, peer, admin, .. } = parts;
    let down = down.flush(async {
        host.shutdown().await;
        peer.close().await;
        blocking(store.clone(), |store| {
            store.wind_down();
            store.flush()
        })
        .await;
    });
    let down = down.await;
    let report = down.unload(blocking(store, Store::close)).await;
    let took_ms = report.steps.iter().filter_map(|step| Some(step.end_ms? - step.start_ms));
    tracing::info!("stopped after {:.2} s", took_ms.sum::<f64>() / 1000.0);
    // Last, so that the report of the way down can be read until its end.
    admin.close().await;
}

/// Runs a step of the store off the runtime's threads. A disk that fails now
/// has failed before: what it acknowledged is synced.
async fn blocking<E: std::error::Error + Send + 'static>(
    store: Store,
    step: impl FnOnce(Store) -> Result<(), E> + Send + 'static,
) {
    match tokio::task::spawn_blocking(move || step(store)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the store was not flushed"),
        Err(error) => tracing::error!(%error, "the store was not flushed"),
    }
}

/// How long the way down may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) notice: Duration,
    pub(super) timeout: Duration,
}

/// Bounds the way down; its time runs from `began` on.
async fn within(
    times: Times,
    signals: &Signals,
    began: CancellationToken,
    in_order: impl Future<Output = ()>,
    telling: impl Future<Output = Infallible>,
) -> Result<(), Failure> {
    let too_late = async {
        began.cancelled().await;
        tokio::time::sleep(times.notice + times.timeout).await;
    };
    let telling = async {
        began.cancelled().await;
        telling.await
    };
    let why = tokio::select! {
        () = in_order => return Ok(()),
        never = telling => match never {},
        () = signals.stop_now.cancelled() => "a second signal",
        () = too_late => "shutdown.timeout",
    };
    Err(forced(why))
}

/// The end of a process that had no time to stop in order.
pub(super) fn forced(why: &str) -> Failure {
    let message = format!("stopped at once by {why}; every acknowledged write is on disk");
    Failure::new(Exit::Failed, anyhow!(message))
}

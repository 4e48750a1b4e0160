//! The wiring diagram of a node: which part is made from which, in the order
//! of the stages *load*, *check*, *elect*, *listen*. Each stage consumes what
//! the one before made, so the order is in the types.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use partition_store::Store;
use partition_types::{Member, PartitionId};
use raft_glue::{HostConfig, LoadFault, PartitionHost, Verify};
use rpc_server::{
    AdminPort, ClientPort, ClientPortServing, Metrics, NodeContext, PeerPort, PeerTransport,
};
use startup_gate::state::Load;
use startup_gate::{
    NotConfirmed, Serving, StartError, StartErrorKind, Startup, UnitFault, UnitSpec,
};
use tokio_util::task::AbortOnDropHandle;

use super::courtesy::Courtesy;
use super::data::{self, FirstPartition};
use super::down::{self, Parts, Times};
use super::signals::Signals;
use super::{gate, ports};
use crate::config::{self, Config};
use crate::{Exit, Failure, progress, systemd};

/// What a node is to do.
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) accept_degraded: bool,
    /// Whether an empty node gives itself a partition.
    pub(super) make_first_partition: bool,
    /// The zero of the report's times.
    pub(super) process_start: Instant,
    /// Whether `startup.activation` is the node's own choice.
    pub(super) may_choose_activation: bool,
    /// Test aid: how much longer the check of a partition takes.
    pub(super) test_check_delay: Duration,
}

impl Plan {
    fn times(&self) -> Times {
        let shutdown = &self.config.shutdown;
        Times { notice: shutdown.notice.0, timeout: shutdown.timeout.0 }
    }
}

/// Brings a node up, with `courtesy` to others, lets it serve until a signal, and
/// takes it down.
///
/// # Errors
/// [`Failure`] with the exit code it deserves.
pub(super) async fn run(plan: Plan, courtesy: Option<Courtesy>) -> Result<(), Failure> {
    let courtesy = courtesy.map(|courtesy| AbortOnDropHandle::new(tokio::spawn(courtesy.hold())));
    let signals = Signals::install()?;
    let client = ports::bind(&plan.config)?;
    let metrics = Metrics::install().map_err(|error| Failure::new(Exit::Failed, error))?;
    let fence = Arc::new(OnceLock::new());
    let startup = Startup::new(gate::config(&plan), gate::observers(Arc::clone(&fence)))
        .map_err(Failure::usage)?;
    let gate = startup.handle();
    let context = NodeContext::new(ports::server_config(&plan.config), gate.clone());
    let admin = AdminPort::open(context.clone(), metrics)
        .await
        .map_err(|error| ports::refused("listen.admin", plan.config.listen.admin, &error))?;
    tracing::info!(
        node = %plan.config.node_id,
        cluster = %plan.config.cluster_id,
        admin = %plan.config.listen.admin,
        version = env!("CARGO_PKG_VERSION"),
        "starting"
    );
    let stop = signals.stop.clone();
    tokio::spawn(systemd::follow(gate.clone(), stop, gate::patience(&plan)));
    let bar = tokio::spawn(progress::show(gate.clone()));
    let opening = gate.span("open disks");
    // A first signal waits for it: it is short, and half an opening is no
    // state to stop in.
    let store = tokio::select! {
        store = data::open(data::store_config(&plan)?) => store?,
        () = signals.stop_now.cancelled() => return Err(down::forced("a second signal")),
    };
    drop(opening);
    let local = data::local_member(&plan.config, &store);
    let first = data::first_partition(&plan, &store, &local)?;
    let (host, peer) = join(&plan, &context, &store, local).await?;
    // Only ever set here.
    let _ = fence.set(host.clone());
    gate::hear_of_quarantines(&host, gate.clone());
    gate::hear_of_removals(&host, gate.clone());
    gate::hear_of_leaders(&host, gate.clone());
    gate::say_what_is_in_memory(&plan, store.manifest().len());
    let parts = Parts { context, host, store, peer, admin };
    let up = {
        let mut climbing = pin!(climb(startup, &plan, &parts, first, client));
        tokio::select! {
            up = &mut climbing => up,
            // It ends a start only: if the gate opens meanwhile, it does nothing.
            () = signals.stop.cancelled() => {
                gate.cancel();
                climbing.await
            }
        }
    };
    bar.abort();
    drop(courtesy);
    match up {
        Ok((serving, port)) => {
            // The bar's last state is gone from the screen by now.
            let _ = bar.await;
            tracing::info!("{}", gate.report().critical_path);
            down::serving(serving, port, parts, plan.times(), &signals).await
        }
        Err(error) => {
            if let Some(down) = gate.unwind() {
                down::unopened(down, parts, plan.times(), &signals).await?;
            }
            failed(&error)
        }
    }
}

/// Makes the host of the partitions and opens the peer port: from here on this
/// node is heard of by the others.
async fn join(
    plan: &Plan,
    context: &NodeContext,
    store: &Store,
    local: Member,
) -> Result<(PartitionHost, PeerPort), Failure> {
    let [shortest, longest] = plan.config.raft.election_timeout;
    let host_config = HostConfig {
        heartbeat_interval: plan.config.raft.heartbeat_interval.0,
        election_timeout: (shortest.0, longest.0),
        hibernate_after: plan.config.raft.hibernate_after.0,
        activation: gate::activation(plan, store.manifest().len()),
        unload_after: plan.config.raft.unload_after.0,
        hand_back_rate: plan.config.raft.hand_back_rate,
        ..HostConfig::new(plan.config.node_id, local)
    };
    host_config.validate().map_err(Failure::usage)?;
    let transport = PeerTransport::new(context, store.incarnation());
    let host = PartitionHost::new(host_config, store.clone(), transport.clone());
    context.set_loaded(store.clone(), host.clone());
    let peer = PeerPort::open(context.clone(), transport)
        .await
        .map_err(|error| ports::refused("listen.peer", plan.config.listen.peer, &error))?;
    Ok((host, peer))
}

/// The four stages.
async fn climb(
    startup: Startup<PartitionId, Load>,
    plan: &Plan,
    parts: &Parts,
    first: Option<FirstPartition>,
    client: ClientPort,
) -> Result<(Serving<PartitionId>, ClientPortServing), StartError> {
    let manifest = parts.store.manifest();
    let units =
        manifest.into_iter().map(|entry| UnitSpec::new(entry.partition_id).lane(entry.disk));
    let (joiner, loader, checker) = (parts.host.clone(), parts.host.clone(), parts.host.clone());
    let (verify, delay) = (verify(plan.config.startup.verify), plan.test_check_delay);
    let gate = startup.handle();
    gate::load_wanted_first(&parts.host, &gate);
    let loaded = startup.load_joined(
        units,
        move |ticket| {
            let (host, gate) = (joiner.clone(), gate.clone());
            async move {
                let opened = host.open(*ticket.unit()).await.map_err(load_fault)?;
                gate::load_hot_early(&gate, &opened);
                let right = ticket.log_readable()?;
                host.join(opened, right).await.map_err(load_fault)
            }
        },
        move |ticket, ()| {
            let host = loader.clone();
            async move {
                let progress = ticket.progress();
                host.load(*ticket.unit(), || progress.tick()).await.map_err(load_fault)
            }
        },
        move |ticket, _loaded| {
            let host = checker.clone();
            async move {
                // Not even for no time: a timer costs a millisecond.
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                let checked = host.check(*ticket.unit(), verify).await;
                checked.map_err(|fault| UnitFault::corrupt(fault.what))
            }
        },
    );
    let store = parts.store.clone();
    let checked = loaded.await?.check(async move {
        data::warn_of_full_disks(&store);
        Ok(())
    });
    let (unfencer, confirmer) = (parts.host.clone(), parts.host.clone());
    let elected = checked.await?.elect(
        move |right| unfencer.unfence(right),
        move |ask| {
            let (host, first) = (confirmer.clone(), first.clone());
            async move { confirm(&host, ask.unit, first.as_ref()).await }
        },
    );
    let (context, host) = (parts.context.clone(), parts.host.clone());
    let listening = elected.await?.listen(move |right| async move {
        let port = client.listen(right, context)?;
        host.set_serving(true);
        Ok(port)
    });
    let (serving, port) = listening.await?;
    parts.context.set_serving(serving.admission());
    parts.store.wind_up();
    Ok((serving, port))
}

/// Asks for a verified leader; the first partition of a lone node is given its
/// only member before.
async fn confirm(
    host: &PartitionHost,
    id: PartitionId,
    first: Option<&FirstPartition>,
) -> Result<(), NotConfirmed> {
    if let Some(cause) = host.get(id).and_then(|partition| partition.cause()) {
        return Err(UnitFault::failed(cause).into());
    }
    if let Some(first) = first.filter(|first| first.id == id) {
        let made = host.initialize(id, first.members.clone()).await;
        made.map_err(|error| NotConfirmed::pending(error.to_string()))?;
    }
    let Err(not_yet) = host.confirm_leader(id).await else { return Ok(()) };
    if not_yet.deferred {
        return Err(NotConfirmed::Deferred);
    }
    let Some(removed) = not_yet.removed else { return Err(NotConfirmed::pending(not_yet.reason)) };
    match host.let_go(removed).await {
        Ok(true) => Err(NotConfirmed::Gone),
        // Its group has taken hold of it again, or somebody else deleted it.
        Ok(false) => Err(NotConfirmed::pending(not_yet.reason)),
        Err(error) => Err(UnitFault::failed(error).into()),
    }
}

fn load_fault(fault: LoadFault) -> UnitFault {
    match fault {
        LoadFault::Missing(_) => UnitFault::missing(fault.to_string()),
        LoadFault::Corrupt { what, .. } => UnitFault::corrupt(what),
        LoadFault::Failed { what, .. } => UnitFault::failed(what),
    }
}

fn verify(verify: config::Verify) -> Verify {
    match verify {
        config::Verify::None => Verify::None,
        config::Verify::Sample => Verify::Sample,
        config::Verify::Full => Verify::Full,
    }
}

/// A start that was told to stop has done so; any other end of it is a failure.
fn failed(error: &StartError) -> Result<(), Failure> {
    if error.kind() == StartErrorKind::Stop {
        tracing::info!("{error}");
        return Ok(());
    }
    let degraded = matches!(error, StartError::OverBudget { .. });
    let advice = if degraded { "; --accept-degraded starts without them" } else { "" };
    Err(Failure::new(Exit::Failed, anyhow!("{error}{advice}")))
}

//! The start-up gate as the configuration wants it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use partition_types::PartitionId;
use raft_glue::{Opened, PartitionHost, Want};
use startup_gate::{
    Change, Concurrency, Config as GateConfig, DownDeadlines, Handle, Observer, Policy, Priority,
    TracingObserver, Transition, UnitState,
};

use super::node::Plan;
use crate::config;

/// Loads of one disk at once, when cores and disks decide: enough to keep a
/// disk's queue busy, few enough not to starve the first partitions.
const PER_DISK_MIN: usize = 4;
const OVERALL_MAX: usize = 64;

/// The gate's settings.
pub(super) fn config(plan: &Plan) -> GateConfig {
    let startup = &plan.config.startup;
    let concurrency = concurrency(startup.load_concurrency);
    let timeout = Some(plan.config.shutdown.timeout.0);
    GateConfig {
        policy: match startup.policy {
            config::Policy::Quarantine => Policy::Quarantine,
            config::Policy::Strict => Policy::Strict,
        },
        load_concurrency: concurrency,
        check_concurrency: concurrency,
        elect_timeout: startup.elect_timeout.0,
        stall_timeout: startup.stall_timeout.0,
        max_quarantined: startup.max_quarantined.0,
        accept_degraded: plan.accept_degraded,
        // The notice is as long as it was told to be; the whole way down has
        // a deadline of its own.
        down: DownDeadlines {
            notice: None,
            hand_over: timeout,
            close: timeout,
            flush: None,
            unload: None,
        },
        lane_names: plan.config.disk.iter().map(|disk| disk.path.display().to_string()).collect(),
        process_start: plan.process_start,
        ..GateConfig::default()
    }
}

fn concurrency(wanted: usize) -> Concurrency {
    if wanted > 0 {
        return Concurrency::new(wanted, wanted);
    }
    let cores = std::thread::available_parallelism().map_or(PER_DISK_MIN, usize::from);
    let per_disk = cores.clamp(PER_DISK_MIN, OVERALL_MAX);
    Concurrency::new(per_disk, OVERALL_MAX)
}

/// A partition that was written to this recently is likely to be used first.
const HOT: Duration = Duration::from_secs(10 * 60);

/// Takes partitions earlier that other nodes, or clients by way of them, wait
/// for: first of all those whose quorum may need this node.
pub(super) fn load_wanted_first(host: &PartitionHost, gate: &Handle<PartitionId>) {
    let gate = gate.clone();
    host.on_wanted(move |id, want| {
        let priority = match want {
            Want::Quorum => Priority::QUORUM,
            Want::Awaited => Priority::AWAITED,
        };
        gate.raise(&id, priority);
    });
}

/// Takes a partition earlier that was busy when the node went down.
pub(super) fn load_hot_early(gate: &Handle<PartitionId>, opened: &Opened) {
    let written = UNIX_EPOCH + Duration::from_millis(opened.written_at_ms());
    // A clock that went back makes it hot, which does no harm.
    if SystemTime::now().duration_since(written).is_ok_and(|age| age > HOT) {
        return;
    }
    gate.raise(&opened.id(), Priority::HOT);
}

/// Who is told of every transition: the log, and the host, which fences what
/// was quarantined.
pub(super) fn observers(host: Arc<OnceLock<PartitionHost>>) -> Vec<Arc<dyn Observer<PartitionId>>> {
    let fence = move |change: &Change<PartitionId>| {
        let Transition::Unit { unit, to: Some(UnitState::Quarantined { fault }), .. } =
            &change.transition
        else {
            return;
        };
        if let Some(host) = host.get() {
            host.quarantine(*unit, fault.to_string());
        }
    };
    vec![Arc::new(TracingObserver), Arc::new(fence)]
}

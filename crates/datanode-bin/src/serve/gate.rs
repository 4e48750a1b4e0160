//! The start-up gate as the configuration wants it.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use partition_types::PartitionId;
use raft_glue::{Activation, Opened, PartitionHost, Want};
use startup_gate::{
    Change, Concurrency, Config as GateConfig, DownDeadlines, Handle, Observer, Policy, Priority,
    Stage, TracingObserver, Transition, UnitFault, UnitState,
};
use tracing::Span;

use super::node::Plan;
use crate::config;
use crate::systemd::Patience;

/// Loads of one disk at once, when cores and disks decide: enough to keep a disk's queue busy, and
/// its threads at work while the next loads are on their way to them; few enough not to starve the
/// first partitions.
const PER_DISK_MIN: usize = 16;
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

/// What systemd has to be patient with.
pub(super) fn patience(plan: &Plan) -> Patience {
    let config::Config { startup, shutdown, .. } = &plan.config;
    Patience {
        stall: startup.stall_timeout.0,
        elect: startup.elect_timeout.0,
        down: shutdown.notice.0 + shutdown.timeout.0,
    }
}

/// Who is told of every transition: the log, the spans of the stages, and the
/// host, which fences what was quarantined.
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
    vec![Arc::new(TracingObserver), Arc::new(StageSpans::begin()), Arc::new(fence)]
}

/// The way back: what the host finds bad, at whatever time, is quarantined in
/// the gate too, so that the report, the pages and the metrics tell of it. The
/// two tell each other, and each ignores what it knows, so it ends there.
pub(super) fn hear_of_quarantines(host: &PartitionHost, gate: Handle<PartitionId>) {
    host.on_quarantine(move |id, cause| {
        // A check tells the gate by itself, with the kind of its fault.
        if gate.state_of(&id) != Some(UnitState::Checking) {
            gate.quarantine(&id, UnitFault::failed(cause));
        }
    });
}

/// A replica that turns out to be its group's no longer while the node serves is
/// none of the gate's business any more.
pub(super) fn hear_of_removals(host: &PartitionHost, gate: Handle<PartitionId>) {
    host.on_removed(move |id| {
        gate.remove(&id);
    });
}

/// A partition that nobody needed in the start is confirmed when it has a leader.
pub(super) fn hear_of_leaders(host: &PartitionHost, gate: Handle<PartitionId>) {
    host.on_confirmed(move |id| {
        gate.confirm(&id);
    });
}

/// From so many partitions on, those that nobody uses cost more memory, and their elections
/// more of the start, than most nodes like to spend on them.
const MANY: usize = 2000;

/// Which partitions the host keeps in memory: as it was told to, or by their number.
pub(super) fn activation(plan: &Plan, partitions: usize) -> Activation {
    // A strict start waits for every leader.
    let may_choose = plan.may_choose_activation && !is_strict(plan);
    match plan.config.startup.activation {
        config::Activation::OnDemand => Activation::OnDemand,
        config::Activation::Eager if may_choose && partitions >= MANY => Activation::OnDemand,
        config::Activation::Eager => Activation::Eager,
    }
}

fn is_strict(plan: &Plan) -> bool {
    plan.config.startup.policy == config::Policy::Strict
}

/// Says once which of the two ways was chosen, and why, where the other one may be better.
pub(super) fn say_what_is_in_memory(plan: &Plan, partitions: usize) {
    match (activation(plan, partitions), plan.config.startup.activation) {
        (Activation::OnDemand, config::Activation::OnDemand) => tracing::info!(
            partitions,
            "on-demand, as configured: all partitions are loaded and checked, and those that nobody \
             uses stay out of memory"
        ),
        (Activation::OnDemand, config::Activation::Eager) => tracing::info!(
            partitions,
            "on-demand, for there are {MANY} partitions or more: all are loaded and checked, and \
             those that nobody uses stay out of memory; startup.activation = \"eager\" would keep \
             them there, and have a leader for each before the port opens"
        ),
        (Activation::Eager, _) if partitions >= MANY && is_strict(plan) => tracing::info!(
            partitions,
            "eager, for the policy is strict: all partitions stay in memory, and all have a verified \
             leader before the port opens"
        ),
        (Activation::Eager, _) if partitions >= MANY => tracing::info!(
            partitions,
            "eager, as configured: all partitions stay in memory, and all have a verified leader \
             before the port opens; startup.activation = \"on-demand\" would keep out those that \
             nobody uses"
        ),
        (Activation::Eager, _) => {}
    }
}

/// A span for each stage on the way up, from its beginning to its end.
struct StageSpans(Mutex<Option<Span>>);

impl StageSpans {
    /// The gate begins with *load*.
    fn begin() -> Self {
        Self(Mutex::new(Some(stage_span(Stage::Load))))
    }
}

impl Observer<PartitionId> for StageSpans {
    fn on_change(&self, change: &Change<PartitionId>) {
        if let Transition::Stage { to, .. } = change.transition {
            let next = to.is_starting().then(|| stage_span(to));
            // Closing the last one writes a line, which takes no lock of ours.
            *self.0.lock().expect("no panics under it") = next;
        }
    }
}

fn stage_span(stage: Stage) -> Span {
    tracing::debug_span!(target: "startup_gate", parent: None, "stage", %stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node does that was told `settings` and has so many partitions.
    fn chosen(settings: &[&str], partitions: usize) -> Activation {
        let set = settings.iter().map(|&setting| setting.to_owned()).collect();
        let loaded = config::Sources { set, ..config::Sources::default() }.load().unwrap();
        let plan = Plan {
            accept_degraded: false,
            make_first_partition: false,
            process_start: std::time::Instant::now(),
            may_choose_activation: loaded.is_default("startup.activation"),
            test_check_delay: Duration::ZERO,
            config: loaded.config,
        };
        activation(&plan, partitions)
    }

    #[test]
    fn a_node_with_many_partitions_keeps_the_idle_ones_out_of_memory_unless_told_otherwise() {
        use Activation::{Eager, OnDemand};
        let quarantine = "startup.policy=quarantine";
        for (settings, partitions, wanted) in [
            (&[][..], MANY - 1, Eager),
            (&[], MANY, OnDemand),
            (&[quarantine], MANY, OnDemand),
            (&["startup.activation=eager"], MANY, Eager),
            (&["startup.policy=strict"], MANY, Eager),
            (&["startup.activation=on-demand"], 0, OnDemand),
        ] {
            assert_eq!(chosen(settings, partitions), wanted, "{settings:?} {partitions}");
        }
    }
}

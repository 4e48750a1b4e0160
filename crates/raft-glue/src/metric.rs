//! The names of this crate's metrics, and their handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::RaftRequest;
use crate::protocol::{Cause, Path};

/// Times that the fence held back an election: a path above it leaked. Label `path`.
pub const ELECTION_FENCE_SUPPRESSED: &str = "datanode_election_fence_suppressed_total";
/// Times that this node became leader while its client port was closed.
pub const SELF_LED_PRELISTEN: &str = "datanode_self_led_prelisten_total";
/// Time that this node led partitions while its client port was closed. A
/// counter with a fraction, which the facade does not have: whoever renders the
/// metrics asks [`PartitionHost::leader_unserved`](crate::PartitionHost::leader_unserved).
pub const LEADER_UNSERVED_SECONDS: &str = "datanode_leader_unserved_seconds_total";
/// Leaderships that this node gave back to the node that is to have them.
pub const LEADERS_HANDED_BACK: &str = "datanode_leaders_handed_back_total";
/// Replicas that this node deleted because their group had removed them.
pub const REPLICAS_REMOVED: &str = "datanode_replicas_removed_total";
/// Partitions that this node leads.
pub const PARTITION_LEADERS: &str = "datanode_partition_leaders";
/// The most entries that a replica of this node is behind in applying.
pub const RAFT_APPLY_LAG: &str = "datanode_raft_apply_lag_entries";
/// Replicas of this node that sleep.
pub const PARTITIONS_SLEEPING: &str = "datanode_partitions_sleeping";
/// Replicas of this node by whether their Raft is in memory. Label `state`: `loaded` or
/// `unloaded`.
pub const PARTITIONS_IN_MEMORY: &str = "datanode_partitions_in_memory";
/// Groups brought into memory on demand. Label `cause`.
pub const ACTIVATIONS: &str = "datanode_partition_activations_total";
/// How long that took, from the first who wanted it, in seconds.
pub const ACTIVATION_DURATION: &str = "datanode_partition_activation_duration_seconds";
/// Groups taken out of memory because they slept for long.
pub const DEACTIVATIONS: &str = "datanode_partition_deactivations_total";
/// Commands proposed on this node. Label `outcome`.
pub const RAFT_PROPOSALS: &str = "datanode_raft_proposals_total";

/// Messages of other nodes' groups that this node took. Labels `kind` and `outcome`:
/// `answered`, `refused`, or `late` when the sender's time was up, or its stream ended, first.
pub const RAFT_MESSAGES: &str = "datanode_raft_messages_received_total";

/// Makes every series of this crate, at 0, in the recorder that is installed, so
/// that they are there before a host is: a scrape of a node that opens its disks
/// sees them too.
pub fn register() {
    drop(Metrics::new());
}

/// Handles, looked up once.
pub(crate) struct Metrics {
    pub(crate) suppressed: Suppressed,
    pub(crate) self_led_prelisten: Counter,
    pub(crate) handed_back: Counter,
    pub(crate) removed: Counter,
    pub(crate) partition_leaders: Gauge,
    pub(crate) apply_lag: Gauge,
    pub(crate) sleeping: Gauge,
    pub(crate) proposals: Proposals,
    pub(crate) loaded: Gauge,
    pub(crate) unloaded: Gauge,
    pub(crate) deactivated: Counter,
    activations: [Counter; Cause::ALL.len()],
    activation_duration: Histogram,
    messages: [Messages; RaftRequest::KINDS.len()],
}

/// One counter an outcome, of messages of one kind.
struct Messages {
    answered: Counter,
    refused: Counter,
    late: Counter,
}

/// A message that is being answered; dropped before that, it counts as late.
pub(crate) struct Answering<'a>(Option<&'a Messages>);

impl Answering<'_> {
    pub(crate) fn ends(mut self, answered: bool) {
        if let Some(messages) = self.0.take() {
            let outcome = if answered { &messages.answered } else { &messages.refused };
            outcome.increment(1);
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        if let Some(messages) = self.0 {
            messages.late.increment(1);
        }
    }
}

/// Elections held back, by the path that led to them. All clones count together.
#[derive(Clone)]
pub(crate) struct Suppressed(Arc<[Held; Path::ALL.len()]>);

/// A counter for Prometheus and one that can be read.
struct Held {
    told: Counter,
    count: AtomicU64,
}

impl Suppressed {
    fn new() -> Self {
        Self(Arc::new(Path::ALL.map(|path| Held {
            told: counter!(ELECTION_FENCE_SUPPRESSED, "path" => path.as_str()),
            count: AtomicU64::new(0),
        })))
    }

    pub(crate) fn hold_back(&self, path: Path) {
        let held = &self.0[path as usize];
        held.told.increment(1);
        held.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, path: Path) -> u64 {
        self.0[path as usize].count.load(Ordering::Relaxed)
    }
}

/// One counter an outcome.
pub(crate) struct Proposals {
    pub(crate) applied: Counter,
    pub(crate) refused: Counter,
    pub(crate) unknown: Counter,
}

impl Metrics {
    /// A group was brought into memory.
    pub(crate) fn activated(&self, cause: Cause, took: Duration) {
        self.activations[cause as usize].increment(1);
        self.activation_duration.record(took.as_secs_f64());
    }

    /// Such a message came.
    pub(crate) fn answering(&self, request: &RaftRequest) -> Answering<'_> {
        Answering(Some(&self.messages[request.kind()]))
    }

    pub(crate) fn new() -> Self {
        describe();
        let proposals = |outcome: &'static str| counter!(RAFT_PROPOSALS, "outcome" => outcome);
        Self {
            suppressed: Suppressed::new(),
            self_led_prelisten: counter!(SELF_LED_PRELISTEN),
            handed_back: counter!(LEADERS_HANDED_BACK),
            removed: counter!(REPLICAS_REMOVED),
            partition_leaders: gauge!(PARTITION_LEADERS),
            apply_lag: gauge!(RAFT_APPLY_LAG),
            sleeping: gauge!(PARTITIONS_SLEEPING),
            proposals: Proposals {
                applied: proposals("applied"),
                refused: proposals("refused"),
                unknown: proposals("unknown"),
            },
            loaded: gauge!(PARTITIONS_IN_MEMORY, "state" => "loaded"),
            unloaded: gauge!(PARTITIONS_IN_MEMORY, "state" => "unloaded"),
            deactivated: counter!(DEACTIVATIONS),
            activations: Cause::ALL.map(|cause| counter!(ACTIVATIONS, "cause" => cause.as_str())),
            activation_duration: histogram!(ACTIVATION_DURATION),
            messages: RaftRequest::KINDS.map(|kind| {
                let of = |outcome: &'static str| {
                    counter!(RAFT_MESSAGES, "kind" => kind, "outcome" => outcome)
                };
                Messages { answered: of("answered"), refused: of("refused"), late: of("late") }
            }),
        }
    }
}

fn describe() {
    describe_counter!(
        ELECTION_FENCE_SUPPRESSED,
        "Elections held back by the fence of a partition that is not ready"
    );
    describe_counter!(SELF_LED_PRELISTEN, "Leaderships taken while the client port was closed");
    describe_counter!(LEADERS_HANDED_BACK, "Leaderships given back to the preferred node");
    describe_counter!(
        REPLICAS_REMOVED,
        "Replicas deleted because their group had removed them while this node was away"
    );
    describe_gauge!(PARTITION_LEADERS, "Partitions led by this node");
    describe_gauge!(RAFT_APPLY_LAG, "Most entries that a replica is behind in applying");
    describe_gauge!(PARTITIONS_SLEEPING, "Replicas that sleep: idle, without heartbeats");
    describe_counter!(RAFT_PROPOSALS, "Commands proposed on this node");
    describe_gauge!(PARTITIONS_IN_MEMORY, "Replicas by whether their Raft is in memory");
    describe_counter!(ACTIVATIONS, "Groups brought into memory on demand, by who wanted them");
    describe_histogram!(
        ACTIVATION_DURATION,
        Unit::Seconds,
        "How long it took to bring a group into memory"
    );
    describe_counter!(RAFT_MESSAGES, "Messages of other nodes' groups that this node took");
    describe_counter!(DEACTIVATIONS, "Groups taken out of memory because they slept for long");
}

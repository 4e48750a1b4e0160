//! What the host and its groups share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use partition_store::Store;
use partition_types::{NodeId, PartitionId, RequestId};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activate::Activations;
use crate::balance::Balance;
use crate::driver::Driver;
use crate::fence::Fence;
use crate::group::Group;
use crate::lead::Leads;
use crate::log_store::UNREAD_MAX;
use crate::metric::Metrics;
use crate::probe::Prober;
use crate::sleep::Sleepers;
use crate::wanted::Wanted;
use crate::{HostConfig, Transport, elect, protocol};

/// Snapshots that are received at the same time: each writes to the disks as
/// fast as the network is.
const RECEIVING_MAX: usize = 4;
/// Changed routes that a subscriber may be behind before it must resync.
const ROUTES_BUFFER: usize = 4096;

/// Is told which partition was quarantined, and why.
pub(crate) type OnQuarantine = Box<dyn Fn(PartitionId, &str) + Send + Sync>;
/// Is told which partition has no replica here any more.
pub(crate) type OnRemoved = Box<dyn Fn(PartitionId) + Send + Sync>;

/// Is told which partition that was deferred has a leader now.
pub(crate) type OnConfirmed = Box<dyn Fn(PartitionId) + Send + Sync>;

/// What the host and its groups share.
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) raft_config: Arc<openraft::Config>,
    pub(crate) store: Store,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) groups: RwLock<BTreeMap<PartitionId, Arc<Group>>>,
    pub(crate) draining: AtomicBool,
    pub(crate) leads: Leads,
    pub(crate) activations: Activations,
    pub(crate) balance: Balance,
    pub(crate) driver: Driver,
    pub(crate) sleepers: Sleepers,
    pub(crate) metrics: Metrics,
    pub(crate) routes: broadcast::Sender<PartitionId>,
    pub(crate) prober: Prober,
    pub(crate) wanted: Wanted,
    /// Whom to tell of a quarantine; see [`PartitionHost::on_quarantine`](crate::PartitionHost::on_quarantine).
    pub(crate) on_quarantine: OnceLock<OnQuarantine>,
    pub(crate) on_removed: OnceLock<OnRemoved>,
    pub(crate) on_confirmed: OnceLock<OnConfirmed>,
    pub(crate) receiving: Semaphore,
    /// Turns of groups that look for their leaders in a start.
    pub(crate) asking: Semaphore,
    /// Turns of groups that campaign.
    pub(crate) elections: Semaphore,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
    /// Those being loaded.
    pub(crate) loading: Mutex<BTreeSet<PartitionId>>,
    /// Creating and deleting replicas takes turns.
    pub(crate) placing: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(crate) fn new(config: HostConfig, store: Store, transport: Arc<dyn Transport>) -> Self {
        Self {
            raft_config: Arc::new(raft_config(&config)),
            driver: Driver::new(config.heartbeat_interval, config.election_timeout, seed(&config)),
            sleepers: Sleepers::new(life()),
            config,
            store,
            transport,
            groups: RwLock::default(),
            draining: AtomicBool::new(false),
            leads: Leads::new(),
            activations: Activations::new(),
            balance: Balance::default(),
            metrics: Metrics::new(),
            routes: broadcast::channel(ROUTES_BUFFER).0,
            prober: Prober::default(),
            wanted: Wanted::default(),
            on_quarantine: OnceLock::new(),
            on_removed: OnceLock::new(),
            on_confirmed: OnceLock::new(),
            receiving: Semaphore::new(RECEIVING_MAX),
            asking: Semaphore::new(elect::ASKING),
            elections: Semaphore::new(elect::ELECTIONS),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            loading: Mutex::default(),
            placing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn group(&self, id: PartitionId) -> Option<Arc<Group>> {
        self.groups.read().get(&id).cloned()
    }

    /// All of them, in the order of their ids; a copy.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(crate) fn new_fence(&self) -> Arc<Fence> {
        let fence = Fence::new(self.metrics.suppressed.clone());
        fence.set_draining(self.is_draining());
        Arc::new(fence)
    }

    /// Groups in which `node_id` is a member.
    pub(crate) fn shared_with(&self, node_id: NodeId) -> Vec<Arc<Group>> {
        let groups = self.groups.read();
        groups.values().filter(|group| group.has_member(node_id)).cloned().collect()
    }
}

fn raft_config(config: &HostConfig) -> openraft::Config {
    let (election_timeout_min, election_timeout_max) = election_timeouts_ms(config);
    let raft_config = openraft::Config {
        cluster_name: "datanode".to_owned(),
        heartbeat_interval: ms(config.heartbeat_interval),
        election_timeout_min,
        election_timeout_max,
        // Followers that acknowledge entries need no heartbeat besides.
        heartbeat_min_interval: Some(heartbeat_min_interval_ms(config)),
        // Of the first message to a follower, nearly all of whose entries are ids: see `append`.
        max_payload_entries: UNREAD_MAX,
        // The driver is the clock of all groups, and asks the fence.
        enable_tick: false,
        enable_elect: false,
        enable_leader_restore: Some(false),
        // A node that comes back must not depose a healthy leader.
        enable_pre_vote: Some(true),
        // The host decides, by what the store has flushed: see `maintain`.
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // Its statistics are compiled out, its buffers for them are not: 147 KiB a
        // group by default.
        log_stage_capacity: Some(1),
        // A write comes alone, or with some more that wait for the same disk.
        api_batch_capacity: 64,
        ..openraft::Config::default()
    };
    #[cfg(feature = "planted")]
    let raft_config = with_bug(raft_config);
    raft_config
}

/// The simulator's bug, where it is awake: a replica that led when it went leads
/// again when it comes.
#[cfg(feature = "planted")]
fn with_bug(mut config: openraft::Config) -> openraft::Config {
    use partition_store::planted::{Bug, is_planted};
    if is_planted(Bug::LeaderRestored) {
        config.enable_leader_restore = Some(true);
    }
    config
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn heartbeat_min_interval_ms(config: &HostConfig) -> u64 {
    ms(config.heartbeat_interval) / 2
}

/// What openraft has to be told. Its larger election timeout is the lease: for so
/// long a replica that heard a leader gives its vote to nobody else, and for so
/// long a leader that heard a quorum takes writes. The lease is over when the
/// shortest timer of the driver runs out.
fn election_timeouts_ms(config: &HostConfig) -> (u64, u64) {
    let heartbeat = ms(config.heartbeat_interval);
    // openraft refuses less: two heartbeats can be so far apart, and a tick
    // (13/64 of the interval) may come late.
    let shortest = heartbeat + heartbeat_min_interval_ms(config) + heartbeat * 13 / 64 + 2;
    (shortest, ms(config.election_timeout.0).max(shortest + 1))
}

/// Another number for each start of a host.
fn life() -> u64 {
    let random = u128::from_be_bytes(*RequestId::random().as_bytes());
    // The last half is the random one.
    u64::try_from(random & u128::from(u64::MAX)).unwrap_or_default()
}

/// Makes this node's chance its own, and the same in each run.
fn seed(config: &HostConfig) -> u64 {
    let life = config.local.incarnation.as_bytes().chunks(8);
    life.fold(config.node_id.get(), |seed, half| {
        let half = half.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        protocol::mix(seed ^ half)
    })
}

#[cfg(test)]
mod tests {
    use partition_types::{Incarnation, Member};

    use super::*;

    #[test]
    fn a_lease_is_over_when_the_first_timer_runs_out() {
        let address = String::new;
        let member = Member {
            incarnation: Incarnation::random(),
            peer_address: address(),
            client_address: address(),
            admin_address: address(),
        };
        let node_id = NodeId::new(1).unwrap();
        for (heartbeat, min, max) in
            [(500, 2000, 4000), (100, 300, 600), (500, 1000, 2000), (10, 20, 25), (50, 5000, 5001)]
        {
            let config = HostConfig {
                heartbeat_interval: Duration::from_millis(heartbeat),
                election_timeout: (Duration::from_millis(min), Duration::from_millis(max)),
                ..HostConfig::new(node_id, member.clone())
            };
            config.validate().expect("it is one");
            raft_config(&config).validate().expect("openraft takes it");
            let (_, lease) = election_timeouts_ms(&config);
            assert_eq!(lease, min, "{heartbeat} {min} {max}");
        }
    }
}

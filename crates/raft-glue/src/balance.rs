//! Handing leaderships back to the node that is to have them.
//!
//! A drain, a lost node or a slow start moves leaderships, and nothing in Raft
//! moves them back. Here each leader asks, for the groups it leads, whether
//! another voter is preferred, and hands over to that one: at a bounded rate, and
//! only to a replica that has caught up and whose node serves.
//!
//! Nothing is looked at while nothing changes: a node that comes back makes its
//! groups *due*, and a slow sweep finds what was missed. What was moved by hand
//! therefore stays for a while ([`SWEEP_EVERY`]) before it is moved back.
//!
//! What this is not: it counts nobody's load. Leaderships are spread as evenly
//! as the preferences are, which whoever makes partitions decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use partition_types::{NodeId, PartitionId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::{MissedTickBehavior, interval};

use crate::group::{Group, View};
use crate::pace::Pace;
use crate::peers::{Peers, RoundEnd};
use crate::shared::Shared;
use crate::{PartitionHost, PeerState, TransferError, maintain, transfer};

/// Hand-backs at the same time.
const PARALLEL: usize = 4;
/// A group is handed back at most this often.
const GROUP_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at everything. A group that was found led elsewhere twice in
/// a row is handed back.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// While somebody drains, or a peer must still prove itself, there is another
/// look after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A replica that has this many committed entries to apply is not told to lead
/// while somebody else does.
const APPLY_LAG_MAX: u64 = 1000;

/// Which groups a peer is to have back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// All that prefer it: it was away.
    All,
    /// These only: a sweep found them.
    These(BTreeSet<PartitionId>),
}

/// What a host knows of its peers, and how its balancing task is woken.
#[derive(Default)]
pub(crate) struct Balance {
    peers: Mutex<Peers>,
    changed: Notify,
}

impl PartitionHost {
    /// Says how this node's peers are, all of them: who is not named is away. To
    /// be called when one of them changes, and now and then. What comes back gets
    /// back its leaderships.
    pub fn set_peers(&self, peers: impl IntoIterator<Item = (NodeId, PeerState)>) {
        let balance = &self.shared.balance;
        if balance.peers.lock().hear(Instant::now(), peers.into_iter().collect()) {
            balance.changed.notify_one();
        }
    }
}

impl Balance {
    /// How a peer is, as far as is known.
    pub(crate) fn state_of(&self, id: NodeId) -> Option<PeerState> {
        self.peers.lock().state_of(id)
    }

    /// Whether a peer said that it leads nothing from now on; it may be gone since.
    pub(crate) fn has_left(&self, id: NodeId) -> bool {
        self.peers.lock().has_left(id)
    }
}

/// Hands back what others are to lead, until the host is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    if shared.config.hand_back_rate == 0 {
        return;
    }
    let (moved, strayed) = (BTreeMap::new(), BTreeSet::new());
    let mut task = Task { shared, moved, strayed, pace: Pace::default() };
    let mut sweep_at = Instant::now() + SWEEP_EVERY;
    loop {
        let next = task.next_look(sweep_at);
        tokio::select! {
            () = task.shared.cancel.cancelled() => return,
            () = task.shared.balance.changed.notified() => {}
            () = tokio::time::sleep_until(next) => {}
        }
        let now = Instant::now();
        if now >= sweep_at {
            task.sweep(now);
            sweep_at = now + SWEEP_EVERY;
        }
        // A hand-back that has begun ends by itself: the node goes on serving.
        tokio::select! {
            () = task.shared.cancel.clone().cancelled_owned() => return,
            () = task.hand_back(now) => {}
        }
    }
}

/// The one task of a host.
struct Task {
    shared: Arc<Shared>,
    /// When groups were handed back last.
    moved: BTreeMap<PartitionId, Instant>,
    /// Groups that another node is to lead, as the last sweep found them.
    strayed: BTreeSet<PartitionId>,
    pace: Pace,
}

/// A group that another node is to lead.
struct Stray {
    group: Arc<Group>,
    to: NodeId,
}

/// What a round of hand-backs did to one peer.
#[derive(Default)]
struct Round {
    taken: AtomicUsize,
    /// Not ready for these yet.
    put_off: AtomicUsize,
    /// Told to lead, and did not.
    failed: AtomicUsize,
}

impl Task {
    fn next_look(&self, sweep_at: Instant) -> Instant {
        let due_at = self.shared.balance.peers.lock().due_at();
        due_at.map_or(sweep_at, |at| {
            let at = match self.is_quiet() {
                true => at,
                false => at.max(Instant::now() + LOOK_AGAIN),
            };
            at.min(sweep_at)
        })
    }

    /// Whether leaderships may be moved for balance: nobody is on the way down.
    fn is_quiet(&self) -> bool {
        is_quiet(&self.shared)
    }

    /// The groups that this node leads and another one is to lead.
    fn strays(&self) -> impl Iterator<Item = Stray> + use<> {
        self.shared.all().into_iter().filter_map(|group| {
            let leads = group.view().as_ref().is_some_and(View::leads);
            let to = group.preferred().filter(|_| leads)?;
            (to != group.shared.config.node_id).then_some(Stray { group, to })
        })
    }

    fn sweep(&mut self, now: Instant) {
        self.moved.retain(|_, at| now.duration_since(*at) < GROUP_PAUSE);
        let mut found = BTreeSet::new();
        let mut again: BTreeMap<NodeId, BTreeSet<PartitionId>> = BTreeMap::new();
        for stray in self.strays() {
            found.insert(stray.group.id);
            if self.strayed.contains(&stray.group.id) {
                again.entry(stray.to).or_default().insert(stray.group.id);
            }
        }
        self.strayed = found;
        let mut peers = self.shared.balance.peers.lock();
        for (to, ids) in again {
            peers.make_due(now, to, ids);
        }
    }

    /// One round: hands back what is due and possible now.
    async fn hand_back(&mut self, now: Instant) {
        let due = self.shared.balance.peers.lock().due(now);
        if due.is_empty() || !self.is_quiet() {
            return;
        }
        let rounds: BTreeMap<NodeId, Round> =
            due.keys().map(|to| (*to, Round::default())).collect();
        let mut now_possible = Vec::new();
        for stray in self.strays() {
            let wanted = match due.get(&stray.to) {
                Some(Due::All) => true,
                Some(Due::These(ids)) => ids.contains(&stray.group.id),
                None => false,
            };
            let rests = |at: &Instant| now.duration_since(*at) < GROUP_PAUSE;
            if wanted && self.moved.get(&stray.group.id).is_some_and(rests) {
                rounds[&stray.to].put_off.fetch_add(1, Ordering::Relaxed);
            } else if wanted {
                now_possible.push(stray);
            }
        }
        let (shared, pace, rounds_ref) = (&self.shared, &self.pace, &rounds);
        let moved: Mutex<Vec<PartitionId>> = Mutex::default();
        paced(now_possible, shared.config.hand_back_rate)
            .for_each_concurrent(PARALLEL, |stray| {
                let (round, moved) = (&rounds_ref[&stray.to], &moved);
                async move {
                    let began = Instant::now();
                    if round.hand_back(shared, &stray).await {
                        moved.lock().push(stray.group.id);
                        pace.rest_after(began.elapsed()).await;
                    }
                }
            })
            .await;
        let now = Instant::now();
        self.moved.extend(moved.into_inner().into_iter().map(|id| (id, now)));
        let mut peers = self.shared.balance.peers.lock();
        for (to, round) in &rounds {
            let round = round.end();
            log(*to, round);
            peers.round_ended(now, *to, round);
        }
    }
}

impl Round {
    /// Hands one group back, if that is still right. Whether it was tried.
    async fn hand_back(&self, shared: &Shared, stray: &Stray) -> bool {
        let Stray { group, to } = stray;
        // One that did not take what it was told to is not told again at once.
        let stop = self.failed.load(Ordering::Relaxed) > 0;
        let is_there = shared.balance.peers.lock().is_serving(*to);
        if stop || !is_there || !is_quiet(shared) {
            self.put_off.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        match transfer::hand_back(group, *to).await {
            Ok(leader) if leader == *to => {
                shared.metrics.handed_back.increment(1);
                self.taken.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TransferError::NoTarget) => {
                self.put_off.fetch_add(1, Ordering::Relaxed);
                false
            }
            // It is somebody else's by now, or nobody's.
            Err(TransferError::Propose(_) | TransferError::NotAVoter(_)) => false,
            Ok(_) | Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                true
            }
        }
    }

    fn end(&self) -> RoundEnd {
        let [taken, put_off, failed] =
            [&self.taken, &self.put_off, &self.failed].map(|count| count.load(Ordering::Relaxed));
        RoundEnd { taken, put_off, failed }
    }
}

fn log(to: NodeId, round: RoundEnd) {
    let RoundEnd { taken, put_off, failed } = round;
    if failed > 0 {
        tracing::warn!(node_id = %to, taken, failed, "a node does not take its leaderships");
    } else if taken > 0 {
        tracing::info!(node_id = %to, taken, put_off, "leaderships handed back");
    }
}

impl Group {
    /// The voter that is to lead: the first founder that still votes.
    ///
    /// `None` on a replica that joined later: it does not know the founders'
    /// order, and a guess of its own could send a leadership back and forth.
    pub(crate) fn preferred(&self) -> Option<NodeId> {
        let me = self.shared.config.node_id;
        let first = self.created_with.first()?.0;
        if first == me {
            return Some(me);
        }
        let voters = self.membership().voters();
        self.created_with.iter().map(|(id, _)| *id).find(|id| voters.contains(id))
    }

    /// Whether this replica has so much to apply that it would lead with a stutter.
    pub(crate) fn is_behind(&self) -> bool {
        maintain::apply_lag(self) > APPLY_LAG_MAX
    }
}

/// Whether leaderships may be moved for balance: this node serves, and nobody
/// is on the way down.
fn is_quiet(shared: &Shared) -> bool {
    let quiet = shared.leads.is_serving() && !shared.is_draining();
    quiet && !shared.balance.peers.lock().is_anybody_draining()
}

/// `items`, at most `rate` of them a second.
fn paced<T: Send>(items: Vec<T>, rate: u32) -> impl Stream<Item = T> + Send {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::unfold((items.into_iter(), ticks), |(mut items, mut ticks)| async move {
        let item = items.next()?;
        ticks.tick().await;
        Some((item, (items, ticks)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_pace_is_bounded_also_after_a_pause() {
        let began = Instant::now();
        let times: Vec<Duration> = paced((0..200).collect(), 100)
            .then(|item| async move {
                if item == 50 {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                began.elapsed()
            })
            .collect()
            .await;
        for window in times.windows(101) {
            let took = window[100].checked_sub(window[0]).expect("in order");
            assert!(took >= Duration::from_millis(985), "{took:?} for a hundred");
        }
    }
}

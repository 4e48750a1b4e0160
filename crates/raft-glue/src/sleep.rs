//! Groups that are idle sleep: no heartbeat, no timer, no task that wakes.
//!
//! ```text
//!                idle, level      every follower agreed
//!   Awake ───────────────▶ Falling ──────────▶ Leads   (asleep)
//!     ▲  ▲                   │ one did not        │
//!     │  └───────────────────┘                    │ any message, any request,
//!     │                                           │ any change
//!     ├───────────────────────────────────────────┘
//!     │     told by its leader, and agrees
//!   Awake ───────────────────────────────▶ Follows (asleep)
//!     ▲                                       │ likewise; or its leader's node
//!     └───────────────────────────────────────┘ is gone, silent, started anew
//! ```
//!
//! In place of all those heartbeats one beat goes from node to node, for all
//! groups that the one leads and that sleep on the other, whether in memory there or
//! not. A follower that sleeps
//! trusts its leader for as long as it trusted one that it heard of. What may sleep
//! is decided by [`protocol::Idle`] and [`protocol::Told`].

mod book;
mod offer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use partition_types::{LogId, Member, NodeId, PartitionId};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::convert::{from_raft_log_id, from_raft_membership};
use crate::group::Group;
use crate::protocol::{self, Idle, Told};
use crate::shared::Shared;
use crate::{PartitionHost, PeerState, SleepCall, SleepReply, SleepingGroup};
use book::{Book, Heard};

/// Groups in one call.
const GROUPS_MAX: usize = 4096;

const AWAKE: u8 = 0;
const FALLING: u8 = 1;
const LEADS: u8 = 2;
const FOLLOWS: u8 = 3;

/// Whether one replica sleeps, and since when it has nothing to do.
pub(crate) struct Rest {
    state: AtomicU8,
    times: Mutex<Times>,
}

struct Times {
    /// It was used, its members or its leader changed, or it woke.
    active_at: Instant,
    /// Somebody used it; never: not in this life.
    used_at: Option<Instant>,
    woken_at: Option<Instant>,
    slept_at: Option<Instant>,
}

impl Default for Rest {
    fn default() -> Self {
        let times =
            Times { active_at: Instant::now(), used_at: None, woken_at: None, slept_at: None };
        Self { state: AtomicU8::new(AWAKE), times: Mutex::new(times) }
    }
}

/// What sleeps on this node.
pub(crate) struct Sleepers {
    book: Mutex<Book>,
    /// This process: another one that is started on the same disk has put
    /// nothing to sleep.
    life: u64,
}

impl Sleepers {
    pub(crate) fn new(life: u64) -> Self {
        Self { book: Mutex::default(), life }
    }

    /// Whether a peer, which put groups to sleep here, spoke no longer ago than
    /// that.
    pub(crate) fn heard_within(&self, peer: NodeId, time: Duration) -> bool {
        self.book.lock().heard_within(peer, Instant::now(), time)
    }
}

impl PartitionHost {
    /// Takes what a peer says of the groups that it leads and that sleep here, and
    /// lets those fall asleep that it asks for and that agree.
    ///
    /// # Cancel safety
    /// It does not wait.
    pub fn sleep(&self, from: NodeId, call: &SleepCall) -> SleepReply {
        let shared = &self.shared;
        let theirs = book::Digest { count: call.count, sum: call.sum };
        let (same, heard) =
            shared.sleepers.book.lock().heard(from, call.life, Instant::now(), theirs);
        match heard {
            Heard::Fine => {}
            Heard::Differs(ids) => {
                tracing::debug!(%from, groups = ids.len(), "not the same groups sleep on both sides");
                shared.wake(ids);
            }
            Heard::Reborn(ids) => shared.orphan(from, ids, "was started anew"),
        }
        let agrees = |told: &&SleepingGroup| {
            let group = shared.group(told.partition_id);
            group.is_some_and(|group| group.hold.take_message() && group.sleep_under(from, told))
        };
        let agreed = call.groups.iter().filter(agrees).map(|told| told.partition_id).collect();
        SleepReply { agreed, same, starting: !shared.leads.is_serving() }
    }
}

impl Shared {
    fn wake(&self, ids: Vec<PartitionId>) {
        for group in ids.into_iter().filter_map(|id| self.group(id)) {
            group.wake();
        }
    }

    /// These groups slept under a leader that is no more.
    fn orphan(self: &Arc<Self>, leader: NodeId, ids: Vec<PartitionId>, why: &'static str) {
        let groups = ids.into_iter().filter_map(|id| self.group(id));
        let orphans = groups.filter(|group| group.is_orphaned_by(leader)).collect();
        self.succeed(leader, orphans, self.config.election_timeout.1, why);
    }

    fn is_crowded(&self) -> bool {
        self.driver.count() > self.config.crowd
    }

    /// Whether groups sleep without a peer: it is away; or it starts, and what it cannot
    /// take yet keeps a crowd awake.
    fn is_out(&self, id: NodeId) -> bool {
        match self.balance.state_of(id) {
            Some(PeerState::Away) => true,
            Some(PeerState::Starting) => self.is_crowded(),
            _ => false,
        }
    }

    fn tell_count(&self, book: &Book) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        self.metrics.sleeping.set(book.len() as f64);
    }
}

/// Sends the beats and notices whose do not come, until the host is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = interval(shared.config.heartbeat_interval / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats = false;
    loop {
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            due = ticks.tick() => shared.driver.runs(due),
        }
        beats = !beats;
        if beats {
            let beats = shared.sleepers.book.lock().beats();
            for book::Beat { to, member, digest, is_offer } in beats {
                let shared = Arc::clone(&shared);
                shared.clone().tasks.spawn(async move {
                    match is_offer {
                        true => shared.offer(to, &member).await,
                        false => drop(shared.tell(to, &member, digest, Vec::new()).await),
                    }
                });
            }
        }
        let timeout = |peer: NodeId| {
            let chance = shared.driver.chance_of(peer);
            protocol::draw_timeout(shared.config.election_timeout, chance)
        };
        let since = shared.driver.resumed_at();
        let silent = shared.sleepers.book.lock().silent(Instant::now(), since, timeout);
        for (leader, ids) in silent {
            shared.orphan(leader, ids, "is silent");
        }
    }
}

impl Shared {
    /// One call to one peer. Who agreed; nobody where it did not answer.
    async fn tell(
        &self,
        to: NodeId,
        member: &Member,
        digest: book::Digest,
        groups: Vec<SleepingGroup>,
    ) -> Vec<PartitionId> {
        let is_beat = groups.is_empty();
        // A beat is followed by another one. Those that are to fall asleep get no
        // heartbeat meanwhile, and hear of their leader again within its lease; peers that
        // are busy with heartbeats must be able to answer, or they were busy for ever.
        let wait = match is_beat {
            true => self.config.heartbeat_interval / 2,
            false => self.config.election_timeout.0 / 2,
        };
        let Some(reply) = self.say(to, member, digest, groups, wait).await else {
            return Vec::new();
        };
        // Those that are falling asleep are known to one side only for a moment.
        if is_beat {
            self.sleepers.book.lock().answered(to, reply.same);
        }
        reply.agreed
    }

    async fn say(
        &self,
        to: NodeId,
        member: &Member,
        digest: book::Digest,
        groups: Vec<SleepingGroup>,
        wait: Duration,
    ) -> Option<SleepReply> {
        let book::Digest { count, sum } = digest;
        let call = SleepCall { life: self.sleepers.life, count, sum, groups };
        let answer = self.transport.sleep(to, member, call, wait);
        tokio::time::timeout(wait, answer).await.ok()?.ok()
    }
}

/// A group that is to sleep, as its leader found it.
pub(crate) struct Candidate {
    group: Arc<Group>,
    term: u64,
    last: Option<LogId>,
    followers: Vec<(NodeId, Member)>,
    /// Those of them that have all that this replica has; the nodes of the others are
    /// away.
    level: Vec<NodeId>,
}

/// Asks the followers of these groups, all of one peer at once, and lets those
/// groups sleep that all agreed to. Who is away is not asked: it is offered sleep when
/// it comes back.
pub(crate) async fn propose(shared: Arc<Shared>, candidates: Vec<Candidate>) {
    let mut calls: BTreeMap<NodeId, (Member, Vec<SleepingGroup>)> = BTreeMap::new();
    for candidate in &candidates {
        let group = SleepingGroup {
            partition_id: candidate.group.id,
            term: candidate.term,
            last: candidate.last,
        };
        let is_level = |(node_id, _): &&(NodeId, Member)| candidate.level.contains(node_id);
        for (node_id, member) in candidate.followers.iter().filter(is_level) {
            let call = calls.entry(*node_id).or_insert_with(|| (member.clone(), Vec::new()));
            call.1.push(group);
        }
    }
    let asked = calls.into_iter().map(|(to, (member, groups))| {
        let shared = &shared;
        async move {
            let mut agreed = std::collections::HashSet::new();
            for some in groups.chunks(GROUPS_MAX) {
                let digest = shared.sleepers.book.lock().led_with(to);
                agreed.extend(shared.tell(to, &member, digest, some.to_vec()).await);
            }
            (to, agreed)
        }
    });
    let agreed: BTreeMap<_, _> = join_all(asked).await.into_iter().collect();
    for candidate in candidates {
        let id = candidate.group.id;
        let agrees = |to: &NodeId| agreed.get(to).is_some_and(|ids| ids.contains(&id));
        if candidate.level.iter().all(agrees) {
            candidate.group.clone().sleep_as_leader(candidate);
        } else {
            candidate.group.wake();
        }
    }
}

impl Group {
    pub(crate) fn is_asleep(&self) -> bool {
        self.rest.state.load(Ordering::Acquire) >= LEADS
    }

    /// Whether its followers are being asked to let it sleep.
    pub(crate) fn is_falling(&self) -> bool {
        self.rest.state.load(Ordering::Acquire) == FALLING
    }

    /// Whether it sleeps, or did until less than a heartbeat ago.
    pub(crate) fn is_drowsy(&self) -> bool {
        let woken_at = self.rest.times.lock().woken_at;
        let soon = self.shared.config.heartbeat_interval;
        self.is_asleep() || woken_at.is_some_and(|at| at.elapsed() < soon)
    }

    /// Whether it sleeps, or did and has not heard of a leader since.
    pub(crate) fn slept_last(&self) -> bool {
        let woken_at = self.rest.times.lock().woken_at;
        let heard_at = self.contact.last().map(|heard| heard.at);
        self.is_asleep() || woken_at.is_some() && heard_at <= woken_at
    }

    /// For how long it has slept.
    pub(crate) fn asleep_for(&self) -> Duration {
        let slept_at = self.rest.times.lock().slept_at.filter(|_| self.is_asleep());
        slept_at.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// Whether it sleeps, and is led from here.
    pub(crate) fn leads_asleep(&self) -> bool {
        self.rest.state.load(Ordering::Acquire) == LEADS
    }

    /// The group is used: it does not sleep for a while.
    pub(crate) fn is_active(&self) {
        self.rest.times.lock().used_at = Some(Instant::now());
        self.has_changed();
    }

    /// Something happened to the group: it does not sleep for a while, unless there is
    /// a crowd of those.
    pub(crate) fn has_changed(&self) {
        self.rest.times.lock().active_at = Instant::now();
        self.wake();
    }

    /// Wakes the replica, if it sleeps or is about to: a leader is heard of at
    /// once, a follower waits for that.
    pub(crate) fn wake(&self) {
        // Nearly always it is awake.
        if self.rest.state.load(Ordering::Acquire) == AWAKE {
            return;
        }
        let was = {
            let mut book = self.shared.sleepers.book.lock();
            let was = self.rest.state.swap(AWAKE, Ordering::AcqRel);
            if was == AWAKE {
                return;
            }
            if let Some((leader, at)) = book.remove(self.id) {
                self.contact.vouched(leader, at);
            }
            self.shared.tell_count(&book);
            was
        };
        {
            let (mut times, now) = (self.rest.times.lock(), Instant::now());
            times.active_at = now;
            if was != FALLING {
                times.woken_at = Some(now);
            }
        }
        self.attend();
        if was != FOLLOWS
            && let Some(body) = self.running()
        {
            let _ = body.raft.trigger().heartbeat().now_or_never();
        }
    }

    /// Whether the leader's node is watched in place of the leader, and lives.
    pub(crate) fn sleeps_under(&self, leader: NodeId, time: Duration) -> bool {
        self.rest.state.load(Ordering::Acquire) == FOLLOWS && {
            let book = self.shared.sleepers.book.lock();
            book.follows(self.id, leader) && book.heard_within(leader, Instant::now(), time)
        }
    }

    /// As leader, when a heartbeat is due: whether the group is to sleep instead.
    pub(crate) fn fall_asleep(self: &Arc<Self>) -> Option<Candidate> {
        let sleep_after = self.shared.config.hibernate_after;
        let idle_for = self.idle_for();
        if sleep_after.is_zero() || idle_for < sleep_after {
            return None;
        }
        let candidate = self.candidate();
        let idle = Idle {
            idle_for,
            sleep_after,
            is_level: candidate.is_some(),
            is_changing: self.changing.try_lock().is_err(),
            draining: self.shared.is_draining() || self.cause().is_some(),
        };
        if !idle.may_sleep() {
            return None;
        }
        let falls =
            self.rest.state.compare_exchange(AWAKE, FALLING, Ordering::AcqRel, Ordering::Acquire);
        falls.ok().and(candidate)
    }

    /// For how long there was no reason for it to be awake. Thousands that are awake cost
    /// more than a machine has, and those that nobody uses have woken together, when a
    /// node came or went: then only use is a reason, and a heartbeat for it to be heard of.
    fn idle_for(&self) -> Duration {
        let is_crowded = self.shared.is_crowded();
        let heartbeat = self.shared.config.heartbeat_interval;
        let times = self.rest.times.lock();
        let unchanged_for = times.active_at.elapsed();
        match times.used_at.map(|at| at.elapsed()) {
            used_for if is_crowded && unchanged_for >= heartbeat => {
                used_for.unwrap_or(Duration::MAX)
            }
            _ => unchanged_for,
        }
    }

    /// `None`: a member whose node is here lacks something, those that lack nothing are no
    /// quorum, or this replica does not lead.
    fn candidate(self: &Arc<Self>) -> Option<Candidate> {
        let body = self.running()?;
        let metrics = body.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref().filter(|_| metrics.state.is_leader())?;
        let applied = metrics.last_applied.filter(|id| Some(id.index) == metrics.last_log_index)?;
        let me = self.shared.config.node_id;
        let membership = from_raft_membership(metrics.membership_config.membership());
        let (mut followers, mut level) = (Vec::new(), vec![me]);
        for (id, member) in &membership.members {
            if *id == me {
                continue;
            }
            let matched = replication.get(&id.get()).copied().flatten();
            // It is offered sleep when it comes back, and wakes the group where it lacks
            // something; one that starts asks for its leader before that.
            if !self.shared.is_out(*id) {
                if matched != Some(applied) {
                    return None;
                }
                level.push(*id);
            }
            followers.push((*id, member.clone()));
        }
        if !membership.is_quorum(&level) {
            return None;
        }
        level.retain(|id| *id != me);
        let term = metrics.vote.leader_id.term;
        let last = Some(from_raft_log_id(applied));
        Some(Candidate { group: Arc::clone(self), term, last, followers, level })
    }

    fn sleep_as_leader(&self, candidate: Candidate) {
        let mut book = self.shared.sleepers.book.lock();
        // It may have been woken meanwhile.
        let sleeps =
            self.rest.state.compare_exchange(FALLING, LEADS, Ordering::AcqRel, Ordering::Acquire);
        if sleeps.is_ok() {
            book.lead(self.id, candidate.term, candidate.followers);
            self.shared.tell_count(&book);
            self.shared.driver.forget(self.id);
        }
    }

    /// As follower. Whether it agrees, and sleeps.
    fn sleep_under(&self, leader: NodeId, told: &SleepingGroup) -> bool {
        let came = Instant::now();
        if !self.told(leader, told).agrees() {
            return false;
        }
        {
            let mut book = self.shared.sleepers.book.lock();
            let slept = self.rest.state.swap(FOLLOWS, Ordering::AcqRel) == FOLLOWS;
            book.follow(self.id, told.term, leader);
            self.shared.tell_count(&book);
            self.shared.driver.forget(self.id);
            let mut times = self.rest.times.lock();
            times.slept_at = times.slept_at.filter(|_| slept).or_else(|| Some(Instant::now()));
        }
        // A message that came in between woke what did not sleep yet.
        if !self.told(leader, told).agrees() {
            self.wake();
            return false;
        }
        // Its word is a leader's, and all that it has is committed and applied here.
        self.note_leader(leader, told.term, told.last, came);
        true
    }

    fn told(&self, leader: NodeId, told: &SleepingGroup) -> Told {
        let store = self.sound().ok();
        let follows = self.view().is_some_and(|view| {
            let led = view.committed && view.voted_for == Some(leader);
            led && view.term == told.term && !view.leads()
        });
        let last = store.and_then(|store| store.log().bounds().last);
        let applied = store.and_then(|store| store.state().applied());
        Told {
            follows: follows && store.is_some(),
            same_log: last == told.last,
            has_applied: applied >= last,
        }
    }
}

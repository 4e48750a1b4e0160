//! Groups that are not in memory, and how they come and go.
//!
//! ```text
//!                  a client, a message, a lost leader, a warm-up
//!   Unloaded ─────────────────────────────────────────────────▶ Running
//!       ▲                                                          │
//!       └──────────────────────────────────────────────────────────┘
//!           slept as follower for `unload_after`, state level with log
//! ```
//!
//! An unloaded group has no Raft, no task and no timer. Its store stays open, which
//! is a few kilobytes: vote, bounds, commit index, applied index and members are
//! asked of it, never of a copy. Nobody but the group's Raft writes there, and there
//! is none. So an unloaded group knows as much as one that is in memory
//! and sleeps, and is told from it only by what it takes to make it say more.
//!
//! Making and ending a Raft takes turns in each group ([`Group::turn`]): there are
//! never two of one store. Which groups are made first is [`protocol::Line`]'s.
//! Whose promise is at stake is answered by openraft alone, after its vote was read
//! from the store: here nobody votes and nothing is acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::ServerState;
use parking_lot::{Mutex, RwLock};
use partition_types::{LogId, Membership, PartitionId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::body::Body;
use crate::group::{Group, View};
use crate::protocol::{Cause, Leaving, Left, Line};
use crate::shared::Shared;
use crate::{Activation, LoadFault, ProposeError};

/// Groups that are made at the same time.
const SLOTS: usize = 32;
/// Groups that one look warms up.
const WARM_UP_MAX: usize = 64;
/// Groups that one look unloads at the same time.
const UNLOAD_PARALLEL: usize = 16;
/// Between two looks at what may go or has to come.
const LOOK_MIN: Duration = Duration::from_millis(100);
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Where a group is.
pub(crate) enum Place {
    /// In memory.
    Running(Arc<Body>),
    /// On disk only. With the members that its log ends with, where its state has
    /// not come so far.
    Unloaded(Option<Box<Members>>),
    /// It could not be loaded, or was stopped.
    Nowhere,
}

/// The members that count, and where they stand in the log.
pub(crate) type Members = (Option<LogId>, Membership);

/// What one group keeps of its coming and going.
pub(crate) struct Seat {
    place: RwLock<Place>,
    /// Who makes or ends its Raft, or changes its state without one.
    turn: tokio::sync::Mutex<()>,
    /// The most urgent reason for which it is wanted, as a number.
    wanted: AtomicU8,
    /// Its state was brought level with its log by the stage load.
    is_loaded: AtomicBool,
    /// Nobody has asked for its leader in this life of the node: the gate waits for
    /// none.
    is_deferred: AtomicBool,
    /// Since when it is unloaded, and not asleep under a leader.
    left_at: Mutex<Option<Instant>>,
}

impl Seat {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place: RwLock::new(place),
            turn: tokio::sync::Mutex::default(),
            wanted: AtomicU8::new(0),
            is_loaded: AtomicBool::new(false),
            is_deferred: AtomicBool::new(false),
            left_at: Mutex::default(),
        }
    }

    pub(crate) fn is_unloaded(&self) -> bool {
        matches!(*self.place.read(), Place::Unloaded(_))
    }

    pub(crate) fn body(&self) -> Option<Arc<Body>> {
        match &*self.place.read() {
            Place::Running(body) => Some(Arc::clone(body)),
            Place::Unloaded(_) | Place::Nowhere => None,
        }
    }

    /// Runs `running` on what is in memory, or `unloaded` on what is not.
    pub(crate) fn look<T>(
        &self,
        running: impl FnOnce(&Body) -> T,
        unloaded: impl FnOnce(Option<&Members>) -> T,
    ) -> Option<T> {
        match &*self.place.read() {
            Place::Running(body) => Some(running(body)),
            Place::Unloaded(members) => Some(unloaded(members.as_deref())),
            Place::Nowhere => None,
        }
    }

    pub(crate) fn holds(&self, body: &Weak<Body>) -> bool {
        self.body().is_some_and(|held| std::ptr::eq(Arc::as_ptr(&held), body.as_ptr()))
    }

    pub(crate) fn put(&self, place: Place) {
        *self.place.write() = place;
    }

    /// Takes out what nobody uses at the moment.
    fn take_unused(&self) -> Option<Arc<Body>> {
        let mut place = self.place.write();
        let Place::Running(body) = &*place else { return None };
        // Whoever comes now waits for the lock, and whoever has it is counted.
        if Arc::strong_count(body) > 1 {
            return None;
        }
        match std::mem::replace(&mut *place, Place::Unloaded(None)) {
            Place::Running(body) => Some(body),
            Place::Unloaded(_) | Place::Nowhere => None,
        }
    }
}

/// The groups of a node that wait to be brought into memory.
pub(crate) struct Activations {
    line: Mutex<Line>,
    called: Mutex<HashMap<PartitionId, oneshot::Sender<Slot>>>,
}

/// One of the slots, until it is dropped.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    cause: Cause,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.activations.line.lock().end(self.cause);
        self.shared.call_next();
    }
}

impl Activations {
    pub(crate) fn new() -> Self {
        Self { line: Mutex::new(Line::new(SLOTS)), called: Mutex::default() }
    }
}

impl Shared {
    /// Whether groups may be out of memory on this node.
    pub(crate) fn is_on_demand(&self) -> bool {
        self.config.activation == Activation::OnDemand
    }

    /// Waits for a slot. `None`: the host goes down.
    async fn slot(self: &Arc<Self>, group: &Group) -> Option<Slot> {
        let (tell, told) = oneshot::channel();
        self.activations.called.lock().insert(group.id, tell);
        {
            let mut line = self.activations.line.lock();
            // Under the line's lock: whoever wants it more from now on finds it there.
            line.join(group.id, Cause::of(group.seat.wanted.load(Ordering::Acquire)));
        }
        self.call_next();
        tokio::select! {
            slot = told => slot.ok(),
            () = self.cancel.cancelled() => {
                self.activations.line.lock().leave(group.id);
                self.activations.called.lock().remove(&group.id);
                None
            }
        }
    }

    fn call_next(self: &Arc<Self>) {
        loop {
            let Some((id, cause)) = self.activations.line.lock().call() else { return };
            let slot = Slot { shared: Arc::clone(self), cause };
            let waits = self.activations.called.lock().remove(&id);
            // Who left the line in between gives the slot back by dropping it.
            if let Some(waits) = waits {
                let _ = waits.send(slot);
            }
        }
    }

    fn tell_loaded(&self) {
        let (mut loaded, mut unloaded) = (0_u32, 0_u32);
        for group in self.groups.read().values() {
            group.seat.look(|_| loaded += 1, |_| unloaded += 1);
        }
        self.metrics.loaded.set(f64::from(loaded));
        self.metrics.unloaded.set(f64::from(unloaded));
    }
}

/// Unloads groups that slept for long, and warms up those that cannot stay as they
/// are, until the host is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    let every = (shared.config.unload_after / 4).clamp(LOOK_MIN, LOOK_MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.cancel.cancelled() => return,
        }
        shared.tell_loaded();
        if !shared.is_on_demand() {
            continue;
        }
        let groups = shared.all();
        let mut leaving: Vec<_> = groups.iter().filter(|group| group.may_leave()).collect();
        for some in leaving.chunks_mut(UNLOAD_PARALLEL) {
            futures::future::join_all(some.iter().map(|group| group.unload())).await;
        }
        if shared.leads.is_serving() && !shared.is_draining() {
            let restless = groups.iter().filter(|group| group.wants_warm_up());
            for group in restless.take(WARM_UP_MAX) {
                let group = Arc::clone(group);
                shared.tasks.spawn(async move { drop(group.activate(Cause::WarmUp).await) });
            }
        }
    }
}

impl Group {
    /// Whether it is known from its store only.
    pub(crate) fn is_unloaded(&self) -> bool {
        self.seat.is_unloaded() && !self.is_stopped()
    }

    /// Whether nothing brings it into memory any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_stopped() || matches!(*self.seat.place.read(), Place::Nowhere)
    }

    /// What is in memory of the group; brings it there first where nothing is.
    ///
    /// Cancel safe: what was begun goes on without the caller.
    pub(crate) async fn activate(
        self: &Arc<Self>,
        cause: Cause,
    ) -> Result<Arc<Body>, ProposeError> {
        if let Some(body) = self.running() {
            return Ok(body);
        }
        if self.is_over() {
            return Err(self.stopped());
        }
        self.seat.wanted.fetch_max(cause as u8, Ordering::AcqRel);
        self.shared.activations.line.lock().raise(self.id, cause);
        let group = Arc::clone(self);
        // A task of its own: a Raft that is being made must come to somebody's hands.
        let made = self.shared.tasks.spawn(async move { group.activate_in_turn(cause).await });
        made.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    async fn activate_in_turn(self: &Arc<Self>, cause: Cause) -> Result<Arc<Body>, ProposeError> {
        let asked_at = Instant::now();
        let _turn = self.seat.turn.lock().await;
        if let Some(body) = self.running() {
            return Ok(body);
        }
        let slot = self.shared.slot(self).await;
        if slot.is_none() || !self.is_unloaded() {
            return Err(self.stopped());
        }
        self.seat.wanted.store(0, Ordering::Release);
        let body = match self.bring_up().await {
            Ok(body) => body,
            Err(fault) => {
                self.seat.put(Place::Nowhere);
                self.quarantine(&fault.to_string());
                return Err(self.stopped());
            }
        };
        let took = asked_at.elapsed();
        self.shared.metrics.activated(cause, took);
        tracing::debug!(partition_id = %self.id, cause = cause.as_str(), ?took, "activated");
        self.attend();
        Ok(body)
    }

    /// Makes the Raft and lets it run. Behind the stage load it is level with its log
    /// before anybody sees it, as every group was that is not unloaded.
    async fn bring_up(self: &Arc<Self>) -> Result<Arc<Body>, LoadFault> {
        let Some(store) = &self.store else { return Err(LoadFault::Missing(self.id)) };
        let body = Arc::new(self.make_body(store).await?);
        let failed = |what: String| LoadFault::Failed { id: self.id, what };
        body.raft.run();
        let ready = async {
            if let Some(replay) = body.replay.upgrade()
                && !replay.is_level()
                && self.seat.is_loaded.load(Ordering::Acquire)
            {
                replay.run(|| ()).await.map_err(|error| LoadFault::of_io(self.id, &error))?;
            }
            body.first_report().await.map_err(failed)
        };
        if let Err(fault) = ready.await {
            let _ = body.raft.shutdown().await;
            return Err(fault);
        }
        *self.seat.left_at.lock() = None;
        self.seat.put(Place::Running(Arc::clone(&body)));
        self.follow(&body);
        Ok(body)
    }

    /// Brings the state of a group that is not in memory level with its log, piece
    /// by piece: whoever wants it in memory meanwhile gets it between two of them.
    /// False: it is in memory by now.
    pub(crate) async fn load_unloaded(&self, moved: &impl Fn()) -> Result<bool, LoadFault> {
        let Some(store) = &self.store else { return Err(LoadFault::Missing(self.id)) };
        store.delay_replay().await;
        loop {
            let _turn = self.seat.turn.lock().await;
            if !self.is_unloaded() {
                return Ok(false);
            }
            let (log, state) = (store.log(), store.state());
            let known = log.committed().min(log.bounds().last);
            let Some(upto) = known.filter(|upto| state.applied() < Some(*upto)) else {
                return Ok(true);
            };
            let piece = store.replay_piece(upto).await;
            piece.map_err(|error| LoadFault::of_io(self.id, &error))?;
            moved();
        }
    }

    pub(crate) fn set_loaded(&self) {
        self.seat.is_loaded.store(true, Ordering::Release);
    }

    /// Whether the state has all of the log, and the log no more.
    pub(crate) fn is_level(&self) -> bool {
        self.store
            .as_ref()
            .is_some_and(|store| store.state().applied() == store.log().bounds().last)
    }

    /// Takes the group out of memory, if it still may go and nobody uses it. Whether
    /// it is gone by this.
    pub(crate) async fn unload(self: &Arc<Self>) -> bool {
        let _turn = self.seat.turn.lock().await;
        if !self.may_leave() {
            return false;
        }
        let Some(body) = self.seat.take_unused() else { return false };
        // From here on whoever needs it waits for this turn.
        if let Err(error) = body.raft.shutdown().await {
            tracing::warn!(partition_id = %self.id, %error, "stop a group that leaves memory");
        }
        body.store.log().rest();
        self.shared.driver.forget(self.id);
        self.shared.metrics.deactivated.increment(1);
        true
    }

    fn may_leave(&self) -> bool {
        let Some(view) = self.running().map(|body| body.view()) else { return false };
        let leader = view.voted_for.filter(|_| view.committed && !view.leads());
        let age_max = self.shared.config.election_timeout.1;
        let leaving = Leaving {
            sleeps_under_leader: leader.is_some_and(|leader| self.sleeps_under(leader, age_max)),
            asleep_for: self.asleep_for(),
            unload_after: self.shared.config.unload_after,
            is_level: self.is_level(),
            quarantined: self.cause().is_some() || self.is_stopped(),
        };
        leaving.may_leave()
    }

    fn wants_warm_up(&self) -> bool {
        if !self.is_unloaded() || self.cause().is_some() {
            return false;
        }
        let mut left_at = self.seat.left_at.lock();
        if self.is_asleep() {
            *left_at = None;
            return false;
        }
        let left = Left {
            is_level: self.is_level(),
            was_led: self.contact.last().is_some(),
            for_so_long: left_at.get_or_insert_with(Instant::now).elapsed(),
            patience: self.shared.config.election_timeout.1,
        };
        left.wants_warm_up()
    }

    /// What a group that is not in memory says of itself.
    pub(crate) fn view_of_store(&self, members: Option<&Members>) -> Option<View> {
        let store = self.store.as_ref()?;
        let me = self.shared.config.node_id;
        let votes = |members: &Membership| members.voter_sets.iter().any(|set| set.contains(&me));
        let (at, votes) = match members {
            Some((at, members)) => (*at, votes(members)),
            None => store.state().look_at_membership(|at, members| (at, votes(members))),
        };
        let vote = store.log().vote();
        Some(View {
            state: if votes { ServerState::Follower } else { ServerState::Learner },
            term: vote.map_or(0, |vote| vote.term),
            voted_for: vote.and_then(|vote| vote.voted_for),
            committed: vote.is_some_and(|vote| vote.committed),
            membership_index: at.map(|id| id.index),
        })
    }

    /// Ends the Raft, if there is one, when nobody makes or ends one.
    pub(crate) async fn end(&self) {
        let _turn = self.seat.turn.lock().await;
        let body = self.seat.body();
        if let Some(body) = body
            && let Err(error) = body.raft.shutdown().await
        {
            tracing::warn!(partition_id = %self.id, %error, "stop group failed");
        }
    }

    /// Nobody has asked who leads it, and the gate does not wait for that. False if
    /// somebody has.
    pub(crate) fn defer(&self) -> bool {
        if !self.is_unloaded() || self.leader().is_some() {
            return false;
        }
        self.seat.is_deferred.store(true, Ordering::Release);
        // It may have been woken, and have heard of a leader, in between.
        self.leader().is_none() || !self.seat.is_deferred.swap(false, Ordering::AcqRel)
    }

    /// A leader of this group is known: the gate is told, the first time that somebody
    /// cares.
    pub(crate) fn is_led(self: &Arc<Self>) {
        self.led.notify_waiters();
        if !self.seat.is_deferred.load(Ordering::Acquire)
            || !self.seat.is_deferred.swap(false, Ordering::AcqRel)
        {
            return;
        }
        let group = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            let committed = group.contact.last().and_then(|heard| heard.committed);
            if let Some(committed) = committed
                && group.wait_applied(committed.index).await.is_err()
            {
                return;
            }
            if let Some(told) = group.shared.on_confirmed.get() {
                told(group.id);
            }
        });
    }
}

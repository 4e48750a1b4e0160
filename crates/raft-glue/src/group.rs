//! One group on this node: its Raft, its store, and what the host knows of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::ServerState;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use partition_store::PartitionStore;
use partition_types::{LogId, Member, Membership, NodeId, PartitionId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::activate::{Members, Place, Seat};
use crate::body::Body;
use crate::contact::{Contact, Heard};
use crate::driver::Timer;
use crate::fence::Fence;
use crate::lead::Lead;
use crate::protocol::Cause;
use crate::removed::Hold;
use crate::seek::Search;
use crate::shared::Shared;
use crate::sleep::Rest;
use crate::succeed::Succession;
use crate::tail::TailBytes;
use crate::types::{AllMetrics, ServerMetrics};
use crate::{LoadFault, ProposeError};

/// One group on this node.
pub(crate) struct Group {
    pub(crate) id: PartitionId,
    /// The members it was created with, the preferred leader first; empty for
    /// a replica that joined a living group.
    pub(crate) created_with: Vec<(NodeId, Member)>,
    pub(crate) shared: Arc<Shared>,
    /// Itself, for tasks that outlive a call.
    me: Weak<Self>,
    /// `None`: it could not be opened.
    pub(crate) store: Option<PartitionStore>,
    /// What of it is in memory.
    pub(crate) seat: Seat,
    /// How much of its log was appended since the node came up.
    pub(crate) tail: Arc<TailBytes>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) contact: Contact,
    pub(crate) hold: Hold,
    /// When it was started here.
    pub(crate) since: Instant,
    pub(crate) lead: Lead,
    pub(crate) timer: Mutex<Timer>,
    pub(crate) rest: Rest,
    pub(crate) campaign: Mutex<Campaign>,
    pub(crate) search: Search,
    /// A leader is known that was not.
    pub(crate) led: Notify,
    /// The process of the last leader is gone, and no other leader was heard of.
    pub(crate) leader_gone: Arc<AtomicBool>,
    /// The search for a successor, while there is one.
    pub(crate) succession: Mutex<Option<Succession>>,
    /// One snapshot at a time is received.
    pub(crate) receiving: tokio::sync::Mutex<()>,
    /// One membership change or hand-over at a time is led from here.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Its Raft ended, or is about to.
    stopped: AtomicBool,
    cause: Mutex<Option<String>>,
}

/// When this replica was needed and when it last campaigned.
#[derive(Default)]
pub(crate) struct Campaign {
    pub(crate) asked_at: Option<Instant>,
    pub(crate) needed_since: Option<Instant>,
    pub(crate) last_at: Option<Instant>,
    /// When it last voted for somebody who has to win yet.
    pub(crate) voted_at: Option<Instant>,
    /// Who asked for votes, and when last, with a log that this replica's goes beyond.
    pub(crate) outdone: BTreeMap<NodeId, Instant>,
}

/// What matters of openraft's view of a group; a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: ServerState,
    pub(crate) term: u64,
    /// Whom the vote is for, and whether a quorum gave the same.
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) committed: bool,
    /// Changes with every change of the members.
    pub(crate) membership_index: Option<u64>,
}

impl View {
    pub(crate) fn leads(&self) -> bool {
        self.state == ServerState::Leader
    }
}

impl Group {
    /// Starts the Raft of an opened partition, fenced: it votes and appends. Its
    /// state may be behind; [`Group::load`] brings it up.
    pub(crate) async fn start(
        shared: &Arc<Shared>,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
        store: PartitionStore,
    ) -> Result<Arc<Self>, LoadFault> {
        let group = Self::new(shared, id, created_with, Some(store.clone()), Place::Nowhere);
        let body = Arc::new(group.make_body(&store).await?);
        body.raft.run();
        group.seat.put(Place::Running(Arc::clone(&body)));
        group.follow(&body);
        Ok(group)
    }

    /// An opened partition whose Raft is made when somebody wants it.
    pub(crate) async fn unloaded(
        shared: &Arc<Shared>,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
        store: PartitionStore,
    ) -> Result<Arc<Self>, LoadFault> {
        let members = store.tail_membership().await;
        let members = members.map_err(|error| LoadFault::of_io(id, &error))?;
        let members = members.map(|(at, members)| Box::new((Some(at), members)));
        Ok(Self::new(shared, id, created_with, Some(store), Place::Unloaded(members)))
    }

    /// A place in the list for a partition that could not be loaded.
    pub(crate) fn broken(
        shared: &Arc<Shared>,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
        cause: String,
    ) -> Arc<Self> {
        let group = Self::new(shared, id, created_with, None, Place::Nowhere);
        *group.cause.lock() = Some(cause);
        group
    }

    fn new(
        shared: &Arc<Shared>,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
        store: Option<PartitionStore>,
        place: Place,
    ) -> Arc<Self> {
        let fence = shared.new_fence();
        if let Some((store, last)) = store.as_ref().zip(shared.store.owes(id)) {
            fence.owe(store.log().clone(), last);
        }
        Arc::new_cyclic(|me| Self {
            id,
            created_with,
            shared: Arc::clone(shared),
            me: Weak::clone(me),
            store,
            seat: Seat::new(place),
            tail: Arc::default(),
            fence,
            contact: Contact::default(),
            hold: Hold::default(),
            since: Instant::now(),
            lead: Lead::default(),
            timer: Mutex::default(),
            rest: Rest::default(),
            campaign: Mutex::default(),
            search: Search::default(),
            led: Notify::new(),
            leader_gone: Arc::default(),
            succession: Mutex::default(),
            receiving: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            stopped: AtomicBool::new(false),
            cause: Mutex::default(),
        })
    }

    /// Itself, to be kept.
    pub(crate) fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("whoever calls this holds it")
    }

    /// Has a task follow the role of a Raft that begins to run.
    pub(crate) fn follow(self: &Arc<Self>, body: &Arc<Body>) {
        let group = Arc::clone(self);
        // Not the body itself: who uses it keeps it in memory.
        let (changes, ended) = (body.raft.server_metrics(), body.raft.metrics());
        let body = Arc::downgrade(body);
        self.shared.tasks.spawn(async move { group.observe(body, changes, ended).await });
    }

    /// Brings the state level with the log. A replica that cannot is quarantined,
    /// and goes on voting and appending.
    pub(crate) async fn load(self: &Arc<Self>, moved: impl Fn()) -> Result<(), LoadFault> {
        let id = self.id;
        if let Some(cause) = self.cause() {
            return Err(LoadFault::Failed { id, what: cause });
        }
        let loaded = self.load_where_it_is(moved).await;
        match &loaded {
            Ok(()) => self.set_loaded(),
            Err(_) if self.is_stopped() => {}
            Err(fault) => self.quarantine(&fault.to_string()),
        }
        loaded
    }

    async fn load_where_it_is(&self, moved: impl Fn()) -> Result<(), LoadFault> {
        let id = self.id;
        if self.is_unloaded() && self.load_unloaded(&moved).await? {
            return Ok(());
        }
        let failed = |what: String| LoadFault::Failed { id, what };
        let running = self.running().and_then(|body| Some((body.replay.upgrade()?, body)));
        let Some((replay, body)) = running else { return Err(failed("is stopped".into())) };
        replay.run(moved).await.map_err(|error| LoadFault::of_io(id, &error))?;
        body.first_report().await.map_err(failed)
    }

    /// What is stored of it, unless the replica is bad or stopped; in memory or not.
    pub(crate) fn sound(&self) -> Result<&PartitionStore, ProposeError> {
        if let Some(cause) = self.cause() {
            return Err(ProposeError::Quarantined { cause });
        }
        self.store.as_ref().filter(|_| !self.is_stopped()).ok_or(ProposeError::Stopped)
    }

    /// The running parts, unless the replica is bad or stopped. One that is not in
    /// memory leads nothing.
    pub(crate) fn healthy(&self) -> Result<Arc<Body>, ProposeError> {
        self.sound()?;
        self.running().ok_or_else(|| match self.is_over() {
            true => ProposeError::Stopped,
            false => ProposeError::NoLeader,
        })
    }

    /// The running parts, bad or not.
    pub(crate) fn running(&self) -> Option<Arc<Body>> {
        self.seat.body().filter(|_| !self.is_stopped())
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn cause(&self) -> Option<String> {
        self.cause.lock().clone()
    }

    /// `None` when it is stopped: openraft's own view would stay what it was.
    pub(crate) fn view(&self) -> Option<View> {
        if self.is_stopped() {
            return None;
        }
        let of_store = |members: Option<&Members>| self.view_of_store(members);
        self.seat.look(|body| Some(body.view()), of_store).flatten()
    }

    /// Whether it leads as soon as its vote is on the disk: its election is won.
    pub(crate) fn is_winning(&self) -> bool {
        let Some((body, view)) = self.running().zip(self.view()) else { return false };
        !view.leads() && !view.committed && view.term == body.won.term()
    }

    /// Who leads, by live knowledge: this node's own state, or what was heard.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let view = self.view()?;
        if view.leads() {
            return Some(self.shared.config.node_id);
        }
        let heard = self.heard(view.term)?;
        (heard.leader != self.shared.config.node_id).then_some(heard.leader)
    }

    /// The last word of a leader of `term` or later that still counts: it came not
    /// long ago, or the replica sleeps and its leader's node spoke not long ago.
    pub(crate) fn heard(&self, term: u64) -> Option<Heard> {
        let age_max = self.shared.config.election_timeout.1;
        self.contact.live(term, age_max).or_else(|| {
            let heard = self.contact.live(term, Duration::MAX)?;
            self.sleeps_under(heard.leader, age_max).then_some(heard)
        })
    }

    pub(crate) fn membership(&self) -> Membership {
        self.members().1
    }

    /// The membership that counts, committed or not, and where it stands in the log.
    pub(crate) fn members(&self) -> (Option<LogId>, Membership) {
        let of_store = |members: Option<&Members>| self.members_of_store(members);
        self.seat.look(Body::members, of_store).unwrap_or_default()
    }

    /// Likewise, of one that is not in memory.
    fn members_of_store(&self, of_log: Option<&Members>) -> Members {
        let of_state = || Some(self.store.as_ref()?.state().membership());
        of_log.cloned().or_else(of_state).unwrap_or_default()
    }

    pub(crate) fn has_member(&self, id: NodeId) -> bool {
        let of_body = |body: &Body| {
            let server = body.raft.server_metrics();
            let server = server.borrow_watched();
            server.membership_config.membership().get_node(&id.get()).is_some()
        };
        let of_store =
            |members: Option<&Members>| self.members_of_store(members).1.members.contains_key(&id);
        self.seat.look(of_body, of_store).unwrap_or(false)
    }

    /// The voters in the order in which they are to lead: those that the group was made with,
    /// and then those that joined.
    pub(crate) fn voters_by_preference(&self) -> Vec<NodeId> {
        let mut voters: Vec<_> = self.membership().voters().into_iter().collect();
        let place = |id: &NodeId| self.created_with.iter().position(|(founder, _)| founder == id);
        // Stable: those that joined stay in their order, at the end.
        voters.sort_by_key(|id| place(id).unwrap_or(usize::MAX));
        voters
    }

    pub(crate) fn member(&self, id: NodeId) -> Option<Member> {
        if let Some(member) = self.membership().members.remove(&id) {
            return Some(member);
        }
        self.created_with.iter().find(|(node, _)| *node == id).map(|(_, member)| member.clone())
    }

    /// Never leads and never serves from now on. It still votes and appends if
    /// its Raft runs: its vote and log are intact then.
    pub(crate) fn quarantine(self: &Arc<Self>, cause: &str) {
        {
            let mut known = self.cause.lock();
            if known.is_some() {
                return;
            }
            *known = Some(cause.to_owned());
        }
        tracing::error!(partition_id = %self.id, cause, "quarantined the partition");
        self.wake();
        self.fence.quarantine();
        self.tell_quarantine(cause);
        if self.store.is_none() {
            return;
        }
        let _ = self.shared.routes.send(self.id);
        if self.view().is_some_and(|view| view.leads()) {
            let group = Arc::clone(self);
            self.shared.tasks.spawn(async move {
                if let Err(error) = crate::transfer::give_away(&group, None).await {
                    tracing::warn!(partition_id = %group.id, %error, "quarantined leader stays");
                }
            });
        }
    }

    /// Not of a replica that was replaced: its successor is another one.
    fn tell_quarantine(self: &Arc<Self>, cause: &str) {
        let replaced = self.shared.group(self.id).is_some_and(|group| !Arc::ptr_eq(&group, self));
        if let Some(told) = self.shared.on_quarantine.get().filter(|_| !replaced) {
            told(self.id, cause);
        }
    }

    pub(crate) async fn stop(&self) {
        if self.store.is_none() {
            return;
        }
        self.stopped.store(true, Ordering::Release);
        self.wake();
        self.shared.driver.forget(self.id);
        self.end().await;
        self.lead.set(false, &self.shared.leads, &self.shared.metrics);
    }

    /// Waits until the state has applied `index`.
    pub(crate) async fn wait_applied(&self, index: u64) -> Result<(), ProposeError> {
        loop {
            let applied = self.sound()?.state().applied();
            if self.is_unloaded() && applied.is_some_and(|applied| applied.index >= index) {
                return Ok(());
            }
            let mut applied_next = self.me().activate(Cause::Client).await?.applied_next.clone();
            // The sender lives in openraft's worker: gone means stopped, or unloaded.
            if applied_next.wait_for(|next| *next > index).await.is_ok() {
                return Ok(());
            }
            if self.is_over() {
                return Err(self.stopped());
            }
        }
    }

    /// Follows the role, until the Raft ends.
    async fn observe(
        self: Arc<Self>,
        body: Weak<Body>,
        mut changes: ServerMetrics,
        ended: AllMetrics,
    ) {
        let mut last = None;
        let Some(found_term) = body.upgrade().map(|body| body.found_term) else { return };
        loop {
            if !self.seat.holds(&body) {
                // It was taken out of memory.
                return;
            }
            let view = self.view();
            if view != last {
                self.vote_changed(found_term, last.as_ref(), view.as_ref());
                self.role_changed(last.as_ref(), view.as_ref());
                self.has_changed();
                self.attend();
                last = view;
            }
            let changed = tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                () = self.shared.cancel.cancelled() => return,
            };
            if !changed {
                break;
            }
        }
        if !self.seat.holds(&body) {
            return;
        }
        self.stopped.store(true, Ordering::Release);
        self.lead.set(false, &self.shared.leads, &self.shared.metrics);
        let ended = ended.borrow_watched().running_state.clone();
        if let Err(openraft::errors::Fatal::StorageError(_) | openraft::errors::Fatal::Panicked) =
            &ended
        {
            let cause = ended.err().map_or_else(String::new, |error| error.to_string());
            self.quarantine(&cause);
        }
    }

    fn role_changed(&self, before: Option<&View>, now: Option<&View>) {
        let leads = now.is_some_and(View::leads);
        if leads {
            self.leader_gone.store(false, Ordering::Release);
        }
        let changed = self.lead.set(leads, &self.shared.leads, &self.shared.metrics);
        if changed {
            let term = now.map_or(0, |view| view.term);
            tracing::info!(partition_id = %self.id, term, leads, "leadership changed");
        }
        if leads {
            self.me().is_led();
        }
        let route = |view: Option<&View>| {
            view.map(|view| (view.membership_index, view.committed.then_some(view.voted_for)))
        };
        if changed || route(before) != route(now) {
            let _ = self.shared.routes.send(self.id);
        }
    }
}

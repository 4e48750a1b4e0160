//! One group on this node: its Raft, its store, and what the host knows of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::ServerState;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use partition_store::PartitionStore;
use partition_types::{LogId, Member, Membership, NodeId, PartitionId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::contact::{Contact, Heard};
use crate::convert::{from_raft_log_id, from_raft_membership, from_raft_node};
use crate::driver::Timer;
use crate::fence::Fence;
use crate::lead::{Lead, Won};
use crate::log_store::LogStore;
use crate::network::Network;
use crate::removed::Hold;
use crate::replay::Replay;
use crate::shared::Shared;
use crate::sleep::Rest;
use crate::state_machine::StateMachine;
use crate::succeed::Succession;
use crate::tail::TailBytes;
use crate::types::Raft;
use crate::{LoadFault, ProposeError, protocol};

/// One group on this node.
pub(crate) struct Group {
    pub(crate) id: PartitionId,
    /// The members it was created with, the preferred leader first; empty for
    /// a replica that joined a living group.
    pub(crate) created_with: Vec<(NodeId, Member)>,
    pub(crate) shared: Arc<Shared>,
    /// `None`: it could not be loaded.
    pub(crate) body: Option<Body>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) contact: Contact,
    pub(crate) hold: Hold,
    /// When it was started here.
    pub(crate) since: Instant,
    pub(crate) lead: Lead,
    pub(crate) timer: Mutex<Timer>,
    pub(crate) rest: Rest,
    pub(crate) campaign: Mutex<Campaign>,
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

/// What a loaded group runs on.
pub(crate) struct Body {
    pub(crate) store: PartitionStore,
    pub(crate) raft: Raft,
    /// One past the last applied index.
    pub(crate) applied_next: watch::Receiver<u64>,
    pub(crate) tail: Arc<TailBytes>,
    pub(crate) won: Arc<Won>,
    /// Gone when its Raft is: openraft owns it.
    replay: Weak<Replay>,
}

/// When this replica was needed and when it last campaigned.
#[derive(Default)]
pub(crate) struct Campaign {
    pub(crate) asked_at: Option<Instant>,
    pub(crate) needed_since: Option<Instant>,
    pub(crate) last_at: Option<Instant>,
    /// When it last voted for somebody who has to win yet.
    pub(crate) voted_at: Option<Instant>,
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
        let fence = shared.new_fence();
        if let Some(last) = shared.store.owes(id) {
            fence.owe(store.log().clone(), last);
        }
        let tail = Arc::new(TailBytes::default());
        let won = Arc::new(Won::new(shared.config.node_id));
        let log = LogStore::new(store.log().clone(), Arc::clone(&tail), Arc::clone(&won));
        let recovered = store.recovered().await.map_err(|error| LoadFault::of_io(id, &error))?;
        let (replay, applied_next) = Replay::new(store.clone(), &recovered);
        let replay = Arc::new(replay);
        let weak = Arc::downgrade(&replay);
        let machine = StateMachine::new(replay, recovered);
        let leader_gone = Arc::new(AtomicBool::new(false));
        let network = Network {
            node_id: shared.config.node_id,
            partition_id: id,
            transport: Arc::clone(&shared.transport),
            fence: Arc::clone(&fence),
            leader_gone: Arc::clone(&leader_gone),
            append_timeout: shared.config.election_timeout.0,
            backoff_max: shared.config.heartbeat_interval,
        };
        let node_id = shared.config.node_id.get();
        let config = Arc::clone(&shared.raft_config);
        let raft = Raft::build(node_id, config, network, log, machine)
            .await
            .map_err(|error| LoadFault::Failed { id, what: error.to_string() })?;
        let body = Body { store, raft, applied_next, tail, won, replay: weak };
        let mut group = Self::new(shared, id, created_with, Some(body), fence);
        group.leader_gone = leader_gone;
        let group = Arc::new(group);
        group.run();
        Ok(group)
    }

    /// A place in the list for a partition that could not be loaded.
    pub(crate) fn broken(
        shared: &Arc<Shared>,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
        cause: String,
    ) -> Arc<Self> {
        let group = Self::new(shared, id, created_with, None, shared.new_fence());
        *group.cause.lock() = Some(cause);
        Arc::new(group)
    }

    fn new(
        shared: &Arc<Shared>,
        id: PartitionId,
        created_with: Vec<(NodeId, Member)>,
        body: Option<Body>,
        fence: Arc<Fence>,
    ) -> Self {
        Self {
            id,
            created_with,
            shared: Arc::clone(shared),
            body,
            fence,
            contact: Contact::default(),
            hold: Hold::default(),
            since: Instant::now(),
            lead: Lead::default(),
            timer: Mutex::default(),
            rest: Rest::default(),
            campaign: Mutex::default(),
            leader_gone: Arc::default(),
            succession: Mutex::default(),
            receiving: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            stopped: AtomicBool::new(false),
            cause: Mutex::default(),
        }
    }

    fn run(self: &Arc<Self>) {
        let Some(body) = &self.body else { return };
        body.raft.run();
        let group = Arc::clone(self);
        self.shared.tasks.spawn(async move { group.observe().await });
    }

    /// Brings the state level with the log. A replica that cannot is quarantined,
    /// and goes on voting and appending.
    pub(crate) async fn load(self: &Arc<Self>, moved: impl Fn()) -> Result<(), LoadFault> {
        let id = self.id;
        if let Some(cause) = self.cause() {
            return Err(LoadFault::Failed { id, what: cause });
        }
        let replay = self.running().and_then(|body| body.replay.upgrade());
        let Some(replay) = replay else {
            return Err(LoadFault::Failed { id, what: "is stopped".into() });
        };
        replay.run(moved).await.map_err(|error| {
            let fault = LoadFault::of_io(id, &error);
            self.quarantine(&fault.to_string());
            fault
        })
    }

    /// The running parts, unless the replica is bad or stopped.
    pub(crate) fn healthy(&self) -> Result<&Body, ProposeError> {
        if let Some(cause) = self.cause() {
            return Err(ProposeError::Quarantined { cause });
        }
        self.running().ok_or(ProposeError::Stopped)
    }

    /// The running parts, bad or not.
    pub(crate) fn running(&self) -> Option<&Body> {
        let stopped = self.stopped.load(Ordering::Acquire);
        self.body.as_ref().filter(|_| !stopped)
    }

    pub(crate) fn cause(&self) -> Option<String> {
        self.cause.lock().clone()
    }

    /// `None` when its Raft does not run: openraft's own view would stay what
    /// it was.
    pub(crate) fn view(&self) -> Option<View> {
        let body = self.running()?;
        let server = body.raft.server_metrics();
        let server = server.borrow_watched();
        Some(View {
            state: server.state,
            term: server.vote.leader_id.term,
            voted_for: from_raft_node(server.vote.leader_id.node_id),
            committed: server.vote.committed,
            membership_index: server.membership_config.log_id().map(|id| id.index),
        })
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
        let Some(body) = &self.body else { return (None, Membership::default()) };
        let server = body.raft.server_metrics();
        let config = Arc::clone(&server.borrow_watched().membership_config);
        (config.log_id().map(from_raft_log_id), from_raft_membership(config.membership()))
    }

    pub(crate) fn has_member(&self, id: NodeId) -> bool {
        let Some(body) = &self.body else { return false };
        let server = body.raft.server_metrics();
        let server = server.borrow_watched();
        server.membership_config.membership().get_node(&id.get()).is_some()
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
        if self.body.is_none() {
            return;
        }
        let _ = self.shared.routes.send(self.id);
        if self.view().is_some_and(|view| view.leads()) {
            let group = Arc::clone(self);
            self.shared.tasks.spawn(async move {
                if let Err(error) = crate::transfer::give_away(&group).await {
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
        let Some(body) = &self.body else { return };
        self.stopped.store(true, Ordering::Release);
        self.wake();
        self.shared.driver.forget(self.id);
        if let Err(error) = body.raft.shutdown().await {
            tracing::warn!(partition_id = %self.id, %error, "stop group failed");
        }
        self.lead.set(false, &self.shared.leads, &self.shared.metrics);
    }

    /// Waits until the state has applied `index`.
    pub(crate) async fn wait_applied(&self, index: u64) -> Result<(), ProposeError> {
        let mut applied_next = self.healthy()?.applied_next.clone();
        // The sender lives in openraft's worker: gone means stopped.
        match applied_next.wait_for(|next| *next > index).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.stopped()),
        }
    }

    /// Follows the role, until the Raft ends.
    async fn observe(self: Arc<Self>) {
        let Some(body) = &self.body else { return };
        let mut changes = body.raft.server_metrics();
        let mut last = None;
        loop {
            let view = self.view();
            if view != last {
                self.vote_changed(last.as_ref(), view.as_ref());
                self.role_changed(last.as_ref(), view.as_ref());
                self.is_active();
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
        self.stopped.store(true, Ordering::Release);
        self.lead.set(false, &self.shared.leads, &self.shared.metrics);
        let ended = body.raft.metrics().borrow_watched().running_state.clone();
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
        let route = |view: Option<&View>| {
            view.map(|view| (view.membership_index, view.committed.then_some(view.voted_for)))
        };
        if changed || route(before) != route(now) {
            let _ = self.shared.routes.send(self.id);
        }
    }

    /// How long after the first sign of need this replica may campaign: the
    /// preferred one at once, each further one a little later, so that a cold
    /// start elects in one round.
    pub(crate) fn campaign_delay(&self) -> Duration {
        let me = self.shared.config.node_id;
        let rank = if self.created_with.is_empty() {
            self.membership().voters().iter().position(|id| *id == me)
        } else {
            self.created_with.iter().position(|(id, _)| *id == me)
        };
        protocol::campaign_delay(rank, self.shared.config.election_timeout.0)
    }
}

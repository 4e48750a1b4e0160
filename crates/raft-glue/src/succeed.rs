//! A leader whose process is gone is succeeded at once.
//!
//! openraft waits until the leader has been silent for an election timeout,
//! because silence is all that it knows. The node knows more: when a peer's
//! connection breaks and its port refuses the next one, that process is gone,
//! and what it led needs another leader now. So the voters that are left ask
//! each other, the preferred one first, whether they too have lost that leader,
//! and elect without waiting for its lease to run out.
//!
//! This is safe however wrong the signs are: an election is decided by terms,
//! votes and logs as ever, and no read here trusts a lease. A voter that still
//! hears the leader says no, so a leader that lives is not disturbed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use partition_types::{LogId, NodeId, Vote};
use tokio::time::Instant;

use crate::group::{Group, View};
use crate::protocol::{self, Cause};
use crate::shared::Shared;
use crate::{PartitionHost, PeerState, RaftReply, RaftRequest};

/// Groups that look for a successor at the same time.
const PARALLEL: usize = 64;
/// Of the idle ones, where groups are in memory on demand: some 40 a second, since each
/// takes [`protocol::CAMPAIGN_PAUSE`] at least. Whoever comes to need one has its leader found
/// at once; the others are not to keep busy a cluster that lost a node.
const IDLE_PARALLEL: usize = 8;
/// A process that is started again is back by then. Its start and the elections of idle groups
/// would take the processors from each other, and a client waits for the first only.
const IDLE_WAIT: Duration = Duration::from_secs(5);
/// Each voter waits so long for those before it.
const STEP: Duration = Duration::from_millis(100);
/// Between two rounds of asking; after a campaign it is longer, and doubles.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// Whom somebody is to succeed.
#[derive(Debug, Clone, Copy)]
enum Lost {
    /// One whose process is gone, or who said that it does not lead any more.
    Leader(NodeId),
    /// This replica, which led in that term: it was deposed by one who did not win yet.
    Own(u64),
}

/// What is searched for, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Succession {
    /// `None`: this replica was deposed.
    gone: Option<NodeId>,
    /// Where this replica was deposed: in which term it led, until that is told to the others.
    led_in: Option<u64>,
    give_up: Instant,
}

impl PartitionHost {
    /// The process of a peer is gone: what it led here looks for another leader.
    pub fn peer_is_gone(&self, node_id: NodeId) {
        let mut orphans: Vec<_> = self.shared.all();
        orphans.retain(|group| group.lose_leader(node_id));
        self.shared.succeed(node_id, orphans, self.shared.config.election_timeout.0, "is gone");
    }
}

impl Shared {
    /// Looks for successors of one leader, for so long in each group. After that
    /// the election timers do, or the warm-up. What is idle comes last, when the node is back.
    pub(crate) fn succeed(
        self: &Arc<Self>,
        leader: NodeId,
        orphans: Vec<Arc<Group>>,
        give_up_after: Duration,
        why: &'static str,
    ) {
        if orphans.is_empty() {
            return;
        }
        tracing::info!(node_id = %leader, groups = orphans.len(), why, "a peer that led groups here");
        let (idle, needed): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|group| group.is_idle());
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let search = async {
                succeed_all(leader, needed, PARALLEL, give_up_after).await;
                if !idle.is_empty() {
                    shared.await_return(leader).await;
                    succeed_all(leader, idle, IDLE_PARALLEL, give_up_after).await;
                }
            };
            tokio::select! {
                () = search => {}
                () = shared.cancel.cancelled() => {}
            }
        });
    }

    /// Waits until a node that was lost serves again, for [`IDLE_WAIT`] at most.
    async fn await_return(&self, node_id: NodeId) {
        let serves = async {
            loop {
                // That it is away is not told everywhere yet when this begins.
                tokio::time::sleep(self.config.heartbeat_interval).await;
                if self.balance.state_of(node_id) == Some(PeerState::Serving) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(IDLE_WAIT, serves).await;
    }
}

/// So many at a time.
async fn succeed_all(
    leader: NodeId,
    groups: Vec<Arc<Group>>,
    parallel: usize,
    give_up_after: Duration,
) {
    let succeed = |group: Arc<Group>| async move {
        // It may have waited for its turn, and been succeeded.
        if group.leader_gone.load(Ordering::Acquire) {
            group.succeed(Lost::Leader(leader), give_up_after).await;
        }
    };
    futures::stream::iter(groups).for_each_concurrent(parallel, succeed).await;
}

impl Group {
    /// Whether it can be left without a leader until somebody asks for it, which has one found
    /// at once, and nobody does: it is not in memory, or slept when it lost the last one.
    fn is_idle(&self) -> bool {
        self.is_unloaded() || self.shared.is_on_demand() && self.slept_last()
    }

    /// Forgets a leader, if that is who leads this group as far as is known.
    fn lose_leader(&self, node_id: NodeId) -> bool {
        // One that was voted for and died before it was heard leaves nobody behind
        // either: a hand-over does that.
        let voted_for = || self.view().filter(|_| !self.is_unused())?.voted_for;
        let lost = self.leader().or_else(voted_for);
        if lost != Some(node_id) {
            return false;
        }
        self.is_orphaned_by(node_id)
    }

    /// Whether nobody has needed the group since this node came up: whom it voted for
    /// before does not matter until somebody does.
    fn is_unused(&self) -> bool {
        self.is_unloaded() && self.contact.last().is_none()
    }

    /// Forgets a leader. Whether somebody else is needed.
    pub(crate) fn is_orphaned_by(&self, leader: NodeId) -> bool {
        self.contact.forget(leader);
        self.wake();
        if self.leader().is_some() {
            return false;
        }
        self.leader_gone.store(true, Ordering::Release);
        let _ = self.shared.routes.send(self.id);
        true
    }

    /// One search at a time: two of them would depose each other's leader. A
    /// peer is gone twice at least, by its connection and by its next process; the search that
    /// runs is told what is new.
    ///
    /// Not cancel safe: nobody would search after it. It is dropped with its host only.
    async fn succeed(&self, lost: Lost, give_up_after: Duration) {
        let (gone, led_in) = match lost {
            Lost::Leader(node_id) => (Some(node_id), None),
            Lost::Own(term) => (None, Some(term)),
        };
        let mut search = Succession { gone, led_in, give_up: Instant::now() + give_up_after };
        {
            let mut running = self.succession.lock();
            let is_running = running.is_some();
            search.led_in = led_in.or(running.and_then(|running| running.led_in));
            *running = Some(search);
            if is_running {
                return;
            }
        }
        tokio::time::sleep(STEP * self.rank_without(gone)).await;
        let mut pause = protocol::CAMPAIGN_PAUSE;
        let mut seen_term = 0;
        while self.searches() {
            if !self.fence.state().may_lead() {
                return self.stop_searching();
            }
            if !self.shared.leads.is_serving() {
                // Its time begins with the right to campaign. The others may be content with the
                // leader that was deposed: they are told, and where nobody serves, in a cold
                // start, the one that can win may be this one.
                if let Some(term) = self.search_for(give_up_after) {
                    self.tell_deposed(term).await;
                }
                self.campaign_if_needed().await;
                tokio::time::sleep(ASK_AGAIN).await;
                continue;
            }
            let Ok(body) = self.me().activate(Cause::Succession).await else {
                return self.stop_searching();
            };
            let mut wait = ASK_AGAIN;
            if self.may_succeed(&mut seen_term).await {
                // Votes are on their way, and wait for disks: a campaign in the next term
                // would void them, and load the disks once more.
                wait = pause;
                pause *= 2;
                tracing::debug!(partition_id = %self.id, "campaign to succeed a leader that is gone");
                if body.raft.trigger().elect(false).await.is_err() {
                    return self.stop_searching();
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Goes on for so long. Returns in which term this replica led, if that is still to be told.
    fn search_for(&self, time: Duration) -> Option<u64> {
        let mut search = self.succession.lock();
        let search = search.as_mut()?;
        search.give_up = Instant::now() + time;
        search.led_in.take()
    }

    fn stop_searching(&self) {
        *self.succession.lock() = None;
    }

    /// Whether nobody was heard of, and the time of the search is not up. If not, it is over:
    /// whoever loses a leader after that begins anew.
    fn searches(&self) -> bool {
        let mut search = self.succession.lock();
        let goes_on = !self.is_over()
            && self.leader_gone.load(Ordering::Acquire)
            && self.leader().is_none()
            && search.is_some_and(|search| Instant::now() < search.give_up);
        if !goes_on {
            *search = None;
        }
        goes_on
    }

    /// Whether nothing came of it since the group was in a term.
    fn is_orphaned_in(&self, term: u64) -> bool {
        self.leader_gone.load(Ordering::Acquire)
            && self.view().is_some_and(|view| !view.leads() && view.term == term)
    }

    /// Tells the other voters that this replica does not lead any more, as it did in `term`. It is
    /// a pre-vote for that term, which is too late for anybody to grant.
    async fn tell_deposed(&self, term: u64) {
        let me = self.shared.config.node_id;
        let vote = Vote { term, voted_for: Some(me), committed: false };
        let (voters, last) = (self.membership().voters(), self.last());
        let others = voters.into_iter().filter(|id| *id != me);
        join_all(others.map(|id| self.ask_pre_vote(id, vote, last))).await;
    }

    /// Whether a pre-vote is the word of this replica's leader that it does not lead any more:
    /// then it is looked for another one.
    pub(crate) fn is_deposed_word(self: &Arc<Self>, from: NodeId, vote: Vote) -> bool {
        let is_late = self.own_vote().is_some_and(|own| vote.term <= own.term);
        if !is_late || self.leader() != Some(from) {
            return false;
        }
        if self.is_orphaned_by(from) && !self.shared.is_draining() {
            self.search_successor(Lost::Leader(from));
        }
        true
    }

    fn search_successor(self: &Arc<Self>, lost: Lost) {
        let group = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            group.succeed(lost, group.shared.config.election_timeout.0).await;
        });
    }

    /// Notes a vote, and a leader that was deposed by one who did not win yet: if
    /// that one never does, this replica may be the only one that can. It need not be a later
    /// term: of two who ask for votes in the same, the one with the higher id comes later.
    ///
    /// A vote of `found_term` or before was given in an earlier life: nobody is about to win
    /// by that one.
    pub(crate) fn vote_changed(
        self: &Arc<Self>,
        found_term: u64,
        before: Option<&View>,
        now: Option<&View>,
    ) {
        let Some(now) = now.filter(|now| !now.committed && now.term > found_term) else { return };
        let vote = |view: &View| (view.term, view.voted_for);
        if before.is_some_and(|before| vote(before) == vote(now)) {
            return;
        }
        self.campaign.lock().voted_at = Some(Instant::now());
        let led_in = before.and_then(|before| self.has_led(before, now));
        if let Some(led_in) = led_in.filter(|_| !self.shared.is_draining()) {
            self.leader_gone.store(true, Ordering::Release);
            // This comes later than the vote: the winner may be known by now.
            if self.leader().is_some() {
                self.leader_gone.store(false, Ordering::Release);
                return;
            }
            self.search_successor(Lost::Own(led_in));
        }
    }

    /// In which term this replica led between two votes, or won and was about to. Of votes that
    /// follow each other closely only the last one is seen.
    fn has_led(&self, before: &View, now: &View) -> Option<u64> {
        let me = Some(self.shared.config.node_id);
        let won = self.running().map_or(0, |body| body.won.term());
        let is_between = (before.term, before.voted_for) <= (won, me)
            && (won, me) < (now.term, now.voted_for)
            && won > 0;
        is_between.then_some(won)
    }

    /// Whether somebody other than `asker` is about to win, or won and is about to be
    /// heard of, as far as this replica knows: it gave its vote not long ago, and not to one
    /// who is gone.
    pub(crate) fn awaits_winner(&self, asker: Option<NodeId>) -> bool {
        let Some(view) = self.view().filter(|view| !view.leads()) else { return false };
        let gone = self.succession.lock().and_then(|search| search.gone);
        let awaited = view.voted_for.filter(|node| Some(*node) != asker && Some(*node) != gone);
        let patience = self.shared.config.heartbeat_interval;
        let voted_at = self.campaign.lock().voted_at;
        awaited.is_some() && voted_at.is_some_and(|at| at.elapsed() < patience)
    }

    /// How many voters come before this one, the lost leader left out.
    fn rank_without(&self, gone: Option<NodeId>) -> u32 {
        let me = self.shared.config.node_id;
        let others = self.voters_by_preference().into_iter().filter(|id| Some(*id) != gone);
        u32::try_from(others.take_while(|id| *id != me).count()).unwrap_or(u32::MAX)
    }

    /// Whether the leader is gone, and a quorum would vote for this replica in its place.
    pub(crate) async fn succeeds_now(&self) -> bool {
        self.leader_gone.load(Ordering::Acquire) && self.may_succeed(&mut 0).await
    }

    /// Whether a quorum lost the leader too and would vote for this replica, in the term after
    /// all that were seen: others may have voted in a later one than this replica, for somebody
    /// who does not win, and would refuse to vote in that one for ever. No, when something came
    /// of it while they were asked.
    async fn may_succeed(&self, seen_term: &mut u64) -> bool {
        let Some(view) = self.view() else { return false };
        let me = self.shared.config.node_id;
        let membership = self.membership();
        if view.leads() || !membership.voters().contains(&me) || self.awaits_winner(Some(me)) {
            return false;
        }
        *seen_term = view.term.max(*seen_term);
        let vote = Vote { term: *seen_term + 1, voted_for: Some(me), committed: false };
        let last = self.last();
        let mut granted = vec![me];
        let mut answers: FuturesUnordered<_> = membership
            .voters()
            .into_iter()
            .filter(|id| *id != me)
            .map(|id| async move { (id, self.ask_pre_vote(id, vote, last).await) })
            .collect();
        while let Some((id, answer)) = answers.next().await {
            let Some((yes, term)) = answer else { continue };
            *seen_term = term.max(*seen_term);
            if yes {
                granted.push(id);
            }
            if membership.is_quorum(&granted) {
                break;
            }
        }
        membership.is_quorum(&granted) && self.is_orphaned_in(view.term)
    }

    /// Whether a voter would vote so, and its own term.
    async fn ask_pre_vote(
        &self,
        to: NodeId,
        vote: Vote,
        last: Option<LogId>,
    ) -> Option<(bool, u64)> {
        let member = self.member(to)?;
        let request = RaftRequest::PreVote { vote, last, leader_gone: true };
        let wait = self.shared.config.heartbeat_interval;
        let call = self.shared.transport.call(to, &member, self.id, request, wait);
        let reply = tokio::time::timeout(wait, call).await;
        match reply {
            Ok(Ok(RaftReply::Vote { vote, granted, .. })) => Some((granted, vote.term)),
            _ => None,
        }
    }

    /// Says no to a pre-vote. Changes nothing.
    pub(crate) fn refuse(&self, vote: Vote) -> RaftReply {
        let last = self.last();
        RaftReply::Vote { vote: self.own_vote().unwrap_or(vote), granted: false, last }
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.store.as_ref().and_then(|store| store.log().bounds().last)
    }

    fn own_vote(&self) -> Option<Vote> {
        let view = self.view()?;
        Some(Vote { term: view.term, voted_for: view.voted_for, committed: view.committed })
    }

    /// Answers a voter that lost the leader, where this replica lost it too: yes, if
    /// it would vote for that one. Changes nothing.
    pub(crate) fn would_succeed(self: &Arc<Self>, vote: Vote, last: Option<LogId>) -> RaftReply {
        let own_last = self.last();
        let own = self.own_vote();
        let granted = !self.awaits_winner(vote.voted_for)
            && own.is_some_and(|own| vote.term > own.term)
            && last >= own_last;
        RaftReply::Vote { vote: own.unwrap_or(vote), granted, last: own_last }
    }

    /// Whether nobody leads as far as this replica knows: it neither leads nor hears
    /// anybody who does. Whoever asks for votes does not lead, whatever was heard of it.
    pub(crate) fn has_lost_leader(&self, asker: Option<NodeId>) -> bool {
        self.leader().is_none_or(|leader| Some(leader) == asker)
    }
}

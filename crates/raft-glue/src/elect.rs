//! Verifying a leader, and campaigning where nobody else can.
//!
//! *elect* means that a leader is known by proof of this boot, not that this
//! node leads. So the voters are asked first; this node campaigns only when no
//! voter that serves clients answers, or when those that do have not managed to
//! elect one of them for a while.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use openraft::Instant as _;
use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_types::{LogId, NodeId, PartitionId};
use startup_gate::CampaignRight;
use tokio::time::Instant;

use crate::body::Body;
use crate::fence::Path;
use crate::group::{Group, View};
use crate::probe::lacks;
use crate::protocol::{self, Cause, Verdict, Voice};
use crate::{NotYet, PartitionHost, ProbeAnswer};

/// How long one [`PartitionHost::confirm_leader`] takes at most.
const CONFIRM_WAIT: Duration = Duration::from_secs(1);
/// Groups that look for their leaders in a start at the same time.
pub(crate) const ASKING: usize = 512;
/// Groups that campaign at the same time.
pub(crate) const ELECTIONS: usize = 64;
/// A campaign that is not won keeps the others waiting so long.
const CAMPAIGN_MAX: Duration = Duration::from_millis(200);
/// Between two rounds of asking.
const ASK_POLL: Duration = Duration::from_millis(50);

/// A leader by proof of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedLeader {
    /// Who leads; this node, maybe.
    pub leader: NodeId,
    /// In which term, as far as this replica knows.
    pub term: u64,
}

/// What the voters said when they were asked for the leader.
#[derive(Default)]
pub(crate) struct Poll {
    /// With the index that a read must have applied.
    leader: Option<(NodeId, Option<u64>)>,
    /// Where a leader has members without this one.
    pub(crate) removed_at: Option<LogId>,
    counts: protocol::Poll,
    /// What each voter is that answered otherwise, or not.
    voices: Vec<(NodeId, Voice)>,
}

impl PartitionHost {
    /// Gives a group the right to campaign and to lead. Nothing is started by
    /// it: an election timer runs once the node serves. Until then a replica
    /// campaigns only when it has asked the others and is
    /// [needed](Self::confirm_leader).
    pub fn unfence(&self, right: CampaignRight<PartitionId>) {
        let Some(group) = self.shared.group(*right.unit()) else { return };
        group.fence.open(right);
        group.enable_elections();
    }

    /// Looks for a leader that a quorum confirms now, and waits until this
    /// replica has applied what that leader had committed; for about a second once it is
    /// its turn to ask.
    /// Campaigns where this node is needed and may.
    ///
    /// # Errors
    /// [`NotYet`] with the reason: ask again.
    ///
    /// # Cancel safety
    /// Safe: asking again begins anew.
    pub async fn confirm_leader(&self, id: PartitionId) -> Result<VerifiedLeader, NotYet> {
        let group = self.shared.group(id).ok_or_else(|| NotYet::because("not loaded"))?;
        group.sound().map_err(|error| NotYet::because(error.to_string()))?;
        if group.defer() {
            let reason = "idle: its leader is looked for when somebody needs it";
            return Err(NotYet { deferred: true, ..NotYet::because(reason) });
        }
        group.campaign.lock().asked_at.get_or_insert_with(Instant::now);
        // Thousands that ask at once leave nobody the time to answer. Who waits hears of
        // its leader from that one itself.
        let news = group.contact.next_leader();
        let _turn = match group.heard_leader_since_boot() {
            Some(_) => None,
            None => tokio::select! {
                turn = group.shared.asking.acquire() => turn.ok(),
                () = news => None,
            },
        };
        let give_up = Instant::now() + CONFIRM_WAIT;
        loop {
            let news = group.contact.next_leader();
            if let Some((leader, read)) = group.heard_leader_since_boot() {
                return group.caught_up(leader, Some(read), give_up).await;
            }
            // One whose leader is gone meanwhile is asked for.
            let body = group.activate(Cause::Client).await;
            body.map_err(|error| NotYet::because(error.to_string()))?;
            let messages = group.hold.messages();
            // The word of the leader itself may come before the answers do.
            let mut news = pin!(news);
            let poll = tokio::select! {
                poll = group.poll_leader() => poll,
                () = &mut news => continue,
            };
            if let Some((leader, read)) = poll.leader {
                return group.caught_up(leader, read, give_up).await;
            }
            let removed = poll.removed_at.and_then(|at| group.removal(at, messages));
            if let Some(removed) = removed {
                let reason = format!("its group removed it at {}", removed.at());
                return Err(NotYet { removed: Some(removed), ..NotYet::because(reason) });
            }
            let needs_us = group.verdict(&poll) == Verdict::Needed;
            if needs_us {
                group.campaign_when_due(&poll.voices).await;
            }
            if Instant::now() >= give_up {
                return Err(NotYet { needs_us, ..NotYet::because(group.why_unled(&poll)) });
            }
            let _ = tokio::time::timeout(ASK_POLL, news).await;
        }
    }

    /// Campaigns, unless the fence is closed: the preferred replica at once, the
    /// others a little later each, if nobody leads by then. Pre-vote first.
    pub async fn campaign(&self, id: PartitionId) {
        if let Some(group) = self.shared.group(id) {
            group.campaign_when_due(&[]).await;
        }
    }
}

impl Group {
    /// A leader that this replica accepted a message of since it was started,
    /// not long ago and in the present term, and the commit index that it told.
    fn heard_leader_since_boot(&self) -> Option<(NodeId, u64)> {
        let view = self.view().filter(|view| !view.leads())?;
        let heard = self.heard(view.term)?;
        Some((heard.leader, heard.committed?.index))
    }

    /// Asks this replica, or all other members at the same time; and whoever the node
    /// was told of, in case this replica missed a change of members.
    pub(crate) async fn poll_leader(&self) -> Poll {
        let mut poll = Poll::default();
        let me = self.shared.config.node_id;
        let wait = self.settle_time().min(CONFIRM_WAIT);
        if self.view().is_some_and(|view| view.leads()) {
            if let Ok(read) = self.lead_read_index(wait).await {
                poll.counts.hear(Voice::Leader);
                poll.leader = Some((me, read.map(|id| id.index)));
            }
            return poll;
        }
        let voters = self.membership().voters();
        let known = if voters.is_empty() {
            self.created_with.iter().map(|(id, _)| *id).collect()
        } else {
            voters
        };
        let mut told = self.shared.transport.told_members(self.id);
        told.retain(|(id, _)| *id != me && !known.contains(id));
        let ask_told = |(id, member)| {
            async move { (id, false, self.probe_member(id, member, wait).await) }.boxed()
        };
        let mut answers: FuturesUnordered<_> = known
            .into_iter()
            .filter(|id| *id != me)
            .map(|id| async move { (id, true, self.probe(id, wait).await) }.boxed())
            .chain(told.into_iter().map(ask_told))
            .collect();
        while let Some((id, votes, answer)) = answers.next().await {
            match answer {
                Ok(ProbeAnswer::Leads { read_index, .. }) => {
                    poll.counts.hear(Voice::Leader);
                    poll.leader = Some((id, Some(read_index)));
                    break;
                }
                Ok(ProbeAnswer::Removed { at, .. }) => {
                    poll.counts.hear(Voice::Leader);
                    poll.removed_at = Some(at);
                    break;
                }
                // Who has no vote, as far as is known here, decides nothing.
                _ if !votes => {}
                // It cannot win, or not by a vote of this replica, whatever it takes itself for.
                Ok(_) if self.outdoes(id) => poll.hear(id, Voice::Out),
                Ok(answer) => poll.hear(id, answer.voice()),
                Err(_) => poll.hear(id, Voice::Silent),
            }
        }
        poll
    }

    /// What to tell an operator. A group that was made here and never given its
    /// members waits for nobody who could come back, and says so.
    fn why_unled(&self, poll: &Poll) -> String {
        if !self.membership().members.is_empty() {
            return poll.reason();
        }
        let first: Vec<_> = self.created_with.iter().map(|(id, _)| id.to_string()).collect();
        if first.is_empty() {
            return "never initialised: made to join its group, and never taken in; \
                    add this replica again, or delete it"
                .to_owned();
        }
        let (first, poll) = (first.join(", "), poll.reason());
        format!(
            "never initialised: made for nodes {first}, and told of no members since ({poll}); \
             create it again with the same replicas, or delete it"
        )
    }

    async fn caught_up(
        &self,
        leader: NodeId,
        read: Option<u64>,
        give_up: Instant,
    ) -> Result<VerifiedLeader, NotYet> {
        if let Some(read) = read {
            let applied = || {
                let store = self.store.as_ref();
                store.and_then(|store| store.state().applied()).map_or(0, |id| id.index + 1)
            };
            // At least a moment, however late the answer came.
            let left = give_up.saturating_duration_since(Instant::now()).max(ASK_POLL);
            match tokio::time::timeout(left, self.wait_applied(read)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(NotYet::because(error.to_string())),
                Err(_) => {
                    let (done, all) = (applied(), read + 1);
                    let reason = format!("catching up with node {leader}: {done} of {all} entries");
                    return Err(NotYet::because(reason));
                }
            }
        }
        let asked_at = std::mem::take(&mut *self.campaign.lock()).asked_at;
        let waited_ms = asked_at.map_or(0, |at| at.elapsed().as_millis());
        tracing::debug!(partition_id = %self.id, %leader, waited_ms, "leader verified");
        Ok(VerifiedLeader { leader, term: self.view().map_or(0, |view| view.term) })
    }

    /// Whether nobody who serves can lead.
    fn verdict(&self, poll: &Poll) -> Verdict {
        let waited = self.campaign.lock().asked_at.map_or(Duration::ZERO, |at| at.elapsed());
        let timeout = self.shared.config.election_timeout;
        poll.counts.verdict(protocol::has_waited_long(waited, timeout))
    }

    /// Campaigns if nobody who serves can lead, as the others say, and it is its turn.
    pub(crate) async fn campaign_if_needed(&self) {
        let poll = self.poll_leader().await;
        if self.verdict(&poll) == Verdict::Needed {
            self.campaign_when_due(&poll.voices).await;
        }
    }

    /// Notes who asks for votes, if it has fewer entries than this replica.
    pub(crate) fn note_candidate(&self, candidate: NodeId, last: Option<LogId>) {
        let is_outdone = last < self.last();
        let mut campaign = self.campaign.lock();
        if is_outdone {
            campaign.outdone.insert(candidate, Instant::now());
        } else {
            campaign.outdone.remove(&candidate);
        }
    }

    /// Whether a voter asked for votes with fewer entries than this replica has, not long ago.
    fn outdoes(&self, voter: NodeId) -> bool {
        let asked_at = self.campaign.lock().outdone.get(&voter).copied();
        asked_at.is_some_and(|at| at.elapsed() < self.shared.config.election_timeout.0)
    }

    /// Campaigns if it is this replica's turn, as far as is known of the other voters, and it
    /// did not just do so.
    async fn campaign_when_due(&self, voices: &[(NodeId, Voice)]) {
        let Some(body) = self.running() else { return };
        // Votes are on their way, and wait for disks: another campaign would void them.
        if self.awaits_winner(None)
            || !self.fence.pass(Path::Trigger)
            || !self.campaign_is_due(voices)
        {
            return;
        }
        tracing::debug!(partition_id = %self.id, "campaign");
        let is_needed = || {
            let is_needed = self.leader().is_none() && !self.awaits_winner(None);
            if is_needed {
                self.campaign.lock().last_at = Some(Instant::now());
            }
            is_needed
        };
        self.elect_in_turn(&body, is_needed).await;
    }

    fn campaign_is_due(&self, voices: &[(NodeId, Voice)]) -> bool {
        let me = self.shared.config.node_id;
        let voice_of = |voter| voices.iter().find(|(id, _)| *id == voter).map(|(_, voice)| *voice);
        let voters = self.voters_by_preference().into_iter();
        let ahead = voters.take_while(|id| *id != me);
        let ahead = ahead.map(|id| voice_of(id).unwrap_or(Voice::Silent));
        let delay = protocol::campaign_delay(ahead, self.shared.config.election_timeout.0);
        let mut campaign = self.campaign.lock();
        let now = Instant::now();
        let needed_since = *campaign.needed_since.get_or_insert(now);
        let needed_for = now.duration_since(needed_since);
        let since_last = campaign.last_at.map(|at| at.elapsed());
        protocol::campaign_is_due(needed_for, delay, since_last)
    }

    /// Has openraft campaign when it is this group's turn, if that is needed then. A
    /// few take turns: thousands that campaign at once are answered when nobody waits
    /// for the answer any more, begin anew, and so for ever.
    pub(crate) async fn elect_in_turn(&self, body: &Body, is_needed: impl Fn() -> bool) {
        let turn = tokio::time::timeout(CONFIRM_WAIT, self.shared.elections.acquire()).await;
        // Whoever needs it asks again.
        let Ok(Ok(_turn)) = turn else { return };
        if !is_needed() || !self.fence.pass(Path::Trigger) {
            return;
        }
        let mut changes = body.raft.server_metrics();
        let term = changes.borrow_watched().vote.leader_id.term;
        if let Err(error) = body.raft.trigger().elect(true).await {
            tracing::debug!(partition_id = %self.id, %error, "campaign of a stopped group");
            return;
        }
        let elected = async {
            loop {
                let vote = changes.borrow_watched().vote;
                if (vote.committed && vote.leader_id.term > term)
                    || changes.changed().await.is_err()
                {
                    return;
                }
            }
        };
        // Elected or not: the next one.
        let _ = tokio::time::timeout(CAMPAIGN_MAX, elected).await;
    }

    /// Whether it matters here that a peer came back, or further up. A leader has something
    /// to say to one that lacks entries, or was not heard of for some time. If nobody leads,
    /// an election may succeed now.
    pub(crate) fn is_news(&self, peer: NodeId, is_loaded: bool) -> bool {
        let Some(body) = self.running() else { return false };
        let metrics = body.raft.metrics();
        let metrics = metrics.borrow_watched();
        if !metrics.state.is_leader() {
            return self.may_campaign_now();
        }
        let heard = metrics.heartbeat.as_ref().and_then(|all| *all.get(&peer.get())?);
        let soon = self.shared.config.heartbeat_interval * 2;
        let is_recent = heard.is_some_and(|heard| heard.elapsed() < soon);
        is_loaded && (!is_recent || lacks(&metrics, peer))
    }

    /// See [`Group::is_news`].
    pub(crate) async fn nudge(self: Arc<Self>, peer: NodeId) {
        let Some(body) = self.running() else { return };
        let view = self.view();
        if view.as_ref().is_some_and(View::leads) {
            self.wake();
            let trigger = body.raft.trigger();
            if trigger.reset_backoff([peer.get()]).await.is_ok() {
                let _ = trigger.heartbeat().await;
            }
            return;
        }
        if self.may_campaign_now() {
            self.campaign_when_due(&[]).await;
        }
    }

    fn may_campaign_now(&self) -> bool {
        let serving = self.shared.leads.is_serving();
        let knows_leader = self.leader().is_some();
        protocol::may_campaign_on_return(self.fence.state(), serving, knows_leader)
    }
}

impl Poll {
    fn hear(&mut self, voter: NodeId, voice: Voice) {
        self.counts.hear(voice);
        self.voices.push((voter, voice));
    }

    fn reason(&self) -> String {
        let silent = self.voices.iter().filter(|(_, voice)| *voice == Voice::Silent);
        let mut silent: Vec<_> = silent.map(|(id, _)| *id).collect();
        silent.sort_unstable();
        let list: Vec<_> = silent.iter().map(ToString::to_string).collect();
        match (self.counts.serving, self.counts.starting, list.is_empty()) {
            (0, 0, true) => "no leader yet".into(),
            (serving, starting, true) => {
                format!("no leader: {serving} voters serve, {starting} start")
            }
            (serving, starting, false) => format!(
                "no leader: waiting for node {}; {serving} voters serve, {starting} start",
                list.join(", ")
            ),
        }
    }
}

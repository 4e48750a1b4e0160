//! A network in memory that can be cut, and that counts.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use partition_types::{Entry, Incarnation, Member, NodeId, PartitionId, Reason, Vote};
use raft_glue::{
    LeaderProbe, PartitionHost, RaftReply, RaftRequest, Refusal, SleepCall, SleepReply,
    SnapshotHeader, Transport, TransportError,
};

/// The wires between the nodes of a test.
#[derive(Default)]
pub(crate) struct Net {
    hosts: Mutex<HashMap<NodeId, (Incarnation, PartitionHost)>>,
    cut: Mutex<HashSet<(NodeId, NodeId)>>,
    starved: Mutex<HashSet<NodeId>>,
    pub(crate) snapshots: AtomicU64,
    /// By a node in its present life: a former one may still be asking when the next has begun.
    sent: Mutex<HashMap<NodeId, Arc<Sent>>>,
}

/// What left a node.
#[derive(Default)]
struct Sent {
    /// Raft messages.
    messages: AtomicU64,
    /// Bytes of the entries in them.
    entry_bytes: AtomicU64,
    /// Votes and pre-votes.
    votes: AtomicU64,
    /// Calls that ask for leaders.
    probes: AtomicU64,
    /// Questions of a replica that waits for a leader, to nodes that are not there.
    in_vain: AtomicU64,
}

impl Net {
    pub(crate) fn wire(self: &Arc<Self>, from: NodeId) -> Arc<dyn Transport> {
        let sent = Arc::default();
        self.sent.lock().insert(from, Arc::clone(&sent));
        Arc::new(Wire { net: Arc::clone(self), from, sent })
    }

    pub(crate) fn connect(&self, id: NodeId, incarnation: Incarnation, host: PartitionHost) {
        let others: Vec<_> = {
            let mut hosts = self.hosts.lock();
            hosts.insert(id, (incarnation, host));
            hosts.iter().filter(|(other, _)| **other != id).map(|(_, (_, h))| h.clone()).collect()
        };
        for other in others {
            other.peer_is_back(id, true);
        }
    }

    pub(crate) fn disconnect(&self, id: NodeId) {
        self.hosts.lock().remove(&id);
    }

    /// Nothing passes between `id` and the others, in neither direction.
    pub(crate) fn isolate(&self, id: NodeId) {
        let mut cut = self.cut.lock();
        for other in self.hosts.lock().keys().filter(|other| **other != id) {
            cut.extend([(id, *other), (*other, id)]);
        }
    }

    /// Entries do not reach `id`; everything else does.
    pub(crate) fn starve(&self, id: NodeId) {
        self.starved.lock().insert(id);
    }

    pub(crate) fn feed(&self, id: NodeId) {
        self.starved.lock().remove(&id);
    }

    /// The wires carry messages again, and nobody is told.
    pub(crate) fn heal_unseen(&self) {
        self.cut.lock().clear();
    }

    pub(crate) fn heal(&self) {
        self.heal_unseen();
        // The connections come back, and both ends see it.
        let hosts: Vec<_> = self.hosts.lock().iter().map(|(id, (_, h))| (*id, h.clone())).collect();
        for (_, host) in &hosts {
            for (other, _) in &hosts {
                host.peer_is_back(*other, true);
            }
        }
    }

    /// Raft messages that left a node since it was started, and not the beats of sleeping groups.
    pub(crate) fn messages_of(&self, id: NodeId) -> u64 {
        self.sent_by(id, |sent| &sent.messages)
    }

    /// Bytes of the entries in them, likewise.
    pub(crate) fn entry_bytes_of(&self, id: NodeId) -> u64 {
        self.sent_by(id, |sent| &sent.entry_bytes)
    }

    /// Votes and pre-votes, likewise.
    pub(crate) fn votes_of(&self, id: NodeId) -> u64 {
        self.sent_by(id, |sent| &sent.votes)
    }

    /// Calls that ask for leaders, likewise.
    pub(crate) fn probes_of(&self, id: NodeId) -> u64 {
        self.sent_by(id, |sent| &sent.probes)
    }

    /// Questions for a leader that reached nobody, likewise.
    pub(crate) fn in_vain_of(&self, id: NodeId) -> u64 {
        self.sent_by(id, |sent| &sent.in_vain)
    }

    fn sent_by(&self, id: NodeId, kind: impl Fn(&Sent) -> &AtomicU64) -> u64 {
        self.sent.lock().get(&id).map_or(0, |sent| kind(sent).load(Ordering::Relaxed))
    }

    fn route(
        &self,
        from: NodeId,
        to: NodeId,
        member: &Member,
    ) -> Result<PartitionHost, TransportError> {
        if self.cut.lock().contains(&(from, to)) {
            return Err(TransportError::Unreachable("the wire is cut".into()));
        }
        match self.hosts.lock().get(&to) {
            None => Err(TransportError::Unreachable("connection refused".into())),
            Some((incarnation, _)) if *incarnation != member.incarnation => {
                let message = format!("node {to} lives as {incarnation}");
                Err(Refusal { reason: Reason::IncarnationMismatch, message }.into())
            }
            Some((_, host)) => Ok(host.clone()),
        }
    }
}

struct Wire {
    net: Arc<Net>,
    from: NodeId,
    sent: Arc<Sent>,
}

impl Transport for Wire {
    fn call(
        &self,
        to: NodeId,
        member: &Member,
        partition_id: PartitionId,
        request: RaftRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<RaftReply, TransportError>> {
        self.sent.messages.fetch_add(1, Ordering::Relaxed);
        if matches!(request, RaftRequest::Vote { .. } | RaftRequest::PreVote { .. }) {
            self.sent.votes.fetch_add(1, Ordering::Relaxed);
        }
        let is_question = matches!(request, RaftRequest::ReadIndex);
        let entries = match &request {
            RaftRequest::Append { entries, .. } => entries.as_slice(),
            _ => &[],
        };
        let has_entries = !entries.is_empty();
        let entry_bytes: usize = entries.iter().map(Entry::len_bytes).sum();
        self.sent.entry_bytes.fetch_add(entry_bytes as u64, Ordering::Relaxed);
        let lost = has_entries && self.net.starved.lock().contains(&to);
        let host = match lost {
            true => {
                Err(Refusal { reason: Reason::Overloaded, message: "the entries are lost".into() }
                    .into())
            }
            false => self.net.route(self.from, to, member),
        };
        if is_question && host.is_err() {
            self.sent.in_vain.fetch_add(1, Ordering::Relaxed);
        }
        let (net, from, member) = (Arc::clone(&self.net), self.from, member.clone());
        async move {
            let host = host?;
            // A task of its own: what arrived is not undone by a caller that is gone.
            let handled =
                tokio::spawn(async move { host.handle(from, partition_id, request).await });
            let reply = tokio::time::timeout(timeout, handled)
                .await
                .map_err(|_| TransportError::Timeout)?
                .map_err(|error| TransportError::Failed(error.to_string()))??;
            // The answer needs the wire too.
            net.route(to, from, &net.member_of(from, &member)?)?;
            Ok(reply)
        }
        .boxed()
    }

    fn probe_leaders(
        &self,
        to: NodeId,
        member: &Member,
        partition_ids: Vec<PartitionId>,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Vec<LeaderProbe>, TransportError>> {
        self.sent.probes.fetch_add(1, Ordering::Relaxed);
        let host = self.net.route(self.from, to, member);
        let (net, from, member) = (Arc::clone(&self.net), self.from, member.clone());
        async move {
            let host = host?;
            let life = net.member_of(from, &member)?.incarnation;
            let answers = host.answer_probes(from, life, partition_ids);
            let answers = tokio::time::timeout(timeout, answers).await;
            let answers = answers.map_err(|_| TransportError::Timeout)?;
            net.route(to, from, &net.member_of(from, &member)?)?;
            Ok(answers)
        }
        .boxed()
    }

    fn sleep(
        &self,
        to: NodeId,
        member: &Member,
        call: SleepCall,
        _timeout: Duration,
    ) -> BoxFuture<'static, Result<SleepReply, TransportError>> {
        let host = self.net.route(self.from, to, member);
        let from = self.from;
        async move { Ok(host?.sleep(from, &call)) }.boxed()
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        member: &Member,
        header: SnapshotHeader,
        chunks: BoxStream<'static, std::io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, TransportError>> {
        self.net.snapshots.fetch_add(1, Ordering::Relaxed);
        let host = self.net.route(self.from, to, member);
        let from = self.from;
        async move { Ok(host?.receive_snapshot(from, header, chunks).await?) }.boxed()
    }
}

impl Net {
    /// `id` as it lives now, with any addresses.
    fn member_of(&self, id: NodeId, any: &Member) -> Result<Member, TransportError> {
        let hosts = self.hosts.lock();
        let gone = || TransportError::Failed("the sender is gone".into());
        let (incarnation, _) = hosts.get(&id).ok_or_else(gone)?;
        Ok(Member { incarnation: *incarnation, ..any.clone() })
    }
}

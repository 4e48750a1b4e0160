//! A node's way to its peers: the product's transport over the simulated
//! network. Every call has a deadline, and one that passed is forgotten.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use partition_types::{Incarnation, Member, NodeId, PartitionId, Reason, Vote};
use raft_glue::{
    AppendReply, LeaderProbe, PartitionHost, RaftReply, RaftRequest, Refusal, SleepCall,
    SleepReply, SnapshotHeader, Transport, TransportError,
};
use tokio::sync::oneshot;

use super::wire::{Answer, Call, Caller, PEER_PORT, Parcel, Port};
use super::world::{Trap, World};

/// A snapshot here is a message like any other.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(3);

/// The calling side.
#[derive(Clone)]
pub(crate) struct Link {
    world: Arc<World>,
    caller: Caller,
    port: Port,
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>,
}

impl Link {
    pub(crate) fn new(world: &Arc<World>, caller: Caller, port: Port) -> Self {
        Self { world: Arc::clone(world), caller, port, waiting: Arc::default() }
    }

    /// An answer came.
    pub(crate) fn answered(&self, id: u64, answer: Answer) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            // Who asked may have given up.
            let _ = waiting.send(answer);
        }
    }

    fn ask(
        &self,
        to: NodeId,
        member: &Member,
        call: Call,
        wait: Duration,
    ) -> impl Future<Output = Result<Answer, TransportError>> + Send + 'static {
        let (link, meant) = (self.clone(), member.incarnation);
        async move {
            let (send, receive) = oneshot::channel();
            let id = link.world.lock().mail.number();
            link.waiting.lock().insert(id, send);
            let forget = Forget { link: link.clone(), id };
            let call = Parcel::Call { from: link.caller, id, meant, call };
            let answer = async {
                link.port.send(to, PEER_PORT, call).await;
                receive.await
            };
            let answer = tokio::time::timeout(wait, answer).await;
            drop(forget);
            let lost = |_| TransportError::Failed("the node goes down".into());
            answer.map_err(|_| TransportError::Timeout)?.map_err(lost)
        }
    }
}

/// Forgets a call, however it ends.
struct Forget {
    link: Link,
    id: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.link.waiting.lock().remove(&self.id);
    }
}

fn other_kind<T>() -> Result<T, TransportError> {
    Err(TransportError::Failed("answer of another kind".into()))
}

impl Transport for Link {
    fn call(
        &self,
        to: NodeId,
        member: &Member,
        partition_id: PartitionId,
        request: RaftRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<RaftReply, TransportError>> {
        let call = Call::Raft { partition: partition_id, request };
        let answer = self.ask(to, member, call, timeout);
        async move {
            match answer.await? {
                Answer::Raft(reply) => reply,
                _ => other_kind(),
            }
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
        let answer = self.ask(to, member, Call::Probe(partition_ids), timeout);
        async move {
            match answer.await? {
                Answer::Probe(answers) => Ok(answers),
                _ => other_kind(),
            }
        }
        .boxed()
    }

    fn sleep(
        &self,
        to: NodeId,
        member: &Member,
        call: SleepCall,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<SleepReply, TransportError>> {
        let answer = self.ask(to, member, Call::Sleep(call), timeout);
        async move {
            match answer.await? {
                Answer::Sleep(reply) => reply,
                _ => other_kind(),
            }
        }
        .boxed()
    }

    fn send_snapshot(
        &self,
        to: NodeId,
        member: &Member,
        header: SnapshotHeader,
        chunks: BoxStream<'static, io::Result<Bytes>>,
    ) -> BoxFuture<'static, Result<Vote, TransportError>> {
        let (link, member) = (self.clone(), member.clone());
        async move {
            let chunks: Vec<Bytes> =
                chunks.try_collect().await.map_err(|e| TransportError::Failed(e.to_string()))?;
            let call = Call::Snapshot { header, chunks };
            match link.ask(to, &member, call, SNAPSHOT_WAIT).await? {
                Answer::Snapshot(vote) => vote,
                _ => other_kind(),
            }
        }
        .boxed()
    }
}

/// The answering side of a node.
#[derive(Clone)]
pub(crate) struct Inbound {
    pub(crate) world: Arc<World>,
    pub(crate) node: NodeId,
    pub(crate) host: PartitionHost,
    pub(crate) incarnation: Incarnation,
}

impl Inbound {
    /// Takes one call. Nobody answers one that was meant for another life.
    pub(crate) async fn answer(&self, from: Caller, meant: Incarnation, call: Call) -> Answer {
        let Caller { node: from, life } = from;
        let refused = |refusal: Refusal| TransportError::Refused(refusal);
        let stranger = (meant != self.incarnation).then(|| {
            let message = format!("node {} lives as {}", self.node, self.incarnation);
            refused(Refusal { reason: Reason::IncarnationMismatch, message })
        });
        match (call, stranger) {
            (Call::Raft { .. }, Some(error)) => Answer::Raft(Err(error)),
            (Call::Snapshot { .. }, Some(error)) => Answer::Snapshot(Err(error)),
            (Call::Sleep(_), Some(error)) => Answer::Sleep(Err(error)),
            (Call::Probe(_), Some(_)) => Answer::Probe(Vec::new()),
            (Call::Raft { partition, request }, None) => {
                Answer::Raft(self.raft(from, partition, request).await.map_err(refused))
            }
            (Call::Probe(ids), None) => {
                Answer::Probe(self.host.answer_probes(from, life, ids).await)
            }
            (Call::Sleep(call), None) => Answer::Sleep(Ok(self.host.sleep(from, &call))),
            (Call::Snapshot { header, chunks }, None) => {
                self.world.lock().counts.snapshots += 1;
                let chunks = futures::stream::iter(chunks.into_iter().map(Ok)).boxed();
                let vote = self.host.receive_snapshot(from, header, chunks).await;
                Answer::Snapshot(vote.map_err(refused))
            }
        }
    }

    /// Hands a message to its group, and notes what the replica promised by its
    /// answer.
    async fn raft(
        &self,
        from: NodeId,
        partition: PartitionId,
        request: RaftRequest,
    ) -> Result<RaftReply, Refusal> {
        let vote = match &request {
            RaftRequest::Append { vote, .. } | RaftRequest::Vote { vote, .. } => Some(*vote),
            _ => None,
        };
        let has_entries =
            matches!(&request, RaftRequest::Append { entries, .. } if !entries.is_empty());
        let before = self.world.lock().promises.of(self.node, partition);
        let reply = self.host.handle(from, partition, request).await;
        let kept = match &reply {
            Ok(RaftReply::Append(AppendReply::Success | AppendReply::Partial(_))) => true,
            Ok(RaftReply::Vote { granted, .. }) => *granted,
            _ => false,
        };
        if let (Some(vote), true) = (vote, kept) {
            let mut world = self.world.lock();
            if let Err(what) = world.promises.make(self.node, partition, before, vote) {
                world.violated("promise", what);
            }
            let told = match reply {
                Ok(RaftReply::Vote { .. }) => Some(Trap::Voted),
                Ok(_) if has_entries => Some(Trap::Appended),
                _ => None,
            };
            if let Some(told) = told {
                world.trip(self.node, told);
            }
        }
        reply
    }
}

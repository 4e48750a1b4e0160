//! The receiving side of a peer's Raft stream: hands each call to its group
//! and sends the replies back as they come, batched.
//!
//! The groups work on their calls side by side: one that waits for its disk
//! holds up no other. When too many calls are under way nothing more is read,
//! and flow control tells the sender.
//!
//! Each call is a task. Polled by the stream's own, thousands of them would spend its
//! budget (`tokio::task::coop`) in the first few: all others that are ready would be
//! polled in vain, again and again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use datanode_proto::v1;
use futures::stream::Stream;
use partition_types::{NodeId, Reason};
use raft_glue::Refusal;
use tokio::task::JoinSet;
use tonic::Status;

use super::convert;
use super::groups::Groups;

/// Calls of one peer that may be under way.
const CALLS_MAX: usize = 8192;
/// Replies in one message.
const REPLIES_MAX: usize = 1024;

/// Replies to the calls of one peer, as a stream.
pub(super) struct RaftStream<C> {
    from: NodeId,
    groups: Arc<dyn Groups>,
    /// `None` once the peer said its last.
    calls: Option<C>,
    /// Aborted with the stream: nobody would get the replies.
    working: JoinSet<v1::RaftReply>,
}

impl<C> RaftStream<C>
where
    C: Stream<Item = Result<v1::RaftRequest, Status>> + Unpin,
{
    /// Serves the calls of `from`.
    pub(super) fn new(from: NodeId, groups: Arc<dyn Groups>, calls: C) -> Self {
        Self { from, groups, calls: Some(calls), working: JoinSet::new() }
    }

    /// Reads what has come, unless too much is under way.
    fn poll_calls(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        while self.working.len() < CALLS_MAX {
            let Some(calls) = &mut self.calls else { return Ok(()) };
            match Pin::new(calls).poll_next(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    for call in request.calls {
                        self.working.spawn(work(self.from, &*self.groups, call));
                    }
                }
                Poll::Ready(Some(Err(status))) => return Err(status),
                Poll::Ready(None) => self.calls = None,
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }
}

impl<C> Stream for RaftStream<C>
where
    C: Stream<Item = Result<v1::RaftRequest, Status>> + Unpin,
{
    type Item = Result<v1::RaftResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(status) = self.poll_calls(cx) {
            return Poll::Ready(Some(Err(status)));
        }
        let mut replies = Vec::new();
        while replies.len() < REPLIES_MAX {
            match self.working.poll_join_next(cx) {
                Poll::Ready(Some(Ok(reply))) => replies.push(reply),
                Poll::Ready(Some(Err(error))) => {
                    // If not, the runtime goes down, and takes this stream with it.
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
                Poll::Ready(None) if replies.is_empty() && self.calls.is_none() => {
                    return Poll::Ready(None);
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if !replies.is_empty() {
            return Poll::Ready(Some(Ok(v1::RaftResponse { replies })));
        }
        Poll::Pending
    }
}

/// One call, within the time its sender waits for the reply.
fn work(
    from: NodeId,
    groups: &dyn Groups,
    call: v1::RaftCall,
) -> impl Future<Output = v1::RaftReply> + use<> {
    let call_id = call.call_id;
    let limit = Duration::from_millis(call.timeout_ms.into());
    let reply = match convert::call_from_wire(call) {
        Ok((partition_id, request)) => groups.handle(from, partition_id, request),
        Err(malformed) => Box::pin(std::future::ready(Err(malformed.into()))),
    };
    async move {
        let late = || Refusal {
            reason: Reason::DeadlineExceeded,
            message: "the group did not answer in time".to_owned(),
        };
        let reply = tokio::time::timeout(limit, reply).await.unwrap_or_else(|_| Err(late()));
        convert::reply_to_wire(call_id, reply)
    }
}

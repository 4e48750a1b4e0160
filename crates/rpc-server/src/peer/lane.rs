//! One open stream of Raft messages to one life of a peer: numbers the calls,
//! batches them, and hands each reply to who waits for it.
//!
//! Messages without data overtake those with data, so that a heartbeat does
//! not wait behind megabytes of another group.

use std::collections::HashMap;
use std::sync::Arc;

use datanode_proto::v1;
use datanode_proto::v1::raft_call::Body;
use futures::Stream;
use futures::stream;
use parking_lot::Mutex;
use partition_types::Incarnation;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::metric;

/// A batch is closed when it has this much data; one larger message goes alone.
const BATCH_BYTES: usize = 1 << 20;
/// A batch is closed when it has this many messages.
const BATCH_CALLS: usize = 1024;
/// Messages that wait for the stream, of each kind.
const QUEUE_CALLS: usize = 4096;
/// Data that waits for the stream; a caller beyond it waits, up to its timeout.
const QUEUE_BYTES: usize = 64 << 20;
/// Data is counted in units of this size, to fit a semaphore's counter.
const UNIT_BYTES: usize = 1 << 10;

/// An open stream. Shared by all callers.
pub(super) struct Lane {
    incarnation: Incarnation,
    light: mpsc::Sender<Queued>,
    heavy: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

/// The stream is closed; nothing is known of the call.
#[derive(Debug)]
pub(super) struct Closed;

struct Queued {
    call: v1::RaftCall,
    len_bytes: usize,
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct Waiting {
    closed: bool,
    last_id: u64,
    callers: HashMap<u64, oneshot::Sender<v1::RaftReply>>,
}

struct Queues {
    light: mpsc::Receiver<Queued>,
    heavy: mpsc::Receiver<Queued>,
    /// Did not fit into the last batch.
    left_over: Option<Queued>,
}

impl Lane {
    /// A lane and what is to be sent on its stream.
    pub(super) fn open(
        incarnation: Incarnation,
    ) -> (Arc<Self>, impl Stream<Item = v1::RaftRequest> + Send + 'static) {
        let (light, light_queue) = mpsc::channel(QUEUE_CALLS);
        let (heavy, heavy_queue) = mpsc::channel(QUEUE_CALLS);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES / UNIT_BYTES));
        let lane = Self { incarnation, light, heavy, room, waiting: Mutex::default() };
        let queues = Queues { light: light_queue, heavy: heavy_queue, left_over: None };
        let counts = (metric::peer_messages(), metric::peer_calls());
        let batches = stream::unfold((queues, counts), |(mut queues, counts)| async move {
            let calls = queues.next_batch().await?;
            counts.0.increment(1);
            counts.1.increment(calls.len() as u64);
            Some((v1::RaftRequest { calls }, (queues, counts)))
        });
        (Arc::new(lane), batches)
    }

    /// Which life of the peer it leads to.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Sends a call and waits for its reply, for as long as the stream lives.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the call; it may still be answered, to nobody.
    pub(super) async fn exchange(&self, mut call: v1::RaftCall) -> Result<v1::RaftReply, Closed> {
        let len_bytes = data_len_bytes(&call);
        let room = if len_bytes == 0 { None } else { Some(self.reserve(len_bytes).await?) };
        let queue = if len_bytes == 0 { &self.light } else { &self.heavy };
        let slot = queue.reserve().await.map_err(|_| Closed)?;
        let (caller, reply) = Caller::enlist(self)?;
        call.call_id = caller.id;
        slot.send(Queued { call, len_bytes, _room: room });
        let reply = reply.await.map_err(|_| Closed);
        drop(caller);
        reply
    }

    /// Hands replies to those who wait for them. Whom nobody waits for any
    /// longer is dropped: the caller's time was up.
    pub(super) fn deliver(&self, response: v1::RaftResponse) {
        let mut waiting = self.waiting.lock();
        for reply in response.replies {
            if let Some(caller) = waiting.callers.remove(&reply.call_id) {
                // The caller may have gone this instant: the reply is nobody's.
                let _ = caller.send(reply);
            }
        }
    }

    /// Lets every caller know that there will be no reply, now and later.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        waiting.callers.clear();
        self.room.close();
    }

    async fn reserve(&self, len_bytes: usize) -> Result<OwnedSemaphorePermit, Closed> {
        let units = len_bytes.div_ceil(UNIT_BYTES).min(QUEUE_BYTES / UNIT_BYTES);
        let units = u32::try_from(units).expect("the queue has fewer units than 2^32");
        Arc::clone(&self.room).acquire_many_owned(units).await.map_err(|_| Closed)
    }
}

/// A caller in the list; dropping it takes it out again.
struct Caller<'a> {
    lane: &'a Lane,
    id: u64,
}

impl<'a> Caller<'a> {
    fn enlist(lane: &'a Lane) -> Result<(Self, oneshot::Receiver<v1::RaftReply>), Closed> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lane.waiting.lock();
        if waiting.closed {
            return Err(Closed);
        }
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.callers.insert(id, sender);
        Ok((Self { lane, id }, receiver))
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.lane.waiting.lock().callers.remove(&self.id);
    }
}

impl Queues {
    /// Waits for a call and takes what else is there. `None`: the lane is gone.
    async fn next_batch(&mut self) -> Option<Vec<v1::RaftCall>> {
        let first = match self.left_over.take() {
            Some(queued) => queued,
            None => tokio::select! {
                biased;
                Some(queued) = self.light.recv() => queued,
                Some(queued) = self.heavy.recv() => queued,
                else => return None,
            },
        };
        let mut len_bytes = first.len_bytes;
        let mut calls = vec![first.call];
        // Many groups have something to say at once, as in one turn of the
        // driver, each in a task of its own: those that are ready to run come
        // first. Without any this costs one turn of the scheduler.
        while self.fill(&mut calls, &mut len_bytes) {
            let before = calls.len();
            tokio::task::yield_now().await;
            if !self.fill(&mut calls, &mut len_bytes) || calls.len() == before {
                break;
            }
        }
        Some(calls)
    }

    /// Takes what is there. Whether there is room for more.
    fn fill(&mut self, calls: &mut Vec<v1::RaftCall>, len_bytes: &mut usize) -> bool {
        while calls.len() < BATCH_CALLS {
            let Ok(queued) = self.light.try_recv().or_else(|_| self.heavy.try_recv()) else {
                return true;
            };
            if queued.len_bytes > 0 && *len_bytes + queued.len_bytes > BATCH_BYTES {
                self.left_over = Some(queued);
                return false;
            }
            *len_bytes += queued.len_bytes;
            calls.push(queued.call);
        }
        false
    }
}

fn data_len_bytes(call: &v1::RaftCall) -> usize {
    match &call.body {
        Some(Body::Append(append)) => append.entries.iter().map(bytes::Bytes::len).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use bytes::Bytes;
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn call(partition_id: u64, data_len_bytes: usize) -> v1::RaftCall {
        let entries = if data_len_bytes == 0 {
            Vec::new()
        } else {
            vec![Bytes::from(vec![0; data_len_bytes])]
        };
        let append = v1::AppendCall { entries, ..v1::AppendCall::default() };
        v1::RaftCall { partition_id, body: Some(Body::Append(append)), ..v1::RaftCall::default() }
    }

    fn lane() -> (Arc<Lane>, impl Stream<Item = v1::RaftRequest>) {
        Lane::open(Incarnation::from_bytes([1; 16]))
    }

    #[tokio::test]
    async fn replies_find_their_callers_in_any_order() {
        let (lane, sent) = lane();
        let mut sent = pin!(sent);
        let callers: Vec<_> = (1..=100)
            .map(|partition_id| {
                let lane = Arc::clone(&lane);
                tokio::spawn(async move { lane.exchange(call(partition_id, 0)).await })
            })
            .collect();
        let mut calls = Vec::new();
        while calls.len() < 100 {
            calls.extend(sent.next().await.expect("the lane is open").calls);
        }
        calls.reverse();
        let replies = calls.iter().map(|call| v1::RaftReply {
            call_id: call.call_id,
            body: Some(v1::raft_reply::Body::Refused(v1::RaftRefusal {
                reason: String::new(),
                message: call.partition_id.to_string(),
            })),
        });
        lane.deliver(v1::RaftResponse { replies: replies.collect() });
        for (caller, partition_id) in callers.into_iter().zip(1..) {
            let reply = caller.await.expect("no panic").expect("a reply");
            let Some(v1::raft_reply::Body::Refused(refused)) = reply.body else {
                panic!("{reply:?}")
            };
            assert_eq!(refused.message, format!("{partition_id}"));
        }
        assert!(lane.waiting.lock().callers.is_empty());
    }

    #[tokio::test]
    async fn batches_are_bounded_and_light_calls_go_first() {
        let (lane, sent) = lane();
        let mut sent = pin!(sent);
        for (partition_id, len_bytes) in
            [(1, BATCH_BYTES - 1), (2, 2), (3, 3 * BATCH_BYTES), (4, 0)]
        {
            let lane = Arc::clone(&lane);
            tokio::spawn(async move { lane.exchange(call(partition_id, len_bytes)).await });
            tokio::task::yield_now().await;
        }
        let mut batches = Vec::new();
        while batches.iter().map(Vec::len).sum::<usize>() < 4 {
            let batch = sent.next().await.expect("the lane is open");
            batches.push(batch.calls.iter().map(|call| call.partition_id).collect());
        }
        assert_eq!(batches, [vec![4, 1], vec![2], vec![3]]);
    }

    #[tokio::test]
    async fn a_caller_that_gave_up_leaves_nothing_behind() {
        let (lane, sent) = lane();
        let mut sent = pin!(sent);
        let late = tokio::time::timeout(Duration::from_millis(5), lane.exchange(call(1, 10))).await;
        assert!(late.is_err());
        assert!(lane.waiting.lock().callers.is_empty());
        let call_id = sent.next().await.expect("it was sent all the same").calls[0].call_id;
        lane.deliver(v1::RaftResponse { replies: vec![v1::RaftReply { call_id, body: None }] });
    }

    #[tokio::test]
    async fn closing_ends_every_wait() {
        let (lane, _sent) = lane();
        let mut caller = pin!(lane.exchange(call(1, 0)));
        assert!(caller.as_mut().now_or_never().is_none());
        lane.close();
        assert!(caller.await.is_err());
        assert!(lane.exchange(call(2, 10)).await.is_err());
    }
}

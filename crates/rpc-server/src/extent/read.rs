//! ReadExtent: one range as a stream of frames.
//!
//! The first frames are read before the call is answered, so that what is wrong
//! with it is told as its status. A stream has one read barrier, at its start:
//! it sees every write that was acknowledged before the call.

use std::collections::VecDeque;

use datanode_proto::v1;
use futures::stream::{self, BoxStream, StreamExt};
use partition_store::{Frame, ReadOutcome};
use partition_types::{Crc32c, ExtentId};
use raft_glue::Partition;
use tonic::Status;

use super::field;
use super::look::settled;
use crate::context::NodeContext;
use crate::forward::{Call, Intent, Place};
use crate::limits;
use crate::status::Failure;

type Frames = BoxStream<'static, Result<v1::ReadExtentResponse, Status>>;

/// Reads a range of an extent.
pub(super) async fn read(
    call: Call,
    request: v1::ReadExtentRequest,
    _max_message: usize,
) -> Result<Frames, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let intent = field::consistency(request.consistency)?;
    let end = field::range_end(request.offset, request.length)?;
    let range = Range { extent_id, next: request.offset, end };
    call.run(intent, None, |place, _| {
        let context = call.context.clone();
        async move {
            match place {
                Place::Here(partition) => read_here(context, partition, intent, range).await,
                Place::There(remote) => {
                    let sent = remote.extents().read_extent(remote.stream_request(request)).await;
                    match sent {
                        Ok(frames) => Ok(frames.into_inner().map(of_peer).boxed()),
                        Err(status) => Err(Failure::of_peer(&status)),
                    }
                }
            }
        }
    })
    .await
}

fn of_peer(
    frame: Result<v1::ReadExtentResponse, Status>,
) -> Result<v1::ReadExtentResponse, Status> {
    frame.map_err(|status| Failure::of_peer(&status).into())
}

/// What is still to be read.
#[derive(Debug, Clone, Copy)]
struct Range {
    extent_id: ExtentId,
    next: u64,
    end: u64,
}

/// A read under way on this node's replica.
struct Reader {
    context: NodeContext,
    partition: Partition,
    range: Range,
    ready: VecDeque<v1::ReadExtentResponse>,
}

async fn read_here(
    context: NodeContext,
    partition: Partition,
    intent: Intent,
    range: Range,
) -> Result<Frames, Failure> {
    settled(&partition, intent).await?;
    let mut reader = Reader { context, partition, range, ready: VecDeque::new() };
    let first = reader.fetch().await?;
    // The range ends where the extent ended when the read began.
    reader.range.end = range.end.min(first.size);
    reader.take(first);
    if reader.ready.is_empty() {
        let applied_index = reader.partition.state().map_or(0, super::look::applied_index);
        reader.ready.push_back(v1::ReadExtentResponse {
            offset: range.next,
            data: bytes::Bytes::new(),
            crc32c: Crc32c::EMPTY.get(),
            applied_index,
        });
    }
    Ok(stream::try_unfold(reader, Reader::step).boxed())
}

impl Reader {
    /// The next frame of the stream.
    async fn step(mut self) -> Result<Option<(v1::ReadExtentResponse, Self)>, Status> {
        if self.ready.is_empty() && self.range.next < self.range.end {
            let fetched = self.fetch().await?;
            self.take(fetched);
        }
        Ok(self.ready.pop_front().map(|frame| (frame, self)))
    }

    async fn fetch(&self) -> Result<ReadOutcome, Failure> {
        let Range { extent_id, next, end } = self.range;
        let len_bytes = end.saturating_sub(next).min(limits::FRAME_LEN_MAX as u64);
        let id = self.partition.id();
        let state = self.partition.state().map_err(|error| Failure::of_propose(id, &error))?;
        let read = state.read(extent_id, next, len_bytes).await;
        read.map_err(|error| self.context.read_failed(id, &error))
    }

    fn take(&mut self, fetched: ReadOutcome) {
        for Frame { offset, data, crc32c } in fetched.frames {
            self.range.next = offset + data.len() as u64;
            self.ready.push_back(v1::ReadExtentResponse {
                offset,
                data,
                crc32c: crc32c.get(),
                applied_index: fetched.applied_index,
            });
        }
    }
}

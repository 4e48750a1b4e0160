//! Reading a range of an extent: frame by frame, each checked, over as many
//! streams as it takes.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use datanode_proto::v1;
use partition_types::{Crc32c, ExtentId, PartitionId};
use tonic::Streaming;

use crate::call::{Attempt, Core, Target};
use crate::client::Client;
use crate::effort::Effort;
use crate::endpoint::Address;
use crate::error::Error;
use crate::extent::Consistency;
use crate::retry::AttemptError;

/// A piece of an extent, checked against its checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the extent.
    pub offset: u64,
    /// Never empty.
    pub data: Bytes,
    /// Of `data`.
    pub crc32c: Crc32c,
}

impl Client {
    /// Reads an extent, from its beginning to its end unless told otherwise.
    /// Nothing is sent before the first [`ExtentReader::next`].
    #[must_use]
    pub fn read(&self, partition_id: PartitionId, extent_id: ExtentId) -> ExtentReader {
        ExtentReader {
            core: Arc::clone(&self.core),
            partition_id,
            extent_id,
            next_offset: 0,
            end: None,
            consistency: Consistency::default(),
            effort: None,
            state: State::Unopened,
        }
    }
}

/// Reads a range of an extent.
///
/// ```text
///            opened              the node says it is over, or the range is full
/// Unopened ─────────▶ Open ─────────────────────────────────────────▶ Done
///     ▲                │
///     └────────────────┘ broken: goes on at the next offset, elsewhere
/// ```
#[derive(Debug)]
pub struct ExtentReader {
    core: Arc<Core>,
    partition_id: PartitionId,
    extent_id: ExtentId,
    /// Everything before it was given to the caller.
    next_offset: u64,
    /// `None`: to the end of the extent.
    end: Option<u64>,
    consistency: Consistency,
    /// Kept over all streams, renewed with each frame.
    effort: Option<Effort>,
    state: State,
}

#[derive(Debug)]
enum State {
    Unopened,
    Open { address: Address, frames: Box<Streaming<v1::ReadExtentResponse>> },
    Done,
}

impl ExtentReader {
    /// Only this range, cut at the end of the extent.
    #[must_use]
    pub fn range(mut self, range: Range<u64>) -> Self {
        self.next_offset = range.start;
        self.end = Some(range.end.max(range.start));
        self
    }

    /// From `offset` to the end.
    #[must_use]
    pub fn from(mut self, offset: u64) -> Self {
        self.next_offset = offset;
        self.end = None;
        self
    }

    /// Which state it may answer from.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// `NotFound` for an unknown extent, `Invalid` (`OFFSET_OUT_OF_RANGE`) for
    /// a range that begins beyond the end, `Corrupt` for bytes that are not
    /// what they were; and what [`ErrorKind`](crate::ErrorKind) lists for a
    /// cluster that does not answer. After an error there is nothing more.
    ///
    /// # Cancel safety
    /// Safe: a dropped call loses no frame.
    pub async fn next(&mut self) -> Result<Option<Frame>, Error> {
        let target = Target::Read(self.partition_id);
        loop {
            let step = match &mut self.state {
                State::Done => return Ok(None),
                State::Unopened if self.end == Some(self.next_offset) => return Ok(None),
                State::Unopened => self.open(target).await,
                State::Open { address, frames } => {
                    let address = address.clone();
                    match next_frame(frames, self.core.config.attempt_timeout).await {
                        Ok(None) => {
                            self.finish(target).await;
                            return Ok(None);
                        }
                        Ok(Some(message)) => match self.take(message) {
                            Ok(Some(frame)) => return Ok(Some(frame)),
                            Ok(None) => Ok(()),
                            Err(error) => Err((address, error)),
                        },
                        Err(error) => Err((address, error)),
                    }
                }
            };
            if let Err((address, error)) = step {
                self.recover(&address, error).await?;
            }
        }
    }

    /// All of the range in one piece; it is held in memory.
    ///
    /// # Errors
    /// As for [`ExtentReader::next`].
    ///
    /// # Cancel safety
    /// What was read is lost.
    pub async fn collect(mut self) -> Result<Bytes, Error> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await? else { return Ok(first.data) };
        let mut all = BytesMut::from(first.data);
        all.extend_from_slice(&second.data);
        while let Some(frame) = self.next().await? {
            all.extend_from_slice(&frame.data);
        }
        Ok(all.freeze())
    }

    async fn open(&mut self, target: Target) -> Result<(), (Address, AttemptError)> {
        let core = &self.core;
        let effort = self.effort.get_or_insert_with(|| Effort::new(core, target));
        let (address, timeout) = effort.next_attempt(core);
        let request = v1::ReadExtentRequest {
            partition_id: self.partition_id.get(),
            extent_id: self.extent_id.get(),
            offset: self.next_offset,
            // 0 would mean "to the end": a full range is never asked for.
            length: self.end.map_or(0, |end| end - self.next_offset),
            consistency: self.consistency.wire(),
        };
        // No deadline for the node: a stream lives as long as it moves.
        let attempt = Attempt::new(core.pool.channel(&address), timeout);
        let mut extents = attempt.extents();
        let answer = extents.read_extent(request);
        match core.finish(target, &address, timeout, answer).await {
            Ok(frames) => {
                self.state = State::Open { address, frames: Box::new(frames) };
                Ok(())
            }
            Err(error) => Err((address, error)),
        }
    }

    /// Makes ready for another stream, if one is worth it.
    async fn recover(&mut self, address: &Address, error: AttemptError) -> Result<(), Error> {
        self.state = State::Unopened;
        if self.end == Some(self.next_offset) {
            // All was read; only the end of the stream was lost.
            return Ok(());
        }
        let target = Target::Read(self.partition_id);
        let effort = self.effort.get_or_insert_with(|| Effort::new(&self.core, target));
        let verdict = effort.failed(&self.core, address, error).await;
        if verdict.is_err() {
            self.state = State::Done;
        }
        verdict
    }

    /// Checks a message and takes it over.
    fn take(&mut self, message: v1::ReadExtentResponse) -> Result<Option<Frame>, AttemptError> {
        let v1::ReadExtentResponse { offset, data, crc32c, .. } = message;
        let (expected, actual) = (Crc32c::from_u32(crc32c), Crc32c::of(&data));
        if expected != actual {
            return Err(AttemptError::Frame { offset, expected, actual });
        }
        if data.is_empty() {
            return Ok(None);
        }
        let left = self.end.map_or(u64::MAX, |end| end - self.next_offset);
        if offset != self.next_offset || data.len() as u64 > left {
            return Err(AttemptError::Nonsense("a frame that is not the next one"));
        }
        self.next_offset += data.len() as u64;
        if let Some(effort) = &mut self.effort {
            effort.progressed(&self.core);
        }
        Ok(Some(Frame { offset, data, crc32c: expected }))
    }

    /// The stream ended well: its trailer names the leader.
    async fn finish(&mut self, target: Target) {
        if let State::Open { frames, .. } = &mut self.state
            && let Ok(Some(trailers)) = frames.trailers().await
        {
            self.core.learn(target, &trailers);
        }
        self.state = State::Done;
    }
}

/// The next message, in time or not.
async fn next_frame(
    frames: &mut Streaming<v1::ReadExtentResponse>,
    timeout: Duration,
) -> Result<Option<v1::ReadExtentResponse>, AttemptError> {
    match tokio::time::timeout(timeout, frames.message()).await {
        Err(_elapsed) => Err(AttemptError::TimedOut),
        Ok(Ok(message)) => Ok(message),
        Ok(Err(status)) => Err(AttemptError::of(&status)),
    }
}

//! UploadExtent: an extent of any size, visible when it is complete.
//!
//! ```text
//! first message ─ Stage ─┬─ StagePart × n (a few at once) ─┬─ Publish ─ answer
//!                        └────── broken at any point ──────┴─ nothing visible
//! ```
//!
//! A broken upload that nobody can repeat (it has no request id) drops what it
//! staged at once. One that has a request id leaves it to its repeat, which gets
//! the same staged extent; what nobody comes back for is dropped by the sweep.
//! Dropping it here could drop what the repeat has published meanwhile.

use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1;
use partition_types::{ExtentId, Op, PartitionId, Reason, RequestId};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::change::propose;
use super::field::{self, Data};
use super::part::{PART_LEN, Parts};
use super::stage::{self, Whole};
use crate::deadline::CallTime;
use crate::forward::{Call, Intent, Place};
use crate::layer::read_stock;
use crate::status::Failure;

/// Parts proposed at once: enough to hide a commit's latency, few enough to
/// bound what one upload holds in memory.
const PARTS_IN_FLIGHT: usize = 4;
/// How long an upload may say nothing, where its caller set no deadline.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What one upload holds at most: a message, the part that it completes, and
/// the parts on their way.
const fn memory_max(max_message: usize) -> usize {
    max_message + (PARTS_IN_FLIGHT + 1) * PART_LEN
}

/// What the first message says.
pub(super) struct First {
    pub(super) partition_id: PartitionId,
    request_id: Option<RequestId>,
    data: Data,
}

/// The messages of an upload, each one checked.
pub(super) struct Messages {
    stream: Streaming<v1::UploadExtentRequest>,
    time: CallTime,
    max_message: usize,
}

impl Messages {
    pub(super) fn new(
        stream: Streaming<v1::UploadExtentRequest>,
        time: CallTime,
        max_message: usize,
    ) -> Self {
        Self { stream, time, max_message }
    }

    /// The first message: which partition, and maybe data.
    pub(super) async fn first(&mut self) -> Result<First, Failure> {
        let missing = || Failure::field("partition_id", "must be in a first message");
        let message = self.message().await?.ok_or_else(missing)?;
        let partition_id = PartitionId::new(message.partition_id)?;
        let request_id = RequestId::from_wire(&message.request_id)?;
        let data = field::data(message.data, message.crc32c, self.max_message)?;
        Ok(First { partition_id, request_id, data })
    }

    /// The data of the next message; `None` when the client has said all.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(message) = self.message().await? else { return Ok(None) };
        if message.partition_id != 0 {
            return Err(Failure::field("partition_id", "may be in the first message only"));
        }
        if !message.request_id.is_empty() {
            return Err(Failure::field("request_id", "may be in the first message only"));
        }
        field::data(message.data, message.crc32c, self.max_message).map(|data| Some(data.bytes))
    }

    async fn message(&mut self) -> Result<Option<v1::UploadExtentRequest>, Failure> {
        let until = self.time.caller().unwrap_or_else(|| Instant::now() + SILENCE_MAX);
        match tokio::time::timeout_at(until, self.stream.message()).await {
            Ok(Ok(Some(message))) => Ok(Some(message)),
            Ok(Ok(None)) => {
                // tonic gives a cancelled call the same end as a whole one. Only
                // hyper knows of the reset, and drops this future when it gets a
                // turn: a part must not be published for the whole.
                tokio::task::yield_now().await;
                Ok(None)
            }
            Ok(Err(status)) => Err(self.broken(&status)),
            Err(_) => Err(Failure::new(Reason::DeadlineExceeded, "the upload went silent")),
        }
    }

    fn broken(&self, status: &Status) -> Failure {
        read_stock(status, self.max_message).unwrap_or_else(|| {
            let message = format!("the upload broke off: {}", status.message());
            Failure::new(Reason::InvalidRequest, message)
        })
    }
}

/// Stores what the messages bring as a sealed extent.
///
/// # Cancel safety
/// Dropped, nothing is visible, unless the publishing had begun: then the
/// outcome is unknown.
pub(super) async fn upload(
    call: Call,
    first: First,
    mut messages: Messages,
) -> Result<v1::UploadExtentResponse, Failure> {
    let _share = call.context.budget().take(memory_max(messages.max_message))?;
    let base_id = first.request_id.unwrap_or_else(RequestId::random);
    let staging = {
        let (call, keep) = (call.clone(), first.request_id.is_some());
        // In a task of its own: dropped half-way, the outcome still finds the
        // guard that drops it.
        tokio::spawn(async move {
            let extent_id = stage::stage(&call, step_id(base_id, Step::Stage)).await?;
            Ok::<_, Failure>(Staged { call, extent_id, keep })
        })
    };
    let staged = staging.await.map_err(|_| Failure::new(Reason::Internal, "staging failed"))??;
    let mut writer = Writer::new(call.clone(), staged.extent_id);
    let mut parts = Parts::default();
    let mut next = Some(first.data.bytes);
    while let Some(data) = next {
        for part in parts.push(data) {
            writer.write(part).await?;
        }
        next = messages.next().await?;
    }
    if let Some(last) = parts.finish() {
        writer.write(last).await?;
    }
    let whole = writer.finish().await?;
    let extent_id = staged.release();
    let published =
        stage::publish(&call, extent_id, whole, step_id(base_id, Step::Publish)).await?;
    if published != whole {
        let problem = "was used for an upload of other data";
        return Err(Failure::field("request_id", problem));
    }
    let Whole { size, crc32c } = published;
    Ok(v1::UploadExtentResponse { extent_id: extent_id.get(), size, crc32c: crc32c.get() })
}

/// Writes parts, a few at once.
struct Writer {
    call: Call,
    extent_id: ExtentId,
    whole: Whole,
    in_flight: JoinSet<Result<(), Failure>>,
    /// The extent is no longer staged: an earlier call published it, or it is
    /// gone. Publishing under the request id tells which.
    settled: bool,
}

impl Writer {
    fn new(call: Call, extent_id: ExtentId) -> Self {
        let in_flight = JoinSet::new();
        Self { call, extent_id, whole: Whole::EMPTY, in_flight, settled: false }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        while self.in_flight.len() >= PARTS_IN_FLIGHT {
            self.one_done().await?;
        }
        let part = Data { crc32c: partition_types::Crc32c::of(&bytes), bytes };
        let offset = self.whole.size;
        self.whole = self.whole.followed_by(&part);
        if !self.settled {
            let (call, extent_id) = (self.call.clone(), self.extent_id);
            self.in_flight.spawn(async move { stage::part(&call, extent_id, offset, part).await });
        }
        Ok(())
    }

    /// Waits for every part.
    async fn finish(mut self) -> Result<Whole, Failure> {
        while !self.in_flight.is_empty() {
            self.one_done().await?;
        }
        Ok(self.whole)
    }

    async fn one_done(&mut self) -> Result<(), Failure> {
        match self.in_flight.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(failure))) if failure.reason() == Reason::ExtentNotFound => {
                self.settled = true;
                Ok(())
            }
            Some(Ok(Err(failure))) => Err(failure),
            Some(Err(_)) => Err(Failure::new(Reason::Internal, "writing a part failed")),
        }
    }
}

/// A staged extent that is dropped unless it is released.
struct Staged {
    call: Call,
    extent_id: ExtentId,
    keep: bool,
}

impl Staged {
    /// It is to be published, and must not be dropped any more: a publishing
    /// whose outcome is unknown may have made it visible.
    fn release(mut self) -> ExtentId {
        self.keep = true;
        self.extent_id
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let (mut call, extent_id) = (self.call.clone(), self.extent_id);
        // The caller's time may be up; this is the node's own errand.
        call.time = CallTime::unsaid(call.context.config().request_timeout);
        tokio::spawn(async move {
            if let Err(failure) = discard(&call, extent_id).await {
                tracing::debug!(%extent_id, %failure, "a broken upload is left to the sweep");
            }
        });
    }
}

async fn discard(call: &Call, extent_id: ExtentId) -> Result<(), Failure> {
    let message = v1::DeleteExtentsRequest {
        partition_id: call.partition_id.get(),
        extent_ids: vec![extent_id.get()],
        request_id: Bytes::new(),
    };
    call.run(Intent::Restate, None, |place, _| {
        let message = message.clone();
        async move {
            match place {
                Place::Here(partition) => {
                    let op = Op::Delete { extent_ids: vec![extent_id] };
                    propose(&partition, None, op).await.map(drop)
                }
                Place::There(remote) => {
                    let sent = remote.extents().delete_extents(remote.request(message)).await;
                    sent.map(drop).map_err(|status| Failure::of_peer(&status))
                }
            }
        }
    })
    .await
}

/// The steps of an upload that must not be applied twice.
#[derive(Debug, Clone, Copy)]
enum Step {
    Stage = 1,
    Publish = 2,
}

/// The id of one step of an upload, from the upload's own: the same upload
/// always takes the same steps. A bijection for each step, so that different
/// uploads never share one.
fn step_id(upload: RequestId, step: Step) -> RequestId {
    // Odd, from the digits of π: mixes every bit into the higher ones.
    const ODD: u128 = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7345;
    let mut mixed = u128::from_be_bytes(*upload.as_bytes());
    for round in 0..2 {
        mixed = mixed.wrapping_add(step as u128 + round).wrapping_mul(ODD);
        mixed ^= mixed >> 64;
    }
    RequestId::from_bytes(mixed.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn steps_have_ids_of_their_own_that_are_always_the_same() {
        let mut seen = HashSet::new();
        let near = (0u128..1000).map(|n| RequestId::from_bytes(n.to_be_bytes()));
        let far = (0..1000).map(|_| RequestId::random());
        for upload in near.chain(far) {
            for step in [Step::Stage, Step::Publish] {
                assert_eq!(step_id(upload, step), step_id(upload, step));
                assert!(seen.insert(step_id(upload, step)), "{upload} {step:?}");
            }
            assert!(seen.insert(upload), "a step took the id of an upload");
        }
    }
}

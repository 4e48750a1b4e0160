//! The steps of an upload: stage, part, publish. Each is carried out by the
//! leader, wherever that is by then.

use bytes::Bytes;
use datanode_proto::v1;
use partition_types::{Crc32c, ExtentId, Op, Outcome, RequestId};

use super::change::{of_another_request, propose};
use super::field::{self, Data, wire_id};
use super::part::PART_LEN;
use crate::forward::{Call, Intent, Place};
use crate::status::Failure;

/// Creates a staged extent; the same one for the same id.
pub(super) async fn stage(call: &Call, request_id: RequestId) -> Result<ExtentId, Failure> {
    let message = v1::StageExtentRequest {
        partition_id: call.partition_id.get(),
        request_id: wire_id(Some(request_id)),
    };
    let staged = call.run(Intent::Change, Some(request_id), |place, request_id| {
        let message = message.clone();
        async move {
            match place {
                Place::Here(partition) => staged(propose(&partition, request_id, Op::Stage).await?),
                Place::There(remote) => {
                    let sent = remote.stages().stage_extent(remote.request(message)).await;
                    sent.map(tonic::Response::into_inner)
                        .map_err(|status| Failure::of_peer(&status))
                }
            }
        }
    });
    Ok(ExtentId::new(staged.await?.extent_id)?)
}

fn staged(outcome: Outcome) -> Result<v1::StageExtentResponse, Failure> {
    match outcome {
        Outcome::Created { extent_id } => {
            Ok(v1::StageExtentResponse { extent_id: extent_id.get() })
        }
        other => Err(of_another_request(&other)),
    }
}

/// Writes a part of a staged extent.
pub(super) async fn part(
    call: &Call,
    extent_id: ExtentId,
    offset: u64,
    data: Data,
) -> Result<(), Failure> {
    let Data { bytes: data, crc32c } = data;
    let message = v1::StagePartRequest {
        partition_id: call.partition_id.get(),
        extent_id: extent_id.get(),
        offset,
        data: data.clone(),
        crc32c: crc32c.get(),
    };
    call.run(Intent::Restate, None, |place, _| {
        let (message, data) = (message.clone(), data.clone());
        async move {
            match place {
                Place::Here(partition) => {
                    let op = Op::StagePart { extent_id, offset, data, crc32c };
                    propose(&partition, None, op).await.map(drop)
                }
                Place::There(remote) => {
                    let sent = remote.stages().stage_part(remote.request(message)).await;
                    sent.map(drop).map_err(|status| Failure::of_peer(&status))
                }
            }
        }
    })
    .await
}

/// What an upload adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) size: u64,
    pub(super) crc32c: Crc32c,
}

impl Whole {
    /// Nothing yet.
    pub(super) const EMPTY: Self = Self { size: 0, crc32c: Crc32c::EMPTY };

    /// With the next part behind it.
    pub(super) fn followed_by(self, part: &Data) -> Self {
        let len_bytes = part.bytes.len() as u64;
        Self {
            size: self.size + len_bytes,
            crc32c: self.crc32c.followed_by(part.crc32c, len_bytes),
        }
    }
}

/// Seals a staged extent and makes it visible. Published under the same id
/// before, it is what was published then.
pub(super) async fn publish(
    call: &Call,
    extent_id: ExtentId,
    whole: Whole,
    request_id: RequestId,
) -> Result<Whole, Failure> {
    let Whole { size, crc32c } = whole;
    let message = v1::PublishExtentRequest {
        partition_id: call.partition_id.get(),
        extent_id: extent_id.get(),
        size,
        crc32c: crc32c.get(),
        request_id: wire_id(Some(request_id)),
    };
    let published = call.run(Intent::Change, Some(request_id), |place, request_id| {
        let message = message.clone();
        async move {
            match place {
                Place::Here(partition) => {
                    let op = Op::Publish { extent_id, size, crc32c };
                    published(propose(&partition, request_id, op).await?)
                }
                Place::There(remote) => {
                    let sent = remote.stages().publish_extent(remote.request(message)).await;
                    sent.map(tonic::Response::into_inner)
                        .map_err(|status| Failure::of_peer(&status))
                }
            }
        }
    });
    let published = published.await?;
    Ok(Whole { size: published.size, crc32c: Crc32c::from_u32(published.crc32c) })
}

fn published(outcome: Outcome) -> Result<v1::PublishExtentResponse, Failure> {
    match outcome {
        Outcome::Stored { size, crc32c, .. } => {
            Ok(v1::PublishExtentResponse { size, crc32c: crc32c.get() })
        }
        other => Err(of_another_request(&other)),
    }
}

/// StageExtent, as a peer asks for it.
pub(super) async fn serve_stage(
    call: Call,
    request: v1::StageExtentRequest,
    _max_message: usize,
) -> Result<v1::StageExtentResponse, Failure> {
    let request_id = needed(&request.request_id)?;
    let extent_id = stage(&call, request_id).await?;
    Ok(v1::StageExtentResponse { extent_id: extent_id.get() })
}

/// StagePart, as a peer asks for it.
pub(super) async fn serve_part(
    call: Call,
    request: v1::StagePartRequest,
    max_message: usize,
) -> Result<v1::StagePartResponse, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let data = field::data(request.data, Some(request.crc32c), max_message.max(PART_LEN))?;
    part(&call, extent_id, request.offset, data).await?;
    Ok(v1::StagePartResponse {})
}

/// PublishExtent, as a peer asks for it.
pub(super) async fn serve_publish(
    call: Call,
    request: v1::PublishExtentRequest,
    _max_message: usize,
) -> Result<v1::PublishExtentResponse, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let request_id = needed(&request.request_id)?;
    let whole = Whole { size: request.size, crc32c: Crc32c::from_u32(request.crc32c) };
    let Whole { size, crc32c } = publish(&call, extent_id, whole, request_id).await?;
    Ok(v1::PublishExtentResponse { size, crc32c: crc32c.get() })
}

fn needed(request_id: &Bytes) -> Result<RequestId, Failure> {
    RequestId::from_wire(request_id)?.ok_or_else(|| Failure::field("request_id", "must be set"))
}

//! The changes of one request: create, put, append, write, seal, delete.

use std::time::{SystemTime, UNIX_EPOCH};

use datanode_proto::v1;
use partition_types::{Command, ExtentId, Op, Outcome, RequestId};
use raft_glue::Partition;

use super::field::{self, wire_id};
use crate::forward::{Call, Intent, Place};
use crate::limits;
use crate::status::Failure;

/// Carries a change out by its command here or its method there. `there` gets
/// the request with the id under which it may be repeated.
macro_rules! change {
    ($call:ident, $request:ident, $op:ident, $method:ident, $read:path) => {{
        let request_id = RequestId::from_wire(&$request.request_id)?;
        $call
            .run(Intent::Change, request_id, |place, request_id| {
                let (mut request, op) = ($request.clone(), $op.clone());
                async move {
                    match place {
                        Place::Here(partition) => $read(propose(&partition, request_id, op).await?),
                        Place::There(remote) => {
                            request.request_id = wire_id(request_id);
                            let sent = remote.extents().$method(remote.request(request)).await;
                            sent.map(tonic::Response::into_inner)
                                .map_err(|status| Failure::of_peer(&status))
                        }
                    }
                }
            })
            .await
    }};
}

/// Creates an empty extent.
pub(super) async fn create(
    call: Call,
    request: v1::CreateExtentRequest,
    _max_message: usize,
) -> Result<v1::CreateExtentResponse, Failure> {
    let op = Op::Create;
    change!(call, request, op, create_extent, created)
}

fn created(outcome: Outcome) -> Result<v1::CreateExtentResponse, Failure> {
    match outcome {
        Outcome::Created { extent_id } => {
            Ok(v1::CreateExtentResponse { extent_id: extent_id.get() })
        }
        other => Err(of_another_request(&other)),
    }
}

/// Creates, writes and seals an extent in one commit.
pub(super) async fn put(
    call: Call,
    mut request: v1::PutExtentRequest,
    max_message: usize,
) -> Result<v1::PutExtentResponse, Failure> {
    let data = field::data(request.data.clone(), request.crc32c, max_message)?;
    let _share = call.context.budget().take(data.bytes.len())?;
    request.crc32c = Some(data.crc32c.get());
    let op = Op::Put { data: data.bytes, crc32c: data.crc32c };
    change!(call, request, op, put_extent, stored)
}

fn stored(outcome: Outcome) -> Result<v1::PutExtentResponse, Failure> {
    match outcome {
        Outcome::Stored { extent_id, size, crc32c } => {
            Ok(v1::PutExtentResponse { extent_id: extent_id.get(), size, crc32c: crc32c.get() })
        }
        other => Err(of_another_request(&other)),
    }
}

/// Writes at the end.
pub(super) async fn append(
    call: Call,
    mut request: v1::AppendExtentRequest,
    max_message: usize,
) -> Result<v1::AppendExtentResponse, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let data = field::data(request.data.clone(), request.crc32c, max_message)?;
    let _share = call.context.budget().take(data.bytes.len())?;
    request.crc32c = Some(data.crc32c.get());
    let op = Op::Append { extent_id, data: data.bytes, crc32c: data.crc32c };
    change!(call, request, op, append_extent, appended)
}

fn appended(outcome: Outcome) -> Result<v1::AppendExtentResponse, Failure> {
    match outcome {
        Outcome::Written { offset, size } => Ok(v1::AppendExtentResponse { offset, size }),
        other => Err(of_another_request(&other)),
    }
}

/// Overwrites or extends.
pub(super) async fn write(
    call: Call,
    mut request: v1::WriteExtentRequest,
    max_message: usize,
) -> Result<v1::WriteExtentResponse, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let data = field::data(request.data.clone(), request.crc32c, max_message)?;
    let _share = call.context.budget().take(data.bytes.len())?;
    request.crc32c = Some(data.crc32c.get());
    let offset = request.offset;
    let op = Op::Write { extent_id, offset, data: data.bytes, crc32c: data.crc32c };
    change!(call, request, op, write_extent, written)
}

fn written(outcome: Outcome) -> Result<v1::WriteExtentResponse, Failure> {
    match outcome {
        Outcome::Written { size, .. } => Ok(v1::WriteExtentResponse { size }),
        other => Err(of_another_request(&other)),
    }
}

/// Ends all writing.
pub(super) async fn seal(
    call: Call,
    request: v1::SealExtentRequest,
    _max_message: usize,
) -> Result<v1::SealExtentResponse, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let op = Op::Seal { extent_id };
    change!(call, request, op, seal_extent, sealed)
}

fn sealed(outcome: Outcome) -> Result<v1::SealExtentResponse, Failure> {
    match outcome {
        Outcome::Sealed { size, crc32c } => {
            Ok(v1::SealExtentResponse { size, crc32c: crc32c.get() })
        }
        other => Err(of_another_request(&other)),
    }
}

/// Deletes extents.
pub(super) async fn delete(
    call: Call,
    request: v1::DeleteExtentsRequest,
    _max_message: usize,
) -> Result<v1::DeleteExtentsResponse, Failure> {
    let extent_ids = field::extent_ids(&request.extent_ids, limits::DELETE_IDS_MAX)?;
    let op = Op::Delete { extent_ids };
    change!(call, request, op, delete_extents, deleted)
}

fn deleted(outcome: Outcome) -> Result<v1::DeleteExtentsResponse, Failure> {
    let Outcome::Deleted(results) = outcome else { return Err(of_another_request(&outcome)) };
    let result = |one: partition_types::Deleted| v1::DeleteResult {
        extent_id: one.extent_id.get(),
        status: match one.found {
            true => v1::DeleteStatus::Deleted.into(),
            false => v1::DeleteStatus::NotFound.into(),
        },
    };
    Ok(v1::DeleteExtentsResponse { results: results.into_iter().map(result).collect() })
}

/// Proposes a change to the replica here.
///
/// # Cancel safety
/// Dropped, the change may still be applied.
pub(super) async fn propose(
    partition: &Partition,
    request_id: Option<RequestId>,
    op: Op,
) -> Result<Outcome, Failure> {
    let command = Command { request_id, at_ms: now_ms(), op };
    match partition.propose(command).await {
        Ok(Outcome::Rejected(rejection)) => Err(rejection.into()),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(Failure::of_propose(partition.id(), &error)),
    }
}

/// A request id brings back the outcome of the request it was first used for.
pub(super) fn of_another_request(outcome: &Outcome) -> Failure {
    Failure::field("request_id", format!("was used for another request, which was {outcome}"))
}

fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

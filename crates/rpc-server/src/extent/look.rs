//! What extents there are: stat and list.

use datanode_proto::v1;
use partition_store::PartitionState;
use partition_types::{ExtentId, ExtentInfo, Reason};
use raft_glue::Partition;

use super::field;
use crate::context::NodeContext;
use crate::forward::{Call, Intent, Place};
use crate::limits;
use crate::page;
use crate::status::Failure;

/// Describes one extent.
pub(super) async fn stat(
    call: Call,
    request: v1::StatExtentRequest,
    _max_message: usize,
) -> Result<v1::StatExtentResponse, Failure> {
    let extent_id = ExtentId::new(request.extent_id)?;
    let intent = field::consistency(request.consistency)?;
    call.run(intent, None, |place, _| {
        let context = call.context.clone();
        async move {
            match place {
                Place::Here(partition) => stat_here(&context, &partition, intent, extent_id).await,
                Place::There(remote) => {
                    let sent = remote.extents().stat_extent(remote.request(request)).await;
                    sent.map(tonic::Response::into_inner)
                        .map_err(|status| Failure::of_peer(&status))
                }
            }
        }
    })
    .await
}

async fn stat_here(
    context: &NodeContext,
    partition: &Partition,
    intent: Intent,
    extent_id: ExtentId,
) -> Result<v1::StatExtentResponse, Failure> {
    let id = partition.id();
    let state = settled(partition, intent).await?;
    let applied_index = applied_index(state);
    let found = state.stat(extent_id).await.map_err(|error| context.read_failed(id, &error))?;
    let info = found.ok_or_else(|| {
        let message = format!("partition {id}: extent {extent_id} not found");
        Failure::new(Reason::ExtentNotFound, message)
            .with("extent_id", extent_id)
            .with("partition_id", id)
    })?;
    Ok(v1::StatExtentResponse {
        extent_id: extent_id.get(),
        size: info.size,
        sealed: info.sealed_crc32c.is_some(),
        crc32c: info.sealed_crc32c.map(partition_types::Crc32c::get),
        created_at: Some(timestamp(info.created_at_ms)),
        modified_at: Some(timestamp(info.modified_at_ms)),
        applied_index,
    })
}

/// Lists extents in the order of their ids.
pub(super) async fn list(
    call: Call,
    request: v1::ListExtentsRequest,
    _max_message: usize,
) -> Result<v1::ListExtentsResponse, Failure> {
    let intent = field::consistency(request.consistency)?;
    let after = page::after(&request.page_token, call.partition_id.get())?;
    // Nothing comes before the first id.
    let after = after.and_then(|id| ExtentId::new(id).ok());
    let limit = limits::LIST_EXTENTS.of(request.page_size);
    call.run(intent, None, |place, _| {
        let (context, request) = (call.context.clone(), request.clone());
        async move {
            match place {
                Place::Here(partition) => {
                    list_here(&context, &partition, intent, after, limit).await
                }
                Place::There(remote) => {
                    let sent = remote.extents().list_extents(remote.request(request)).await;
                    sent.map(tonic::Response::into_inner)
                        .map_err(|status| Failure::of_peer(&status))
                }
            }
        }
    })
    .await
}

async fn list_here(
    context: &NodeContext,
    partition: &Partition,
    intent: Intent,
    after: Option<ExtentId>,
    limit: usize,
) -> Result<v1::ListExtentsResponse, Failure> {
    let id = partition.id();
    let state = settled(partition, intent).await?;
    let applied_index = applied_index(state);
    // One more than asked for tells whether there is another page.
    let listed = state.list(after, limit + 1).await;
    let mut infos = listed.map_err(|error| context.read_failed(id, &error))?;
    let more = infos.len() > limit;
    infos.truncate(limit);
    let next_page_token = match infos.last() {
        Some(last) if more => page::token(id.get(), last.extent_id.get()),
        _ => String::new(),
    };
    let extents = infos.into_iter().map(extent).collect();
    Ok(v1::ListExtentsResponse { extents, next_page_token, applied_index })
}

/// The state of a replica, once it has what the intent must see.
pub(super) async fn settled(
    partition: &Partition,
    intent: Intent,
) -> Result<&PartitionState, Failure> {
    let fail = |error| Failure::of_propose(partition.id(), &error);
    if intent == Intent::Read {
        partition.read_barrier().await.map_err(fail)?;
    }
    partition.state().map_err(fail)
}

/// The index up to which a state has applied, 0 when nothing is.
pub(super) fn applied_index(state: &PartitionState) -> u64 {
    state.applied().map_or(0, |applied| applied.index)
}

fn extent(info: ExtentInfo) -> v1::Extent {
    v1::Extent {
        extent_id: info.extent_id.get(),
        size: info.size,
        sealed: info.sealed_crc32c.is_some(),
        crc32c: info.sealed_crc32c.map(partition_types::Crc32c::get),
        created_at: Some(timestamp(info.created_at_ms)),
        modified_at: Some(timestamp(info.modified_at_ms)),
    }
}

fn timestamp(at_ms: u64) -> prost_types::Timestamp {
    let seconds = i64::try_from(at_ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(at_ms % 1000 * 1_000_000).expect("below a second");
    prost_types::Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_their_milliseconds() {
        for (at_ms, seconds, nanos) in
            [(0, 0, 0), (999, 0, 999_000_000), (1_700_000_000_123, 1_700_000_000, 123_000_000)]
        {
            let stamp = timestamp(at_ms);
            assert_eq!((stamp.seconds, stamp.nanos), (seconds, nanos), "{at_ms} ms");
        }
    }
}

//! One sum over everything a replica's state says, to be compared with the
//! sums of the other replicas at the same applied index.
//!
//! Over the logical content: bytes, sizes, times, remembered outcomes; not how
//! bytes are cut into chunks. Every byte is read and checked on the way.

use std::ops::ControlFlow;

use partition_types::{Crc32c, ExtentId};

use super::error::StateError;
use super::record::{ExtentRecord, RequestRecord, StateRecord, Visibility};
use super::view::View;
use super::window::WindowClock;
use crate::codec;

/// The sum of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaSum {
    /// Of the last applied entry; 0 before the first.
    pub applied_index: u64,
    /// Visible extents.
    pub extent_count: u64,
    /// Stored payload, staged included.
    pub size_bytes: u64,
    /// Of the whole state; equal on replicas that applied the same entries.
    pub crc32c: Crc32c,
}

/// A sum that grows by pieces.
struct Running(Crc32c);

impl Running {
    fn add(&mut self, bytes: &[u8]) {
        self.0 = self.0.followed_by(Crc32c::of(bytes), bytes.len() as u64);
    }
}

/// Sums up what a view shows.
pub(crate) fn sum(view: View<'_>) -> Result<ReplicaSum, StateError> {
    let state = view.state()?;
    let mut running = Running(Crc32c::EMPTY);
    // The whole record counts: applied index, membership, next id, counters. Only what
    // the window's clock shows does not: how old each request is by it does.
    let window_ms = state.window.now_ms;
    let window = WindowClock { now_ms: 0, ..state.window };
    running.add(&codec::encode_state(&StateRecord { window, ..state.clone() }));
    for visibility in [Visibility::Visible, Visibility::Staged] {
        view.each_extent(visibility, 0, |id, extent| {
            add_extent(&mut running, view, id, &extent)?;
            Ok(ControlFlow::Continue(()))
        })?;
    }
    view.each_request(0, |index, request| {
        running.add(&index.to_le_bytes());
        let at_ms = window_ms.saturating_sub(request.at_ms);
        running.add(&codec::encode_request(&RequestRecord { at_ms, ..request }));
        if let Some(outcome) = view.outcome(&request.request_id)? {
            running.add(&codec::encode_outcome(&outcome));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(ReplicaSum {
        applied_index: state.applied.map_or(0, |log_id| log_id.index),
        extent_count: state.extent_count,
        size_bytes: state.size_bytes,
        crc32c: running.0,
    })
}

fn add_extent(
    running: &mut Running,
    view: View<'_>,
    id: ExtentId,
    extent: &ExtentRecord,
) -> Result<(), StateError> {
    running.add(&id.get().to_le_bytes());
    running.add(&codec::encode_extent(extent));
    let mut end = 0;
    view.each_run(id, 0..u64::MAX, |offset, run| {
        if offset != end {
            // A gap of a staged extent: where the next bytes stand matters.
            running.add(&offset.to_le_bytes());
        }
        let bytes = view.run_bytes(id, offset, &run)?;
        running.add(&bytes);
        end = run.end(offset);
        Ok(ControlFlow::Continue(()))
    })
}

//! The request window: outcomes of named requests, kept for a while so that a
//! repeat is answered instead of applied again.
//!
//! Kept for at least ten minutes, whatever the clocks of nodes say, and at most a fixed
//! number a partition. Oldest first by log index, a bounded number a command: what is
//! forgotten when depends on the log alone.
//!
//! The ten minutes are promised as long as the clock of a node, *while it leads*, runs
//! less than 8 % fast (chrony's limit for a slew) and is set ahead at most four times
//! in them: 10.8 minutes, and four steps of a minute, are fewer than [`WINDOW_MS`]. How
//! far it is from the right time, or from the clocks of other nodes, does not matter.

use std::ops::ControlFlow;

use partition_types::{Outcome, RequestId};

use super::error::StateError;
use super::record::RequestRecord;
use super::view::View;
use super::work::Work;
use crate::codec;
use crate::engine::Table;

/// How long an outcome is kept, by [`WindowClock`](super::WindowClock).
const WINDOW_MS: u64 = 15 * 60 * 1000;

/// How many outcomes a partition keeps.
const REQUESTS_MAX: u64 = 100_000;

/// How many outcomes one command forgets at most; more than it adds, so that
/// the window shrinks after an idle time without one huge batch.
const FORGOTTEN_MAX: usize = 16;

/// The oldest outcome that is kept: held in memory so that commands need not
/// look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Oldest {
    pub(crate) index: u64,
    pub(crate) request: RequestRecord,
}

impl Oldest {
    /// Finds it at or after a log index.
    pub(crate) fn find(view: View<'_>, from_index: u64) -> Result<Option<Self>, StateError> {
        let mut oldest = None;
        view.each_request(from_index, |index, request| {
            oldest = Some(Self { index, request });
            Ok(ControlFlow::Break(()))
        })?;
        Ok(oldest)
    }
}

impl Work<'_> {
    /// Keeps the outcome of a new request.
    pub(super) fn remember(&mut self, index: u64, request_id: RequestId, outcome: &Outcome) {
        let request = RequestRecord { request_id, at_ms: self.state.window.now_ms };
        let key = self.space.outcome(&request_id);
        self.overlay.put(Table::StateMeta, key, codec::encode_outcome(outcome));
        let key = self.space.request(index);
        self.overlay.put(Table::StateMeta, key, codec::encode_request(&request));
        self.state.request_count += 1;
        if self.oldest.is_none() {
            self.oldest = Some(Oldest { index, request });
            self.state.request_floor = index;
        }
    }

    /// Forgets the oldest outcomes that are over the limits.
    pub(super) fn forget_requests(&mut self) -> Result<(), StateError> {
        for _ in 0..FORGOTTEN_MAX {
            let Some(Oldest { index, request }) = self.oldest else { break };
            let is_expired = request.at_ms.saturating_add(WINDOW_MS) < self.state.window.now_ms;
            if !is_expired && self.state.request_count <= REQUESTS_MAX {
                break;
            }
            self.overlay.delete(Table::StateMeta, self.space.outcome(&request.request_id));
            self.overlay.delete(Table::StateMeta, self.space.request(index));
            self.state.request_count -= 1;
            self.state.request_floor = index + 1;
            self.oldest = Oldest::find(self.view(), index + 1)?;
        }
        Ok(())
    }
}

//! Which partitions others wait for while this node starts.
//!
//! A vote request says that a group has no leader and may need this replica for
//! its quorum; entries and questions say that somebody uses it; a heartbeat says
//! nothing. Whoever loads the partitions takes these first.

use std::sync::OnceLock;

use partition_types::PartitionId;

use crate::{PartitionHost, RaftRequest};

/// Why a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Somebody waits for it.
    Awaited,
    /// Its group looks for a leader: a quorum may need this replica.
    Quorum,
}

type Listener = Box<dyn Fn(PartitionId, Want) + Send + Sync>;

/// Who is told.
#[derive(Default)]
pub(crate) struct Wanted(OnceLock<Listener>);

impl PartitionHost {
    /// Has `listener` told which groups are wanted, until this node serves. It
    /// runs on the way of the message and must be quick. Only the first listener
    /// is kept.
    pub fn on_wanted(&self, listener: impl Fn(PartitionId, Want) + Send + Sync + 'static) {
        // A second one would be a mistake of the wiring, and harmless.
        let _ = self.shared.wanted.0.set(Box::new(listener));
    }

    /// Says that a client waits for a partition of this node.
    pub fn want(&self, id: PartitionId) {
        if !self.shared.leads.is_serving() {
            self.shared.wanted.say(id, Want::Awaited);
        }
    }
}

impl Wanted {
    /// Tells what a message says.
    pub(crate) fn heard(&self, id: PartitionId, request: &RaftRequest) {
        match request {
            RaftRequest::Vote { .. } | RaftRequest::PreVote { .. } => self.say(id, Want::Quorum),
            RaftRequest::Append { entries, .. } if entries.is_empty() => {}
            RaftRequest::Append { .. } | RaftRequest::Transfer { .. } | RaftRequest::ReadIndex => {
                self.say(id, Want::Awaited);
            }
        }
    }

    fn say(&self, id: PartitionId, want: Want) {
        if let Some(listener) = self.0.get() {
            listener(id, want);
        }
    }
}

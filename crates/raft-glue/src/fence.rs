//! The fence: whether a group may become leader here, asked on every path.
//!
//! | path | closed by |
//! |---|---|
//! | election timer | `enable_elect = false` until [`Fence::open`] and the host says so |
//! | leadership restored at start | `enable_leader_restore = false` |
//! | inbound transfer | the host refuses it |
//! | explicit trigger | the host refuses it |
//! | initialize | the host refuses it |
//! | last line | the network adapter drops the vote requests, and counts them |
//!
//! openraft leads in a group of one voter without a vote request, so the last
//! line alone would not do; it is there to show that a path above it leaks.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::Counter;
use startup_gate::CampaignRight;

use crate::metric::Suppressed;
use partition_types::PartitionId;

/// The fence of one group.
pub(crate) struct Fence {
    /// A [`CampaignRight`] was given.
    open: AtomicBool,
    /// The node drains: what it leads it gives away, and it takes nothing new.
    draining: AtomicBool,
    /// The replica is bad, for good.
    quarantined: AtomicBool,
    suppressed: Suppressed,
}

/// A way to become leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// A vote request is about to leave.
    Vote,
    /// A pre-vote request is about to leave.
    PreVote,
    /// Another leader wants this replica to take over.
    Transfer,
    /// The host wants an election.
    Trigger,
    /// The group is to get its first membership here.
    Initialize,
}

impl Fence {
    pub(crate) fn new(suppressed: Suppressed) -> Self {
        Self {
            open: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            quarantined: AtomicBool::new(false),
            suppressed,
        }
    }

    /// Takes the right and keeps the fence open from now on.
    #[expect(clippy::needless_pass_by_value, reason = "the right is used up")]
    pub(crate) fn open(&self, right: CampaignRight<PartitionId>) {
        let _ = right;
        self.open.store(true, Ordering::Release);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Release);
    }

    pub(crate) fn quarantine(&self) {
        self.quarantined.store(true, Ordering::Release);
    }

    pub(crate) fn may_lead(&self) -> bool {
        self.is_open()
            && !self.draining.load(Ordering::Acquire)
            && !self.quarantined.load(Ordering::Acquire)
    }

    /// Whether `path` may be gone. A closed fence counts the attempt; a drain
    /// is no fault of anybody and does not.
    pub(crate) fn pass(&self, path: Path) -> bool {
        if self.may_lead() {
            return true;
        }
        if !self.is_open() {
            self.counter(path).increment(1);
        }
        false
    }

    fn counter(&self, path: Path) -> &Counter {
        match path {
            Path::Vote => &self.suppressed.vote,
            Path::PreVote => &self.suppressed.pre_vote,
            Path::Transfer => &self.suppressed.transfer,
            Path::Trigger => &self.suppressed.trigger,
            Path::Initialize => &self.suppressed.initialize,
        }
    }
}

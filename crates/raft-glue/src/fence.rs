//! The fence: whether a group may become leader here, asked on every path.
//!
//! | path | closed by |
//! |---|---|
//! | election timer | openraft's never runs; the driver asks [`protocol::timer_may_run`] when its own is due |
//! | leadership restored at start | `enable_leader_restore = false` |
//! | inbound transfer | the host refuses it |
//! | explicit trigger | the host refuses it |
//! | initialize | the host refuses it |
//! | last line | the network adapter drops the vote requests, and counts them |
//!
//! openraft leads in a group of one voter without a vote request, so the last
//! line alone would not do; it is there to show that a path above it leaks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use partition_store::PartitionLog;
use partition_types::{LogId, PartitionId};
use startup_gate::CampaignRight;

use crate::metric::Suppressed;
use crate::protocol::{self, Pass};

pub(crate) use crate::protocol::Path;

/// The fence of one group.
pub(crate) struct Fence {
    /// A [`CampaignRight`] was given.
    open: AtomicBool,
    /// The node drains: what it leads it gives away, and it takes nothing new.
    draining: AtomicBool,
    /// The replica is bad, for good.
    quarantined: AtomicBool,
    /// Its log, and the entry that it must reach before it has a voice.
    owes: OnceLock<(PartitionLog, LogId)>,
    suppressed: Suppressed,
}

impl Fence {
    pub(crate) fn new(suppressed: Suppressed) -> Self {
        Self {
            open: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            quarantined: AtomicBool::new(false),
            owes: OnceLock::new(),
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

    /// The replica has no voice before its log reaches `last`.
    pub(crate) fn owe(&self, log: PartitionLog, last: LogId) {
        let _ = self.owes.set((log, last));
    }

    /// Whether it has less than a replica before it acknowledged. A log that ends with
    /// that entry or a later one has all of it that was committed: whoever wrote its end
    /// was elected by voters that kept their promises.
    pub(crate) fn is_owing(&self) -> bool {
        self.owes.get().is_some_and(|(log, last)| log.bounds().last.is_none_or(|end| end < *last))
    }

    /// The fence as it is now, to be asked.
    pub(crate) fn state(&self) -> protocol::Fence {
        protocol::Fence {
            open: self.is_open(),
            draining: self.draining.load(Ordering::Acquire),
            quarantined: self.quarantined.load(Ordering::Acquire),
            owing: self.is_owing(),
        }
    }

    /// Whether `path` may be gone. A closed fence counts the attempt; a drain
    /// is no fault of anybody and does not.
    pub(crate) fn pass(&self, path: Path) -> bool {
        let pass = self.state().pass();
        if pass == Pass::Leaked {
            self.suppressed.hold_back(path);
        }
        pass.is_free()
    }
}

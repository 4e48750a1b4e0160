//! Who leads, by what was heard since boot.
//!
//! After a restart openraft names a leader from the vote it had persisted, which
//! may be a dead node's. What counts here is only a message of the leader itself
//! that this replica accepted.

use std::time::Duration;

use parking_lot::Mutex;
use partition_types::{LogId, NodeId};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// The last word of a leader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) leader: NodeId,
    pub(crate) term: u64,
    /// The commit index it told.
    pub(crate) committed: Option<LogId>,
    pub(crate) at: Instant,
    /// Its process is gone: nobody leads by this word any more.
    pub(crate) is_gone: bool,
}

/// What one group heard.
#[derive(Default)]
pub(crate) struct Contact {
    last: Mutex<Option<Heard>>,
    /// A leader told its commit index for the first time.
    news: Notify,
}

impl Contact {
    /// Takes a message that this replica accepted. Returns whether it is the
    /// first of its leader.
    pub(crate) fn heard(&self, leader: NodeId, term: u64, committed: Option<LogId>) -> bool {
        let mut last = self.last.lock();
        let first = last.is_none_or(|last| (last.term, last.leader) != (term, leader));
        // A message overtaken by one of a later leader is no news.
        if last.is_some_and(|last| (last.term, last.leader) > (term, leader)) {
            return false;
        }
        let known = last.and_then(|last| last.committed);
        let committed = committed.max(known);
        *last = Some(Heard { leader, term, committed, at: Instant::now(), is_gone: false });
        if committed.is_some() && (first || known.is_none()) {
            self.news.notify_waiters();
        }
        first
    }

    /// Until a leader tells its commit index for the first time, from now on.
    pub(crate) fn next_leader(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// The node of a leader spoke for it, as of then.
    pub(crate) fn vouched(&self, leader: NodeId, at: Instant) {
        let mut last = self.last.lock();
        if let Some(heard) = last.as_mut().filter(|heard| heard.leader == leader) {
            heard.at = heard.at.max(at);
        }
    }

    /// Forgets what a leader said: its process is gone.
    pub(crate) fn forget(&self, leader: NodeId) {
        let mut last = self.last.lock();
        if let Some(heard) = last.as_mut().filter(|heard| heard.leader == leader) {
            heard.is_gone = true;
        }
    }

    /// The last word, if it is younger than `age_max` and not of a term before
    /// `term`.
    pub(crate) fn live(&self, term: u64, age_max: Duration) -> Option<Heard> {
        self.last
            .lock()
            .filter(|heard| !heard.is_gone && heard.term >= term && heard.at.elapsed() < age_max)
    }

    /// The last word, however old.
    pub(crate) fn last(&self) -> Option<Heard> {
        *self.last.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_old_and_the_overtaken() {
        let node = |id| NodeId::new(id).unwrap();
        let long = Duration::from_secs(60);
        let contact = Contact::default();
        assert!(contact.live(0, long).is_none(), "nothing heard yet");
        assert!(contact.heard(node(1), 3, None));
        assert!(!contact.heard(node(1), 3, None), "heard before");
        assert!(contact.heard(node(2), 4, None), "another leader");
        assert!(!contact.heard(node(1), 3, None), "overtaken");
        assert_eq!(contact.live(4, long).unwrap().leader, node(2));
        assert!(contact.live(5, long).is_none(), "a later term began");
        assert!(contact.live(4, Duration::ZERO).is_none(), "too long ago");
        contact.forget(node(1));
        assert!(contact.live(4, long).is_some(), "another one is gone");
        contact.forget(node(2));
        assert!(contact.live(4, long).is_none(), "it is gone");
        contact.heard(node(2), 4, None);
        assert!(contact.live(4, long).is_some(), "it is back");
    }
}

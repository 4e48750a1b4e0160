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

/// What a message of a leader tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is the first of that leader.
    First,
    /// That leader goes on.
    Again,
}

/// What one group heard.
#[derive(Default)]
pub(crate) struct Contact {
    known: Mutex<Known>,
    /// A leader told its commit index for the first time.
    news: Notify,
}

#[derive(Default)]
struct Known {
    last: Option<Heard>,
    /// Who was forgotten last, and when.
    forgotten: Option<(NodeId, Instant)>,
}

impl Contact {
    /// Takes a message that came at `came`, and that this replica accepted since, which may
    /// have waited for its disk. Returns what it tells of who leads: nothing, where its leader
    /// was forgotten meanwhile or another one was heard of.
    pub(crate) fn heard(
        &self,
        leader: NodeId,
        term: u64,
        committed: Option<LogId>,
        came: Instant,
    ) -> Option<Word> {
        let mut known = self.known.lock();
        let last = known.last;
        let first = last.is_none_or(|last| (last.term, last.leader) != (term, leader));
        let is_overtaken = last.is_some_and(|last| (last.term, last.leader) > (term, leader));
        let is_of_before = known.forgotten.is_some_and(|(who, at)| who == leader && came <= at);
        if is_overtaken || is_of_before {
            return None;
        }
        let told = last.and_then(|last| last.committed);
        let committed = committed.max(told);
        known.last = Some(Heard { leader, term, committed, at: Instant::now(), is_gone: false });
        if committed.is_some() && (first || told.is_none()) {
            self.news.notify_waiters();
        }
        Some(if first { Word::First } else { Word::Again })
    }

    /// Until a leader tells its commit index for the first time, from now on.
    pub(crate) fn next_leader(&self) -> Notified<'_> {
        self.news.notified()
    }

    /// The node of a leader spoke for it, as of then.
    pub(crate) fn vouched(&self, leader: NodeId, at: Instant) {
        let mut known = self.known.lock();
        if let Some(heard) = known.last.as_mut().filter(|heard| heard.leader == leader) {
            heard.at = heard.at.max(at);
        }
    }

    /// Forgets what a leader said, with what came of it until now: its process is gone, or it
    /// was deposed.
    pub(crate) fn forget(&self, leader: NodeId) {
        let mut known = self.known.lock();
        known.forgotten = Some((leader, Instant::now()));
        if let Some(heard) = known.last.as_mut().filter(|heard| heard.leader == leader) {
            heard.is_gone = true;
        }
    }

    /// The last word, if it is younger than `age_max` and not of a term before
    /// `term`.
    pub(crate) fn live(&self, term: u64, age_max: Duration) -> Option<Heard> {
        self.last()
            .filter(|heard| !heard.is_gone && heard.term >= term && heard.at.elapsed() < age_max)
    }

    /// The last word, however old.
    pub(crate) fn last(&self) -> Option<Heard> {
        self.known.lock().last
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
        let heard = |id, term| contact.heard(node(id), term, None, Instant::now());
        assert_eq!(heard(1, 3), Some(Word::First));
        assert_eq!(heard(1, 3), Some(Word::Again));
        assert_eq!(heard(2, 4), Some(Word::First), "another leader");
        assert_eq!(heard(1, 3), None, "overtaken");
        assert_eq!(contact.live(4, long).unwrap().leader, node(2));
        assert!(contact.live(5, long).is_none(), "a later term began");
        assert!(contact.live(4, Duration::ZERO).is_none(), "too long ago");
        contact.forget(node(1));
        assert!(contact.live(4, long).is_some(), "another one is gone");
        let before = Instant::now();
        contact.forget(node(2));
        assert!(contact.live(4, long).is_none(), "it is gone");
        assert_eq!(contact.heard(node(2), 4, None, before), None, "it came before that");
        assert!(contact.live(4, long).is_none(), "it is gone all the same");
        std::thread::sleep(Duration::from_millis(1));
        heard(2, 4);
        assert!(contact.live(4, long).is_some(), "it is back");
    }
}

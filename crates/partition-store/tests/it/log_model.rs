//! The log against a plain model of one, through restarts.
//!
//! Operations take effect in order, so what a crash leaves is the model as it was
//! after some operation since the last one that was waited for.

use std::ops::Range;

use partition_store::{LogBounds, PartitionLog};
use partition_types::{Entry, LogId, Vote};
use proptest::prelude::*;

use crate::fixture::{Node, append, entries, entry, last_of_leaders, log_id, wait};

#[derive(Debug, Clone)]
enum Step {
    /// Some entries, waited for or not.
    Append {
        count: u64,
        len_bytes: usize,
        is_waited_for: bool,
    },
    /// Keeps this share of the log, of 16.
    Truncate(u64),
    /// Purges this share of the log, of 16.
    Purge(u64),
    /// Purges so many entries more than there are.
    PurgeBeyond(u64),
    Vote,
    Read {
        from: u64,
        to: u64,
        max_bytes: usize,
    },
    Close,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let append = (1..6u64, prop_oneof![0..200usize, 4000..9000usize], any::<bool>()).prop_map(
        |(count, len_bytes, is_waited_for)| Step::Append { count, len_bytes, is_waited_for },
    );
    let read = (0..40u64, 0..40u64, prop_oneof![Just(0), 0..30_000usize, Just(usize::MAX)])
        .prop_map(|(from, len, max_bytes)| Step::Read { from, to: from + len, max_bytes });
    prop_oneof![
        8 => append,
        2 => (0..=16u64).prop_map(Step::Truncate),
        2 => (0..=16u64).prop_map(Step::Purge),
        1 => (1..4u64).prop_map(Step::PurgeBeyond),
        2 => Just(Step::Vote),
        4 => read,
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
    ]
}

/// A log, plainly.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    purged: Option<LogId>,
    entries: Vec<Entry>,
    vote: Option<Vote>,
}

impl Model {
    fn of(log: &PartitionLog) -> Self {
        Self { purged: log.bounds().purged, entries: entries(log), vote: log.vote() }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }

    /// The entry after this share of the log, of 16.
    fn at_share(&self, share: u64) -> usize {
        self.entries.len() * usize::try_from(share).unwrap() / 16
    }

    fn in_range(&self, range: Range<u64>) -> &[Entry] {
        let first = self.next_index() - self.entries.len() as u64;
        let end = self.entries.len();
        let at = |index: u64| usize::try_from(index.saturating_sub(first)).unwrap().min(end);
        &self.entries[at(range.start)..at(range.end).max(at(range.start))]
    }
}

fn check_read(log: &PartitionLog, model: &Model, range: Range<u64>, max_bytes: usize) {
    let read = wait(log.entries(range.clone(), max_bytes)).unwrap();
    let expected = model.in_range(range.clone());
    assert!(expected.starts_with(&read), "{read:?} is no begin of {expected:?}");
    assert_eq!(read.is_empty(), expected.is_empty(), "at least one, if any");
    let len = |entries: &[Entry]| entries.iter().map(Entry::len_bytes).sum::<usize>();
    if let [before @ .., _] = &read[..] {
        assert!(before.is_empty() || len(before) < max_bytes, "no more than asked for");
    }
    assert!(read.len() == expected.len() || len(&read) >= max_bytes, "no fewer than asked for");

    let leaders = wait(log.last_of_leaders(range)).unwrap();
    assert_eq!(leaders, last_of_leaders(expected.iter().map(|entry| entry.log_id)));
}

fn run(steps: &[Step]) {
    let node = Node::new(1);
    let (mut store, mut replica) = node.open_with(1);
    let mut term = 1;
    // The last one is what memory has; a crash may leave any.
    let mut states = vec![Model::default()];
    for step in steps {
        let log = replica.log().clone();
        let mut model = states.last().unwrap().clone();
        let mut is_waited_for = false;
        match step {
            Step::Append { count, len_bytes, is_waited_for: wanted } => {
                let first = model.next_index();
                let new: Vec<_> =
                    (first..first + count).map(|index| entry(term, index, *len_bytes)).collect();
                model.entries.extend(new.clone());
                is_waited_for = *wanted;
                if is_waited_for {
                    append(&log, new);
                } else {
                    log.append(new, drop).unwrap();
                }
            }
            Step::Truncate(share) => {
                term += 1;
                model.entries.truncate(model.at_share(*share));
                let last = model.last();
                wait(log.truncate_after(last)).unwrap();
            }
            Step::Purge(share) => {
                let count = model.at_share(*share);
                if let Some(last) = model.entries.drain(..count).next_back() {
                    model.purged = Some(last.log_id);
                    wait(log.purge(last.log_id)).unwrap();
                }
            }
            Step::PurgeBeyond(more) => {
                let upto = log_id(term, model.next_index() + more - 1);
                model.purged = Some(upto);
                model.entries.clear();
                wait(log.purge(upto)).unwrap();
            }
            Step::Vote => {
                term += 1;
                let vote = Vote { term, voted_for: None, committed: term.is_multiple_of(2) };
                wait(log.save_vote(vote)).unwrap();
                model.vote = Some(vote);
                is_waited_for = true;
            }
            Step::Read { from, to, max_bytes } => {
                check_read(&log, &model, *from..*to, *max_bytes);
                continue;
            }
            Step::Close | Step::Crash => {
                drop((log, replica));
                if matches!(step, Step::Close) {
                    store.close().unwrap();
                    states.drain(..states.len() - 1);
                } else {
                    drop(store);
                }
                (store, replica) = node.open_with(1);
                let found = Model::of(replica.log());
                assert!(states.contains(&found), "{found:#?} is none of {states:#?}");
                states = vec![found];
                continue;
            }
        }
        states.push(model.clone());
        if is_waited_for {
            states.drain(..states.len() - 1);
        }
        assert_eq!(Model::of(&log), model, "after {step:?}");
        assert_eq!(log.bounds(), LogBounds { purged: model.purged, last: model.last() });
    }
    drop((replica, store));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_its_model(steps in prop::collection::vec(step(), 1..40)) {
        run(&steps);
    }
}

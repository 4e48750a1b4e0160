//! The log: what was appended, truncated, purged and voted, before and after a
//! restart.

use partition_types::{Entry, LogId, Vote};

use crate::fixture::{
    Node, append, entries, entry, indexes, last_of_leaders, log_id, node, partition, wait,
};

fn ids(log: &partition_store::PartitionLog) -> Vec<LogId> {
    entries(log).iter().map(|entry| entry.log_id).collect()
}

/// Checks the log as it is, and again after both kinds of end.
fn check_all_ways(change: impl Fn(&partition_store::PartitionLog), expected: &[LogId]) {
    for is_closed in [false, true] {
        let node = Node::new(1);
        let (store, replica) = node.open_with(1);
        let log = replica.log().clone();
        change(&log);
        assert_eq!(ids(&log), expected);
        let bounds = log.bounds();
        // Makes what nobody waited for durable.
        let vote = Vote { term: 99, voted_for: None, committed: false };
        wait(log.save_vote(vote)).unwrap();
        drop((log, replica));
        if is_closed {
            store.close().unwrap();
        } else {
            drop(store);
        }
        let store = node.open();
        let log = store.load(partition(1)).unwrap().log().clone();
        assert_eq!(ids(&log), expected, "closed: {is_closed}");
        assert_eq!(log.bounds(), bounds, "closed: {is_closed}");
        assert_eq!(log.vote(), Some(vote));
    }
}

#[test]
fn a_new_log_is_empty() {
    let node = Node::new(1);
    let (_store, replica) = node.open_with(1);
    let log = replica.log();
    assert_eq!(log.bounds(), partition_store::LogBounds { purged: None, last: None });
    assert_eq!((log.vote(), log.committed()), (None, None));
    assert_eq!(entries(log), []);
}

#[test]
fn truncation_and_append_keep_their_order() {
    let expected = [log_id(1, 0), log_id(1, 1), log_id(2, 2), log_id(2, 3)];
    check_all_ways(
        |log| {
            append(log, (0..6).map(|index| entry(1, index, 100)).collect());
            wait(log.truncate_after(Some(log_id(1, 1)))).unwrap();
            append(log, vec![entry(2, 2, 5000)]);
            log.append(vec![entry(2, 3, 10)], drop).unwrap();
        },
        &expected,
    );
}

#[test]
fn truncated_twice_without_waiting() {
    let expected = [log_id(1, 0), log_id(3, 1)];
    check_all_ways(
        |log| {
            log.append((0..4).map(|index| entry(1, index, 100)).collect(), drop).unwrap();
            wait(log.truncate_after(Some(log_id(1, 1)))).unwrap();
            log.append((2..9).map(|index| entry(2, index, 100)).collect(), drop).unwrap();
            wait(log.truncate_after(Some(log_id(1, 0)))).unwrap();
            log.append(vec![entry(3, 1, 100)], drop).unwrap();
        },
        &expected,
    );
}

#[test]
fn truncated_to_nothing() {
    check_all_ways(
        |log| {
            append(log, (0..4).map(|index| entry(1, index, 100)).collect());
            wait(log.truncate_after(None)).unwrap();
        },
        &[],
    );
}

#[test]
fn truncating_after_the_end_changes_nothing() {
    check_all_ways(
        |log| {
            append(log, vec![entry(1, 0, 100)]);
            wait(log.truncate_after(Some(log_id(1, 0)))).unwrap();
            wait(log.truncate_after(Some(log_id(1, 7)))).unwrap();
        },
        &[log_id(1, 0)],
    );
}

#[test]
fn purged_up_to_the_middle() {
    check_all_ways(
        |log| {
            append(log, (0..6).map(|index| entry(1, index, 100)).collect());
            wait(log.purge(log_id(1, 3))).unwrap();
            // Going back is nothing.
            wait(log.purge(log_id(1, 2))).unwrap();
            assert_eq!(log.bounds().purged, Some(log_id(1, 3)));
        },
        &[log_id(1, 4), log_id(1, 5)],
    );
}

#[test]
fn purged_beyond_the_end() {
    check_all_ways(
        |log| {
            append(log, (0..3).map(|index| entry(1, index, 100)).collect());
            wait(log.purge(log_id(4, 20))).unwrap();
            assert_eq!(log.bounds().last, Some(log_id(4, 20)));
            append(log, vec![entry(4, 21, 100)]);
        },
        &[log_id(4, 21)],
    );
}

#[test]
fn what_does_not_continue_the_log_is_refused() {
    let node = Node::new(1);
    let (_store, replica) = node.open_with(1);
    let log = replica.log();
    append(log, vec![entry(2, 5, 10), entry(2, 6, 10)]);
    let check = |entries: Vec<Entry>| {
        let (send, receive) = std::sync::mpsc::channel();
        let result = log.append(entries, move |result| send.send(result).unwrap());
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert!(receive.recv().unwrap().is_err(), "the callback is called all the same");
        assert!(receive.recv().is_err(), "and once");
        assert_eq!(indexes(log), [5, 6]);
    };
    check(vec![entry(2, 8, 10)]);
    check(vec![entry(2, 6, 10)]);
    check(vec![entry(1, 7, 10)]);
    check(vec![entry(2, 7, 10), entry(2, 9, 10)]);
}

#[test]
fn reads_are_limited_and_cross_from_disk_to_memory() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    append(replica.log(), (0..8).map(|index| entry(1, index, 1000)).collect());
    drop((replica, store));
    // What was there at the open is on disk, what comes now in memory too.
    let (_store, replica) = node.open_with(1);
    let log = replica.log();
    append(log, (8..12).map(|index| entry(1, index, 1000)).collect());
    let check = |range: std::ops::Range<u64>, max_bytes: usize, expected: std::ops::Range<u64>| {
        let read = wait(log.entries(range.clone(), max_bytes)).unwrap();
        let expected: Vec<_> = expected.map(|index| entry(1, index, 1000)).collect();
        assert_eq!(read, expected, "{range:?}, {max_bytes} bytes");
    };
    let one = entry(1, 0, 1000).len_bytes();
    check(0..12, usize::MAX, 0..12);
    check(0..u64::MAX, usize::MAX, 0..12);
    check(3..10, usize::MAX, 3..10);
    check(9..10, usize::MAX, 9..10);
    check(12..20, usize::MAX, 0..0);
    check(5..5, usize::MAX, 0..0);
    // At least one, and none begun once it is enough.
    check(0..12, 0, 0..1);
    check(10..12, 0, 10..11);
    check(0..12, 3 * one, 0..3);
    check(0..12, 3 * one + 1, 0..4);
    check(6..12, 4 * one, 6..10);
    check(6..12, 2 * one, 6..8);
}

#[test]
fn the_commit_index_goes_with_the_next_write() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let log = replica.log();
    append(log, (0..3).map(|index| entry(1, index, 10)).collect());
    log.save_committed(Some(log_id(1, 1)));
    assert_eq!(log.committed(), Some(log_id(1, 1)));
    append(log, vec![entry(1, 3, 10)]);
    // This one has no write to go with.
    log.save_committed(Some(log_id(1, 2)));
    drop((replica, store));
    let (store, replica) = node.open_with(1);
    assert_eq!(replica.log().committed(), Some(log_id(1, 1)));
    // A close leaves nothing behind.
    replica.log().save_committed(Some(log_id(1, 3)));
    drop(replica);
    store.close().unwrap();
    let (_store, replica) = node.open_with(1);
    assert_eq!(replica.log().committed(), Some(log_id(1, 3)));
}

#[test]
fn votes_are_kept_apart_by_partition() {
    let node_ = Node::new(2);
    let store = node_.open();
    let vote =
        |id: u64| Vote { term: id, voted_for: Some(node(id)), committed: id.is_multiple_of(2) };
    for id in 1..=6 {
        store.create(partition(id), vec![]).unwrap();
        wait(store.load(partition(id)).unwrap().log().save_vote(vote(id))).unwrap();
    }
    drop(store);
    let store = node_.open();
    for id in 1..=6 {
        let replica = store.load(partition(id)).unwrap();
        assert_eq!(replica.log().vote(), Some(vote(id)), "partition {id}");
    }
}

#[test]
fn synced_waits_for_what_was_appended_only() {
    let node = Node::new(1);
    let (_store, replica) = node.open_with(1);
    let log = replica.log();
    wait(log.synced(7)).unwrap();
    log.append((0..5).map(|index| entry(1, index, 10)).collect(), drop).unwrap();
    wait(log.synced(4)).unwrap();
    wait(log.synced(5)).unwrap();
    wait(log.purge(log_id(1, 9))).unwrap();
    wait(log.synced(9)).unwrap();
}

/// Some of it in memory and some on the disk, and some of both gone.
#[test]
fn the_last_entries_of_its_leaders_are_found() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let log = replica.log().clone();
    let all = |log: &partition_store::PartitionLog| wait(log.last_of_leaders(0..u64::MAX)).unwrap();
    assert_eq!(all(&log), []);
    let wrote = |terms: std::ops::Range<u64>, each: u64, first: u64| {
        let terms = terms.flat_map(|term| (0..each).map(move |_| term));
        terms.enumerate().map(|(at, term)| entry(term, first + at as u64, 10)).collect::<Vec<_>>()
    };
    append(&log, wrote(1..301, 1, 0));
    append(&log, wrote(301..304, 500, 300));
    assert_eq!(all(&log), last_of_leaders(ids(&log).into_iter()));
    drop((log, replica));
    drop(store);

    let store = node.open();
    let log = store.load(partition(1)).unwrap().log().clone();
    append(&log, wrote(303..306, 2, 1_800));
    let expected = last_of_leaders(ids(&log).into_iter());
    assert_eq!(expected.len(), 305);
    assert_eq!(all(&log), expected);
    wait(log.purge(log_id(302, 900))).unwrap();
    assert_eq!(all(&log), [(302, 1299), (303, 1801), (304, 1803), (305, 1805)].map(at));
    wait(log.truncate_after(Some(log_id(303, 1_400)))).unwrap();
    assert_eq!(all(&log), [(302, 1299), (303, 1400)].map(at));
    wait(log.purge(log_id(310, 2_000))).unwrap();
    assert_eq!(all(&log), []);
}

fn at((term, index): (u64, u64)) -> LogId {
    log_id(term, index)
}

//! Partitions come and go: what the manifest says, and what is left of them.

use partition_store::{LoadError, Store, Verify};
use partition_types::{Command, Entry, ExtentId, Op, Payload, Vote};

use crate::fixture::{Node, SOON, append, entries, entry, log_id, members, partition, wait};

fn ids(store: &Store) -> Vec<u64> {
    store.manifest().iter().map(|entry| entry.partition_id.get()).collect()
}

#[test]
fn creating_is_durable_and_happens_once() {
    let node = Node::new(2);
    let store = node.open();
    for id in [5, 3, 9, 1] {
        assert!(store.create(partition(id), members()).unwrap());
        assert!(!store.create(partition(id), vec![]).unwrap(), "it is there already");
    }
    drop(store);
    let store = node.open();
    assert_eq!(ids(&store), [1, 3, 5, 9]);
    for entry in store.manifest() {
        assert_eq!(entry.created_with, members(), "in the order that was asked for");
    }
    let disks: Vec<_> = store.disks().iter().map(|disk| disk.partitions).collect();
    assert_eq!(disks, [2, 2], "spread over the disks");
    assert!(!store.create(partition(9), vec![]).unwrap());
}

#[test]
fn an_unknown_partition_does_not_load() {
    let node = Node::new(1);
    let store = node.open();
    assert!(matches!(store.load(partition(1)), Err(LoadError::Missing(_))));
    assert!(!store.delete(partition(1)).unwrap());
}

#[test]
fn what_is_deleted_never_comes_back() {
    for is_closed in [false, true] {
        let node = Node::new(2);
        let store = node.open();
        for id in 1..=3 {
            store.create(partition(id), members()).unwrap();
            let replica = store.load(partition(id)).unwrap();
            append(replica.log(), (0..4).map(|index| entry(1, index, 5000)).collect());
            let vote = Vote { term: 4, voted_for: None, committed: false };
            wait(replica.log().save_vote(vote)).unwrap();
            wait(replica.state().apply((0..4).map(|index| entry(1, index, 5000)).collect()))
                .unwrap();
            wait(replica.state().flush()).unwrap();
        }
        let held = store.load(partition(2)).unwrap();
        assert!(store.delete(partition(2)).unwrap());
        assert!(!store.delete(partition(2)).unwrap());
        // A handle from before takes nothing any more.
        held.log().append(vec![entry(1, 4, 10)], drop).unwrap_err();
        wait(held.log().synced(3)).unwrap();
        drop(held);
        if is_closed {
            store.close().unwrap();
        } else {
            drop(store);
        }
        let store = node.open();
        assert_eq!(ids(&store), [1, 3]);
        assert!(matches!(store.load(partition(2)), Err(LoadError::Missing(_))));
        // One of the same id is another one.
        assert!(store.create(partition(2), members()).unwrap());
        let replica = store.load(partition(2)).unwrap();
        assert_eq!((replica.log().vote(), entries(replica.log())), (None, vec![]));
        assert_eq!(replica.state().applied(), None);
        assert_eq!(replica.state().usage().extent_count, 0);
        drop(replica);
        drop(store);
        // Nor does the old one come back under it.
        let store = node.open();
        let replica = store.load(partition(2)).unwrap();
        assert_eq!((replica.log().vote(), entries(replica.log())), (None, vec![]));
        assert_eq!(replica.state().applied(), None);
        assert_eq!(store.load(partition(1)).unwrap().log().bounds().last.unwrap().index, 3);
    }
}

/// What a deleted replica had promised is kept by one that joins its group later, over
/// restarts and further deletions; not by one that founds another group.
#[test]
fn what_was_promised_outlives_its_replica() {
    let node = Node::new(2);
    let mut store = node.open();
    let id = partition(7);
    store.create(id, members()).unwrap();
    let replica = store.load(id).unwrap();
    append(replica.log(), (0..4).map(|index| entry(3, index, 10)).collect());
    let vote = Vote { term: 5, voted_for: Some(crate::fixture::node(2)), committed: true };
    wait(replica.log().save_vote(vote)).unwrap();
    drop(replica);
    for is_reopened in [false, true] {
        assert_eq!(store.owes(id), None, "it is the one that promised");
        assert!(store.delete(id).unwrap());
        if is_reopened {
            drop(store);
            store = node.open();
        }
        assert!(store.create(id, vec![]).unwrap());
        let replica = store.load(id).unwrap();
        assert_eq!(store.owes(id), Some(log_id(3, 3)));
        // That it was committed is for the leader of that term to say once more.
        assert_eq!(replica.log().vote(), Some(Vote { committed: false, ..vote }));
        assert_eq!(replica.log().bounds().last, None);
        // It gets less than that, and goes too.
        append(replica.log(), vec![entry(3, 0, 10)]);
        drop(replica);
        assert!(store.delete(id).unwrap());
        drop(store);
        store = node.open();
        assert!(store.create(id, vec![]).unwrap());
        assert_eq!(store.owes(id), Some(log_id(3, 3)), "reopened: {is_reopened}");
        store.delete(id).unwrap();
        assert!(store.create(id, members()).unwrap());
        assert_eq!(store.owes(id), None);
        let replica = store.load(id).unwrap();
        assert_eq!(replica.log().vote(), None, "it is another group");
        append(replica.log(), (0..4).map(|index| entry(3, index, 10)).collect());
        wait(replica.log().save_vote(vote)).unwrap();
    }
}

#[test]
fn loading_twice_is_one_partition() {
    let node = Node::new(1);
    let (store, first) = node.open_with(1);
    let second = store.load(partition(1)).unwrap();
    append(first.log(), vec![entry(1, 0, 10)]);
    assert_eq!(entries(second.log()).len(), 1);
    wait(second.state().apply(vec![entry(1, 0, 10)])).unwrap();
    assert_eq!(first.state().applied(), second.state().applied());
}

#[test]
fn what_another_load_left_in_memory_is_not_taken_for_durable() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    append(replica.log(), vec![entry(1, 0, 10)]);
    wait(replica.state().apply(vec![entry(1, 0, 10)])).unwrap();
    assert_eq!(replica.state().durable_applied(), None);
    drop(replica);
    let replica = store.load(partition(1)).unwrap();
    let durable = replica.state().durable_applied();
    drop((replica, store));
    // As a crash leaves it.
    let store = node.open();
    assert!(store.load(partition(1)).unwrap().state().applied() >= durable);
}

#[test]
fn a_flush_is_announced_and_makes_applied_durable() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let flushed = store.flushed();
    let before = *flushed.borrow();
    append(replica.log(), vec![entry(1, 0, 10)]);
    wait(replica.state().apply(vec![entry(1, 0, 10)])).unwrap();
    assert!(store.unflushed_bytes()[0] > 10);
    store.flush().unwrap();
    assert_eq!(store.unflushed_bytes(), [0]);
    assert!(*flushed.borrow() > before);
    assert_eq!(replica.state().durable_applied(), replica.state().applied());
    drop((replica, store));
    let (_store, replica) = node.open_with(1);
    assert_eq!(replica.state().applied().map(|applied| applied.index), Some(0));
}

#[test]
fn a_flush_comes_by_itself_when_enough_was_applied() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let mut flushed = store.flushed();
    flushed.mark_unchanged();
    for index in 0..20 {
        let applied = vec![entry(1, index, 4 << 20)];
        append(replica.log(), applied.clone());
        wait(replica.state().apply(applied)).unwrap();
    }
    wait(async { tokio::time::timeout(SOON, flushed.changed()).await }).expect("a flush").unwrap();
    assert!(replica.state().durable_applied().is_some());
}

#[test]
fn deleted_extents_give_their_space_back() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let blob_bytes = || -> u64 {
        std::fs::read_dir(node.disk(0).join("data"))
            .unwrap()
            .map(|file| file.unwrap())
            .filter(|file| file.path().extension().is_some_and(|found| found == "blob"))
            // Files go while they are listed.
            .map(|file| file.metadata().map_or(0, |found| found.len()))
            .sum()
    };
    for index in 0..24 {
        wait(replica.state().apply(vec![entry(1, index, 4 << 20)])).unwrap();
    }
    store.flush().unwrap();
    assert!(blob_bytes() >= 96 << 20);
    let extent_ids = (1..=24).map(|id| ExtentId::new(id).unwrap()).collect();
    let command = Command { request_id: None, at_ms: 1, op: Op::Delete { extent_ids } };
    let delete = Entry { log_id: log_id(1, 24), payload: Payload::Command(command) };
    wait(replica.state().apply(vec![delete])).unwrap();
    let begun = std::time::Instant::now();
    while blob_bytes() > 8 << 20 {
        assert!(begun.elapsed() < SOON, "{} bytes are left", blob_bytes());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_closed_store_refuses_everything_and_loses_nothing() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    append(replica.log(), vec![entry(1, 0, 10)]);
    store.clone().close().unwrap();
    replica.log().append(vec![entry(1, 1, 10)], drop).unwrap_err();
    let vote = Vote { term: 1, voted_for: None, committed: false };
    wait(replica.log().save_vote(vote)).unwrap_err();
    store.create(partition(2), vec![]).unwrap_err();
    store.flush().unwrap_err();
    drop((store, replica));
    let (_store, replica) = node.open_with(1);
    assert_eq!(entries(replica.log()).len(), 1);
}

#[test]
fn appends_stop_at_the_reserve() {
    let node = Node::new(1);
    let mut config = node.config();
    config.disks[0].reserve_bytes = u64::MAX;
    let store = Store::open(config).unwrap();
    store.create(partition(1), vec![]).unwrap();
    let replica = store.load(partition(1)).unwrap();
    let full = replica.admit(1).unwrap_err();
    assert!(full.to_string().contains("disk is full"), "{full}");
    // What keeps the group going does not ask.
    let vote = Vote { term: 1, voted_for: None, committed: false };
    wait(replica.log().save_vote(vote)).unwrap();
    assert!(store.delete(partition(1)).unwrap());
}

#[test]
fn a_check_beside_writing_finds_no_fault_that_is_not_there() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let checks = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for round in 0..80 {
                let first = round * 8;
                let some: Vec<_> = (first..first + 8).map(|at| entry(1, at, 2000)).collect();
                append(replica.log(), some.clone());
                wait(replica.state().apply(some)).unwrap();
                // What a node does all the time: flush, and purge up to there.
                wait(replica.state().flush()).unwrap();
                wait(replica.log().purge(log_id(1, first + 7))).unwrap();
            }
        });
        let mut checks = 0;
        while !writing.is_finished() {
            replica.check([Verify::None, Verify::Sample, Verify::Full][checks % 3]).unwrap();
            checks += 1;
        }
        writing.join().unwrap();
        checks
    });
    assert!(checks > 10, "{checks} checks");
    store.close().unwrap();
}

#[test]
fn a_state_catches_up_with_its_log_after_a_crash() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    let all: Vec<_> = (0..60).map(|at| entry(1, at, 100_000)).collect();
    append(replica.log(), all[..20].to_vec());
    wait(replica.state().apply(all[..20].to_vec())).unwrap();
    wait(replica.state().flush()).unwrap();
    replica.log().save_committed(Some(log_id(1, 49)));
    append(replica.log(), all[20..].to_vec());
    wait(replica.state().apply(all[20..50].to_vec())).unwrap();
    drop((replica, store));

    let store = node.open();
    let replica = store.load(partition(1)).unwrap();
    assert_eq!(replica.state().applied(), Some(log_id(1, 19)), "as the flush left it");
    assert_eq!(replica.written_at_ms(), 1019);
    let recovered = wait(replica.recovered()).unwrap();
    assert_eq!(recovered.applied, Some(log_id(1, 49)), "what is known to be committed");
    let mut pieces = 0;
    while let Some(last) = wait(replica.replay_piece(log_id(1, 49))).unwrap() {
        assert_eq!(replica.state().applied(), Some(last));
        pieces += 1;
    }
    assert!(pieces >= 1);
    assert_eq!(replica.state().applied(), Some(log_id(1, 49)), "and no further");
    assert_eq!(wait(replica.recovered()).unwrap(), recovered);
    replica.check(Verify::Full).unwrap();
    store.close().unwrap();
}

//! What is left when a process ends without a word, and when the disk lies.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use partition_store::LoadError;
use partition_types::Vote;

use crate::fixture::{Node, append, entries, entry, log_id, node, partition, wait};

/// The largest file of a directory with an extension.
fn largest(dir: &Path, extension: &str) -> PathBuf {
    fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .expect("there is one")
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn acknowledged_entries_and_votes_survive() {
    let home = Node::new(2);
    for round in 0..5 {
        let store = home.open();
        for id in 1..=4 {
            store.create(partition(id), vec![]).unwrap();
            let replica = store.load(partition(id)).unwrap();
            let log = replica.log();
            let expected: Vec<_> = (0..round * 3).map(|index| entry(index, index, 6000)).collect();
            assert_eq!(entries(log), expected, "round {round}, partition {id}");
            let vote = Vote { term: round, voted_for: Some(node(id)), committed: false };
            if round > 0 {
                let last = Vote { term: round - 1, ..vote };
                assert_eq!(log.vote(), Some(last), "round {round}, partition {id}");
            }
            let new = round * 3..(round + 1) * 3;
            append(log, new.map(|index| entry(index, index, 6000)).collect());
            wait(log.save_vote(vote)).unwrap();
            // Nobody waits for this one: it may survive or not, but not in part.
            let last = log.bounds().last.unwrap();
            log.append(vec![entry(999, last.index + 1, 6000)], drop).unwrap();
            drop(log.truncate_after(Some(last)));
        }
        // No close: what is queued fails, what is in memory is gone.
        drop(store);
        let store = home.open();
        for id in 1..=4 {
            let replica = store.load(partition(id)).unwrap();
            let last = log_id((round + 1) * 3 - 1, (round + 1) * 3 - 1);
            wait(replica.log().truncate_after(Some(last))).unwrap();
        }
        store.close().unwrap();
    }
}

#[test]
fn damage_inside_the_log_is_an_error_and_no_silent_loss() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    for index in 0..200 {
        append(replica.log(), vec![entry(1, index, 3000)]);
    }
    drop((replica, store));
    let wal = largest(&node.disk(0).join("raft"), "log");
    let len = fs::metadata(&wal).unwrap().len();
    assert!(len > 500_000, "all of it is still in {} of {len} bytes", wal.display());
    overwrite(&wal, len / 2, &[0xa5; 16]);

    let error = node.try_open().err().expect("it does not open");
    assert_eq!(error.exit_code(), 19, "{error}");
    let text = error.to_string();
    assert!(text.contains("raft is damaged") && !text.contains('\n'), "{text}");
}

#[test]
fn a_torn_last_write_takes_nothing_else_with_it() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    for index in 0..20 {
        append(replica.log(), vec![entry(1, index, 3000)]);
    }
    drop((replica, store));
    // The last write as a power cut before its sync leaves it.
    let wal = largest(&node.disk(0).join("raft"), "log");
    let len = fs::metadata(&wal).unwrap().len();
    OpenOptions::new().write(true).open(&wal).unwrap().set_len(len - 100).unwrap();

    let (_store, replica) = node.open_with(1);
    assert_eq!(replica.log().bounds().last, Some(log_id(1, 18)));
    assert_eq!(entries(replica.log()).len(), 19);
    append(replica.log(), vec![entry(2, 19, 10)]);
    assert_eq!(entries(replica.log()).len(), 20);
}

#[test]
fn damage_in_a_blob_is_found_where_it_is_read() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    append(replica.log(), (0..50).map(|index| entry(1, index, 8000)).collect());
    drop(replica);
    // Moves the entries out of the write-ahead log.
    store.close().unwrap();
    let blob = largest(&node.disk(0).join("raft"), "blob");
    let mut bytes = Vec::new();
    fs::File::open(&blob).unwrap().read_to_end(&mut bytes).unwrap();
    // In the middle of the payload of entry 30, or close to it.
    overwrite(&blob, bytes.len() as u64 * 6 / 10, &[0xa5; 16]);

    let (_store, replica) = node.open_with(1);
    let log = replica.log();
    assert_eq!(wait(log.entries(0..10, usize::MAX)).unwrap().len(), 10);
    wait(log.entries(0..50, usize::MAX)).expect_err("damage in the middle");
    assert_eq!(wait(log.entries(45..50, usize::MAX)).unwrap().len(), 5);
}

#[test]
fn a_log_whose_last_entry_is_damaged_does_not_load() {
    let node = Node::new(1);
    let (store, replica) = node.open_with(1);
    append(replica.log(), vec![entry(1, 0, 8000), entry(1, 1, 8000)]);
    store.create(partition(2), vec![]).unwrap();
    append(store.load(partition(2)).unwrap().log(), vec![entry(1, 0, 100)]);
    drop(replica);
    store.close().unwrap();
    let blob = largest(&node.disk(0).join("raft"), "blob");
    let len = fs::metadata(&blob).unwrap().len();
    overwrite(&blob, len * 3 / 4, &[0xa5; 16]);

    let store = node.open();
    match store.load(partition(1)) {
        Err(LoadError::Corrupt { partition_id, .. }) => assert_eq!(partition_id, partition(1)),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it loads"),
    }
    // The others are fine.
    assert_eq!(entries(store.load(partition(2)).unwrap().log()).len(), 1);
}

//! A write-ahead log that is cut short or taken away is noticed, whatever RocksDB
//! makes of it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use partition_store::Store;
use partition_types::Entry;

use crate::fixture::{Node, append, entry, indexes, log_id, members, partition, wait};

/// What is done to a log.
type Harm = fn(&Path);
type Content = BTreeMap<PathBuf, Vec<u8>>;

/// All files of a directory but RocksDB's own chatter.
fn content(dir: &Path) -> Content {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name != "LOCK" && !name.starts_with("LOG")
    });
    files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn put_back(dir: &Path, content: &Content) {
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir(dir).unwrap();
    for (path, bytes) in content {
        fs::write(path, bytes).unwrap();
    }
}

/// The write-ahead logs, oldest first.
fn logs(raft: &Path) -> Vec<PathBuf> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    content(raft).into_keys().filter(is_log).collect()
}

fn filled(indexes: Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(1, index, 100)).collect()
}

/// A node that crashed after it had made partitions, the last one just then.
fn crashed(partitions: u64) -> Node {
    let node = Node::new(1);
    node.open().close().unwrap();
    let store = node.open();
    for id in 1..=partitions {
        store.create(partition(id), members()).unwrap();
        let replica = store.load(partition(id)).unwrap();
        append(replica.log(), filled(0..3));
    }
    drop(store);
    node
}

#[test]
fn a_log_that_was_lost_is_refused_until_it_is_put_back() {
    let node = crashed(3);
    let raft = node.disk(0).join("raft");
    let whole = content(&raft);
    let harms: [(&str, Harm); 4] = [
        ("taken away", |log| fs::remove_file(log).unwrap()),
        ("emptied", |log| fs::write(log, "").unwrap()),
        ("cut in half", |log| cut(log, |len| len / 2)),
        // The last partition's record is after the second one's entries.
        ("cut at three fifths", |log| cut(log, |len| len * 3 / 5)),
    ];
    for (what, harm) in harms {
        harm(logs(&raft).last().unwrap());
        let harmed = content(&raft);
        for _ in 0..2 {
            let refused = node.try_open().err().unwrap_or_else(|| panic!("{what}: it opened"));
            assert_eq!(refused.exit_code(), 19, "{what}: {refused}");
            assert!(refused.to_string().contains("durable changes are gone"), "{refused}");
            assert!(content(&raft) == harmed, "{what}: it was touched");
        }
        let report = Store::check_dir(&node.disk(0));
        assert_eq!(report.fault.map(|fault| fault.exit_code()), Some(19), "{what}");
        put_back(&raft, &whole);
    }
    let store = node.open();
    assert_eq!(store.manifest().len(), 3);
    let log = store.load(partition(3)).unwrap();
    assert_eq!(indexes(log.log()), [0, 1, 2]);
}

fn cut(log: &Path, len: fn(u64) -> u64) {
    let file = fs::File::options().write(true).open(log).unwrap();
    file.set_len(len(file.metadata().unwrap().len())).unwrap();
}

#[test]
fn a_log_that_is_lost_before_anything_else_was_written_is_noticed() {
    let node = Node::new(1);
    let store = node.open();
    store.create(partition(1), members()).unwrap();
    store.close().unwrap();
    drop(node.open());
    let raft = node.disk(0).join("raft");
    fs::remove_file(logs(&raft).last().unwrap()).unwrap();
    assert_eq!(node.try_open().err().unwrap().exit_code(), 19);
}

#[test]
fn an_older_copy_of_the_database_is_refused() {
    let node = Node::new(1);
    let raft = node.disk(0).join("raft");
    let store = node.open();
    store.create(partition(1), members()).unwrap();
    store.close().unwrap();
    let older = content(&raft);
    let store = node.open();
    store.create(partition(2), members()).unwrap();
    store.close().unwrap();
    put_back(&raft, &older);
    assert_eq!(node.try_open().err().unwrap().exit_code(), 19);
}

#[test]
fn a_mark_that_is_lost_or_damaged_is_no_reason_to_go_on() {
    let node = crashed(2);
    let mark = node.disk(0).join("raft.mark");
    let whole = fs::read(&mark).unwrap();
    fs::remove_file(&mark).unwrap();
    let refused = node.try_open().err().unwrap();
    assert_eq!(refused.exit_code(), 18, "{refused}");
    assert!(refused.to_string().contains("raft.mark"), "{refused}");
    let with_damage = |slots: &[usize]| {
        let mut torn = whole.clone();
        slots.iter().for_each(|&at| torn[at + 3] ^= 1);
        fs::write(&mark, torn).unwrap();
    };
    with_damage(&[0, 4096]);
    let refused = node.try_open().err().unwrap();
    assert_eq!(refused.exit_code(), 19, "{refused}");
    assert!(refused.to_string().contains("raft.mark"), "{refused}");
    // Of a torn write the other slot is left.
    for slot in [0, 4096] {
        with_damage(&[slot]);
        assert_eq!(node.open().manifest().len(), 2);
    }
}

#[test]
fn nothing_is_lost_by_crashes_and_flushes() {
    let node = Node::new(2);
    for round in 1..=12 {
        let store = node.open();
        store.create(partition(round), members()).unwrap();
        let replica = store.load(partition(1)).unwrap();
        let at = (round - 1) * 4;
        append(replica.log(), filled(at..at + 4));
        if round % 3 == 0 {
            // What nobody waits for is not durable yet, and must not be marked.
            wait(replica.log().truncate_after(Some(log_id(1, at + 3)))).unwrap();
        }
        if round % 4 == 0 {
            store.close().unwrap();
        }
    }
    assert_eq!(node.open().manifest().len(), 12);
}

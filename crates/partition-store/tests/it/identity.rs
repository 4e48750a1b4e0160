//! Directories that are not what the configuration takes them for: each is
//! refused with an exit code of its own and one line that says what, where, and
//! what to do, and nothing in it is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use partition_store::{OpenError, Store, StoreConfig};

use crate::fixture::{Node, append, entries, entry, members, node, partition};

/// A node with two disks and something on both.
fn used() -> Node {
    let node = Node::new(2);
    let store = node.open();
    for id in 1..=4 {
        store.create(partition(id), members()).unwrap();
        append(store.load(partition(id)).unwrap().log(), vec![entry(1, 0, 100)]);
    }
    store.close().unwrap();
    node
}

/// The content of all files but the lock, and the engine's own chatter.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if !name.starts_with("LO") {
                let bytes = fs::read(&path).unwrap();
                all.insert(path, bytes);
            }
        }
    }
    all
}

/// Whether a configuration is refused with a code and a line with all the words.
fn check_refused(node: &Node, config: StoreConfig, code: u8, words: &[&str]) {
    let before = content(node.dir.path());
    let error = Store::open(config).err().expect("it does not open");
    assert_eq!(error.exit_code(), code, "{error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "{text:?} has no {word:?}");
    }
    assert_eq!(content(node.dir.path()), before, "nothing is changed");
}

#[test]
fn a_directory_in_use() {
    let node = used();
    let _store = node.open();
    let path = node.disk(0);
    check_refused(&node, node.config(), 10, &["in use", path.to_str().unwrap(), "stop that one"]);
}

#[test]
fn a_directory_of_another_cluster() {
    let node = used();
    let mut config = node.config();
    config.cluster_id = "other".parse().unwrap();
    check_refused(&node, config, 11, &["\"test\"", "\"other\"", "disk0", "correct cluster_id"]);
}

#[test]
fn a_directory_of_another_node() {
    let home = used();
    let mut config = home.config();
    config.node_id = node(2);
    check_refused(&home, config, 12, &["node 1", "node 2", "disk0", "correct node_id"]);
}

#[test]
fn a_directory_of_a_newer_format() {
    let node = used();
    let path = node.disk(1).join("identity");
    let mut identity = fs::read(&path).unwrap();
    identity[0] = 9;
    fs::write(&path, identity).unwrap();
    check_refused(&node, node.config(), 13, &["format 9", "up to 1", "disk1", "newer program"]);
}

#[test]
fn a_damaged_identity() {
    let whole = fs::read(used().disk(0).join("identity")).unwrap();
    for (len, flip) in [(0, None), (1, None), (whole.len() - 1, None), (whole.len(), Some(5))] {
        let node = used();
        let path = node.disk(0).join("identity");
        let mut identity = fs::read(&path).unwrap();
        identity.truncate(len);
        if let Some(at) = flip {
            identity[at] ^= 1;
        }
        fs::write(&path, identity).unwrap();
        check_refused(&node, node.config(), 14, &["identity of", "disk0", "is damaged", "restore"]);
    }
}

#[test]
fn data_without_an_identity() {
    let node = used();
    fs::remove_file(node.disk(1).join("identity")).unwrap();
    check_refused(&node, node.config(), 15, &["no identity", "disk1", "restore"]);
}

#[test]
fn one_of_two_disks_wiped() {
    let node = used();
    fs::remove_dir_all(node.disk(1)).unwrap();
    fs::create_dir(node.disk(1)).unwrap();
    // The lock file is made before anything is known.
    fs::write(node.disk(1).join("LOCK"), "").unwrap();
    check_refused(&node, node.config(), 16, &["missing", "disk1 is empty", "--accept-degraded"]);

    // With the operator's word for it, the others go on, and the lost partitions
    // are known to be lost.
    let mut config = node.config();
    config.accept_lost_disk = true;
    let store = Store::open(config).unwrap();
    let ids: Vec<_> = store.manifest().iter().map(|entry| entry.partition_id.get()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    let lost: Vec<_> = (1..=4).filter(|&id| store.load(partition(id)).is_err()).collect();
    assert_eq!(lost, [2, 4]);
    assert_eq!(entries(store.load(partition(1)).unwrap().log()).len(), 1);
    let incarnation = store.incarnation();
    // It is said once: the new disk belongs to the node now.
    store.close().unwrap();
    let store = node.open();
    assert_eq!(store.incarnation(), incarnation);
    assert!(store.delete(partition(2)).unwrap());
    assert!(store.create(partition(2), vec![]).unwrap());
    assert!(entries(store.load(partition(2)).unwrap().log()).is_empty());
}

#[test]
fn one_of_two_disks_not_configured() {
    let mut node = used();
    node.disks = 1;
    check_refused(&node, node.config(), 16, &["missing", "not configured"]);
}

#[test]
fn a_disk_more_is_taken_in() {
    let mut node = used();
    let incarnation = node.open().incarnation();
    node.disks = 3;
    let store = node.open();
    assert_eq!(store.incarnation(), incarnation);
    assert_eq!(store.disks().iter().map(|disk| disk.partitions).collect::<Vec<_>>(), [2, 2, 0]);
    assert!(store.create(partition(9), vec![]).unwrap());
    assert_eq!(store.disks()[2].partitions, 1);
}

#[test]
fn disks_may_change_places() {
    let node = used();
    let mut config = node.config();
    config.disks.reverse();
    let store = Store::open(config).unwrap();
    for id in 1..=4 {
        assert_eq!(entries(store.load(partition(id)).unwrap().log()).len(), 1);
    }
}

#[test]
fn all_disks_wiped_is_another_life() {
    let node = used();
    let before = node.open().incarnation();
    for nth in 0..2 {
        fs::remove_dir_all(node.disk(nth)).unwrap();
    }
    let store = node.open();
    assert_ne!(store.incarnation(), before);
    assert_eq!(store.manifest(), []);
}

#[test]
fn a_copied_disk() {
    let node = used();
    let first = node.disk(0).join("identity");
    fs::copy(&first, node.disk(1).join("identity")).unwrap();
    check_refused(&node, node.config(), 17, &["disk1", "disk0", "copy of the other"]);
}

#[test]
fn disks_of_two_lives() {
    let (one, two) = (used(), used());
    let mut config = one.config();
    config.disks[1] = two.config().disks[1].clone();
    check_refused(&one, config, 17, &["disk1", "disk0", "two lives"]);
}

#[test]
fn the_same_directory_twice() {
    let node = used();
    let mut config = node.config();
    config.disks[1] = config.disks[0].clone();
    check_refused(&node, config, 10, &["in use"]);
}

#[test]
fn a_database_that_is_gone() {
    for database in ["raft", "data"] {
        let node = used();
        fs::remove_dir_all(node.disk(1).join(database)).unwrap();
        check_refused(&node, node.config(), 18, &["disk1", database, "is gone"]);
    }
}

#[test]
fn databases_that_changed_places() {
    for database in ["raft", "data"] {
        let node = used();
        let (a, b) = (node.disk(0).join(database), node.disk(1).join(database));
        let aside = node.dir.path().join("aside");
        fs::rename(&a, &aside).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(&aside, &b).unwrap();
        let error = node.try_open().err().expect("it does not open");
        assert_eq!(error.exit_code(), 18, "{error}");
        assert!(error.to_string().contains("another data directory"), "{error}");
    }
}

#[test]
fn a_path_that_cannot_be() {
    let node = Node::new(1);
    fs::write(node.disk(0), "a file").unwrap();
    let error = node.try_open().err().expect("it does not open");
    assert_eq!(error.exit_code(), 21, "{error}");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn half_made_directories_are_finished() {
    let node = used();
    let incarnation = node.open().incarnation();
    // As a crash leaves them that comes before the databases are made.
    let mut fresh = Node::new(2);
    fresh.disks = 1;
    let made = fresh.open();
    let fresh_incarnation = made.incarnation();
    drop(made);
    fs::remove_dir_all(fresh.disk(0).join("data")).unwrap();
    let error = fresh.try_open().err().expect("it was made, so data/ was taken away");
    assert_eq!(error.exit_code(), 18);
    assert_ne!(incarnation, fresh_incarnation);
    // And one that comes while the identity is written.
    fs::write(node.disk(0).join("identity.new"), "hal").unwrap();
    assert_eq!(node.open().incarnation(), incarnation);
}

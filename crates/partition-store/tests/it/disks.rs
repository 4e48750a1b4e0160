//! Two disks and one manifest: every disk knows every partition, and the offline
//! check reads what a node wrote.

use std::fs;

use partition_store::Store;

use crate::fixture::{Node, append, entries, entry, members, partition, wait};

#[test]
fn a_manifest_that_missed_changes_is_brought_up() {
    let node = Node::new(2);
    let store = node.open();
    for id in 1..=4 {
        store.create(partition(id), members()).unwrap();
    }
    store.close().unwrap();
    // The second disk as it was before what follows: as if it had failed then.
    let (disk, old) = (node.disk(1), node.dir.path().join("old"));
    copy(&disk, &old);
    let store = node.open();
    store.delete(partition(1)).unwrap();
    store.delete(partition(3)).unwrap();
    store.create(partition(3), vec![]).unwrap();
    let expected = store.manifest();
    store.close().unwrap();
    fs::remove_dir_all(&disk).unwrap();
    fs::rename(&old, &disk).unwrap();

    let store = node.open();
    let told = store.manifest();
    let ids = |entries: &[partition_store::ManifestEntry]| {
        entries.iter().map(|entry| entry.partition_id.get()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&told), ids(&expected), "the newest word on each partition");
    assert!(store.load(partition(1)).is_err());
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

#[test]
fn the_offline_check_reads_and_changes_nothing() {
    let node = Node::new(2);
    let store = node.open();
    for id in 1..=4 {
        store.create(partition(id), members()).unwrap();
        let replica = store.load(partition(id)).unwrap();
        let applied: Vec<_> = (0..3).map(|index| entry(1, index, 9000)).collect();
        append(replica.log(), applied.clone());
        wait(replica.state().apply(applied)).unwrap();
    }
    let report = Store::check_dir(&node.disk(0));
    assert_eq!(report.fault.map(|fault| fault.exit_code()), Some(10), "it is in use");
    // After a crash as well as after a close.
    drop(store);
    for _ in 0..2 {
        let list = |nth| {
            let list = |dir: std::path::PathBuf| {
                fs::read_dir(dir)
                    .unwrap()
                    .map(|file| {
                        let file = file.unwrap();
                        (file.path(), file.metadata().unwrap().len())
                    })
                    .collect::<std::collections::BTreeMap<_, _>>()
            };
            let disk = node.disk(nth);
            (list(disk.clone()), list(disk.join("raft")), list(disk.join("data")))
        };
        for nth in 0..2 {
            let before = list(nth);
            let report = Store::check_dir(&node.disk(nth));
            assert!(report.is_sound(), "{report:?}");
            assert_eq!(report.partitions.len(), 2);
            assert_eq!(list(nth), before, "nothing is changed");
        }
        node.open().close().unwrap();
    }
    let report = Store::check_dir(node.dir.path());
    assert!(!report.is_sound(), "no data directory at all");
    let store = node.open();
    assert_eq!(entries(store.load(partition(4)).unwrap().log()).len(), 3);
}

//! The options that the databases really run with, as the engine wrote them down:
//! more than one way of opening it leaves tables with defaults.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::fixture::Node;

/// Section and key to value.
fn options(database: &Path) -> BTreeMap<(String, String), String> {
    let newest = fs::read_dir(database)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("OPTIONS-"))
        .max()
        .expect("there is one");
    let mut options = BTreeMap::new();
    let mut section = String::new();
    for line in fs::read_to_string(newest).unwrap().lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            options.insert((section.clone(), key.to_owned()), value.to_owned());
        }
    }
    options
}

#[test]
fn are_the_ones_that_were_chosen() {
    let node = Node::new(1);
    let store = node.open();
    let check = |database: &str, section: &str, expected: &[(&str, &str)]| {
        let options = options(&node.disk(0).join(database));
        for (key, value) in expected {
            let found = options.get(&(section.to_owned(), (*key).to_owned()));
            assert_eq!(found.map(String::as_str), Some(*value), "{database} [{section}] {key}");
        }
    };
    let check_both = || {
        check(
            "raft",
            "DBOptions",
            &[
                ("wal_recovery_mode", "kTolerateCorruptedTailRecords"),
                ("max_total_wal_size", "67108864"),
                ("atomic_flush", "true"),
                ("bytes_per_sync", "1048576"),
                ("track_and_verify_wals_in_manifest", "true"),
                ("recycle_log_file_num", "0"),
                ("enable_pipelined_write", "false"),
                ("manual_wal_flush", "false"),
                ("paranoid_checks", "true"),
                ("avoid_flush_during_shutdown", "true"),
            ],
        );
        check(
            "data",
            "DBOptions",
            &[
                ("atomic_flush", "true"),
                ("bytes_per_sync", "1048576"),
                ("paranoid_checks", "true"),
                ("avoid_flush_during_shutdown", "true"),
            ],
        );
        let blobs = [
            ("enable_blob_files", "true"),
            ("min_blob_size", "4096"),
            ("enable_blob_garbage_collection", "true"),
            ("blob_compression_type", "kNoCompression"),
        ];
        for (database, section, write_buffer) in [
            ("raft", "CFOptions \"log\"", "33554432"),
            ("data", "CFOptions \"chunk\"", "134217728"),
        ] {
            check(database, section, &blobs);
            check(database, section, &[("write_buffer_size", write_buffer)]);
        }
        for (database, section) in
            [("raft", "CFOptions \"log_meta\""), ("data", "CFOptions \"state_meta\"")]
        {
            check(database, section, &[("enable_blob_files", "false")]);
            check(database, section, &[("compression", "kLZ4Compression")]);
        }
    };
    check_both();
    // An existing database is opened in another way than a new one is made.
    store.close().unwrap();
    let _store = node.open();
    check_both();
}

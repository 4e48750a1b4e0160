//! What happens to a data directory while its node is down: bytes flipped,
//! files emptied, directories wiped; and what may not happen to it, a change by
//! a start that refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file below `dir`, by its path in it.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut all, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { dirs.push(path) } else { all.push(path) }
        }
    }
    all.sort();
    all
}

/// The content of all files but locks and RocksDB's own chatter.
pub(crate) fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let is_chatter = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "LOCK" || name.starts_with("LOG")
    };
    let files = files(dir).into_iter().filter(|path| !is_chatter(path));
    files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Brings a directory back to what it was, files that came since aside.
pub(crate) fn restore(dir: &Path, content: &BTreeMap<PathBuf, Vec<u8>>) {
    fs::remove_dir_all(dir).unwrap();
    for (path, bytes) in content {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Flips a byte wherever one of the files holds `pattern`. How often it did.
pub(crate) fn flip(dir: &Path, extension: &str, pattern: &[u8]) -> usize {
    let mut flipped = 0;
    for path in files(dir) {
        if path.extension().is_none_or(|found| found != extension) {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let places = places_of(pattern, &bytes);
        for at in &places {
            bytes[at + pattern.len() / 2] ^= 0x20;
        }
        if !places.is_empty() {
            fs::write(&path, bytes).unwrap();
            flipped += places.len();
        }
    }
    flipped
}

/// Where a pattern begins.
fn places_of(pattern: &[u8], bytes: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(pattern.len()).enumerate();
    windows.filter(|(_, window)| *window == pattern).map(|(at, _)| at).collect()
}

/// Takes everything out of a directory, as a disk that was replaced.
pub(crate) fn wipe(dir: &Path) {
    fs::remove_dir_all(dir).unwrap();
    fs::create_dir(dir).unwrap();
}

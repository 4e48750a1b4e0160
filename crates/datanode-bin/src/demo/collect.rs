//! Which files of a tree are stored.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Of a Rust sysroot: so many files in all, unless told otherwise.
const SYSROOT_FILES: usize = 2_000;
/// Likewise, in bytes.
const SYSROOT_LEN_BYTES: u64 = 800 << 20;

/// How much of a tree is taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) files: Option<usize>,
    pub(super) bytes: Option<u64>,
}

/// A file of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) len_bytes: u64,
}

/// The files to store, in the order of their paths.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<SourceFile>,
    pub(super) len_bytes: u64,
    /// Links to directories or nowhere, sockets and the like, and files beyond
    /// the limit in bytes.
    pub(super) skipped: u64,
}

/// Collects the files below `from`, empty ones too. A link to a file counts as
/// that file, a link to a directory is not followed: it may be a circle. Of a
/// Rust sysroot, `lib` is taken first and whole, and `share` is limited.
pub(super) fn collect(from: &Path, limits: Limits) -> anyhow::Result<Tree> {
    let mut tree = Tree::default();
    if from.join("lib/rustlib").is_dir() {
        tree.walk(&from.join("lib"), limits)?;
        let share = from.join("share");
        if share.is_dir() {
            let files = limits.files.or(Some(SYSROOT_FILES));
            let bytes = limits.bytes.or(Some(SYSROOT_LEN_BYTES));
            tree.walk(&share, Limits { files, bytes })?;
        }
    } else {
        tree.walk(from, limits)?;
    }
    Ok(tree)
}

impl Tree {
    fn walk(&mut self, dir: &Path, limits: Limits) -> anyhow::Result<()> {
        let listed = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = listed.with_context(|| format!("list {}", dir.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if limits.files.is_some_and(|limit| self.files.len() >= limit) {
                return Ok(());
            }
            let path = entry.path();
            let kind = entry.file_type().with_context(|| format!("look at {}", path.display()))?;
            if kind.is_dir() {
                self.walk(&path, limits)?;
            } else {
                self.take(path, limits);
            }
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf, limits: Limits) {
        // Follows a link; one that leads nowhere is an error here.
        let len_bytes = match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) | Err(_) => {
                self.skipped += 1;
                return;
            }
        };
        if limits.bytes.is_some_and(|limit| self.len_bytes + len_bytes > limit) {
            self.skipped += 1;
            return;
        }
        self.len_bytes += len_bytes;
        self.files.push(SourceFile { path, len_bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(files: &[(&str, usize)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, len) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![b'x'; *len]).unwrap();
        }
        dir
    }

    fn check(dir: &Path, limits: Limits, expected: &[&str], skipped: u64) {
        let tree = collect(dir, limits).unwrap();
        let paths: Vec<_> = tree
            .files
            .iter()
            .map(|f| f.path.strip_prefix(dir).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(paths, expected);
        assert_eq!(tree.skipped, skipped);
        assert_eq!(tree.len_bytes, tree.files.iter().map(|file| file.len_bytes).sum::<u64>());
    }

    #[test]
    fn takes_files_in_order_and_keeps_to_the_limits() {
        let dir = tree(&[("b/2", 10), ("a", 0), ("b/1", 30), ("c", 5)]);
        symlink(dir.path().join("a"), dir.path().join("link-to-file")).unwrap();
        symlink(dir.path(), dir.path().join("circle")).unwrap();
        symlink("nowhere", dir.path().join("d-broken")).unwrap();
        let all = ["a", "b/1", "b/2", "c", "link-to-file"];
        check(dir.path(), Limits::default(), &all, 2);
        check(dir.path(), Limits { files: Some(2), bytes: None }, &all[..2], 0);
        let fits = ["a", "b/2", "c", "link-to-file"];
        check(dir.path(), Limits { files: None, bytes: Some(20) }, &fits, 3);
    }

    #[test]
    fn takes_the_libraries_of_a_sysroot_first() {
        let dir = tree(&[("lib/rustlib/x", 1), ("lib/a", 1), ("bin/rustc", 1), ("share/doc", 1)]);
        check(dir.path(), Limits::default(), &["lib/a", "lib/rustlib/x", "share/doc"], 0);
        check(dir.path(), Limits { files: Some(1), bytes: None }, &["lib/a"], 0);
    }
}

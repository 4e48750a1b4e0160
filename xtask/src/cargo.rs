//! Calling cargo so that a second clone on the machine builds fast.
//!
//! Two things are kept outside the clone: the target directory, and ccache's
//! copy of RocksDB's objects. Either may be empty or set by the caller.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tool;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask stands in the root")
}

/// Where things are kept between clones: `$XDG_CACHE_HOME/datanode`.
pub(crate) fn cache_dir() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| ".".into()));
    base.unwrap_or_else(|| home().join(".cache")).join("datanode")
}

/// The target directory: `CARGO_TARGET_DIR`, or one that clones share.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => root().join(dir),
        _ => cache_dir().join("target"),
    }
}

/// A cargo call in the root, with the shared target directory and ccache.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).env("CARGO_TARGET_DIR", target_dir());
    // The package of the running xtask is not that of the crates it builds.
    for (key, _) in env::vars_os().filter(|(key, _)| {
        key.to_str().is_some_and(|key| key.starts_with("CARGO_PKG_") || key == "CARGO_MANIFEST_DIR")
    }) {
        command.env_remove(key);
    }
    if tool::on_path("ccache") {
        for (variable, compiler) in [("CC", "ccache gcc"), ("CXX", "ccache g++")] {
            if env::var_os(variable).is_none() {
                command.env(variable, compiler);
            }
        }
        // Preprocessed C++ says where it was built; clones differ in that only.
        command.env("CCACHE_NOHASHDIR", "1");
    }
    command
}

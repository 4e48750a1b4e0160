//! Calling cargo so that a second clone on the machine builds fast.
//!
//! Two things are kept outside the clone: the target directory, and ccache's
//! copy of RocksDB's objects. Either may be empty or set by the caller.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    if let Some(path) = path_through_ccache() {
        command.env("PATH", path);
    }
    command
}

/// A cargo call for the simulator, which has features and flags of its own and
/// so a target directory of its own: `sim` in the usual one.
pub(crate) fn simulator<const N: usize>(args: [&str; N]) -> Command {
    let mut command = cargo(args);
    command.args(["--package", "cluster-sim", "--features", "sim"]);
    // It is not the model: built fast, it runs fast enough.
    command.args(["--config", "profile.dev.package.cluster-sim.opt-level=1"]);
    command.env("CARGO_TARGET_DIR", simulator_dir()).env("RUSTFLAGS", "--cfg tokio_unstable");
    command
}

/// Its target directory.
pub(crate) fn simulator_dir() -> PathBuf {
    target_dir().join("sim")
}

/// The search path with ccache standing in for the compilers, where Debian's
/// package is there. Not by `CXX`: cargo builds RocksDB again when that changes.
fn path_through_ccache() -> Option<OsString> {
    let stand_ins = Path::new("/usr/lib/ccache");
    let path = env::var_os("PATH")?;
    stand_ins.is_dir().then_some(())?;
    let dirs = std::iter::once(stand_ins.to_path_buf()).chain(env::split_paths(&path));
    env::join_paths(dirs).ok()
}

//! What a bare machine lacks: installed where we may, named where we may not.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{cargo, python, tool};

/// Debian's packages that building RocksDB takes: bindgen needs libclang with
/// its headers; ccache makes every build after the first one cheap.
const BUILD_PACKAGES: [&str; 3] = ["libclang1-14", "libclang-common-14-dev", "ccache"];

/// For a build of `datanode`.
pub(crate) fn for_build() -> Result<()> {
    if !tool::on_path("dpkg-query") {
        // Not a Debian: the build itself will say what it lacks.
        if !tool::on_path("ccache") {
            eprintln!("xtask: needs libclang and a C++20 compiler; ccache makes rebuilds cheap");
        }
        return Ok(());
    }
    let missing: Vec<_> = BUILD_PACKAGES.into_iter().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !is_root() {
        bail!("this machine lacks {}; run: sudo {install}", missing.join(", "));
    }
    eprintln!("xtask: {install}");
    let apt = |line: &str| {
        let mut command = Command::new("sh");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-c", line]);
        tool::run_quietly(&mut command)
    };
    // Another package manager may hold the lock, and lists may be old: once more.
    apt("apt-get update -qq")?;
    apt(&install).or_else(|_| {
        std::thread::sleep(std::time::Duration::from_secs(10));
        apt(&install)
    })
}

/// For the tests: a build, a foreign client, and Prometheus' own checker.
pub(crate) fn for_tests() -> Result<()> {
    for_build()?;
    python::environment()?;
    promtool()?;
    Ok(())
}

/// Debian's `promtool`, taken out of its package without installing a server.
pub(crate) fn promtool() -> Result<std::path::PathBuf> {
    let dir = cargo::cache_dir().join("tools");
    let promtool = dir.join("usr/bin/promtool");
    if promtool.is_file() {
        return Ok(promtool);
    }
    if !tool::on_path("apt-get") {
        bail!("the tests need promtool at {}: put Prometheus' there", promtool.display());
    }
    std::fs::create_dir_all(&dir)?;
    eprintln!("xtask: fetching promtool (Debian package `prometheus`)");
    let take = "apt-get download -qq prometheus || (apt-get update -qq && apt-get download -qq prometheus); \
                dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb";
    tool::run_quietly(Command::new("sh").current_dir(&dir).args(["-c", take]))?;
    Ok(promtool)
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${Status}", package])
        .output()
        .is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

//! `cargo xtask tidy`: what a reviewer should not have to say twice.

mod arrows;
mod files;
mod licences;
mod map;

use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

use crate::{cargo, setup, tool};

pub(crate) fn run() -> Result<()> {
    setup::for_build()?;
    let metadata = MetadataCommand::new()
        .current_dir(cargo::root())
        .exec()
        .context("read the workspace's metadata")?;
    let tracked = tracked_files()?;
    let mut findings = Vec::new();
    findings.extend(arrows::check(&metadata));
    findings.extend(files::check(&tracked)?);
    findings.extend(licences::check(&metadata)?);
    findings.extend(map::check(&metadata, &tracked)?);
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    tool::run(&mut cargo::cargo(["fmt", "--all", "--check"]))?;
    let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    tool::run(&mut cargo::cargo(lints))?;
    // What only the simulator has, without RocksDB, where the simulator is built.
    let mut lints = cargo::simulator(["clippy", "--all-targets", "--quiet"]);
    tool::run(lints.args(["--", "--deny", "warnings"]))?;
    let mut docs = cargo::cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    tool::run(docs.env("RUSTDOCFLAGS", "--deny warnings"))?;
    eprintln!("tidy: {} files, nothing to say", tracked.len());
    Ok(())
}

/// The files git knows of, and those it would take.
fn tracked_files() -> Result<Vec<String>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = tool::read(Command::new("git").current_dir(cargo::root()).args(list))?;
    let there = |name: &&str| cargo::root().join(name).is_file();
    Ok(listed.lines().filter(there).map(str::to_owned).collect())
}

/// The packages of this workspace.
fn ours(metadata: &Metadata) -> impl Iterator<Item = &cargo_metadata::Package> {
    metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id))
}

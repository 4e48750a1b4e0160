//! The virtual environment of the foreign client: stock Python gRPC.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{cargo, tool};

/// Pinned: what a stock client sees must not change under us.
const PACKAGES: [&str; 4] = [
    "grpcio==1.85.1",
    "grpcio-health-checking==1.85.1",
    "grpcio-reflection==1.85.1",
    "grpcio-status==1.85.1",
];

/// Makes it where it is not there yet, and returns its interpreter.
pub(crate) fn environment() -> Result<PathBuf> {
    let dir = cargo::cache_dir().join("python");
    let python = dir.join("bin/python");
    let stamp = dir.join("packages");
    let wanted = PACKAGES.join("\n");
    if python.exists() && std::fs::read_to_string(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(python);
    }
    eprintln!("xtask: making the Python environment in {}", dir.display());
    tool::run_quietly(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
    tool::run_quietly(
        Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES),
    )?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

//! Developers' workflows: `cargo xtask <verb>`, one file a verb.
//!
//! Builds on a bare Rust toolchain in seconds: nothing here links RocksDB or
//! speaks gRPC. What needs those is in the `datanode` program and its tests.

mod bench;
mod demo;
mod model;
mod planted;
mod roll;
mod sim;
mod test;
mod tidy;

mod cargo;
mod python;
mod setup;
mod tool;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developers' workflows of datanode")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure starts
    Bench(bench::Args),
    /// Run the main job: three real nodes store a real tree and are restarted under load
    Demo(demo::Args),
    /// Check the start-up protocol in every reachable state
    Model(model::Args),
    /// Plant each known bug in a copy, and show that its test catches it
    Planted(planted::Args),
    /// Restart every node in turn under load, and check what clients saw
    Roll(roll::Args),
    /// Run seeds of the simulated cluster: crashes, partitions, pauses, rolls
    Sim(sim::Args),
    /// Run every test
    Test(test::Args),
    /// Check format, lints, arrows, file openings, sizes, licences and documentation
    Tidy,
    /// What CI runs: tidy, then test
    Ci,
    /// Install what a build needs, or print the line that does
    Setup,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.verb {
        Verb::Bench(args) => bench::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Model(args) => model::run(&args),
        Verb::Planted(args) => planted::run(&args),
        Verb::Roll(args) => roll::run(&args),
        Verb::Sim(args) => sim::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Tidy => tidy::run(),
        Verb::Ci => tidy::run().and_then(|()| test::run(&test::Args::default())),
        Verb::Setup => setup::for_tests(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The program `model`: explores the start-up protocol and says what it found.
//! Run by `cargo xtask model`.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "model", about = "Check the start-up protocol in every reachable state")]
struct Cli {
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// The small scenarios only
    #[arg(long)]
    quick: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let report = cluster_sim::model::run(cli.quick, &|line| eprintln!("{line}"));
    if cli.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

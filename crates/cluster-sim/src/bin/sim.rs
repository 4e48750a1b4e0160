//! The program `sim`: runs one seed of the simulated cluster and says what it
//! found. Run by `cargo xtask sim`, which builds it with what it needs.

use std::process::ExitCode;

use clap::Parser;
use cluster_sim::sim::{Plan, ScalePlan, run, run_scale};
use partition_store::planted::{Bug, plant};
use rand::SeedableRng;

#[derive(Parser)]
#[command(name = "sim", about = "Run one seed of the simulated cluster")]
struct Cli {
    /// The seed
    seed: u64,
    /// End with one JSON object on a line of its own
    #[arg(long)]
    json: bool,
    /// Show every event as it happens
    #[arg(long)]
    loud: bool,
    /// How long things break, in simulated milliseconds
    #[arg(long, default_value_t = 15_000)]
    faults_ms: u64,
    /// Count what a large cluster's nodes say, in place of breaking a small one
    #[arg(long)]
    scale: bool,
    /// Its nodes
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(5..))]
    nodes: u64,
    /// Its partitions, of three replicas each
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    groups: u64,
    /// Writes a second while clients write
    #[arg(long, default_value_t = 200)]
    writes: u64,
    /// Wake a known bug, which must be caught
    #[arg(long, hide = true)]
    plant: Option<Planted>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Planted {
    AckBeforeSync,
    VoteLost,
    LeaderRestored,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    if !cfg!(tokio_unstable) {
        anyhow::bail!("built without --cfg tokio_unstable: runs would differ; use cargo xtask sim");
    }
    if let Some(bug) = cli.plant {
        plant(match bug {
            Planted::AckBeforeSync => Bug::AckBeforeSync,
            Planted::VoteLost => Bug::VoteLost,
            Planted::LeaderRestored => Bug::LeaderRestored,
        });
    }
    // Chance and clocks of everything in the process, libraries included. Maps draw
    // their keys once a thread, here, so that showing logs changes nothing.
    mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(cli.seed));
    drop(std::hash::RandomState::new());
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let plain = tracing_subscriber::fmt().without_time().with_writer(std::io::stderr);
        plain.with_env_filter(filter).init();
    }
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    if cli.scale {
        return scale(&cli);
    }
    let plan = Plan { seed: cli.seed, faults_ms: cli.faults_ms, crashes_min: 5, loud: cli.loud };
    let (report, tail) = run(plan);
    if !report.passed() && !cli.loud {
        tail.iter().for_each(|line| eprintln!("{line}"));
    }
    if cli.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scale(cli: &Cli) -> anyhow::Result<ExitCode> {
    let report = run_scale(ScalePlan {
        seed: cli.seed,
        nodes: cli.nodes,
        groups: cli.groups,
        writes_per_second: cli.writes,
        loud: cli.loud,
    });
    print!("{}", report.table());
    report.problems.iter().for_each(|problem| println!("{problem}"));
    if cli.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

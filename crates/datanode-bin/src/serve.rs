//! `datanode serve`: a node, from its configuration to its last flush.
//!
//! `node` is the wiring diagram; the files beside it are its parts.

mod courtesy;
mod data;
mod down;
mod files;
mod gate;
mod node;
mod owner;
mod ports;
mod signals;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::commands::config;
use crate::config::LoadedConfig;
use crate::{Exit, Failure, cpu, telemetry};

/// How long the runtime may take to end its last tasks; they hold nothing.
const RUNTIME_GRACE: Duration = Duration::from_millis(500);

/// Arguments of `datanode serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file. Without one: a single node on loopback that
    /// keeps its data in ./datanode-data.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key, above file and environment: `--set listen.client=0.0.0.0:17310`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Start even when more partitions than `startup.max_quarantined` are
    /// quarantined, or when a disk is lost.
    #[arg(long)]
    pub accept_degraded: bool,
}

/// Runs a node until it is told to stop. A node that began and failed ends the
/// process, with its message and exit code.
///
/// # Errors
/// [`Failure`] with the exit code it deserves, of a node that did not begin.
pub fn run(args: Args) -> Result<(), Failure> {
    let process_start = Instant::now();
    let lacking = cpu::lacking();
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        let message = format!(
            "this CPU lacks {lacking}: the program needs x86-64-v2 with PCLMULQDQ \
             (Intel since 2010, AMD since 2011)"
        );
        return Err(Failure::new(Exit::Failed, anyhow::anyhow!(message)));
    }
    let stand_alone = args.config.is_none();
    let loaded = config::load(args.config, args.set)?;
    telemetry::init(&loaded.config.log).map_err(|error| Failure::new(Exit::Failed, error))?;
    files::raise_limit();
    let courtesy = courtesy::Courtesy::begin();
    let plan = node::Plan {
        make_first_partition: stand_alone && is_nobody_elses_peer(&loaded),
        accept_degraded: args.accept_degraded,
        process_start,
        test_check_delay: data::test_check_delay()?,
        may_choose_activation: loaded.is_default("startup.activation"),
        config: loaded.config,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().thread_name("datanode").enable_all().build()?;
    if let Err(failure) = runtime.block_on(node::run(plan, courtesy)) {
        leave(&failure);
    }
    runtime.shutdown_timeout(RUNTIME_GRACE);
    Ok(())
}

/// Ends the process without waiting for what still runs in it: every
/// acknowledged write is in a synced log.
///
/// Without the exit handlers of C++ too: they destroy static objects that the
/// threads of a database use which nobody closed, and it would end with a
/// segmentation fault now and then.
fn leave(failure: &Failure) -> ! {
    signal_hook::low_level::exit(failure.report().into())
}

/// Whether nothing hints at a cluster: then, and only then, the node makes
/// itself useful by itself.
fn is_nobody_elses_peer(loaded: &LoadedConfig) -> bool {
    ["node_id", "seeds", "cluster_id"].iter().all(|key| loaded.is_default(key))
}

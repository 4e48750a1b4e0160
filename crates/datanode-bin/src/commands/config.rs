//! `datanode config`: the configuration, printed, checked and explained.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;

use crate::config::{ConfigError, LoadedConfig, Sources, schema, template};
use crate::output::{Format, Output};
use crate::{Exit, Failure};

/// Arguments of `datanode config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print a file with every key at its default and what it means.
    Default,
    /// Check a file; the environment counts, as it does for `serve`.
    Check {
        /// The configuration file.
        file: PathBuf,
        /// Set one key above file and environment.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Print the configuration that `serve` would run with.
    Show {
        /// The configuration file.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Set one key above file and environment.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Say for each key where its value came from.
        #[arg(long)]
        origin: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Print the JSON schema of the file, for editors.
    Schema,
}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the exit code it deserves: 2 for a bad configuration.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Default => print(&template()),
        Verb::Schema => print(&format!("{:#}\n", schema())),
        Verb::Check { file, set } => {
            let shown = file.display().to_string();
            load(Some(file), set)?;
            print(&format!("{shown}: ok\n"))
        }
        Verb::Show { config, set, origin, output } => {
            let loaded = load(config, set)?;
            match (output.format, origin) {
                (Format::Table, true) => print(&with_origins(&loaded)),
                (Format::Table, false) => print(&as_toml(&loaded)?),
                (Format::Json, _) => print(&as_json(&loaded, origin)?),
            }
        }
    }
}

/// Reads the configuration of a `serve` with these arguments.
///
/// # Errors
/// [`Failure`] with the usage code and every problem with its place.
pub(crate) fn load(file: Option<PathBuf>, set: Vec<String>) -> Result<LoadedConfig, Failure> {
    Sources::of_process(file, set).load().map_err(|error: ConfigError| Failure::usage(error))
}

fn as_toml(loaded: &LoadedConfig) -> Result<String, Failure> {
    toml::to_string(&loaded.config).map_err(|error| Failure::new(Exit::Failed, error))
}

fn as_json(loaded: &LoadedConfig, origin: bool) -> Result<String, Failure> {
    let value = if origin {
        let rows = loaded.origins().into_iter().map(|(key, value, origin)| {
            serde_json::json!({ "key": key, "value": value, "origin": origin.to_string() })
        });
        serde_json::Value::Array(rows.collect())
    } else {
        serde_json::to_value(&loaded.config).map_err(|e| Failure::new(Exit::Failed, e))?
    };
    Ok(format!("{value:#}\n"))
}

fn with_origins(loaded: &LoadedConfig) -> String {
    let rows = loaded.origins();
    let width = rows.iter().map(|(key, value, _)| key.len() + value.len() + 3).max().unwrap_or(0);
    rows.into_iter()
        .map(|(key, value, origin)| format!("{:width$}  # {origin}\n", format!("{key} = {value}")))
        .collect()
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

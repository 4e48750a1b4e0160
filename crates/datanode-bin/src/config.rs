//! The configuration of a node: TOML file, environment and `--set`, each over
//! the defaults, and for each key where its value came from.
//!
//! Strict: an unknown key, a wrong type and a value that cannot work are
//! errors that name the place (file, line and caret; or the variable or the
//! argument) and say what to do. What the keys mean is in `keys`.

mod error;
mod keys;
mod layer;
mod model;
mod place;
mod validate;
mod value;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, Problem};
pub use keys::{schema, template};
pub use layer::{ENV_PREFIX, Origin};
pub use model::{
    Activation, Advertise, Config, Disk, Limits, Listen, Log, LogFormat, Policy, Raft, Shutdown,
    Startup, Tls, TlsFiles, Verify,
};
pub use value::{Interval, Ratio, Size};

use layer::Layers;

/// What a configuration is put together from, lowest layer first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if any.
    pub file: Option<PathBuf>,
    /// Environment variables; only those with [`ENV_PREFIX`] count.
    pub env: Vec<(String, String)>,
    /// `KEY=VALUE` each.
    pub set: Vec<String>,
}

impl Sources {
    /// The file and the arguments as given, with the environment of the process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Self {
        // Variables that are no UTF-8 cannot be ours.
        let env = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, env, set }
    }

    /// Reads, layers and validates.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem that the first failing step found.
    pub fn load(&self) -> Result<LoadedConfig, ConfigError> {
        let mut layers = match &self.file {
            Some(path) => Layers::from_file(path, &read(path)?)?,
            None => Layers::default(),
        };
        for (name, value) in &self.env {
            if name.starts_with(ENV_PREFIX) {
                layers.apply_env(name, value)?;
            }
        }
        for argument in &self.set {
            layers.apply_set(argument)?;
        }
        let config = layers.config()?;
        let problems = validate::problems(&config);
        if problems.is_empty() {
            return Ok(LoadedConfig { config, layers });
        }
        Err(ConfigError { problems: problems.into_iter().map(|p| layers.locate(p)).collect() })
    }
}

/// A valid configuration and the origin of its values.
#[derive(Debug)]
pub struct LoadedConfig {
    /// The values.
    pub config: Config,
    layers: Layers,
}

impl LoadedConfig {
    /// Every key with its value as TOML and where that came from, in the order
    /// of the template.
    #[must_use]
    pub fn origins(&self) -> Vec<(String, String, Origin)> {
        self.layers.origins(&self.config)
    }

    /// Whether nobody set this key, so that it is for the node to choose.
    #[must_use]
    pub fn is_default(&self, key: &str) -> bool {
        self.layers.is_default(key)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| {
        let mut problem = Problem::new(format!("cannot read {}: {source}", path.display()));
        if source.kind() == std::io::ErrorKind::NotFound {
            problem = problem.advise("`datanode config default` prints a file to start from");
        }
        ConfigError { problems: vec![problem] }
    })
}

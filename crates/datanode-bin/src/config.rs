//! The configuration: TOML file, environment, `--set`, and where each key came from.

//! Logs: tracing to stderr.

//! Logs: tracing to stderr, for people or as JSON. stdout is for results.
//!
//! A span is told when it closes, with its time: those of the start are at
//! `debug`, one a stage, and one a partition in each of *load*, *check*, *elect*.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{Log, LogFormat};
use crate::progress;

/// Libraries that tell more than a node's operator wants, unless asked by name:
/// later directives win.
const QUIET: &str = "openraft=error,h2=warn,hyper=warn,tower=warn,tonic=warn";

/// Starts to log as configured.
///
/// # Errors
/// A subscriber is installed already: a process has one.
pub(crate) fn init(log: &Log) -> Result<(), TryInitError> {
    let directives = format!("{QUIET},{}", log.level);
    // Validation has read the directives before; the fallback is unreachable
    // and harmless.
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    match log.format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
            let layer = layer.with_span_events(FmtSpan::CLOSE);
            registry.with(layer.with_writer(Stderr)).try_init()
        }
        LogFormat::Pretty => {
            let layer = tracing_subscriber::fmt::layer().with_writer(Stderr);
            let layer = layer.with_span_events(FmtSpan::CLOSE);
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(layer.with_ansi(colour)).try_init()
        }
    }
}

/// stderr, with the progress bar out of the way while a line is written.
struct Stderr;

impl MakeWriter<'_> for Stderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        progress::screen().suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

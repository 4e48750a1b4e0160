//! Whether a disk takes writes.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::engine::EngineError;

/// Good until the first failed write, and bad from then on. After a failed sync
/// the kernel may have dropped what it could not write: trying again succeeds
/// and proves nothing.
pub(crate) struct Health {
    path: PathBuf,
    failure: OnceLock<String>,
}

impl Health {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, failure: OnceLock::new() }
    }

    /// # Errors
    /// When the disk takes no writes any more.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.failure.get() {
            None => Ok(()),
            Some(why) => Err(io::Error::other(format!("the disk failed earlier: {why}"))),
        }
    }

    /// Takes no more writes.
    pub(crate) fn fail(&self, error: &EngineError) {
        if self.failure.set(error.to_string()).is_ok() {
            tracing::error!(
                disk = %self.path.display(),
                %error,
                "disk failed: it takes no writes until the next start"
            );
        }
    }

    /// Why it takes no writes, if so.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }
}

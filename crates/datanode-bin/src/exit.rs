//! Exit codes, and the failure that carries one out of a subcommand.

use std::fmt;
use std::io;

/// How the program ends. The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something went wrong while doing what was asked.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// No endpoint could be reached.
    Unreachable,
    /// The node, or the cluster, is not ready.
    NotReady,
    /// The store refused a data directory; each refusal has its own number.
    Store(u8),
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotReady => 4,
            Self::Store(code) => code,
        }
    }
}

/// Why a subcommand failed, and with which exit code.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// A failure with `exit` as its code.
    #[must_use]
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Bad usage or configuration, in words.
    #[must_use]
    pub fn usage(problem: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{problem}") }
    }

    /// Which code it ends the program with.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the one line (with its causes) to stderr and gives the code.
    /// That a reader of stdout went away (`| head`) is no failure.
    #[must_use]
    pub fn report(&self) -> u8 {
        let io = self.error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return 0;
        }
        eprintln!("error: {self}");
        self.exit.code()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Failed, error }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}

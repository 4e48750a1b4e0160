//! Which nodes a command talks to, and how its errors become exit codes.

use std::time::Duration;

use datanode_client::{AdminClient, Client, ClientConfig, Error, ErrorKind, InvalidConfig, Reason};

use crate::{Exit, Failure};

/// Where a node's admin port is when nobody says otherwise.
const ADMIN_DEFAULT: &str = "127.0.0.1:17320";
/// Likewise the client port.
const CLIENT_DEFAULT: &str = "127.0.0.1:17310";

/// The arguments of a command that talks to admin ports.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AdminArgs {
    /// Admin addresses of one or more nodes, HOST:PORT[,HOST:PORT…].
    #[arg(
        long,
        global = true,
        env = "DATANODE_ENDPOINTS",
        value_delimiter = ',',
        default_value = ADMIN_DEFAULT,
        value_name = "ADDRESSES"
    )]
    pub(super) endpoints: Vec<String>,
}

/// The arguments of a command that talks to client ports.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ClientArgs {
    /// Client addresses of one or more nodes, HOST:PORT[,HOST:PORT…].
    #[arg(
        long,
        global = true,
        env = "DATANODE_ENDPOINTS",
        value_delimiter = ',',
        default_value = CLIENT_DEFAULT,
        value_name = "ADDRESSES"
    )]
    pub(super) endpoints: Vec<String>,
    /// How long to try.
    #[arg(long, global = true, default_value = "30s", value_name = "DURATION")]
    pub(super) timeout: humantime::Duration,
}

impl AdminArgs {
    /// A client that tries for so long.
    ///
    /// # Errors
    /// [`Failure`] (bad usage) for an address that is none.
    pub(super) fn client(&self, timeout: Duration) -> Result<AdminClient, Failure> {
        Ok(AdminClient::new(&self.endpoints, config(timeout))?)
    }
}

impl ClientArgs {
    /// The client.
    ///
    /// # Errors
    /// [`Failure`] (bad usage) for an address that is none.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.endpoints, config(*self.timeout))?)
    }
}

fn config(timeout: Duration) -> ClientConfig {
    ClientConfig { timeout, ..ClientConfig::default() }
}

impl From<InvalidConfig> for Failure {
    fn from(error: InvalidConfig) -> Self {
        Self::new(Exit::Usage, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match (error.kind(), error.reason()) {
            (ErrorKind::Unreachable, _) => Exit::Unreachable,
            (_, Some(Reason::Starting)) => Exit::NotReady,
            _ => Exit::Failed,
        };
        if error.code() == Some(datanode_client::Code::Unimplemented) {
            let hint = "is this the right port? extents are on the client port, the rest on admin";
            return Self::new(exit, anyhow::anyhow!("{error} ({hint})"));
        }
        Self::new(exit, error)
    }
}

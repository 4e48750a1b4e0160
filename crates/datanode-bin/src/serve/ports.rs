//! The three addresses, tried before anything is loaded: a taken port is told
//! in milliseconds, not after ten minutes of loading.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::anyhow;
use rpc_server::{Advertise, ClientPort, ServerConfig};

use crate::config::Config;
use crate::{Exit, Failure};

/// Binds the client port, which listens last, and tries the other two.
///
/// # Errors
/// One line that names the key, the address and the reason; exit code 1.
pub(super) fn bind(config: &Config) -> Result<ClientPort, Failure> {
    let listen = &config.listen;
    for (key, address) in [("listen.admin", listen.admin), ("listen.peer", listen.peer)] {
        // Bound and dropped: its server binds it again in a moment.
        TcpListener::bind(address).map_err(|error| refused(key, address, &error))?;
    }
    ClientPort::bind(listen.client).map_err(|error| refused("listen.client", listen.client, &error))
}

/// What to say when `address` cannot be had.
pub(super) fn refused(key: &str, address: SocketAddr, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process has the port (another datanode?): stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: use one of its own, or 0.0.0.0"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose another port",
        _ => "choose another address",
    };
    Failure::new(Exit::Failed, anyhow!("{key} = \"{address}\": {error}; {advice}"))
}

/// What the ports are told.
pub(super) fn server_config(config: &Config) -> ServerConfig {
    ServerConfig {
        client: config.listen.client,
        admin: config.listen.admin,
        peer: config.listen.peer,
        advertise: Advertise {
            client: config.client_address(),
            admin: config.admin_address(),
            peer: config.peer_address(),
        },
        // Validated to be at most 64 MiB.
        max_message: usize::try_from(config.limits.max_message.0).unwrap_or(usize::MAX),
        request_timeout: config.limits.request_timeout.0,
        seeds: config.seeds.clone(),
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

//! The configuration file of a child: written once, and read again when its
//! directory is taken up by another run.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ClusterError, Ports};

/// The part of the configuration that matters here.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    cluster_id: String,
    node_id: u64,
    seeds: Vec<SocketAddr>,
    listen: Listen,
    disk: Vec<Disk>,
    shutdown: Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listen {
    client: SocketAddr,
    admin: SocketAddr,
    peer: SocketAddr,
}

#[derive(Debug, Serialize, Deserialize)]
struct Disk {
    path: PathBuf,
    reserve: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Shutdown {
    timeout: String,
}

/// Where the file of a node is.
pub(super) fn path(node_dir: &Path) -> PathBuf {
    node_dir.join("datanode.toml")
}

/// Writes the file, unless there is one of an earlier run.
pub(super) fn write(
    node_dir: &Path,
    node_id: u64,
    ports: &Ports,
    peers: &[SocketAddr],
) -> Result<(), ClusterError> {
    let path = path(node_dir);
    if path.exists() {
        return Ok(());
    }
    let file = File {
        cluster_id: "demo".to_owned(),
        node_id,
        seeds: peers.iter().filter(|peer| **peer != ports.peer).copied().collect(),
        listen: Listen { client: ports.client, admin: ports.admin, peer: ports.peer },
        disk: vec![Disk { path: node_dir.join("data"), reserve: "256MiB".to_owned() }],
        shutdown: Shutdown { timeout: "20s".to_owned() },
    };
    let text = toml::to_string(&file).expect("it is made of strings and numbers");
    fs::create_dir_all(node_dir)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| ClusterError::File { what: "write", path, source })
}

/// The ports of the node whose directory this is; `None` when there is none.
pub(super) fn read_ports(node_dir: &Path) -> Result<Option<Ports>, ClusterError> {
    let path = path(node_dir);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ClusterError::File { what: "read", path, source }),
    };
    let file: File = toml::from_str(&text).map_err(|error| {
        let problem = error.message().to_owned();
        ClusterError::OtherCluster { path, problem }
    })?;
    let Listen { client, admin, peer } = file.listen;
    Ok(Some(Ports { client, admin, peer }))
}

//! Which ports the nodes listen on.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use super::{ClusterError, config, node_dir};

/// The lowest port that is looked at.
const LOWEST: u16 = 20_000;
/// What Linux gives to outgoing connections begins here, unless it says so.
const EPHEMERAL_DEFAULT: u16 = 32_768;

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The data service.
    pub client: SocketAddr,
    /// Metrics, health, administration.
    pub admin: SocketAddr,
    /// The other nodes.
    pub peer: SocketAddr,
}

/// The ports of every node: those of the cluster that is in `dir`, or free
/// ones.
///
/// Never from the range of outgoing connections: while a node is down, one of
/// them could take its port, and a client that tries to connect to a closed
/// port of that range can end up connected to itself.
pub(super) fn choose(dir: &Path, nodes: u64) -> Result<Vec<Ports>, ClusterError> {
    let earlier = (1..).map_while(|id| config::read_ports(&node_dir(dir, id)).transpose());
    let earlier = earlier.collect::<Result<Vec<_>, _>>()?;
    if !earlier.is_empty() {
        if earlier.len() as u64 != nodes {
            let problem = format!("it has {} nodes, not {nodes}", earlier.len());
            return Err(ClusterError::OtherCluster { path: dir.to_owned(), problem });
        }
        return Ok(earlier);
    }
    let mut free = Free::new();
    (0..nodes)
        .map(|_| Ok(Ports { client: free.take()?, admin: free.take()?, peer: free.take()? }))
        .collect()
}

/// Finds free ports, and keeps each bound until all are found, so that none is
/// found twice.
struct Free {
    next: u16,
    left: u16,
    end: u16,
    bound: HashMap<u16, TcpListener>,
}

impl Free {
    fn new() -> Self {
        let end = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse().ok())
            .filter(|first| *first > LOWEST + 100)
            .unwrap_or(EPHEMERAL_DEFAULT);
        // Clusters that start at the same time should not look at the same ports.
        let chance = uuid::Uuid::now_v7().as_u128() % u128::from(end - LOWEST);
        let chance = u16::try_from(chance).expect("less than a port");
        Self { next: LOWEST + chance, left: end - LOWEST, end, bound: HashMap::new() }
    }

    fn take(&mut self) -> Result<SocketAddr, ClusterError> {
        while self.left > 0 {
            let port = self.next;
            self.left -= 1;
            self.next = if port + 1 < self.end { port + 1 } else { LOWEST };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if let Ok(listener) = TcpListener::bind(address) {
                self.bound.insert(port, listener);
                return Ok(address);
            }
        }
        Err(ClusterError::NoPorts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn chooses_distinct_ports_below_the_ephemeral_range() {
        let ports = choose(Path::new("/nonexistent"), 5).unwrap();
        let all = ports.iter().flat_map(|ports| [ports.client, ports.admin, ports.peer]);
        let all: BTreeSet<_> = all.collect();
        assert_eq!(all.len(), 15);
        assert!(all.iter().all(|address| address.port() >= LOWEST && address.ip().is_loopback()));
    }
}

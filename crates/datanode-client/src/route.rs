//! Where partitions live: asked for, and remembered for the next call.

use std::collections::HashMap;

use datanode_proto::v1;
use parking_lot::Mutex;
use partition_types::{NodeId, PartitionId};

use crate::call::Target;
use crate::client::Client;
use crate::convert;
use crate::endpoint::Address;
use crate::error::Error;

/// Where one partition lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which partition.
    pub partition_id: PartitionId,
    /// Its replicas, as clients dial them.
    pub replicas: Vec<Replica>,
    /// Who leads it, if anybody is known to.
    pub leader: Option<NodeId>,
    /// Grows with each change: the higher one is newer.
    pub epoch: u64,
}

/// One replica of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// On which node.
    pub node_id: NodeId,
    /// The node's client address, `host:port`.
    pub client_address: String,
    /// Whether it has no vote.
    pub learner: bool,
}

impl Client {
    /// The route of one partition, as some node knows it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown partition, and
    /// what [`ErrorKind`](crate::ErrorKind) lists for an unreachable cluster.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub async fn route(&self, partition_id: PartitionId) -> Result<Route, Error> {
        let request = v1::GetRouteRequest { partition_id: partition_id.get() };
        let answer = self
            .core
            .call(Target::Anybody, |attempt| async move {
                attempt.routes().get_route(attempt.request(request)).await
            })
            .await?;
        let route = answer.route.ok_or_else(|| convert::nonsense("a route without a route"))?;
        self.learned(convert::route(route)?)
    }

    /// Every route that some node knows, in the order of partition ids.
    ///
    /// # Errors
    /// As for [`Client::route`].
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub async fn routes(&self) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListRoutesRequest { page_size: 0, page_token };
            let page = self
                .core
                .call(Target::Anybody, |attempt| {
                    let request = request.clone();
                    async move { attempt.routes().list_routes(attempt.request(request)).await }
                })
                .await?;
            for route in page.routes {
                routes.push(self.learned(convert::route(route)?)?);
            }
            if page.next_page_token.is_empty() {
                return Ok(routes);
            }
            page_token = page.next_page_token;
        }
    }

    fn learned(&self, route: Route) -> Result<Route, Error> {
        self.core.routes.learn(&route);
        Ok(route)
    }
}

/// What is remembered of routes. Advice only: any node takes any request.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    known: Mutex<HashMap<PartitionId, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    epoch: u64,
    leader: Option<Address>,
    replicas: Vec<Address>,
}

impl RouteCache {
    /// Takes a route over, unless a newer one is known.
    pub(crate) fn learn(&self, route: &Route) {
        let address = |replica: &Replica| Address::parse(&replica.client_address).ok();
        let leader = route
            .replicas
            .iter()
            .find(|replica| Some(replica.node_id) == route.leader)
            .and_then(address);
        let mut known = self.known.lock();
        let known = known.entry(route.partition_id).or_default();
        if route.epoch < known.epoch {
            return;
        }
        known.epoch = route.epoch;
        known.replicas =
            route.replicas.iter().filter(|replica| !replica.learner).filter_map(address).collect();
        if leader.is_some() {
            known.leader = leader;
        }
    }

    /// A node named the leader.
    pub(crate) fn leader_is(&self, partition_id: PartitionId, leader: Address) {
        self.known.lock().entry(partition_id).or_default().leader = Some(leader);
    }

    /// `address` does not answer for the leader it was.
    pub(crate) fn leader_is_not(&self, partition_id: PartitionId, address: &Address) {
        if let Some(known) = self.known.lock().get_mut(&partition_id)
            && known.leader.as_ref() == Some(address)
        {
            known.leader = None;
        }
    }

    /// Whom to ask about a partition: its leader, then its other replicas.
    pub(crate) fn addresses(&self, partition_id: PartitionId) -> Vec<Address> {
        let known = self.known.lock();
        let Some(known) = known.get(&partition_id) else { return Vec::new() };
        let others =
            known.replicas.iter().filter(|address| Some(*address) != known.leader.as_ref());
        known.leader.iter().chain(others).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(epoch: u64, leader: u64) -> Route {
        let replica = |n: u64| Replica {
            node_id: NodeId::new(n).unwrap(),
            client_address: format!("node:{n}"),
            learner: n == 4,
        };
        Route {
            partition_id: PartitionId::new(7).unwrap(),
            replicas: (1..=4).map(replica).collect(),
            leader: NodeId::new(leader).ok(),
            epoch,
        }
    }

    fn order(cache: &RouteCache) -> Vec<String> {
        let addresses = cache.addresses(PartitionId::new(7).unwrap());
        addresses.iter().map(|address| address.as_str().to_owned()).collect()
    }

    #[test]
    fn asks_the_leader_first_and_never_goes_back_to_an_older_route() {
        let cache = RouteCache::default();
        assert!(order(&cache).is_empty());
        cache.learn(&route(5, 2));
        assert_eq!(order(&cache), ["node:2", "node:1", "node:3"]);
        cache.learn(&route(4, 1));
        assert_eq!(order(&cache), ["node:2", "node:1", "node:3"], "an older epoch changes nothing");
        let third = Address::parse("node:3").unwrap();
        cache.leader_is(PartitionId::new(7).unwrap(), third.clone());
        assert_eq!(order(&cache), ["node:3", "node:1", "node:2"]);
        cache.leader_is_not(PartitionId::new(7).unwrap(), &third);
        assert_eq!(order(&cache), ["node:1", "node:2", "node:3"]);
    }
}

//! Where partitions live: this node's own routes, which `Hello` tells to
//! others, and those that others told.
//!
//! A route is replaced by one of the same or a higher epoch. Each change here
//! gets a version, so that a peer is told only what it does not know yet.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use datanode_proto::v1;
use parking_lot::RwLock;
use partition_types::{NodeId, PartitionId};
use tokio::sync::watch;

/// Routes by partition.
pub(super) struct RouteTable {
    held: RwLock<Held>,
    changed: watch::Sender<u64>,
}

struct Held {
    /// Of the last change. It begins with the clock, so that it grows over
    /// restarts: a peer that knows this node's former life asks for all anew
    /// at the latest when it sees a version below the one it knows.
    version: u64,
    routes: HashMap<PartitionId, Entry>,
    /// Own routes that are gone, with the version of the change.
    removed: HashMap<PartitionId, u64>,
}

struct Entry {
    route: v1::Route,
    /// This node has a replica of it, and the version of its last change.
    own: Option<u64>,
}

/// What a peer does not know yet.
pub(super) struct News {
    /// Own routes that changed.
    pub(super) routes: Vec<v1::Route>,
    /// Partitions without a replica here any longer.
    pub(super) removed: Vec<u64>,
    /// Up to which version this is.
    pub(super) version: u64,
}

impl RouteTable {
    /// An empty table.
    pub(super) fn new() -> Self {
        let held =
            Held { version: first_version(), routes: HashMap::new(), removed: HashMap::new() };
        Self { held: RwLock::new(held), changed: watch::Sender::new(0) }
    }

    /// The route of a partition.
    pub(super) fn get(&self, partition_id: PartitionId) -> Option<v1::Route> {
        self.held.read().routes.get(&partition_id).map(|entry| entry.route.clone())
    }

    /// Every route, in no order.
    pub(super) fn all(&self) -> Vec<v1::Route> {
        self.held.read().routes.values().map(|entry| entry.route.clone()).collect()
    }

    /// Ticks when a route came, changed or went.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes a route that somebody told, unless a newer one is known.
    pub(super) fn learn(&self, route: v1::Route) {
        let Ok(partition_id) = PartitionId::new(route.partition_id) else { return };
        let mut held = self.held.write();
        if let Some(entry) = held.routes.get_mut(&partition_id) {
            if !replaces(&route, &entry.route) {
                return;
            }
            entry.route = route;
        } else {
            held.routes.insert(partition_id, Entry { route, own: None });
        }
        drop(held);
        self.tick();
    }

    /// Takes the routes of all replicas of this node: the whole set. Whether
    /// anything changed.
    pub(super) fn set_own(&self, own: Vec<v1::Route>) -> bool {
        let mut held = self.held.write();
        let version = held.version + 1;
        let mut gone: HashSet<PartitionId> = held
            .routes
            .iter()
            .filter(|(_, entry)| entry.own.is_some())
            .map(|(partition_id, _)| *partition_id)
            .collect();
        let mut changed = false;
        for route in own {
            let Ok(partition_id) = PartitionId::new(route.partition_id) else { continue };
            gone.remove(&partition_id);
            changed |= held.set_one_own(partition_id, route, version);
        }
        for partition_id in gone {
            changed |= held.remove_own(partition_id, version);
        }
        if changed {
            held.version = version;
            drop(held);
            self.tick();
        }
        changed
    }

    /// Takes the route of one replica of this node; `None` when it is gone.
    /// Whether anything changed.
    pub(super) fn set_one_own(&self, partition_id: PartitionId, route: Option<v1::Route>) -> bool {
        let mut held = self.held.write();
        let version = held.version + 1;
        let changed = match route {
            Some(route) => held.set_one_own(partition_id, route, version),
            None => held.remove_own(partition_id, version),
        };
        if changed {
            held.version = version;
            drop(held);
            self.tick();
        }
        changed
    }

    /// Drops what a peer told; own routes stay.
    pub(super) fn forget(&self, partition_id: PartitionId) {
        let mut held = self.held.write();
        let told = held.routes.get(&partition_id).is_some_and(|entry| entry.own.is_none());
        if told {
            held.routes.remove(&partition_id);
            drop(held);
            self.tick();
        }
    }

    /// A node has no replica of these any longer: routes over it are wrong.
    pub(super) fn lost_by(&self, node_id: NodeId, partition_ids: &[u64]) {
        for partition_id in partition_ids.iter().filter_map(|id| PartitionId::new(*id).ok()) {
            let over_it = self.get(partition_id).is_some_and(|route| {
                route.replicas.iter().any(|replica| replica.node_id == node_id.get())
            });
            if over_it {
                self.forget(partition_id);
            }
        }
    }

    /// The version of the last change.
    pub(super) fn version(&self) -> u64 {
        self.held.read().version
    }

    /// Own changes after a version. A version from the future is one of a
    /// former life of this node: everything is news then.
    pub(super) fn news_since(&self, known: u64) -> News {
        let held = self.held.read();
        let known = if known > held.version { 0 } else { known };
        let routes = held
            .routes
            .values()
            .filter(|entry| entry.own.is_some_and(|version| version > known))
            .map(|entry| entry.route.clone())
            .collect();
        let removed = held
            .removed
            .iter()
            .filter(|(_, version)| **version > known)
            .map(|(partition_id, _)| partition_id.get())
            .collect();
        News { routes, removed, version: held.version }
    }

    fn tick(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Held {
    fn remove_own(&mut self, partition_id: PartitionId, version: u64) -> bool {
        let own = self.routes.get(&partition_id).is_some_and(|entry| entry.own.is_some());
        if own {
            self.routes.remove(&partition_id);
            self.removed.insert(partition_id, version);
        }
        own
    }

    fn set_one_own(&mut self, partition_id: PartitionId, route: v1::Route, version: u64) -> bool {
        self.removed.remove(&partition_id);
        match self.routes.get_mut(&partition_id) {
            Some(entry) if entry.own.is_some() && entry.route == route => false,
            Some(entry) => {
                // A replica that lags must not undo what a peer knows better.
                let newer = replaces(&route, &entry.route);
                if newer {
                    entry.route = route;
                }
                let first = entry.own.is_none();
                if newer || first {
                    entry.own = Some(version);
                }
                newer || first
            }
            None => {
                self.routes.insert(partition_id, Entry { route, own: Some(version) });
                true
            }
        }
    }
}

/// The version with which a process begins: above those of its former lives.
pub(super) fn first_version() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(1, |time| u64::try_from(time.as_micros()).unwrap_or(1))
}

/// Whether `new` may take the place of `old`: it is no older, it says something
/// else, and it does not only know less.
fn replaces(new: &v1::Route, old: &v1::Route) -> bool {
    let knows_less = new.epoch == old.epoch && new.leader_node_id == 0 && old.leader_node_id != 0;
    new.epoch >= old.epoch && new != old && !knows_less
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(partition_id: u64) -> PartitionId {
        PartitionId::new(partition_id).expect("above 0")
    }

    fn route(partition_id: u64, leader_node_id: u64, epoch: u64) -> v1::Route {
        let replicas = [1, 2, 3].map(|node_id| v1::RouteReplica {
            node_id,
            client_address: String::new(),
            learner: false,
        });
        v1::Route { partition_id, replicas: replicas.to_vec(), leader_node_id, epoch }
    }

    #[test]
    fn the_higher_epoch_stays() {
        // (told in turn) → (leader, epoch) that is known then
        let cases = [
            (vec![(1, 5), (2, 6)], (2, 6)),
            (vec![(2, 6), (1, 5)], (2, 6)),
            (vec![(1, 5), (0, 5)], (1, 5)),
            (vec![(0, 5), (1, 5)], (1, 5)),
            (vec![(1, 5), (0, 6)], (0, 6)),
        ];
        for (told, known) in cases {
            let table = RouteTable::new();
            for (leader, epoch) in &told {
                table.learn(route(7, *leader, *epoch));
            }
            let now = table.get(id(7)).expect("it was told");
            assert_eq!((now.leader_node_id, now.epoch), known, "{told:?}");
        }
    }

    #[test]
    fn a_peer_is_told_only_what_is_new_to_it() {
        let table = RouteTable::new();
        table.learn(route(9, 1, 1));
        table.set_own(vec![route(1, 1, 1), route(2, 1, 1)]);
        let all = table.news_since(0);
        assert_eq!(all.routes.len(), 2, "own routes only");

        assert!(table.news_since(all.version).routes.is_empty());
        table.set_own(vec![route(1, 1, 1), route(2, 3, 2)]);
        let changed = table.news_since(all.version);
        assert_eq!(changed.routes, [route(2, 3, 2)]);

        table.set_own(vec![route(1, 1, 1)]);
        let gone = table.news_since(changed.version);
        assert_eq!((gone.routes.len(), gone.removed.as_slice()), (0, &[2][..]));

        let from_a_former_life = table.news_since(u64::MAX);
        assert_eq!(from_a_former_life.routes.len(), 1);
    }

    #[test]
    fn a_lost_replica_takes_the_route_along() {
        let table = RouteTable::new();
        table.learn(route(4, 1, 1));
        table.set_own(vec![route(5, 1, 1)]);
        let node = NodeId::new(2).expect("above 0");
        table.lost_by(node, &[4, 5]);
        assert!(table.get(id(4)).is_none());
        assert!(table.get(id(5)).is_some(), "own routes are known better here");
    }

    #[test]
    fn unchanged_routes_do_not_tick() {
        let table = RouteTable::new();
        let ticks = table.subscribe();
        table.set_own(vec![route(1, 1, 1)]);
        let after = *ticks.borrow();
        table.set_own(vec![route(1, 1, 1)]);
        table.learn(route(1, 1, 1));
        table.learn(route(1, 1, 0));
        assert_eq!(*ticks.borrow(), after);
    }
}

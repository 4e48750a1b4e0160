//! Who is in a group.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{Incarnation, NodeId};

/// A node as a group's membership records it.
///
/// The addresses are those of the day it joined; a later `Hello` may know
/// better. The incarnation is for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which life of the node's data directory is the member.
    pub incarnation: Incarnation,
    /// Where its peers dial it, `host:port`.
    pub peer_address: String,
    /// Where clients dial it, `host:port`.
    pub client_address: String,
    /// Where operators dial it, `host:port`.
    pub admin_address: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer_address.fmt(f)
    }
}

/// The voters and learners of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// One set of voters; two while a change is under way (joint consensus).
    pub voter_sets: Vec<BTreeSet<NodeId>>,
    /// Everybody: who is in no voter set is a learner.
    pub members: BTreeMap<NodeId, Member>,
}

impl Membership {
    /// Every node that votes in any of the sets.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.voter_sets.iter().flatten().copied().collect()
    }

    /// Every member that votes in none of the sets.
    pub fn learners(&self) -> impl Iterator<Item = NodeId> {
        self.members
            .keys()
            .filter(|id| !self.voter_sets.iter().any(|set| set.contains(*id)))
            .copied()
    }

    /// Whether these nodes are a majority of each set of voters; of none, nobody is.
    #[must_use]
    pub fn is_quorum(&self, nodes: &[NodeId]) -> bool {
        let is_majority = |set: &BTreeSet<NodeId>| {
            set.iter().filter(|id| nodes.contains(id)).count() > set.len() / 2
        };
        !self.voter_sets.is_empty() && self.voter_sets.iter().all(is_majority)
    }

    /// Whether a change of voters is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        self.voter_sets.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_a_majority_of_each_set() {
        let node = |id: &u64| NodeId::new(*id).unwrap();
        let is_quorum = |sets: &[&[u64]], present: &[u64]| {
            let voter_sets = sets.iter().map(|set| set.iter().map(node).collect()).collect();
            let membership = Membership { voter_sets, members: BTreeMap::new() };
            membership.is_quorum(&present.iter().map(node).collect::<Vec<_>>())
        };
        assert!(is_quorum(&[&[1, 2, 3]], &[1, 3]));
        assert!(!is_quorum(&[&[1, 2, 3]], &[3, 4, 5]));
        assert!(!is_quorum(&[&[1, 2]], &[1]));
        assert!(is_quorum(&[&[1]], &[1]));
        assert!(is_quorum(&[&[1, 2, 3], &[3, 4, 5]], &[2, 3, 4]));
        assert!(!is_quorum(&[&[1, 2, 3], &[3, 4, 5]], &[1, 2, 3]));
        assert!(!is_quorum(&[], &[1, 2, 3]));
    }
}

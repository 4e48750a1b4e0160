//! Between the words of partition-types and openraft's.
//!
//! Node id 0, which [`NodeId`] does not have, is openraft's for "nobody"; it
//! stands in the log id that a group's first membership has in some tools.

use std::io;

use openraft::EntryPayload;
use openraft::impls::leader_id_adv::LeaderId;
use partition_types::{Entry, LogId, Membership, NodeId, Payload, Vote};

use crate::types::{
    Data, GroupMember, RaftEntry, RaftLogId, RaftMembership, RaftStoredMembership, RaftVote,
};

pub(crate) fn to_raft_node(id: Option<NodeId>) -> u64 {
    id.map_or(0, NodeId::get)
}

pub(crate) fn from_raft_node(id: u64) -> Option<NodeId> {
    NodeId::new(id).ok()
}

pub(crate) fn to_raft_log_id(id: LogId) -> RaftLogId {
    let leader_id = LeaderId { term: id.term, node_id: to_raft_node(id.leader) };
    RaftLogId { leader_id, index: id.index }
}

pub(crate) fn from_raft_log_id(id: RaftLogId) -> LogId {
    LogId { term: id.leader_id.term, leader: from_raft_node(id.leader_id.node_id), index: id.index }
}

pub(crate) fn to_raft_vote(vote: Vote) -> RaftVote {
    RaftVote {
        leader_id: LeaderId { term: vote.term, node_id: to_raft_node(vote.voted_for) },
        committed: vote.committed,
    }
}

pub(crate) fn from_raft_vote(vote: RaftVote) -> Vote {
    Vote {
        term: vote.leader_id.term,
        voted_for: from_raft_node(vote.leader_id.node_id),
        committed: vote.committed,
    }
}

pub(crate) fn from_raft_membership(membership: &RaftMembership) -> Membership {
    let known = |id: &u64| from_raft_node(*id);
    Membership {
        voter_sets: membership
            .get_joint_config()
            .iter()
            .map(|set| set.iter().filter_map(known).collect())
            .collect(),
        members: membership
            .nodes()
            .filter_map(|(id, member)| Some((known(id)?, member.0.clone())))
            .collect(),
    }
}

/// Fails for a membership that names a voter that is no member: it can only
/// come from damage.
pub(crate) fn to_raft_membership(membership: &Membership) -> io::Result<RaftMembership> {
    if membership.voter_sets.is_empty() && membership.members.is_empty() {
        return Ok(RaftMembership::default());
    }
    let voter_sets =
        membership.voter_sets.iter().map(|set| set.iter().map(|id| id.get()).collect()).collect();
    let members: std::collections::BTreeMap<_, _> = membership
        .members
        .iter()
        .map(|(id, member)| (id.get(), GroupMember(member.clone())))
        .collect();
    RaftMembership::new(voter_sets, members)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

pub(crate) fn to_raft_stored_membership(
    log_id: Option<LogId>,
    membership: &Membership,
) -> io::Result<RaftStoredMembership> {
    let membership = to_raft_membership(membership)?;
    Ok(RaftStoredMembership::new(log_id.map(to_raft_log_id), membership))
}

pub(crate) fn to_raft_entry(entry: Entry) -> io::Result<RaftEntry> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Command(command) => EntryPayload::Normal(Data::Command(command)),
        Payload::Membership(membership) => {
            EntryPayload::Membership(to_raft_membership(&membership)?)
        }
    };
    Ok(RaftEntry { log_id: to_raft_log_id(entry.log_id), payload })
}

/// An entry of which there is only the id.
pub(crate) fn unread(id: LogId) -> RaftEntry {
    RaftEntry { log_id: to_raft_log_id(id), payload: EntryPayload::Normal(Data::Unread) }
}

pub(crate) fn is_unread(entry: &RaftEntry) -> bool {
    matches!(entry.payload, EntryPayload::Normal(Data::Unread))
}

/// Fails for an entry that was not read.
pub(crate) fn from_raft_entry(entry: RaftEntry) -> io::Result<Entry> {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(Data::Command(command)) => Payload::Command(command),
        EntryPayload::Normal(Data::Unread) => {
            let id = from_raft_log_id(entry.log_id);
            return Err(io::Error::other(format!("entry {id} was not read")));
        }
        EntryPayload::Membership(membership) => {
            Payload::Membership(from_raft_membership(&membership))
        }
    };
    Ok(Entry { log_id: from_raft_log_id(entry.log_id), payload })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use partition_types::{Command, Incarnation, Member, Op};

    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn member(id: u64) -> Member {
        Member {
            incarnation: Incarnation::random(),
            peer_address: format!("10.0.0.{id}:1"),
            client_address: format!("10.0.0.{id}:2"),
            admin_address: format!("10.0.0.{id}:3"),
        }
    }

    #[test]
    fn comes_back_as_it_went() {
        let membership = Membership {
            voter_sets: vec![
                BTreeSet::from([node(1), node(2)]),
                BTreeSet::from([node(2), node(3)]),
            ],
            members: BTreeMap::from_iter((1..=4).map(|id| (node(id), member(id)))),
        };
        let command = Command { request_id: None, at_ms: 7, op: Op::Create };
        for payload in [Payload::Blank, Payload::Command(command), Payload::Membership(membership)]
        {
            for leader in [None, Some(node(9))] {
                let entry =
                    Entry { log_id: LogId { term: 3, leader, index: 8 }, payload: payload.clone() };
                let back = from_raft_entry(to_raft_entry(entry.clone()).unwrap());
                assert_eq!(back.unwrap(), entry);
            }
        }
        for committed in [false, true] {
            let vote = Vote { term: 5, voted_for: Some(node(2)), committed };
            assert_eq!(from_raft_vote(to_raft_vote(vote)), vote);
        }
    }

    #[test]
    fn refuses_an_entry_of_which_there_is_only_the_id() {
        let entry = unread(LogId { term: 3, leader: Some(node(2)), index: 8 });
        assert!(is_unread(&entry));
        assert_eq!(from_raft_entry(entry).unwrap_err().to_string(), "entry T3-N2.8 was not read");
    }

    #[test]
    fn refuses_a_voter_that_is_no_member() {
        let damaged =
            Membership { voter_sets: vec![BTreeSet::from([node(1)])], members: BTreeMap::new() };
        assert!(to_raft_membership(&damaged).is_err());
    }
}

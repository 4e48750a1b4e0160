//! May this node go now? For every group that it votes in, a quorum of caught-up
//! voters must remain without it, and none of them may be about to go too.
//!
//! A stop token is the promise of all these nodes, see `peer::promise`. First
//! they promise, then it is looked whether they are sound: in the other order
//! one could have gone in between.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use datanode_proto::v1;
use futures::future::join_all;
use partition_types::{NodeId, RequestId};

use super::target::Target;
use crate::peer::{Replicas, token_from_wire};
use crate::status::Failure;

/// Groups named in an answer.
const BLOCKERS_MAX: usize = 100;
/// A voter this many entries behind the commit index catches up in moments.
const LAG_MAX: u64 = 1000;

/// Answers for a node, this one or another: its replicas by its own account,
/// the other voters by theirs, each asked once.
pub(super) async fn ask(
    replicas: &Replicas,
    request: v1::SafeToStopRequest,
) -> Result<v1::SafeToStopResponse, Failure> {
    let node_id = match request.node_id {
        0 => replicas.context().node_id(),
        node_id => NodeId::new(node_id)?,
    };
    let is_wanted = request.hold.is_some();
    let hold = request.hold.unwrap_or_default();
    if hold.release {
        return give_back(replicas, node_id, hold.token).await;
    }
    let token = match (is_wanted, token_from_wire(&hold.token)?) {
        (false, _) => None,
        (true, token) => Some(token.unwrap_or_else(RequestId::random)),
    };
    let own = Target::of(replicas, node_id)?.describe_all().await?;
    let groups = own.into_iter().filter_map(|described| Group::of(described, node_id));
    let groups: Vec<Group> = groups.collect();
    let wanted = v1::PromiseStopRequest {
        node_id: node_id.get(),
        token: token.map_or_else(Bytes::new, to_wire),
        holder: hold.holder,
        ttl_ms: hold.ttl_ms,
        release: false,
    };
    let promises = Promises::ask(replicas, node_id, &groups, &wanted).await?;
    if let Some(held) = promises.held {
        undo(replicas, promises.granted, &wanted).await;
        return Ok(v1::SafeToStopResponse { held: Some(held), ..Default::default() });
    }
    let mut sound = sound_replicas(replicas, &groups).await;
    sound.retain(|(voter, _), _| promises.granted.contains(voter));
    let blockers = groups.iter().filter_map(|group| group.blocker(&sound));
    let blockers: Vec<v1::SafeToStopBlocker> = blockers.take(BLOCKERS_MAX).collect();
    let safe = blockers.is_empty();
    if !safe {
        undo(replicas, promises.granted, &wanted).await;
    }
    let token = if safe { wanted.token } else { Bytes::new() };
    Ok(v1::SafeToStopResponse { safe, blockers, token, held: None })
}

/// What the node itself and the voters of its groups said.
#[derive(Default)]
struct Promises {
    granted: BTreeSet<u64>,
    held: Option<v1::StopHeld>,
}

impl Promises {
    /// Asks one after the other, in the order of their ids: of two that want
    /// tokens at the same time one gets to the first common node first, and the
    /// other one goes no further. Who does not answer does not count.
    async fn ask(
        replicas: &Replicas,
        node_id: NodeId,
        groups: &[Group],
        wanted: &v1::PromiseStopRequest,
    ) -> Result<Self, Failure> {
        let connected = replicas.context().peers().connected();
        let mut asked: BTreeSet<u64> =
            groups.iter().flat_map(|group| group.others.iter().copied()).collect();
        asked.retain(|id| {
            let us = replicas.context().node_id().get() == *id;
            us || connected.iter().any(|connected| connected.get() == *id)
        });
        asked.insert(node_id.get());
        let mut promises = Self::default();
        for id in asked {
            let target = Target::of(replicas, NodeId::new(id)?)?;
            match target.promise_stop(wanted.clone()).await {
                Ok(v1::PromiseStopResponse { granted: true, .. }) => {
                    promises.granted.insert(id);
                }
                Ok(v1::PromiseStopResponse { held: Some(held), .. }) => {
                    promises.held = Some(held);
                    break;
                }
                // The node that is to stop knows best what is wrong with it.
                Err(failure) if id == node_id.get() => {
                    undo(replicas, promises.granted, wanted).await;
                    return Err(failure);
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(promises)
    }
}

/// Takes promises back. One that does not hear of it ends by itself.
async fn undo(
    replicas: &Replicas,
    from: impl IntoIterator<Item = u64>,
    wanted: &v1::PromiseStopRequest,
) {
    if wanted.token.is_empty() {
        return;
    }
    let told = from.into_iter().map(|id| {
        let request = v1::PromiseStopRequest { release: true, ..wanted.clone() };
        async move {
            let target = Target::of(replicas, NodeId::new(id)?)?;
            target.promise_stop(request).await
        }
    });
    for told in join_all(told).await {
        if let Err(failure) = told {
            tracing::debug!(%failure, "a stop token is not given back");
        }
    }
}

/// Gives a token back, at every node that is reached: the node that it is for
/// may be away and cannot say who its peers are.
async fn give_back(
    replicas: &Replicas,
    node_id: NodeId,
    token: Bytes,
) -> Result<v1::SafeToStopResponse, Failure> {
    if token_from_wire(&token)?.is_none() {
        return Err(Failure::field("hold.token", "is missing"));
    }
    let context = replicas.context();
    let connected = context.peers().connected().into_iter().map(NodeId::get);
    let everybody = connected.chain([context.node_id().get()]);
    let wanted = v1::PromiseStopRequest {
        node_id: node_id.get(),
        token,
        ..v1::PromiseStopRequest::default()
    };
    undo(replicas, everybody, &wanted).await;
    Ok(v1::SafeToStopResponse::default())
}

fn to_wire(token: RequestId) -> Bytes {
    Bytes::copy_from_slice(token.as_bytes())
}

/// A group in which the node votes.
struct Group {
    partition_id: u64,
    others: Vec<u64>,
    committed_index: u64,
}

impl Group {
    /// `None` for a group that does not count on the node.
    fn of(described: v1::DescribedReplica, node_id: NodeId) -> Option<Self> {
        let replica = described.replica?;
        let voters: BTreeSet<u64> = replica.voters.iter().map(|voter| voter.node_id).collect();
        if !voters.contains(&node_id.get()) {
            return None;
        }
        Some(Self {
            partition_id: described.partition_id,
            others: voters.into_iter().filter(|voter| *voter != node_id.get()).collect(),
            committed_index: replica.status.map_or(0, |status| status.committed_index),
        })
    }

    /// Why the group cannot spare the node.
    fn blocker(&self, sound: &BTreeMap<(u64, u64), u64>) -> Option<v1::SafeToStopBlocker> {
        let group = self.others.len() + 1;
        let quorum = group / 2 + 1;
        let caught_up = self.others.iter().filter(|voter| {
            let applied = sound.get(&(**voter, self.partition_id));
            applied.is_some_and(|applied| applied + LAG_MAX >= self.committed_index)
        });
        let caught_up = caught_up.count();
        if caught_up >= quorum {
            return None;
        }
        let reason = match self.others.len() {
            0 => "the node is its only voter".to_owned(),
            others => {
                format!("{caught_up} of {others} other voters are caught up, {quorum} needed")
            }
        };
        Some(v1::SafeToStopBlocker { partition_id: self.partition_id, reason })
    }
}

/// The applied index of each sound replica of these groups, by node and
/// partition. A node that does not answer has none.
async fn sound_replicas(replicas: &Replicas, groups: &[Group]) -> BTreeMap<(u64, u64), u64> {
    let mut shared: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for group in groups {
        for voter in &group.others {
            shared.entry(*voter).or_default().push(group.partition_id);
        }
    }
    let answers = shared.into_iter().map(|(voter, partition_ids)| async move {
        let node_id = NodeId::new(voter).ok()?;
        let voter_node = Target::of(replicas, node_id).ok()?;
        Some((voter, voter_node.describe_many(&partition_ids).await.ok()?))
    });
    let mut sound = BTreeMap::new();
    for (voter, described) in join_all(answers).await.into_iter().flatten() {
        for described in described {
            let Some(status) = described.replica.and_then(|replica| replica.status) else {
                continue;
            };
            if status.state == i32::from(v1::PartitionState::Ready) {
                sound.insert((voter, described.partition_id), status.applied_index);
            }
        }
    }
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of the node and `others`, of which `sound` have applied these
    /// indexes; 5000 is committed.
    fn check(others: &[u64], sound: &[(u64, u64)], safe: bool) {
        let group = Group { partition_id: 7, others: others.to_vec(), committed_index: 5000 };
        let sound = sound.iter().map(|(voter, applied)| ((*voter, 7), *applied)).collect();
        let blocker = group.blocker(&sound);
        assert_eq!(blocker.is_none(), safe, "{others:?} {sound:?}: {blocker:?}");
    }

    #[test]
    fn a_quorum_of_the_whole_group_must_remain() {
        check(&[], &[], false);
        check(&[2], &[(2, 5000)], false);
        check(&[2, 3], &[(2, 5000), (3, 5000)], true);
        check(&[2, 3], &[(2, 5000)], false);
        check(&[2, 3], &[(2, 5000), (3, 3999)], false);
        check(&[2, 3], &[(2, 5000), (3, 4000)], true);
        check(&[2, 3, 4], &[(2, 5000), (3, 5000)], false);
        check(&[2, 3, 4], &[(2, 5000), (3, 5000), (4, 5000)], true);
        check(&[2, 3, 4, 5], &[(2, 5000), (3, 5000), (4, 5000)], true);
        check(&[2, 3, 4, 5], &[(2, 5000), (3, 5000)], false);
    }
}

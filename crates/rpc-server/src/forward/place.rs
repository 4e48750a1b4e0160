//! Where a call is to be carried out, by what this node knows now.

use datanode_proto::v1;
use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use datanode_proto::v1::stage_service_client::StageServiceClient;
use partition_store::Store;
use partition_types::{NodeId, Reason};
use raft_glue::{Partition, Role};
use tokio::time::{Instant, timeout_at};
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;

use super::{Call, Hops, Intent, Lessons, NO_FORWARD, TRY_MIN};
use crate::deadline::CallTime;
use crate::limits;
use crate::peer::{NoRoute, PeerChannel};
use crate::route::later_route;
use crate::status::Failure;

/// Where a try of a call is made.
pub(crate) enum Place {
    /// On this node's replica.
    Here(Partition),
    /// On another node.
    There(Remote),
}

/// Another node's peer port.
pub(crate) struct Remote {
    channel: PeerChannel,
    until: Instant,
    time: CallTime,
}

impl Place {
    /// When a try here has to be done, of a call that ends at `until`.
    pub(super) fn until(&self, until: Instant) -> Instant {
        match self {
            Self::Here(_) => until,
            Self::There(remote) => remote.until,
        }
    }
}

impl Remote {
    /// Its ExtentService.
    pub(crate) fn extents(&self) -> ExtentServiceClient<PeerChannel> {
        ExtentServiceClient::new(self.channel.clone())
            .max_decoding_message_size(limits::ANSWER_LEN_MAX)
    }

    /// Its StageService.
    pub(crate) fn stages(&self) -> StageServiceClient<PeerChannel> {
        StageServiceClient::new(self.channel.clone())
    }

    /// A request of one answer to it; it will not be sent on.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let left = self.until.saturating_duration_since(Instant::now());
        let mut request = Request::new(message);
        request.set_timeout(left);
        request.metadata_mut().insert(NO_FORWARD, AsciiMetadataValue::from_static("1"));
        request
    }

    /// A request that is answered by a stream: only its caller limits its time.
    pub(crate) fn stream_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(until) = self.time.caller() {
            request.set_timeout(until.saturating_duration_since(Instant::now()));
        }
        request.metadata_mut().insert(NO_FORWARD, AsciiMetadataValue::from_static("1"));
        request
    }
}

impl Call {
    /// Where the next try is to be made.
    pub(super) async fn place(
        &self,
        intent: Intent,
        until: Instant,
        lessons: &Lessons,
    ) -> Result<Place, Failure> {
        let Some(host) = self.context.host() else { return Err(self.starting()) };
        match host.get(self.partition_id) {
            Some(partition) if self.hops == Hops::None => Ok(Place::Here(partition)),
            Some(partition) => self.place_of_member(partition, intent, until, lessons).await,
            None if self.hops == Hops::None => Err(self.absent()),
            None => self.place_of_stranger(until, lessons).await,
        }
    }

    /// This node has a replica.
    async fn place_of_member(
        &self,
        partition: Partition,
        intent: Intent,
        until: Instant,
        lessons: &Lessons,
    ) -> Result<Place, Failure> {
        if intent != Intent::ReadStale {
            // Where the group is not in memory and has no leader, this is who needs one.
            let _ = timeout_at(until, partition.seek_leader()).await;
        }
        let sound = partition.state().err();
        if sound.is_none()
            && intent != Intent::ReadStale
            && let Some(place) = self.place_of_lost(&partition, until, lessons).await
        {
            return Ok(place);
        }
        if sound.is_none() && may_answer(&partition, intent) {
            return Ok(Place::Here(partition));
        }
        let us = self.context.node_id();
        let leader = lessons.hint.or_else(|| partition.leader()).filter(|leader| *leader != us);
        if let Some(remote) = leader.and_then(|leader| self.remote(leader, until)) {
            return Ok(Place::There(remote));
        }
        let Some(unsound) = sound else { return Err(self.no_leader()) };
        // A bad copy knows nothing of its group's leader: any other replica knows
        // more. One that is not even there does not know its group.
        let status = partition.status();
        let others: Vec<NodeId> =
            status.membership.members.keys().copied().filter(|id| *id != us).collect();
        let place = match self.one_of(&others, until, lessons) {
            Some(place) => Ok(place),
            None => self.place_of_stranger(until, lessons).await,
        };
        place.map_err(|_| Failure::of_propose(self.partition_id, &unsound))
    }

    /// This node has a replica that hears of no leader. If there is one by what
    /// others told, or if it has been so for longer than an election takes, the group
    /// may have gone on without this replica: it is as if there were none here. Every
    /// other try is made here all the same, for the others may be wrong.
    async fn place_of_lost(
        &self,
        partition: &Partition,
        until: Instant,
        lessons: &Lessons,
    ) -> Option<Place> {
        if partition.leader().is_some() || lessons.tries % 2 == 1 {
            return None;
        }
        let us = self.context.node_id();
        let told = later_route(&self.context, partition);
        let leader = told.and_then(|route| NodeId::new(route.leader_node_id).ok());
        if let Some(leader) = leader.filter(|leader| *leader != us) {
            return self.remote(leader, until).map(Place::There);
        }
        if !partition.is_lost() {
            return None;
        }
        self.place_of_stranger(until, lessons).await.ok()
    }

    /// This node has no replica: it goes by the route that its peers told.
    async fn place_of_stranger(&self, until: Instant, lessons: &Lessons) -> Result<Place, Failure> {
        let not_found = || Failure::partition_not_found(self.partition_id);
        let route = match self.context.peers().route(self.partition_id) {
            Some(route) => route,
            None => {
                let found = self.context.peers().find_route(self.partition_id);
                let found = timeout_at(until, found).await;
                found
                    .unwrap_or(Err(NoRoute::NobodyAnswers))
                    .map_err(|why| Failure::no_route(self.partition_id, why))?
            }
        };
        let us = self.context.node_id();
        let hint = lessons.hint.filter(|leader| *leader != us);
        if let Some(remote) = hint.and_then(|leader| self.remote(leader, until)) {
            return Ok(Place::There(remote));
        }
        let others: Vec<NodeId> = leader_first(&route).into_iter().filter(|id| *id != us).collect();
        if others.is_empty() {
            return Err(not_found());
        }
        self.one_of(&others, until, lessons).ok_or_else(|| self.no_leader())
    }

    /// Another one at each try.
    fn one_of(&self, nodes: &[NodeId], until: Instant, lessons: &Lessons) -> Option<Place> {
        let from = lessons.tries as usize;
        (0..nodes.len())
            .map(|step| nodes[(from + step) % nodes.len()])
            .find_map(|node_id| self.remote(node_id, until))
            .map(Place::There)
    }

    fn remote(&self, node_id: NodeId, until: Instant) -> Option<Remote> {
        let channel = self.context.peers().forward_channel(node_id)?;
        let now = Instant::now();
        let half = until.saturating_duration_since(now) / 2;
        let until = until.min(now + half.max(TRY_MIN));
        Some(Remote { channel, until, time: self.time })
    }

    /// A replica that is not loaded yet is no replica that is not there: the
    /// node that sent the call comes back for it.
    fn absent(&self) -> Failure {
        let id = self.partition_id;
        let is_starting = self.context.gate().stage().is_starting();
        let has_it = |store: &Store| store.has(id);
        if is_starting && self.context.store().is_some_and(has_it) {
            return self.starting();
        }
        Failure::partition_not_found(id)
    }

    fn starting(&self) -> Failure {
        let stage = self.context.gate().stage();
        Failure::new(Reason::Starting, format!("the node is in stage {stage}")).with("stage", stage)
    }
}

/// Whether the replica here can answer by itself.
fn may_answer(partition: &Partition, intent: Intent) -> bool {
    match intent {
        Intent::ReadStale => true,
        Intent::Change | Intent::Restate => partition.is_leader(),
        // A learner may be far behind, and does not know how far.
        Intent::Read => partition.is_leader() || partition.status().role != Role::Learner,
    }
}

fn leader_first(route: &v1::Route) -> Vec<NodeId> {
    let replicas = route.replicas.iter().filter(|replica| !replica.learner);
    let ids = replicas.map(|replica| replica.node_id);
    let others = ids.filter(|id| *id != route.leader_node_id);
    std::iter::once(route.leader_node_id)
        .chain(others)
        .filter_map(|id| NodeId::new(id).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_its_leader_first_and_no_learner() {
        let replica =
            |node_id, learner| v1::RouteReplica { node_id, client_address: String::new(), learner };
        let replicas = vec![replica(1, false), replica(2, false), replica(3, true)];
        let check = |leader_node_id, expected: &[u64]| {
            let replicas = replicas.clone();
            let route = v1::Route { partition_id: 7, replicas, leader_node_id, epoch: 1 };
            let ids: Vec<u64> = leader_first(&route).into_iter().map(NodeId::get).collect();
            assert_eq!(ids, expected, "leader {leader_node_id}");
        };
        check(2, &[2, 1]);
        check(0, &[1, 2]);
    }
}

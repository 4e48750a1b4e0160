//! Carries a call out where it belongs: on this node, or once on another one.
//!
//! A node that leads the partition takes the call itself; any other sends it
//! to the leader's peer port, where it is never sent on (metadata
//! [`NO_FORWARD`]). While there is no leader, or the leadership is being handed
//! over, the call waits inside its caller's time. What surely was not applied is
//! tried again; what may have been applied only under its request id, and every
//! change that leaves this node has one.

mod place;

use std::future::Future;
use std::time::Duration;

use partition_types::{NodeId, PartitionId, Reason, RequestId};
use raft_glue::Partition;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::metadata::MetadataMap;

use crate::context::NodeContext;
use crate::deadline::CallTime;
use crate::status::{Failure, Repeat};

pub(crate) use place::Place;

/// Metadata with which a call is carried out here or not at all.
pub(crate) const NO_FORWARD: &str = "x-datanode-no-forward";

/// The pauses between tries: short at first, because a hand-over takes
/// milliseconds, and never long, because a new leader shows at any moment.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// A try on another node gets half the time that is left, but at least this:
/// a node that hangs must not use up the time in which another one could answer.
const TRY_MIN: Duration = Duration::from_secs(2);
/// How many nodes may say that they do not have what the route promised.
const ASTRAY_MAX: u32 = 3;

/// Whether a call may leave this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hops {
    /// To the node that can carry it out.
    One,
    /// It came from a node already, or its caller asked for it.
    None,
}

impl Hops {
    /// What a call's metadata asks for: any value but `0` turns forwarding off.
    pub(crate) fn read(metadata: &MetadataMap) -> Self {
        match metadata.get(NO_FORWARD) {
            Some(value) if value.as_bytes() != b"0" => Self::None,
            _ => Self::One,
        }
    }
}

/// What a call wants of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Changes it: the leader's business.
    Change,
    /// Changes it to the same state however often it is done.
    Restate,
    /// Reads what was acknowledged before.
    Read,
    /// Reads what a replica has.
    ReadStale,
}

/// One call to one partition.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) context: NodeContext,
    pub(crate) partition_id: PartitionId,
    pub(crate) hops: Hops,
    pub(crate) time: CallTime,
}

/// What earlier tries of a call taught.
#[derive(Default)]
struct Lessons {
    /// Named by a node that does not lead.
    hint: Option<NodeId>,
    tries: u32,
    astray: u32,
    /// The first failure of a replica that only another one can make good.
    bad_replica: Option<Failure>,
    /// Why the last try failed that ended before the time was up.
    not_applied: Option<Failure>,
    pause: Duration,
}

impl Call {
    /// Carries the call out by `attempt`, which gets the place and the request
    /// id to use there.
    ///
    /// # Errors
    /// The last try's failure, when no further try could do better.
    ///
    /// # Cancel safety
    /// Dropped, a change may still be applied: its outcome is unknown.
    pub(crate) async fn run<T, F, R>(
        &self,
        intent: Intent,
        mut request_id: Option<RequestId>,
        attempt: F,
    ) -> Result<T, Failure>
    where
        F: Fn(Place, Option<RequestId>) -> R,
        R: Future<Output = Result<T, Failure>>,
    {
        let until = self.time.step();
        let mut lessons = Lessons::default();
        loop {
            let place = self.place(intent, until, &lessons).await;
            let placed = place.is_ok();
            let tried = match place {
                Ok(place) => {
                    let try_until = place.until(until);
                    if matches!(place, Place::There(_)) {
                        // What leaves this node can be repeated safely.
                        request_id = request_id.or_else(|| Some(RequestId::random()));
                    }
                    match timeout_at(try_until, attempt(place, request_id)).await {
                        Ok(tried) => tried,
                        Err(_) => Err(self.out_of_time(try_until < until)),
                    }
                }
                Err(failure) => Err(failure),
            };
            let failure = match tried {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if placed && failure.reason() == Reason::PartitionNotFound {
                // The route led astray: the next try asks for another.
                self.context.peers().forget_route(self.partition_id);
            }
            let repeatable = intent != Intent::Change || request_id.is_some();
            if self.hops == Hops::None || !lessons.learn(&failure, placed, repeatable) {
                return Err(lessons.verdict(failure));
            }
            tracing::debug!(partition_id = %self.partition_id, %failure, "trying again");
            if !lessons.wait(until).await {
                return Err(self.too_late(failure, intent, lessons));
            }
        }
    }

    fn out_of_time(&self, another_try_is_left: bool) -> Failure {
        if another_try_is_left {
            let message = format!("partition {}: a replica did not answer", self.partition_id);
            return Failure::new(Reason::OutcomeUnknown, message);
        }
        Failure::new(Reason::DeadlineExceeded, "the time was up")
    }

    /// The last failure, as it looks to a caller that knows one node only.
    fn too_late(&self, failure: Failure, intent: Intent, lessons: Lessons) -> Failure {
        let id = self.partition_id;
        let read_only = matches!(intent, Intent::Read | Intent::ReadStale);
        let failure = match (failure.reason(), lessons.not_applied) {
            // Cut off in its last try, it would hide why the others failed.
            (Reason::DeadlineExceeded, Some(earlier)) if read_only => earlier,
            _ => failure,
        };
        match failure.reason() {
            Reason::NotLeader => self.no_leader(),
            // Nobody minds a read that may have been carried out.
            Reason::OutcomeUnknown if read_only => {
                Failure::new(Reason::NoLeader, format!("partition {id}: no replica answered"))
                    .with("partition_id", id)
            }
            _ => failure,
        }
    }

    fn no_leader(&self) -> Failure {
        let id = self.partition_id;
        Failure::new(Reason::NoLeader, format!("partition {id} has no leader"))
            .with("partition_id", id)
    }
}

impl Lessons {
    /// Takes a failure in; false when no further try could do better.
    fn learn(&mut self, failure: &Failure, placed: bool, repeatable: bool) -> bool {
        self.tries += 1;
        self.hint = failure.value("leader_id").and_then(|id| id.parse().ok());
        match (failure.repeat(), failure.reason()) {
            // This node, or that one, is in another life than the other knows it
            // in: a third may know better.
            (_, Reason::IncarnationMismatch) => {
                self.astray += 1;
                placed && self.astray < ASTRAY_MAX
            }
            // Waiting here would only lengthen the queue.
            (Repeat::Pointless, _) | (Repeat::Safe, Reason::Overloaded) => false,
            (Repeat::UnderRequestId, _) => repeatable,
            // Nobody else is to be found from here; from elsewhere, maybe.
            (Repeat::Safe, Reason::NodeUnreachable) if !placed => false,
            (Repeat::Safe, _) => {
                self.not_applied = Some(failure.clone());
                true
            }
            (Repeat::Elsewhere, reason) => {
                if reason != Reason::PartitionNotFound {
                    self.bad_replica.get_or_insert_with(|| failure.clone());
                }
                self.astray += 1;
                placed && self.astray < ASTRAY_MAX
            }
        }
    }

    /// What to tell after the last try: where every replica that was asked is
    /// no help, what was wrong with the first. That nodes do not know each other
    /// is not the caller's fault: another node may do what this one cannot.
    fn verdict(self, last: Failure) -> Failure {
        match (last.repeat(), last.reason()) {
            (_, Reason::IncarnationMismatch) => {
                Failure::new(Reason::NodeUnreachable, last.to_string())
            }
            (Repeat::Elsewhere, _) => self.bad_replica.unwrap_or(last),
            _ => last,
        }
    }

    /// Pauses before the next try; false when there is no time for one.
    async fn wait(&mut self, until: Instant) -> bool {
        if self.hint.is_some() && self.tries == 1 {
            return Instant::now() < until;
        }
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let next = Instant::now() + self.pause;
        // A try that could not finish would only hide why the others failed.
        if next + PAUSE_MAX >= until {
            return false;
        }
        sleep_until(next).await;
        true
    }
}

/// The client address of the partition's leader, as far as this node knows.
pub(crate) fn leader_address(context: &NodeContext, id: PartitionId) -> Option<String> {
    let known = |node_id| context.peers().client_address(node_id);
    match context.host().and_then(|host| host.get(id)) {
        Some(partition) => leader_of(&partition, known),
        None => {
            let route = context.peers().route(id)?;
            let leader = NodeId::new(route.leader_node_id).ok()?;
            let told = || {
                let of_leader = |replica: &&datanode_proto::v1::RouteReplica| {
                    replica.node_id == leader.get() && !replica.client_address.is_empty()
                };
                route.replicas.iter().find(of_leader).map(|replica| replica.client_address.clone())
            };
            known(leader).or_else(told)
        }
    }
}

fn leader_of(partition: &Partition, known: impl Fn(NodeId) -> Option<String>) -> Option<String> {
    let (node_id, member) = partition.leader_member()?;
    known(node_id).or(Some(member.client_address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_turns_forwarding_off() {
        let cases = [(None, Hops::One), (Some("1"), Hops::None), (Some("0"), Hops::One)];
        for (value, expected) in cases {
            let mut metadata = MetadataMap::new();
            if let Some(value) = value {
                metadata.insert(NO_FORWARD, value.parse().expect("ascii"));
            }
            assert_eq!(Hops::read(&metadata), expected, "{value:?}");
        }
    }

    #[test]
    fn lessons_tell_whether_to_try_again() {
        let check = |reason, placed, repeatable, again: bool| {
            let failure = Failure::new(reason, "");
            let learned = Lessons::default().learn(&failure, placed, repeatable);
            assert_eq!(learned, again, "{reason} placed {placed} repeatable {repeatable}");
        };
        check(Reason::NotLeader, true, false, true);
        check(Reason::NoLeader, false, false, true);
        check(Reason::Draining, true, false, true);
        check(Reason::Starting, true, false, true);
        check(Reason::Overloaded, true, true, false);
        check(Reason::OutcomeUnknown, true, false, false);
        check(Reason::OutcomeUnknown, true, true, true);
        check(Reason::DeadlineExceeded, true, true, true);
        check(Reason::DeadlineExceeded, true, false, false);
        check(Reason::ExtentNotFound, true, true, false);
        check(Reason::PartitionNotFound, false, true, false);
        check(Reason::PartitionNotFound, true, true, true);
        check(Reason::ChecksumMismatch, true, true, true);
        check(Reason::IncarnationMismatch, true, true, true);
        check(Reason::NodeUnreachable, true, true, true);
        check(Reason::NodeUnreachable, false, true, false);
    }

    #[test]
    fn a_bad_replica_is_told_of_only_when_no_other_answered() {
        let check = |last, told| {
            let mut lessons = Lessons::default();
            assert!(lessons.learn(&Failure::new(Reason::ChecksumMismatch, ""), true, true));
            assert_eq!(lessons.verdict(Failure::new(last, "")).reason(), told);
        };
        check(Reason::Quarantined, Reason::ChecksumMismatch);
        check(Reason::ExtentNotFound, Reason::ExtentNotFound);
        check(Reason::NoLeader, Reason::NoLeader);
        check(Reason::IncarnationMismatch, Reason::NodeUnreachable);
    }

    #[test]
    fn a_route_that_leads_astray_is_given_up() {
        for reason in [Reason::PartitionNotFound, Reason::IncarnationMismatch] {
            let mut lessons = Lessons::default();
            let failure = Failure::new(reason, "");
            let tries = (1..10).find(|_| !lessons.learn(&failure, true, true));
            assert_eq!(tries, Some(ASTRAY_MAX), "{reason}");
        }
    }
}

//! Offering sleep again to a node that may have forgotten it.
//!
//! A node that was started anew does not know what slept there. Its replicas have all that
//! they had, and those of idle groups lack nothing: so their leaders, which sleep,
//! do not wake for them. Each leader's node offers all of them again, in place of a
//! beat. A replica agrees by what is on its disk, in memory or not; where it does not
//! agree, its leader wakes and brings it up to date.

use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_types::{Member, NodeId};

use crate::SleepingGroup;
use crate::convert::from_raft_log_id;
use crate::group::Group;
use crate::shared::Shared;

/// Groups in one offer: what was refused of it wakes at once.
const OFFER_MAX: usize = 1024;

impl Shared {
    /// What sleeps with a peer, led from here, is offered to it with the next beat.
    pub(crate) fn offer_again(&self, to: NodeId) {
        self.sleepers.book.lock().offer_again(to);
    }

    /// Offers all of it. A peer that does not answer, or has not loaded everything, is
    /// made the offer again.
    pub(super) async fn offer(&self, to: NodeId, member: &Member) {
        let ids = self.sleepers.book.lock().led_to(to);
        for some in ids.chunks(OFFER_MAX) {
            let sleeping = some.iter().filter_map(|id| {
                let group = self.group(*id)?;
                let (offered, is_level) = group.as_it_sleeps(to)?;
                Some((group, offered, is_level))
            });
            let some: Vec<_> = sleeping.collect();
            let digest = self.sleepers.book.lock().led_with(to);
            let offered = some.iter().map(|(_, offered, _)| *offered).collect();
            let wait = self.config.heartbeat_interval;
            let reply = self.say(to, member, digest, offered, wait).await;
            let Some(reply) = reply.filter(|reply| !reply.starting) else {
                return self.offer_again(to);
            };
            let agreed: std::collections::HashSet<_> = reply.agreed.into_iter().collect();
            for (group, _, is_level) in some {
                if !is_level || !agreed.contains(&group.id) {
                    self.tasks.spawn(group.nudge(to));
                }
            }
        }
    }
}

impl Group {
    /// As its followers were told, if it still sleeps as their leader; and whether this
    /// replica knows that `follower` has all of it.
    fn as_it_sleeps(&self, follower: NodeId) -> Option<(SleepingGroup, bool)> {
        if !self.leads_asleep() {
            return None;
        }
        let body = self.running()?;
        let metrics = body.raft.metrics();
        let metrics = metrics.borrow_watched();
        if !metrics.state.is_leader() {
            return None;
        }
        let last = metrics.last_applied.filter(|id| Some(id.index) == metrics.last_log_index)?;
        let term = metrics.vote.leader_id.term;
        let replication = metrics.replication.as_ref()?;
        let is_level = replication.get(&follower.get()).copied().flatten() == Some(last);
        let last = Some(from_raft_log_id(last));
        Some((SleepingGroup { partition_id: self.id, term, last }, is_level))
    }
}

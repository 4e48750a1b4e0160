//! Replicas that their group removed while their node could not be told: they find
//! out, and go.
//!
//! A replica that looks for a leader asks the members that it knows, and those that
//! its node was told of. A leader that has no such member says so, with the place of
//! its members in the log; the replica is deleted, as `DeleteReplica` would have
//! deleted it. Nobody goes on a guess:
//!
//! 1. *Who says so leads.* A quorum confirmed it after the question came, so its
//!    members are no older than the last that were committed when the question was
//!    asked. They are applied and not joint, so no later leader can lack them.
//! 2. *It says so of this replica*: of the node and its incarnation.
//! 3. *It is news.* The place is above everything in the replica's own log, so the
//!    replica was told of none of it; or it is where the replica's own members stand,
//!    which leave it out too. A replica that was never told of any members is being
//!    made, and stays.
//! 4. *Nothing came between.* A replica may be added again, as it is, after the
//!    answer. Then its new leader counts on what it acknowledges. So each message of a
//!    leader is counted before it is taken, the count is compared with that from before
//!    the question, and from that moment on no message is taken any more ([`Hold`]). A
//!    leader that comes later finds no replica, and has nothing of it: a new member
//!    begins with nothing acknowledged.
//!
//! So nobody's quorum ever counts a copy that is gone: it was counted for entries up to
//! the removal, which was committed by others; after it, nothing of it was.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use partition_types::{LogId, PartitionId};
use tokio::time::Instant;

use crate::group::Group;
use crate::protocol::Memory;
use crate::shared::Shared;
use crate::{CreateError, Partition, PartitionHost};

/// Between two looks at replicas that have no leader.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Replicas that ask at the same time.
const PARALLEL: usize = 256;
/// Of those that are not in memory, so many ask in one look: most of them wait for
/// somebody to use their group, and those of a group that sleeps are not lost.
const UNLOADED_MAX: usize = 256;
/// Who is about to add a replica, and found one there, is given this time.
const KEPT: Duration = Duration::from_secs(60);

/// What keeps a replica here: that its group talks to it, or is about to.
#[derive(Default)]
pub(crate) struct Hold(Mutex<Held>);

#[derive(Default)]
struct Held {
    /// Messages of leaders that were taken.
    messages: u64,
    kept_until: Option<Instant>,
    /// It is being deleted and takes no message.
    is_leaving: bool,
}

impl Hold {
    /// Counts a leader's message before it is taken. False: it must not be.
    pub(crate) fn take_message(&self) -> bool {
        let mut held = self.0.lock();
        held.messages += u64::from(!held.is_leaving);
        !held.is_leaving
    }

    pub(crate) fn messages(&self) -> u64 {
        self.0.lock().messages
    }

    fn keep(&self, until: Instant) -> bool {
        let mut held = self.0.lock();
        held.kept_until = Some(until);
        !held.is_leaving
    }

    /// Lets go, if nobody has taken hold since there were so many messages.
    fn leave(&self, messages: u64, now: Instant, is_outlived: impl FnOnce() -> bool) -> bool {
        let mut held = self.0.lock();
        let kept = held.kept_until.is_some_and(|until| now < until);
        if held.messages == messages && !kept && is_outlived() {
            held.is_leaving = true;
        }
        held.is_leaving
    }
}

/// A replica that its group left out, by the word of its leader.
#[derive(Clone)]
pub struct Removal {
    group: Arc<Group>,
    at: LogId,
    /// Messages taken before the question.
    messages: u64,
}

impl Removal {
    /// Of which partition.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.group.id
    }

    /// Where the members stand that leave it out.
    #[must_use]
    pub fn at(&self) -> LogId {
        self.at
    }
}

impl std::fmt::Debug for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Removal({} at {})", self.group.id, self.at)
    }
}

impl Partition {
    /// Keeps the replica for a while, for whoever is about to add it to its group,
    /// whatever a leader says that does not know of that yet. False when it is being
    /// deleted already.
    #[must_use]
    pub fn keep(&self) -> bool {
        self.group.hold.keep(Instant::now() + KEPT)
    }

    /// Whether this replica has heard of no leader for longer than any election takes:
    /// whoever leads the group, if anybody does, does not talk to this node.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.group.is_lost()
    }
}

impl PartitionHost {
    /// Deletes a replica that its group removed, unless it was taken hold of since
    /// its leader said so. Whether it is gone by this.
    ///
    /// # Errors
    /// [`CreateError::Failed`] as in [`PartitionHost::delete`].
    ///
    /// # Cancel safety
    /// It may be deleted or not.
    pub async fn let_go(&self, removal: Removal) -> Result<bool, CreateError> {
        let id = removal.group.id;
        let _turn = self.shared.placing.lock().await;
        let current = self.shared.group(id);
        if !current.is_some_and(|group| Arc::ptr_eq(&group, &removal.group)) {
            return Ok(false);
        }
        let group = &removal.group;
        let is_outlived = || {
            group.memory().is_some_and(|memory| memory.is_outlived(removal.at))
                && !group.view().is_some_and(|view| view.leads())
        };
        if !group.hold.leave(removal.messages, Instant::now(), is_outlived) {
            return Ok(false);
        }
        tracing::info!(
            partition_id = %id,
            removed_at = %removal.at,
            "delete a replica that its group removed while this node could not be told"
        );
        let deleted = self.delete_in_turn(id).await?;
        self.shared.metrics.removed.increment(1);
        Ok(deleted)
    }

    /// Has `told` called for each replica that is deleted because a look while the
    /// node serves found that its group removed it. It must not block.
    ///
    /// # Panics
    /// When somebody is told already.
    pub fn on_removed(&self, told: impl Fn(PartitionId) + Send + Sync + 'static) {
        let first = self.shared.on_removed.set(Box::new(told)).is_ok();
        assert!(first, "a host has one listener");
    }
}

impl Group {
    /// What a leader said, if this replica may believe it.
    pub(crate) fn removal(self: &Arc<Self>, at: LogId, messages: u64) -> Option<Removal> {
        let believes = self.memory().is_some_and(|memory| memory.is_outlived(at));
        believes.then(|| Removal { group: Arc::clone(self), at, messages })
    }

    /// `None` for a replica whose log is not known.
    fn memory(&self) -> Option<Memory> {
        let store = self.sound().ok()?;
        let (log, state) = (store.log().bounds(), store.state());
        let last = log.last.or(log.purged).max(state.applied());
        Some(Memory { last, members_at: self.members().0 })
    }

    fn is_lost(&self) -> bool {
        let last = || self.contact.last().map_or(self.since, |heard| heard.at);
        self.leader().is_none() && last().elapsed() > self.shared.config.election_timeout.1
    }
}

/// Looks now and then whether replicas that have no leader are anybody's still.
pub(crate) async fn look(shared: Arc<Shared>) {
    let host = PartitionHost { shared: Arc::clone(&shared) };
    let mut asked_last = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.cancel.cancelled() => return,
        }
        // A start asks by itself.
        if !shared.leads.is_serving() {
            continue;
        }
        let mut orphans = shared.all();
        orphans.retain(|group| group.sound().is_ok() && group.is_lost());
        let (unloaded, mut orphans): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|group| group.is_unloaded());
        let waiting: Vec<_> = unloaded.iter().map(|group| group.id).collect();
        let turn = in_turn(&waiting, asked_last);
        asked_last = turn.last().copied();
        orphans.extend(unloaded.into_iter().filter(|group| turn.contains(&group.id)));
        futures::stream::iter(orphans)
            .for_each_concurrent(PARALLEL, |group| look_at(&host, group))
            .await;
    }
}

/// Whose turn it is, after those that had theirs; `ids` in their order.
fn in_turn(ids: &[PartitionId], after: Option<PartitionId>) -> Vec<PartitionId> {
    let begin = ids.partition_point(|id| Some(*id) <= after);
    let (before, rest) = ids.split_at(begin);
    rest.iter().chain(before).copied().take(UNLOADED_MAX).collect()
}

async fn look_at(host: &PartitionHost, group: Arc<Group>) {
    let messages = group.hold.messages();
    let Some(at) = group.poll_leader().await.removed_at else { return };
    let Some(removal) = group.removal(at, messages) else { return };
    let told = host.shared.on_removed.get();
    match host.let_go(removal).await {
        Ok(true) => told.into_iter().for_each(|told| told(group.id)),
        Ok(false) => {}
        Err(error) => {
            tracing::error!(partition_id = %group.id, %error, "delete a removed replica");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn() {
        let id = |id| PartitionId::new(id).expect("above 0");
        let ids: Vec<_> = (1..=600).map(id).collect();
        let mut asked = std::collections::BTreeSet::new();
        let mut last = None;
        for _ in 0..3 {
            let turn = in_turn(&ids, last);
            assert_eq!(turn.len(), UNLOADED_MAX);
            last = turn.last().copied();
            asked.extend(turn);
        }
        assert_eq!(asked.len(), 600);
        assert_eq!(in_turn(&[7, 9].map(id), Some(id(8))), [9, 7].map(id));
        assert!(in_turn(&[], last).is_empty());
    }

    #[test]
    fn lets_go_only_when_nothing_came_between() {
        let now = Instant::now();
        let asked = |hold: &Hold| hold.messages();
        let hold = Hold::default();
        assert!(hold.take_message());
        let before = asked(&hold);
        assert!(hold.take_message());
        assert!(!hold.leave(before, now, || true), "its group talks to it");
        let before = asked(&hold);
        assert!(!hold.leave(before, now, || false), "it knows better");
        assert!(hold.keep(now + KEPT));
        assert!(!hold.leave(before, now, || true), "it is about to be added");
        assert!(hold.leave(before, now + KEPT, || true));
        assert!(!hold.take_message(), "what leaves acknowledges nothing");
        assert_eq!(hold.messages(), before);
        assert!(!hold.keep(now + KEPT), "too late");
    }
}

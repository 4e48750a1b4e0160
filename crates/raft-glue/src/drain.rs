//! Giving every leadership away before the node goes down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use openraft::ServerState;
use partition_types::PartitionId;
use tokio::time::Instant;

use crate::group::Group;
use crate::pace::Turns;
use crate::{PartitionHost, TransferError, protocol, transfer};

/// Groups that look for a target at the same time, which no client waits for.
const PARALLEL: usize = 64;
/// A round takes what the one before left over.
const ROUNDS_MAX: usize = 5;
/// For so long a drain waits for a machine that is busy; then it goes as fast as it can.
const RESTS_FOR: Duration = Duration::from_secs(5);
/// Between two looks at campaigns that are not over.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Hand-overs at the same time, of so many groups led: a few are enough to keep network,
/// disks and processors busy. With more of them each takes longer, and it is each one that
/// clients wait for; with many groups each has fewer of the clients.
fn turns_of(led: usize) -> usize {
    (led / 64).clamp(4, 64)
}

/// What a drain did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Groups led when it began.
    pub before: usize,
    /// Groups still led when it ended, those of the lists below apart.
    pub after: usize,
    /// Groups that nobody else can lead, for there is no other voter.
    pub sole_voters: Vec<PartitionId>,
    /// Groups that nobody else can lead now: every other voter is unreachable,
    /// draining too, or bad.
    pub alone: Vec<PartitionId>,
}

impl DrainOutcome {
    fn expects(&self, id: PartitionId) -> bool {
        self.sole_voters.contains(&id) || self.alone.contains(&id)
    }
}

impl PartitionHost {
    /// Takes no new leadership from now on, and hands over what this node
    /// leads: in parallel, bounded, each to a caught-up voter whose node serves.
    ///
    /// # Cancel safety
    /// Dropping the future stops the handing over; the node goes on draining
    /// until [`PartitionHost::undrain`].
    pub async fn drain(&self) -> DrainOutcome {
        self.set_draining(true);
        let mut outcome = DrainOutcome { before: self.led().len(), ..DrainOutcome::default() };
        let began = Instant::now();
        let (patience, rests_until) =
            (began + self.shared.config.election_timeout.1, began + RESTS_FOR);
        for _ in 0..ROUNDS_MAX {
            self.see_winners_lead(patience).await;
            let led = self.led();
            if led.is_empty() {
                if !protocol::drain_goes_on(0, self.candidates()) {
                    break;
                }
                // The last grants of a campaign from before may be on their way
                // through openraft; from then on it is won, and waited for above.
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let turns = &Turns::new(turns_of(led.len()), rests_until);
            let results: Vec<_> =
                futures::stream::iter(led)
                    .map(|group| async move {
                        (group.id, transfer::give_away(&group, Some(turns)).await)
                    })
                    .buffer_unordered(PARALLEL)
                    .collect()
                    .await;
            outcome.sole_voters.clear();
            outcome.alone.clear();
            for (id, result) in results {
                match result {
                    Err(TransferError::SoleVoter) => outcome.sole_voters.push(id),
                    Err(TransferError::Alone) => outcome.alone.push(id),
                    Err(error) => tracing::warn!(partition_id = %id, %error, "hand over failed"),
                    Ok(_) => {}
                }
            }
            let left = self.led().iter().filter(|group| !outcome.expects(group.id)).count();
            if !protocol::drain_goes_on(left, self.candidates()) {
                break;
            }
        }
        outcome.sole_voters.sort_unstable();
        outcome.alone.sort_unstable();
        outcome.after = self.led().iter().filter(|group| !outcome.expects(group.id)).count();
        outcome
    }

    /// Takes leaderships again.
    pub fn undrain(&self) {
        self.set_draining(false);
        for group in self.shared.all() {
            group.enable_elections();
        }
    }

    /// Whether the node gives its leaderships away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    fn set_draining(&self, draining: bool) {
        self.shared.draining.store(draining, Ordering::Release);
        for group in self.shared.all() {
            group.fence.set_draining(draining);
        }
    }

    /// Waits until what this node has won is led, and can be handed over. That takes as
    /// long as the disk does for a vote; a disk that takes longer than the longest
    /// election does not keep the node up.
    async fn see_winners_lead(&self, until: Instant) {
        let wins = || self.shared.all().iter().any(|group| group.is_winning());
        let led = async {
            while wins() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout_at(until, led).await;
    }

    fn candidates(&self) -> usize {
        let campaigns = |group: &Arc<Group>| {
            group.view().is_some_and(|view| view.state == ServerState::Candidate)
        };
        self.shared.all().iter().filter(|group| campaigns(group)).count()
    }

    fn led(&self) -> Vec<Arc<Group>> {
        let mut groups = self.shared.all();
        groups.retain(|group| group.view().is_some_and(|view| view.leads()));
        groups
    }
}

//! Which group may sleep, and who agrees to it.
//!
//! A group that sleeps has no heartbeats and no election timers: its followers
//! watch the leader's *node* instead, for all its sleeping groups at once. That is
//! never unsafe. Elections are decided by terms, votes and logs, and reads by
//! asking a quorum; sleep only takes away messages and timers, which Raft may
//! lose and delay anyhow. What these rules are for is that nobody campaigns
//! against a leader that lives, and that no group is left without one.

use std::time::Duration;

/// A group as its leader sees it when a heartbeat is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// Since it last had a write, a read, a change of its members or its leader.
    pub idle_for: Duration,
    /// How long that must be. Zero: it never sleeps.
    pub sleep_after: Duration,
    /// Every member has the whole log, and this replica has applied it.
    pub is_level: bool,
    /// Its members or its leader are about to change.
    pub is_changing: bool,
    /// The node gives its leaderships away.
    pub draining: bool,
}

/// A follower as it is told to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// It follows who tells it, in the term that it tells.
    pub follows: bool,
    /// Its last entry is the leader's.
    pub same_log: bool,
    /// It has applied that.
    pub has_applied: bool,
}

impl Idle {
    /// Whether the followers are asked to let the group sleep.
    #[must_use]
    #[inline]
    pub fn may_sleep(self) -> bool {
        let long_enough = !self.sleep_after.is_zero() && self.idle_for >= self.sleep_after;
        long_enough && self.is_level && !self.is_changing && !self.draining
    }
}

impl Told {
    /// Whether it agrees. One that does not goes on as before, and so does
    /// the whole group.
    #[must_use]
    #[inline]
    pub fn agrees(self) -> bool {
        self.follows && self.same_log && self.has_applied
    }
}

/// Whether a replica hears out who wants to know whether it would get this vote.
/// Openraft's leases ran out while it slept, and say nothing for one more
/// heartbeat: `drowsy`. Where the leader's node lives it says no, as a replica
/// that was awake does within its lease; a leader says no too, wakes, and lets
/// the others hear of it.
#[must_use]
#[inline]
pub fn hears_out_pre_vote(drowsy: bool, knows_leader: bool) -> bool {
    !(drowsy && knows_leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_is_level_and_idle_sleeps() {
        let second = Duration::from_secs(1);
        let idle = Idle {
            idle_for: second,
            sleep_after: second,
            is_level: true,
            is_changing: false,
            draining: false,
        };
        assert!(idle.may_sleep());
        for awake in [
            Idle { idle_for: second / 2, ..idle },
            Idle { sleep_after: Duration::ZERO, ..idle },
            Idle { is_level: false, ..idle },
            Idle { is_changing: true, ..idle },
            Idle { draining: true, ..idle },
        ] {
            assert!(!awake.may_sleep(), "{awake:?}");
        }
    }

    #[test]
    fn a_follower_agrees_only_with_its_leader_and_all_of_the_log() {
        for bits in 0..8_u8 {
            let [follows, same_log, has_applied] = [0, 1, 2].map(|bit| bits & (1 << bit) > 0);
            let told = Told { follows, same_log, has_applied };
            assert_eq!(told.agrees(), bits == 7, "{told:?}");
        }
    }

    #[test]
    fn only_who_sleeps_under_a_living_leader_says_no_unheard() {
        assert!(!hears_out_pre_vote(true, true));
        assert!(hears_out_pre_vote(true, false));
        assert!(hears_out_pre_vote(false, true));
    }
}

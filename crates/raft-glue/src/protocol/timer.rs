//! What a replica does when its timer is due. Times are told, never read; chance
//! is told too.

use std::time::Duration;

use super::{Fence, timer_may_run};

/// A replica as its timer finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// It leads.
    pub leads: bool,
    /// It has a vote.
    pub votes: bool,
    /// Nobody else is in the group.
    pub alone: bool,
    /// It sleeps: its group is idle, and its leader's node is watched instead.
    pub asleep: bool,
    /// Its fence.
    pub fence: Fence,
    /// Its node's client port is open.
    pub serving: bool,
    /// Since it last heard of a leader of its term, or gave its vote away.
    pub silent_for: Duration,
    /// How long that may be, drawn anew each time.
    pub timeout: Duration,
    /// The node of its last leader says that it lives.
    pub leader_lives: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing, until something happens to the replica.
    Rest,
    /// Tell the followers that it leads.
    Beat,
    /// Look again after this time: a leader was heard of since.
    Later(Duration),
    /// It may not campaign: look again when that changes.
    Held,
    /// Ask the leader first: its node lives, so it may only have missed a beat.
    Ask,
    /// Campaign, pre-vote first.
    Elect,
}

impl Timed {
    /// What to do now.
    #[must_use]
    #[inline]
    pub fn due(self) -> Due {
        if self.asleep {
            return Due::Rest;
        }
        if self.leads {
            return if self.alone { Due::Rest } else { Due::Beat };
        }
        if !self.votes {
            return Due::Rest;
        }
        if self.silent_for < self.timeout {
            return Due::Later(self.timeout.saturating_sub(self.silent_for));
        }
        if !timer_may_run(self.fence, self.serving) {
            return Due::Held;
        }
        if self.leader_lives { Due::Ask } else { Due::Elect }
    }
}

/// How long a replica waits for its leader: between the two of
/// `election_timeout`, where `chance` says, of all that it can be.
#[must_use]
#[inline]
pub fn draw_timeout(election_timeout: (Duration, Duration), chance: u64) -> Duration {
    let (min, max) = election_timeout;
    let span_nanos = u64::try_from(max.saturating_sub(min).as_nanos()).unwrap_or(u64::MAX);
    let share = (u128::from(span_nanos) * u128::from(chance)) >> 64;
    min + Duration::from_nanos(u64::try_from(share).unwrap_or(span_nanos))
}

/// A number that looks like chance and is the same for the same seed: the
/// finaliser of SplitMix64.
#[must_use]
#[inline]
pub const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Every replica whose timer is due, as 8 bits have it.
    fn replica(bits: u16) -> Timed {
        let on = |bit: u16| bits & (1 << bit) > 0;
        Timed {
            leads: on(0),
            votes: on(1),
            alone: on(2),
            asleep: on(3),
            fence: Fence { open: on(4), draining: on(5), quarantined: on(6), owing: on(10) },
            serving: on(7),
            leader_lives: on(8),
            silent_for: if on(9) { 2 * SECOND } else { SECOND / 2 },
            timeout: SECOND,
        }
    }

    #[test]
    fn campaigns_only_where_the_timer_may_run() {
        for bits in 0..2048 {
            let timed = replica(bits);
            let due = timed.due();
            if matches!(due, Due::Ask | Due::Elect) {
                assert!(timer_may_run(timed.fence, timed.serving), "{timed:?}");
                assert!(timed.votes && !timed.leads && !timed.asleep, "{timed:?}");
                assert!(timed.silent_for >= timed.timeout, "{timed:?}");
                assert_eq!(due == Due::Ask, timed.leader_lives, "{timed:?}");
            }
            if due == Due::Beat {
                assert!(timed.leads && !timed.alone && !timed.asleep, "{timed:?}");
            }
            let watched = !timed.leads && timed.votes && !timed.asleep;
            assert_eq!(due == Due::Rest, !watched && due != Due::Beat, "{timed:?}");
        }
    }

    #[test]
    fn waits_for_the_rest_of_its_time() {
        let timed = Timed { silent_for: SECOND / 4, ..replica(0b10) };
        assert_eq!(timed.due(), Due::Later(SECOND * 3 / 4));
    }

    #[test]
    fn draws_between_the_two_times_and_spreads() {
        let (min, max) = (2 * SECOND, 4 * SECOND);
        assert_eq!(draw_timeout((min, max), 0), min);
        assert!(draw_timeout((min, max), u64::MAX) <= max);
        let drawn = |seed| draw_timeout((min, max), mix(seed));
        assert!((0..1000).all(|seed| (min..=max).contains(&drawn(seed))));
        let early = (0..1000).filter(|seed| drawn(*seed) < 3 * SECOND).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }
}

//! Whose turn it is to campaign. Times are told, never read.

use std::time::Duration;

use super::Fence;

/// Between two campaigns of one replica.
pub const CAMPAIGN_PAUSE: Duration = Duration::from_millis(200);

/// How long after the first sign of need a replica may campaign: the preferred
/// one, of rank 0, at once, each further one a little later, so that a cold
/// start elects in one round. Who has no rank is taken for the second.
#[must_use]
pub fn campaign_delay(rank: Option<usize>, election_timeout_min: Duration) -> Duration {
    election_timeout_min / 2 * u32::try_from(rank.unwrap_or(1)).unwrap_or(u32::MAX)
}

/// Whether it is this replica's turn: it has been needed for `delay`, and did
/// not just campaign.
#[must_use]
#[inline]
pub fn campaign_is_due(
    needed_for: Duration,
    delay: Duration,
    since_last: Option<Duration>,
) -> bool {
    needed_for >= delay && since_last.is_none_or(|since| since >= CAMPAIGN_PAUSE)
}

/// Whether the return of a peer is a reason to campaign: an election may
/// succeed now that could not before.
#[must_use]
#[inline]
pub fn may_campaign_on_return(fence: Fence, serving: bool, knows_leader: bool) -> bool {
    serving && !knows_leader && fence.may_lead()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_turns_by_rank() {
        let second = Duration::from_secs(1);
        assert_eq!(campaign_delay(Some(0), 2 * second), Duration::ZERO);
        assert_eq!(campaign_delay(Some(2), 2 * second), 2 * second);
        assert_eq!(campaign_delay(None, 2 * second), second);
        assert!(campaign_is_due(Duration::ZERO, Duration::ZERO, None));
        assert!(!campaign_is_due(Duration::ZERO, second, None), "not its turn");
        assert!(!campaign_is_due(second, second, Some(CAMPAIGN_PAUSE / 2)), "it just did");
        assert!(campaign_is_due(second, second, Some(CAMPAIGN_PAUSE)));
    }
}

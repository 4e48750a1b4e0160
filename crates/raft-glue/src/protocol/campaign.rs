//! Whose turn it is to campaign. Times are told, never read.

use std::time::Duration;

use super::{Fence, Voice};

/// Between two campaigns of one replica.
pub const CAMPAIGN_PAUSE: Duration = Duration::from_millis(200);

/// How long after the first sign of need a replica may campaign, by what those are that are to
/// lead rather than it: the preferred one at once, each further one a little later, so that a
/// cold start elects in one round. Who is on its way up is given twice the time, so that a node
/// whose load is late finds its groups still without a leader; who cannot lead is given none.
#[must_use]
pub fn campaign_delay(
    ahead: impl IntoIterator<Item = Voice>,
    election_timeout_min: Duration,
) -> Duration {
    let time_of = |voice| match voice {
        Voice::Out => Duration::ZERO,
        Voice::Starting => election_timeout_min,
        Voice::Leader | Voice::Serving | Voice::Silent => election_timeout_min / 2,
    };
    ahead.into_iter().map(time_of).sum()
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
    fn takes_turns() {
        let second = Duration::from_secs(1);
        let delay = |ahead: &[Voice]| campaign_delay(ahead.iter().copied(), 2 * second);
        assert_eq!(delay(&[]), Duration::ZERO);
        assert_eq!(delay(&[Voice::Silent]), second);
        assert_eq!(delay(&[Voice::Starting]), 2 * second, "it comes");
        assert_eq!(delay(&[Voice::Out]), Duration::ZERO, "it never will");
        assert_eq!(delay(&[Voice::Silent, Voice::Starting]), 3 * second);
        assert!(campaign_is_due(Duration::ZERO, Duration::ZERO, None));
        assert!(!campaign_is_due(Duration::ZERO, second, None), "not its turn");
        assert!(!campaign_is_due(second, second, Some(CAMPAIGN_PAUSE / 2)), "it just did");
        assert!(campaign_is_due(second, second, Some(CAMPAIGN_PAUSE)));
    }
}

//! What follows from the answers of the other voters.

use std::time::Duration;

use partition_types::Reason;

/// What one voter is to the one who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Voice {
    /// It leads, confirmed by a quorum since it was asked.
    Leader,
    /// It serves clients and could lead.
    Serving,
    /// It may lead once its node serves.
    Starting,
    /// It answers, and may not lead any more: it drains or is bad.
    Out,
    /// No answer came.
    Silent,
}

impl Voice {
    /// What a refusal with this reason says of its sender.
    #[must_use]
    #[inline]
    pub fn of_refusal(reason: Reason) -> Self {
        match reason {
            Reason::NotLeader | Reason::NoLeader => Self::Serving,
            Reason::Starting => Self::Starting,
            _ => Self::Out,
        }
    }
}

/// The answers of one round of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Poll {
    /// Somebody leads.
    pub leader: bool,
    /// Voters that serve clients and could lead.
    pub serving: u32,
    /// Voters that answer and cannot lead now.
    pub starting: u32,
    /// Voters from which no answer came.
    pub silent: u32,
}

/// What to do after a round of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A leader is verified: catch up with it.
    Verified,
    /// Nobody who serves can lead: campaign, if it may and when it is its turn.
    Needed,
    /// Somebody who serves can lead, and is given the time to: ask again.
    Wait,
}

impl Poll {
    /// Counts one answer.
    #[inline]
    pub fn hear(&mut self, voice: Voice) {
        match voice {
            Voice::Leader => self.leader = true,
            Voice::Serving => self.serving += 1,
            Voice::Starting | Voice::Out => self.starting += 1,
            Voice::Silent => self.silent += 1,
        }
    }

    /// Those who serve are given one long election's time: a replica with fewer
    /// entries than this one cannot win.
    #[must_use]
    #[inline]
    pub fn verdict(self, waited_long: bool) -> Verdict {
        if self.leader {
            Verdict::Verified
        } else if self.serving == 0 || waited_long {
            Verdict::Needed
        } else {
            Verdict::Wait
        }
    }
}

/// Whether a replica has asked in vain for longer than any election of those
/// who serve takes. `election_timeout` is the shortest and the longest.
#[must_use]
#[inline]
pub fn has_waited_long(waited: Duration, election_timeout: (Duration, Duration)) -> bool {
    waited > election_timeout.0 + election_timeout.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_only_where_nobody_who_serves_can_lead() {
        use Voice::{Leader, Out, Serving, Silent, Starting};
        for (voices, waited_long, verdict) in [
            (&[][..], false, Verdict::Needed),
            (&[Silent, Silent], false, Verdict::Needed),
            (&[Starting, Silent], false, Verdict::Needed),
            (&[Starting, Out], false, Verdict::Needed),
            (&[Serving, Starting], false, Verdict::Wait),
            (&[Serving, Silent], false, Verdict::Wait),
            (&[Serving, Starting], true, Verdict::Needed),
            (&[Starting, Leader], true, Verdict::Verified),
        ] {
            let mut poll = Poll::default();
            voices.iter().for_each(|voice| poll.hear(*voice));
            assert_eq!(poll.verdict(waited_long), verdict, "{voices:?}");
        }
    }

    #[test]
    fn takes_only_two_reasons_for_able_to_lead() {
        for reason in Reason::ALL {
            let able = matches!(reason, Reason::NotLeader | Reason::NoLeader);
            assert_eq!(Voice::of_refusal(*reason) == Voice::Serving, able, "{reason}");
        }
    }
}

//! What a replica answers when it is asked for the leader.

use partition_types::Reason;

use super::Fence;

/// What matters of a replica when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// It leads, and a quorum has confirmed that since it was asked.
    pub leads: bool,
    /// Its node gives its leaderships away.
    pub draining: bool,
    /// Its node's client port is open.
    pub serving: bool,
    /// Its fence.
    pub fence: Fence,
    /// It has heard of a leader of its term since boot, not long ago.
    pub knows_leader: bool,
    /// It has so much left to apply that it would lead with a stutter.
    pub lags: bool,
}

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It leads.
    Leader,
    /// It serves and could lead; another one does.
    NotLeader,
    /// It serves and could lead; nobody is known to.
    NoLeader,
    /// It may not lead yet.
    Starting,
    /// It takes no leadership any more.
    Draining,
    /// It is bad.
    Quarantined,
}

impl Standing {
    /// Besides the answer of a leader, this tells who could become one: a
    /// follower whose node serves says [`Answer::NotLeader`] or
    /// [`Answer::NoLeader`].
    #[must_use]
    #[inline]
    pub fn answer(self) -> Answer {
        if self.fence.quarantined {
            Answer::Quarantined
        } else if self.leads {
            Answer::Leader
        } else if self.draining {
            Answer::Draining
        } else if !self.serving || !self.fence.may_lead() {
            Answer::Starting
        } else if self.knows_leader && self.lags {
            // Nobody needs it: whoever leads goes on until it has caught up.
            Answer::Starting
        } else if self.knows_leader {
            Answer::NotLeader
        } else {
            Answer::NoLeader
        }
    }
}

impl Answer {
    /// The word on the wire; `None` for a leader, who sends its read index.
    #[must_use]
    #[inline]
    pub fn reason(self) -> Option<Reason> {
        match self {
            Self::Leader => None,
            Self::NotLeader => Some(Reason::NotLeader),
            Self::NoLeader => Some(Reason::NoLeader),
            Self::Starting => Some(Reason::Starting),
            Self::Draining => Some(Reason::Draining),
            Self::Quarantined => Some(Reason::Quarantined),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_that_it_could_lead_only_where_it_could() {
        for bits in 0..256_u16 {
            let on = |bit: u16| bits & (1 << bit) > 0;
            let fence = Fence { open: on(0), draining: on(1), quarantined: on(2), owing: on(7) };
            let standing = Standing {
                leads: on(3),
                draining: on(1),
                serving: on(4),
                fence,
                knows_leader: on(5),
                lags: on(6),
            };
            let answer = standing.answer();
            let could = matches!(answer, Answer::NotLeader | Answer::NoLeader);
            let level = !(on(5) && on(6));
            assert_eq!(could, !on(3) && on(4) && fence.may_lead() && level, "{standing:?}");
            assert_eq!(answer == Answer::Leader, on(3) && !on(2), "{standing:?}");
            assert_eq!(answer == Answer::Quarantined, on(2), "{standing:?}");
        }
    }
}

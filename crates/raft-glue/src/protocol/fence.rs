//! The fence as a state: whether a replica may lead, asked on every path.
//!
//! Not the fence that the host holds: that one takes the gate's token, counts,
//! and asks this one.

/// The fence of one replica. Closed by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fence {
    /// The right to campaign was given.
    pub open: bool,
    /// The node gives its leaderships away and takes nothing new.
    pub draining: bool,
    /// The replica is bad, for good.
    pub quarantined: bool,
    /// It has less than a replica before it on this node acknowledged, which a voter
    /// that was left behind may take it for.
    pub owing: bool,
}

/// A way to become leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    /// A vote request is about to leave, or a granted vote to be counted.
    Vote,
    /// Likewise a pre-vote.
    PreVote,
    /// Another leader wants this replica to take over.
    Transfer,
    /// The host wants an election.
    Trigger,
    /// The group is to get its first membership here.
    Initialize,
}

impl Path {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::Vote, Self::PreVote, Self::Transfer, Self::Trigger, Self::Initialize];

    /// Its word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::PreVote => "pre_vote",
            Self::Transfer => "transfer",
            Self::Trigger => "trigger",
            Self::Initialize => "initialize",
        }
    }
}

/// What the fence says to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Go on.
    Free,
    /// Held back, and nobody's fault: the node drains, or the replica is bad or behind.
    Held,
    /// Held back, and to be counted: before the right was given, no path should
    /// lead here.
    Leaked,
}

impl Pass {
    /// Whether the attempt goes on.
    #[must_use]
    #[inline]
    pub fn is_free(self) -> bool {
        self == Self::Free
    }
}

impl Fence {
    /// Whether the replica may campaign and lead.
    #[must_use]
    #[inline]
    pub fn may_lead(self) -> bool {
        self.open && !self.draining && !self.quarantined && !self.owing
    }

    /// Whether an attempt to become leader passes. The same on every path: a
    /// path that were treated better would be the leak.
    #[must_use]
    #[inline]
    pub fn pass(self) -> Pass {
        match (self.may_lead(), self.open) {
            (true, _) => Pass::Free,
            (false, true) => Pass::Held,
            (false, false) => Pass::Leaked,
        }
    }
}

/// Whether the election timer may run: for a replica that may lead, once its
/// node serves. Before that each campaign follows a question to the other
/// voters; a timer would fire later without asking again, and could win
/// although somebody who serves could lead by then.
#[must_use]
#[inline]
pub fn timer_may_run(fence: Fence, serving: bool) -> bool {
    fence.may_lead() && serving
}

/// Whether the replica takes over when its leader tells it to. The leader asked
/// before; this node may have been started anew since.
#[must_use]
#[inline]
pub fn may_take_over(fence: Fence, serving: bool) -> bool {
    fence.may_lead() && serving
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_only_an_open_fence() {
        for bits in 0..16_u8 {
            let on = |bit: u8| bits & (1 << bit) > 0;
            let fence = Fence { open: on(0), draining: on(1), quarantined: on(2), owing: on(3) };
            assert_eq!(fence.may_lead(), bits == 1, "{fence:?}");
            assert_eq!(fence.pass().is_free(), bits == 1, "{fence:?}");
            assert_eq!(fence.pass() == Pass::Leaked, !fence.open, "{fence:?}");
            assert!(!timer_may_run(fence, false) && !may_take_over(fence, false));
            assert_eq!(timer_may_run(fence, true), bits == 1, "{fence:?}");
            assert_eq!(may_take_over(fence, true), bits == 1, "{fence:?}");
        }
    }
}

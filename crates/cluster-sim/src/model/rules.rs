//! Where the model asks raft-glue's protocol code, and where a rule can be
//! broken on purpose: a checker that finds nothing then is worth nothing.

use raft_glue::protocol::{self, Answer, Fence, Poll, Standing, Verdict};

/// A rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Every path to leadership is open from the load on.
    FenceDropped,
    /// The client port opens before the stage *elect* is over.
    ListenBeforeElect,
    /// A replica that led before its restart leads again at once.
    LeaderRestored,
    /// The leader that the persisted vote names is taken for verified.
    LeaderRemembered,
    /// A node campaigns whatever the voters that serve say.
    PollIgnored,
    /// A node that drains leaves its fences open.
    DrainUnfenced,
    /// The election timer runs on once a node had to campaign before it listens.
    TimerRunsOn,
    /// A replica that may lead takes over before its node listens.
    TakeOverUnserved,
    /// A grant that comes when the fence is closed again counts.
    LateGrantCounts,
    /// The port closes as if everything had been handed over.
    ClosedTooEarly,
    /// A quarantined replica's fence stays open.
    QuarantineUnfenced,
    /// A vote does not outlive a crash.
    VoteForgotten,
    /// A candidate campaigns again in its own old term.
    TermReused,
    /// A vote is granted to a candidate with an older log.
    LogIgnored,
    /// The peer port opens only when the client port does.
    PeerPortLast,
}

impl Mutation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FenceDropped => "fence dropped",
            Self::ListenBeforeElect => "listen before elect",
            Self::LeaderRestored => "leader restored at start",
            Self::LeaderRemembered => "persisted leader believed",
            Self::PollIgnored => "serving voters ignored",
            Self::DrainUnfenced => "drain does not fence",
            Self::TimerRunsOn => "timer runs before listen",
            Self::TakeOverUnserved => "takes over before listen",
            Self::LateGrantCounts => "late grant counts",
            Self::ClosedTooEarly => "closed before handed over",
            Self::QuarantineUnfenced => "quarantine does not fence",
            Self::VoteForgotten => "vote forgotten by a crash",
            Self::TermReused => "term used again",
            Self::LogIgnored => "older log elected",
            Self::PeerPortLast => "peer port opens last",
        }
    }
}

/// The rules of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules(pub(crate) Option<Mutation>);

impl Rules {
    pub(crate) fn broken(self, mutation: Mutation) -> bool {
        self.0 == Some(mutation)
    }

    /// Whether an attempt to become leader passes the fence.
    pub(crate) fn passes(self, fence: Fence) -> bool {
        fence.pass().is_free() || self.broken(Mutation::FenceDropped)
    }

    /// Whether a vote that was granted counts when it comes back.
    pub(crate) fn grant_counts(self, fence: Fence) -> bool {
        self.passes(fence) || self.broken(Mutation::LateGrantCounts)
    }

    pub(crate) fn timer_may_run(self, fence: Fence, serving: bool) -> bool {
        protocol::timer_may_run(fence, serving) || self.broken(Mutation::FenceDropped)
    }

    /// Whether a replica that is told to take over does.
    pub(crate) fn takes_over(self, fence: Fence, serving: bool) -> bool {
        let unserved = self.broken(Mutation::TakeOverUnserved) && self.passes(fence);
        protocol::may_take_over(fence, serving) || unserved || self.broken(Mutation::FenceDropped)
    }

    pub(crate) fn answer(self, standing: Standing) -> Answer {
        standing.answer()
    }

    pub(crate) fn verdict(self, poll: Poll, waited_long: bool) -> Verdict {
        let ignored = self.broken(Mutation::PollIgnored) && !poll.leader;
        if ignored { Verdict::Needed } else { poll.verdict(waited_long) }
    }
}

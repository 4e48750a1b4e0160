//! What can happen: one step of one node, or one message that arrives.

use std::fmt;

/// One step. `n` is a node, `p` a partition, both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Its partitions are loaded and checked, and so is the node.
    Load {
        n: usize,
    },
    LogReadable {
        n: usize,
        p: usize,
    },
    Joined {
        n: usize,
        p: usize,
    },
    Loaded {
        n: usize,
        p: usize,
    },
    Checked {
        n: usize,
        p: usize,
    },
    Faulted {
        n: usize,
        p: usize,
    },
    /// Found bad behind the barrier.
    GoesBad {
        n: usize,
        p: usize,
    },
    Stalled {
        n: usize,
        p: usize,
    },
    NodeChecked {
        n: usize,
    },
    ElectDeadline {
        n: usize,
    },
    Open {
        n: usize,
    },
    /// A probe is answered.
    Hear {
        n: usize,
        p: usize,
        from: usize,
    },
    /// A probe gets no answer from a node that is up.
    LoseProbe {
        n: usize,
        p: usize,
        from: usize,
    },
    /// This node leads, and a quorum confirms it.
    ConfirmSelf {
        n: usize,
        p: usize,
    },
    /// It accepted a leader's entries since it was started, and has applied
    /// what that leader had committed.
    HeardLeader {
        n: usize,
        p: usize,
    },
    /// It has what the verified leader had.
    CaughtUp {
        n: usize,
        p: usize,
    },
    Timer {
        n: usize,
        p: usize,
        suspects: bool,
    },
    RaiseTerm {
        n: usize,
        p: usize,
    },
    VoteRequest {
        p: usize,
        from: usize,
        to: usize,
    },
    Win {
        n: usize,
        p: usize,
    },
    Append {
        p: usize,
        from: usize,
        to: usize,
    },
    Commit {
        n: usize,
        p: usize,
    },
    HigherVote {
        n: usize,
        p: usize,
        from: usize,
    },
    Tell {
        n: usize,
        p: usize,
        to: usize,
    },
    TakeOver {
        p: usize,
        from: usize,
        to: usize,
    },
    /// A signal in a start.
    Cancel {
        n: usize,
    },
    /// A signal while it serves: notice, and hand over begins.
    HandOver {
        n: usize,
    },
    Close {
        n: usize,
        in_time: bool,
    },
    /// Flushed and unloaded: the process ends.
    Exit {
        n: usize,
    },
    Crash {
        n: usize,
    },
    Restart {
        n: usize,
    },
}

impl Action {
    /// Whether it need not ever happen: what a fault or somebody outside does.
    /// Everything else happens in the end if nothing else does.
    pub(crate) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Stalled { .. }
                | Self::GoesBad { .. }
                | Self::LoseProbe { .. }
                | Self::Timer { suspects: true, .. }
                | Self::Cancel { .. }
                | Self::HandOver { .. }
                | Self::Crash { .. }
                | Self::Restart { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |n: &usize| format!("node {}", n + 1);
        let at = |n: &usize, p: &usize| format!("node {} partition {}", n + 1, p + 1);
        match self {
            Self::Load { n } => write!(f, "{}: loaded, checked, behind the barrier", node(n)),
            Self::LogReadable { n, p } => write!(f, "{}: vote and log are readable", at(n, p)),
            Self::Joined { n, p } => write!(f, "{}: joined", at(n, p)),
            Self::Loaded { n, p } => write!(f, "{}: loaded", at(n, p)),
            Self::Checked { n, p } => write!(f, "{}: checked", at(n, p)),
            Self::Faulted { n, p } => write!(f, "{}: is bad", at(n, p)),
            Self::GoesBad { n, p } => write!(f, "{}: is found bad", at(n, p)),
            Self::Stalled { n, p } => write!(f, "{}: stalls and is given up", at(n, p)),
            Self::NodeChecked { n } => write!(f, "{}: checked, behind the barrier", node(n)),
            Self::ElectDeadline { n } => write!(f, "{}: the deadline of elect passes", node(n)),
            Self::Open { n } => write!(f, "{}: the client port listens", node(n)),
            Self::Hear { n, p, from } => {
                write!(f, "{}: node {} answers the probe", at(n, p), from + 1)
            }
            Self::LoseProbe { n, p, from } => {
                write!(f, "{}: the probe of node {} is lost", at(n, p), from + 1)
            }
            Self::ConfirmSelf { n, p } => write!(f, "{}: confirms its own leadership", at(n, p)),
            Self::HeardLeader { n, p } => write!(f, "{}: has heard of the leader", at(n, p)),
            Self::CaughtUp { n, p } => write!(f, "{}: caught up with the leader", at(n, p)),
            Self::Timer { n, p, suspects } => {
                let whom = if *suspects { " although the leader lives" } else { "" };
                write!(f, "{}: the election timer fires{whom}, pre-vote granted", at(n, p))
            }
            Self::RaiseTerm { n, p } => write!(f, "{}: raises the term", at(n, p)),
            Self::VoteRequest { p, from, to } => {
                write!(f, "{}: takes node {}'s vote request", at(to, p), from + 1)
            }
            Self::Win { n, p } => write!(f, "{}: becomes leader", at(n, p)),
            Self::Append { p, from, to } => {
                write!(f, "{}: takes node {}'s entries", at(to, p), from + 1)
            }
            Self::Commit { n, p } => write!(f, "{}: commits and acknowledges", at(n, p)),
            Self::HigherVote { n, p, from } => {
                write!(f, "{}: learns of node {}'s higher vote", at(n, p), from + 1)
            }
            Self::Tell { n, p, to } => write!(f, "{}: tells node {} to lead", at(n, p), to + 1),
            Self::TakeOver { p, from, to } => {
                write!(f, "{}: takes over from node {}", at(to, p), from + 1)
            }
            Self::Cancel { n } => write!(f, "{}: SIGTERM in the start", node(n)),
            Self::HandOver { n } => write!(f, "{}: SIGTERM, hands over", node(n)),
            Self::Close { n, in_time: true } => write!(f, "{}: handed over, port closed", node(n)),
            Self::Close { n, in_time: false } => {
                write!(f, "{}: hand over took too long, port closed", node(n))
            }
            Self::Exit { n } => write!(f, "{}: flushed, unloaded, gone", node(n)),
            Self::Crash { n } => write!(f, "{}: crashes", node(n)),
            Self::Restart { n } => write!(f, "{}: starts", node(n)),
        }
    }
}

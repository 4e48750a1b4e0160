//! What an attempt's failure means for the next one: parsing of statuses, the
//! verdict on them, and the pauses between rounds.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use partition_types::{Crc32c, Reason};
use rand::RngExt;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::endpoint::Address;

/// Trailing metadata that asks for a pause, in milliseconds (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The detail of NOT_LEADER that says whom to ask.
const LEADER_ADDRESS: &str = "leader_address";

/// How an attempt failed.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// A node said so.
    Answer(Box<Answer>),
    /// No connection was made: nothing was sent.
    Connect(String),
    /// The connection broke: the request may have arrived.
    Transport(String),
    /// Nothing came in time: the request may have arrived.
    TimedOut,
    /// A frame of a read is not what its checksum says.
    Frame { offset: u64, expected: Crc32c, actual: Crc32c },
    /// A node's answer that no node should give.
    Nonsense(&'static str),
}

/// An error answer of a node, parsed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Code,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: String,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) retry_after: Option<Duration>,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask another node, at once while there is one.
    OtherNode,
    /// Pause, then ask again.
    Pause,
    /// Asking again changes nothing.
    GiveUp,
}

impl AttemptError {
    /// Takes a status apart.
    pub(crate) fn of(status: &Status) -> Self {
        let mut cause = StdError::source(status);
        let from_here = cause.is_some();
        while let Some(error) = cause {
            if error.is::<ConnectError>() {
                return Self::Connect(root_cause(error));
            }
            if error.is::<TimeoutExpired>() {
                return Self::TimedOut;
            }
            cause = error.source();
        }
        let answer = Answer::of(status);
        // A stream that ends without a grpc-status is UNKNOWN without a reason.
        if from_here || (answer.code == Code::Unknown && answer.reason.is_none()) {
            return Self::Transport(status.message().to_owned());
        }
        Self::Answer(Box::new(answer))
    }

    /// What to do next.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Connect(_) | Self::Transport(_) | Self::TimedOut | Self::Frame { .. } => {
                Verdict::OtherNode
            }
            Self::Nonsense(_) => Verdict::GiveUp,
            Self::Answer(answer) => answer.verdict(),
        }
    }

    /// Whether the node could not be talked to, rather than did not like it.
    pub(crate) fn is_about_the_connection(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Transport(_) | Self::TimedOut)
    }

    /// The reason that a node gave.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.answer().and_then(|answer| answer.reason)
    }

    /// The pause that a node asked for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.answer().and_then(|answer| answer.retry_after)
    }

    /// The leader that a node named with NOT_LEADER.
    pub(crate) fn leader_hint(&self) -> Option<Address> {
        let answer = self.answer().filter(|answer| answer.reason == Some(Reason::NotLeader))?;
        Address::parse(answer.metadata.get(LEADER_ADDRESS)?).ok()
    }

    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) => Some(answer),
            _ => None,
        }
    }

    /// Whether a change may have been made by this attempt.
    pub(crate) fn maybe_applied(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Frame { .. } | Self::Nonsense(_) => false,
            Self::Transport(_) | Self::TimedOut => true,
            Self::Answer(answer) => match answer.reason {
                Some(Reason::OutcomeUnknown | Reason::DeadlineExceeded | Reason::Internal) => true,
                Some(_) => false,
                None => matches!(
                    answer.code,
                    Code::Unknown | Code::Internal | Code::DeadlineExceeded | Code::Cancelled
                ),
            },
        }
    }
}

impl Answer {
    fn of(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let reason = info.as_ref().and_then(|info| info.reason.parse().ok());
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let pushed = status
            .metadata()
            .get(PUSHBACK)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis);
        Self {
            code: status.code(),
            reason,
            message: status.message().to_owned(),
            metadata: info.map(|info| info.metadata).unwrap_or_default(),
            retry_after: told.max(pushed),
        }
    }

    fn verdict(&self) -> Verdict {
        match self.reason {
            Some(
                Reason::NotLeader
                | Reason::Draining
                | Reason::Quarantined
                | Reason::NodeUnreachable,
            ) => Verdict::OtherNode,
            Some(
                Reason::OutcomeUnknown
                | Reason::DeadlineExceeded
                | Reason::RequestChecksumMismatch
                | Reason::ChangeInProgress,
            ) => Verdict::Pause,
            Some(_) if self.code == Code::Unavailable => Verdict::Pause,
            Some(_) => Verdict::GiveUp,
            // A node of another version, or a proxy, without a reason.
            None => match self.code {
                Code::Unavailable => Verdict::OtherNode,
                Code::DeadlineExceeded | Code::Cancelled | Code::ResourceExhausted => {
                    Verdict::Pause
                }
                _ => Verdict::GiveUp,
            },
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{} [{reason}]", self.message),
            None => write!(f, "{} [{:?}]", self.message, self.code),
        }
    }
}

/// The innermost message: "connection refused" rather than "transport error".
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

/// Growing, jittered pauses: each between half of its step and all of it.
#[derive(Debug)]
pub(crate) struct BackOff {
    step: Duration,
    min: Duration,
    max: Duration,
}

impl BackOff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { step: min, min, max }
    }

    /// The next pause; at least what a node asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let pause = self.step.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.step = (self.step * 2).min(self.max);
        asked.map_or(pause, |asked| asked.max(pause))
    }

    /// Starts over, after progress.
    pub(crate) fn reset(&mut self) {
        self.step = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_maximum_and_honour_the_node() {
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(200));
        let mut back_off = BackOff::new(min, max);
        for step_ms in [20, 40, 80, 160, 200, 200] {
            let pause = back_off.next(None);
            let step = Duration::from_millis(step_ms);
            assert!(pause >= step / 2 && pause <= step, "{pause:?} for a step of {step:?}");
        }
        assert_eq!(back_off.next(Some(Duration::from_secs(3))), Duration::from_secs(3));
        back_off.reset();
        assert!(back_off.next(None) <= min);
    }
}

//! What a call ends with when it cannot succeed.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::time::Duration;

use partition_types::{Crc32c, Reason, RequestId};
use tonic::Code;

use crate::retry::Answer;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No endpoint took a connection: check the addresses and the nodes.
    Unreachable,
    /// The cluster could not do it in time, and surely did not: try later.
    Unavailable,
    /// The time was up and the change may have been made: repeat it with
    /// [`Client::under`](crate::Client::under) and [`Error::request_id`].
    OutcomeUnknown,
    /// There is no such partition, extent or node.
    NotFound,
    /// The request is wrong as it is: change it.
    Invalid,
    /// The state does not allow it (sealed, exists with other replicas, a
    /// change under way): look at the state first.
    Conflict,
    /// There is no space: free some.
    Full,
    /// Bytes are not what their checksum says: somebody has to look.
    Corrupt,
    /// The data to upload could not be read.
    Source,
    /// A fault of a node or of this client.
    Internal,
}

/// A call that failed for good.
pub struct Error(Box<Inner>);

struct Inner {
    detail: Detail,
    request_id: Option<RequestId>,
    /// An attempt may have reached the log although nobody said so.
    maybe_applied: bool,
    given_up: Option<GivenUp>,
}

/// How hard was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenUp {
    pub(crate) attempts: u32,
    pub(crate) after: Duration,
}

/// What went wrong, in full.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Detail {
    #[error("{0}")]
    Answer(Box<Answer>),
    #[error("connect to {address}: {message}")]
    Connect { address: String, message: String },
    #[error("lose the connection to {address}: {message}")]
    Transport { address: String, message: String },
    #[error("no answer from {address} in {}", humane(*.after))]
    AttemptTimeout { address: String, after: Duration },
    #[error("bytes at offset {offset} sum to {actual}, the frame says {expected}")]
    FrameChecksum { offset: u64, expected: Crc32c, actual: Crc32c },
    #[error(
        "the cluster stored {actual_size} bytes that sum to {actual}, sent were {size} bytes that sum to {expected}"
    )]
    StoredOther { size: u64, expected: Crc32c, actual_size: u64, actual: Crc32c },
    #[error("a node's answer makes no sense: {0}")]
    Protocol(&'static str),
    #[error("read the data to upload: {0}")]
    Source(io::Error),
}

impl Error {
    pub(crate) fn new(detail: Detail) -> Self {
        Self(Box::new(Inner { detail, request_id: None, maybe_applied: false, given_up: None }))
    }

    pub(crate) fn of_change(mut self, id: Option<RequestId>, maybe_applied: bool) -> Self {
        self.0.request_id = id;
        self.0.maybe_applied = maybe_applied && id.is_some();
        self
    }

    pub(crate) fn given_up(mut self, given_up: GivenUp) -> Self {
        self.0.given_up = Some(given_up);
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &self.0.detail {
            Detail::Source(_) => ErrorKind::Source,
            _ if self.0.maybe_applied => ErrorKind::OutcomeUnknown,
            Detail::Connect { .. } => ErrorKind::Unreachable,
            Detail::Transport { .. } | Detail::AttemptTimeout { .. } => ErrorKind::Unavailable,
            Detail::FrameChecksum { .. } | Detail::StoredOther { .. } => ErrorKind::Corrupt,
            Detail::Protocol(_) => ErrorKind::Internal,
            Detail::Answer(answer) => kind_of(answer),
        }
    }

    /// The reason a node gave, in the words of the error table.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.answer().and_then(|answer| answer.reason)
    }

    /// The gRPC code a node answered with.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.answer().map(|answer| answer.code)
    }

    /// The details a node gave with its reason, such as `size`.
    #[must_use]
    pub fn metadata(&self) -> Option<&HashMap<String, String>> {
        self.answer().map(|answer| &answer.metadata)
    }

    /// The id of the change that failed.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        self.0.request_id
    }

    fn answer(&self) -> Option<&Answer> {
        match &self.0.detail {
            Detail::Answer(answer) => Some(answer),
            _ => None,
        }
    }
}

fn kind_of(answer: &Answer) -> ErrorKind {
    match answer.code {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorKind::Unavailable,
        Code::NotFound => ErrorKind::NotFound,
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::Unimplemented => ErrorKind::Invalid,
        Code::FailedPrecondition if answer.reason == Some(Reason::NotLeader) => {
            ErrorKind::Unavailable
        }
        Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => ErrorKind::Conflict,
        Code::ResourceExhausted => ErrorKind::Full,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Ok | Code::Unknown | Code::Internal => ErrorKind::Internal,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.detail.fmt(f)?;
        if let Some(given_up) = self.0.given_up {
            let GivenUp { attempts, after } = given_up;
            write!(f, " (gave up after {attempts} attempts in {})", humane(after))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("detail", &self.0.detail)
            .field("request_id", &self.0.request_id)
            .field("given_up", &self.0.given_up)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.detail {
            Detail::Source(error) => Some(error),
            _ => None,
        }
    }
}

/// A duration as people read it.
fn humane(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

//! Failures as `google.rpc.Status`, and back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::str::FromStr;

use partition_types::Reason;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Failure, Violation, table};

/// The domain of every `ErrorInfo` of this service.
const DOMAIN: &str = "datanode";

/// Trailing metadata: the leader's client address.
pub(crate) const LEADER_METADATA: &str = "x-datanode-leader";

/// What gRPC clients read how long to wait from, in milliseconds.
const PUSHBACK_METADATA: &str = "grpc-retry-pushback-ms";

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let row = table::row(failure.reason);
        let values: HashMap<String, String> =
            failure.metadata.into_iter().map(|(key, value)| (key.into_owned(), value)).collect();
        let leader = values.get("leader_address").cloned();
        let mut details = ErrorDetails::with_error_info(failure.reason.as_str(), DOMAIN, values);
        for violation in failure.violations {
            details.add_bad_request_violation(violation.field, violation.problem);
        }
        let mut metadata = MetadataMap::new();
        if let Some(wait) = row.retry_after {
            details.set_retry_info(Some(wait));
            let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            metadata.insert(PUSHBACK_METADATA, ms.into());
        }
        if let Some(leader) = leader.and_then(|text| AsciiMetadataValue::try_from(text).ok()) {
            metadata.insert(LEADER_METADATA, leader);
        }
        Self::with_error_details_and_metadata(row.code, failure.message, details, metadata)
    }
}

impl Failure {
    /// What a peer's answer to a forwarded request means.
    ///
    /// A status without our `ErrorInfo` is the transport's. A connection that
    /// was never made carried nothing; of any other loss nobody knows what
    /// became of the request.
    pub(crate) fn of_peer(status: &Status) -> Self {
        if let Some(failure) = Self::read(status) {
            return failure;
        }
        let message = status.message().to_owned();
        if never_connected(status) {
            return Self::new(Reason::NoLeader, format!("a replica is unreachable: {message}"));
        }
        match status.code() {
            Code::DeadlineExceeded => Self::new(Reason::DeadlineExceeded, "the time was up"),
            Code::Unimplemented => Self::new(Reason::Internal, message),
            _ => Self::new(Reason::OutcomeUnknown, format!("a replica was lost: {message}")),
        }
    }

    /// The failure in a status that one of our nodes made.
    pub(crate) fn read(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN)?;
        let reason = Reason::from_str(&info.reason).ok()?;
        let metadata =
            info.metadata.into_iter().map(|(key, value)| (Cow::Owned(key), value)).collect();
        let violations = status.get_details_bad_request().map_or_else(Vec::new, |bad| {
            let read = |violation: tonic_types::FieldViolation| Violation {
                field: violation.field.into(),
                problem: violation.description.into(),
            };
            bad.field_violations.into_iter().map(read).collect()
        });
        Some(Self { reason, message: status.message().to_owned().into(), metadata, violations })
    }
}

/// Whether the connection for a call was never made.
fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

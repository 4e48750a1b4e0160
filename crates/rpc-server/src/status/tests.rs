//! The error table, row by row, on the wire and back.

use std::time::Duration;

use partition_types::{ExtentId, Incarnation, Member, NodeId, PartitionId, Reason, Rejection};
use raft_glue::ProposeError;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::*;

/// The contract's table: reason, code, milliseconds to wait.
const CONTRACT: &[(&str, Code, Option<u64>)] = &[
    ("NOT_LEADER", Code::FailedPrecondition, None),
    ("NO_LEADER", Code::Unavailable, Some(250)),
    ("DRAINING", Code::Unavailable, Some(250)),
    ("OVERLOADED", Code::Unavailable, Some(100)),
    ("OUTCOME_UNKNOWN", Code::Unknown, None),
    ("STARTING", Code::Unavailable, Some(1000)),
    ("PARTITION_NOT_FOUND", Code::NotFound, None),
    ("EXTENT_NOT_FOUND", Code::NotFound, None),
    ("NODE_NOT_FOUND", Code::NotFound, None),
    ("NODE_UNREACHABLE", Code::Unavailable, Some(500)),
    ("OFFSET_OUT_OF_RANGE", Code::OutOfRange, None),
    ("EXTENT_SEALED", Code::FailedPrecondition, None),
    ("INVALID_REQUEST", Code::InvalidArgument, None),
    ("MESSAGE_TOO_LARGE", Code::InvalidArgument, None),
    ("REQUEST_CHECKSUM_MISMATCH", Code::InvalidArgument, None),
    ("DISK_FULL", Code::ResourceExhausted, None),
    ("CHECKSUM_MISMATCH", Code::DataLoss, None),
    ("QUARANTINED", Code::Unavailable, Some(1000)),
    ("PARTITION_EXISTS", Code::AlreadyExists, None),
    ("INCARNATION_MISMATCH", Code::FailedPrecondition, None),
    ("CHANGE_IN_PROGRESS", Code::Aborted, Some(500)),
    ("DEADLINE_EXCEEDED", Code::DeadlineExceeded, None),
    ("INTERNAL", Code::Internal, None),
];

fn partition() -> PartitionId {
    PartitionId::new(7).expect("above 0")
}

#[test]
fn every_reason_has_its_row() {
    let rows: Vec<&str> = CONTRACT.iter().map(|(word, ..)| *word).collect();
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(rows, reasons, "the contract and the code have the same reasons");
    for (reason, (word, code, wait_ms)) in Reason::ALL.iter().zip(CONTRACT) {
        let failure = Failure::new(*reason, "what happened").with("key", "value");
        let status = Status::from(failure);
        assert_eq!(status.code(), *code, "{word}");
        assert_eq!(status.message(), "what happened", "{word}");
        let info = status.get_details_error_info().expect("always there");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (*word, "datanode"));
        assert_eq!(info.metadata.get("key").map(String::as_str), Some("value"), "{word}");
        let wait = wait_ms.map(Duration::from_millis);
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(told, wait, "{word}: RetryInfo");
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        let pushback = pushback.and_then(|value| value.to_str().ok()?.parse().ok());
        assert_eq!(pushback, *wait_ms, "{word}: pushback");
    }
}

#[test]
fn unavailable_means_surely_not_applied() {
    for reason in Reason::ALL {
        let row = table::row(*reason);
        if row.code == Code::Unavailable {
            assert!(matches!(row.repeat, Repeat::Safe | Repeat::Elsewhere), "{reason}");
        }
        assert_eq!(
            row.retry_after.is_some(),
            row.code == Code::Unavailable || row.code == Code::Aborted
        );
    }
}

#[test]
fn failures_come_back_from_a_peer_as_they_were() {
    for reason in Reason::ALL {
        let failure = Failure::new(*reason, "what happened").with("size", 17);
        let back = Failure::of_peer(&Status::from(failure.clone()));
        assert_eq!(back, failure);
    }
    let field = Failure::field("page_token", "is not one that this list gave");
    assert_eq!(Failure::of_peer(&Status::from(field.clone())), field);
}

#[test]
fn what_the_transport_says_is_unknown_unless_nothing_was_sent() {
    let cases = [
        (Status::unknown("h2 protocol error"), Reason::OutcomeUnknown),
        (Status::unavailable("connection reset"), Reason::OutcomeUnknown),
        (Status::cancelled("operation was canceled"), Reason::OutcomeUnknown),
        (Status::internal("h2 protocol error"), Reason::OutcomeUnknown),
        (Status::deadline_exceeded("time"), Reason::DeadlineExceeded),
        (Status::unimplemented("no such method"), Reason::Internal),
    ];
    for (status, reason) in cases {
        assert_eq!(Failure::of_peer(&status).reason(), reason, "{status:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_never_made_carried_nothing() {
    let port = crate::ClientPort::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let channel = tonic::transport::Endpoint::try_from(format!("http://{}", port.local_addr()))
        .expect("an address")
        .connect_lazy();
    let mut client = datanode_proto::v1::route_service_client::RouteServiceClient::new(channel);
    let request = datanode_proto::v1::GetRouteRequest { partition_id: 1 };
    let refused = client.get_route(request).await.expect_err("nobody listens");
    assert_eq!(Failure::of_peer(&refused).reason(), Reason::NoLeader, "{refused:?}");
}

#[test]
fn not_leader_names_the_leader() {
    let node = NodeId::new(3).expect("above 0");
    let member = Member {
        incarnation: Incarnation::from_bytes([1; 16]),
        peer_address: "10.0.0.3:17330".to_owned(),
        client_address: "10.0.0.3:17310".to_owned(),
        admin_address: "10.0.0.3:17320".to_owned(),
    };
    let error = ProposeError::NotLeader { leader: Some((node, member)), term: 5 };
    let status = Status::from(Failure::of_propose(partition(), &error));
    let info = status.get_details_error_info().expect("always there");
    for (key, value) in [
        ("leader_id", "3"),
        ("leader_address", "10.0.0.3:17310"),
        ("term", "5"),
        ("partition_id", "7"),
    ] {
        assert_eq!(info.metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
    let trailer = status.metadata().get(LEADER_METADATA).and_then(|value| value.to_str().ok());
    assert_eq!(trailer, Some("10.0.0.3:17310"));
}

#[test]
fn every_error_of_a_replica_has_a_reason() {
    let cause = || "disk 1 is bad".to_owned();
    let cases = [
        (ProposeError::NotLeader { leader: None, term: 1 }, Reason::NotLeader),
        (ProposeError::NoLeader, Reason::NoLeader),
        (ProposeError::Draining, Reason::Draining),
        (ProposeError::Stopped, Reason::Draining),
        (ProposeError::DiskFull, Reason::DiskFull),
        (ProposeError::Overloaded, Reason::Overloaded),
        (ProposeError::OutcomeUnknown, Reason::OutcomeUnknown),
        (ProposeError::Quarantined { cause: cause() }, Reason::Quarantined),
    ];
    for (error, reason) in cases {
        let failure = Failure::of_propose(partition(), &error);
        assert_eq!(failure.reason(), reason, "{error}");
        assert_eq!(failure.value("partition_id"), Some("7"), "{error}");
        let expected = (reason == Reason::Quarantined).then(cause);
        assert_eq!(failure.value("cause"), expected.as_deref(), "{error}");
    }
}

#[test]
fn every_rejection_has_its_details() {
    let extent_id = ExtentId::new(9).expect("above 0");
    let cases = [
        (Rejection::ExtentNotFound(extent_id), Reason::ExtentNotFound, None),
        (Rejection::ExtentSealed(extent_id), Reason::ExtentSealed, None),
        (
            Rejection::OffsetOutOfRange { extent_id, offset: 12, size: 10 },
            Reason::OffsetOutOfRange,
            Some("10"),
        ),
        (Rejection::TooLarge(extent_id), Reason::OffsetOutOfRange, None),
        (Rejection::StagedMismatch(extent_id), Reason::RequestChecksumMismatch, None),
    ];
    for (rejection, reason, size) in cases {
        let failure = Failure::from(rejection);
        assert_eq!(failure.reason(), reason, "{rejection}");
        assert_eq!(failure.value("extent_id"), Some("9"), "{rejection}");
        assert_eq!(failure.value("size"), size, "{rejection}");
    }
}

#[test]
fn a_field_violation_names_the_field() {
    let status = Status::from(Failure::field("extent_ids[3]", "must be above 0"));
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "extent_ids[3] must be above 0");
    let bad = status.get_details_bad_request().expect("field violations");
    let [violation] = bad.field_violations.as_slice() else { panic!("one: {bad:?}") };
    assert_eq!(violation.field, "extent_ids[3]");
    assert_eq!(violation.description, "must be above 0");
}

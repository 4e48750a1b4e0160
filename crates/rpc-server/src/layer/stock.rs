//! Errors that tonic makes before a handler runs, in the contract's words.

use partition_types::Reason;
use tonic::{Code, Status};

use crate::status::Failure;

/// Begins tonic's message for a frame above the decode limit.
const TOO_LARGE: &str = "Error, decoded message length too large: found ";
/// Begins prost's message for bytes that are no such message.
const NO_MESSAGE: &str = "failed to decode Protobuf message";

/// The contract's status for one of tonic's own; any other is left alone.
pub(super) fn translate(status: Status, max_message: usize) -> Status {
    match read_stock(&status, max_message) {
        Some(failure) => failure.into(),
        None => status,
    }
}

/// What one of tonic's own errors about a request means.
pub(crate) fn read_stock(status: &Status, max_message: usize) -> Option<Failure> {
    let message = status.message();
    match status.code() {
        Code::OutOfRange => {
            let rest = message.strip_prefix(TOO_LARGE)?;
            Some(too_large(first_number(rest), max_message))
        }
        Code::Internal if message.starts_with(NO_MESSAGE) => {
            Some(Failure::new(Reason::InvalidRequest, message.to_owned()))
        }
        _ => None,
    }
}

/// A message or its data is above `limits.max_message`.
pub(crate) fn too_large(size: usize, max_message: usize) -> Failure {
    let message = format!("{size} bytes are more than the {max_message} bytes of a message");
    Failure::new(Reason::MessageTooLarge, message).with("size", size).with("limit", max_message)
}

fn first_number(text: &str) -> usize {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(usize::MAX)
}

//! Checks of request fields that several methods have.

use bytes::Bytes;
use datanode_proto::v1::Consistency;
use partition_types::{Crc32c, ExtentId, InvalidId, Reason, RequestId};

use crate::forward::Intent;
use crate::layer::too_large;
use crate::status::Failure;

/// Bytes of a request with their sum.
#[derive(Clone)]
pub(super) struct Data {
    pub(super) bytes: Bytes,
    pub(super) crc32c: Crc32c,
}

/// The bytes of a request, not too many of them and as their sum says.
pub(super) fn data(
    bytes: Bytes,
    claimed: Option<u32>,
    max_message: usize,
) -> Result<Data, Failure> {
    if bytes.len() > max_message {
        return Err(too_large(bytes.len(), max_message));
    }
    let crc32c = Crc32c::of(&bytes);
    match claimed.map(Crc32c::from_u32) {
        Some(claimed) if claimed != crc32c => {
            let message = format!("the data sums to {crc32c}, its crc32c says {claimed}");
            Err(Failure::new(Reason::RequestChecksumMismatch, message)
                .with("crc32c", crc32c.get())
                .with("claimed_crc32c", claimed.get()))
        }
        _ => Ok(Data { bytes, crc32c }),
    }
}

/// Where a range of a read ends; a length of 0 means the end of the extent.
pub(super) fn range_end(offset: u64, length: u64) -> Result<u64, Failure> {
    match length {
        0 => Ok(u64::MAX),
        _ => offset
            .checked_add(length)
            .ok_or_else(|| Failure::field("length", "ends beyond 2^64 bytes, counted from offset")),
    }
}

/// What a read may answer from.
pub(super) fn consistency(value: i32) -> Result<Intent, Failure> {
    match Consistency::try_from(value) {
        Ok(Consistency::Unspecified | Consistency::Linearizable) => Ok(Intent::Read),
        Ok(Consistency::Stale) => Ok(Intent::ReadStale),
        Err(_) => Err(Failure::field("consistency", "is not one of the enum")),
    }
}

/// The ids of a list, each named in its violation.
pub(super) fn extent_ids(ids: &[u64], max: usize) -> Result<Vec<ExtentId>, Failure> {
    if ids.len() > max {
        let problem = format!("has {} ids, at most {max} are taken", ids.len());
        return Err(Failure::field("extent_ids", problem));
    }
    let read = |(index, id): (usize, &u64)| {
        ExtentId::new(*id).map_err(|InvalidId { problem, .. }| {
            Failure::field(format!("extent_ids[{index}]"), problem)
        })
    };
    ids.iter().enumerate().map(read).collect()
}

/// A request id as a message has it.
pub(super) fn wire_id(id: Option<RequestId>) -> Bytes {
    id.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_taken_up_to_the_limit_and_as_summed() {
        let ten = || Bytes::from_static(b"0123456789");
        let sum = Crc32c::of(&ten()).get();
        let check = |max, claimed, expected: Option<Reason>| {
            let reason = data(ten(), claimed, max).err().map(|failure| failure.reason());
            assert_eq!(reason, expected, "limit {max}, claimed {claimed:?}");
        };
        check(10, None, None);
        check(10, Some(sum), None);
        check(11, Some(sum), None);
        check(9, Some(sum), Some(Reason::MessageTooLarge));
        check(10, Some(sum ^ 1), Some(Reason::RequestChecksumMismatch));
        check(10, Some(0), Some(Reason::RequestChecksumMismatch));
    }

    #[test]
    fn ranges_end_inside_64_bits() {
        let cases = [
            (0, 0, Some(u64::MAX)),
            (5, 7, Some(12)),
            (0, u64::MAX, Some(u64::MAX)),
            (u64::MAX, 0, Some(u64::MAX)),
            (u64::MAX, 1, None),
            (1, u64::MAX, None),
        ];
        for (offset, length, end) in cases {
            assert_eq!(range_end(offset, length).ok(), end, "{offset} + {length}");
        }
    }

    #[test]
    fn consistency_is_linearizable_unless_said() {
        assert_eq!(consistency(0), Ok(Intent::Read));
        assert_eq!(consistency(1), Ok(Intent::Read));
        assert_eq!(consistency(2), Ok(Intent::ReadStale));
        for value in [-1, 3, i32::MAX] {
            assert!(consistency(value).is_err(), "{value}");
        }
    }

    #[test]
    fn lists_of_ids_are_bounded_and_name_the_bad_one() {
        assert_eq!(extent_ids(&[], 2).map(|ids| ids.len()), Ok(0));
        assert_eq!(extent_ids(&[1, 2], 2).map(|ids| ids.len()), Ok(2));
        let field = |ids: &[u64]| {
            let failure = extent_ids(ids, 2).expect_err("refused");
            failure.value("field").map(str::to_owned)
        };
        assert_eq!(field(&[1, 2, 3]).as_deref(), Some("extent_ids"));
        assert_eq!(field(&[1, 0]).as_deref(), Some("extent_ids[1]"));
    }
}

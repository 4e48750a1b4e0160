//! Page tokens: opaque to callers, checked when they come back.
//!
//! A token says after which id the next page begins and which list it is of.
//! The sum in it catches a token that was cut, edited or taken from another
//! list; it is no secret.

use partition_types::Crc32c;

use crate::status::Failure;

/// Of the token's format; another version is refused.
const VERSION: u8 = 1;
/// Version, list, id, sum.
const LEN: usize = 1 + 8 + 8 + 4;

/// The token of the page that begins after `after`. `list` tells lists apart:
/// the partition of a list of extents, 0 for a list of the whole node.
pub(crate) fn token(list: u64, after: u64) -> String {
    let mut bytes = Vec::with_capacity(LEN);
    bytes.push(VERSION);
    bytes.extend(list.to_be_bytes());
    bytes.extend(after.to_be_bytes());
    bytes.extend(Crc32c::of(&bytes).get().to_be_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// After which id the page of a token begins; `None` for the first page.
///
/// # Errors
/// A field violation when it is no token of this list.
pub(crate) fn after(token: &str, list: u64) -> Result<Option<u64>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let after = read(token, list);
    after.map(Some).ok_or_else(|| Failure::field("page_token", "is not one that this list gave"))
}

fn read(token: &str, list: u64) -> Option<u64> {
    if token.len() != 2 * LEN || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&token[at..at + 2], 16).ok();
    let bytes: Vec<u8> = (0..token.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    let (body, sum) = bytes.split_at(LEN - 4);
    let sum_fits = Crc32c::of(body).get().to_be_bytes() == sum;
    let (of_list, after) = body[1..].split_at(8);
    let fits = sum_fits && body[0] == VERSION && of_list == list.to_be_bytes();
    fits.then(|| u64::from_be_bytes(after.try_into().expect("8 of 17 bytes are left")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was_given() {
        for (list, last) in [(0, 0), (1, 1), (7, u64::MAX), (u64::MAX, 3)] {
            assert_eq!(after(&token(list, last), list), Ok(Some(last)));
        }
        assert_eq!(after("", 7), Ok(None));
    }

    #[test]
    fn refuses_what_it_did_not_give() {
        let good = token(7, 41);
        let mut edited = good.clone().into_bytes();
        edited[20] ^= 1;
        let cases = [
            ("cut", good[..good.len() - 2].to_owned()),
            ("longer", format!("{good}00")),
            ("edited", String::from_utf8(edited).expect("ascii")),
            ("of another list", token(8, 41)),
            ("no hex", "z".repeat(2 * LEN)),
            ("no ascii", "é".repeat(LEN)),
            ("a plus sign", good.replacen("01", "+1", 1)),
            ("anything", "next please".to_owned()),
        ];
        for (what, text) in cases {
            assert!(after(&text, 7).is_err(), "{what}: {text}");
        }
    }
}

//! The bytes of every record, on disk and where records travel.
//!
//! A record is `version u8 ‖ body ‖ CRC-32C u32 LE` of all before it. Bodies are
//! made of fixed little-endian numbers, variable-length ones (LEB128), and byte
//! strings with their length in front. Decoding checks every length against
//! what is there before it allocates, and never panics. A version that is newer
//! than this program is refused, not guessed at.

mod entry;
mod frame;
#[cfg(test)]
mod golden;
mod log;
mod manifest;
mod mark;
mod member;
mod node;
mod reader;
mod state;
mod writer;

pub(crate) use entry::entry_value;
pub use entry::{decode_entry, encode_entry};
#[cfg(test)]
pub(crate) use log::encode_bounds_v1;
pub(crate) use log::{
    Bounds, decode_bounds, decode_committed, decode_leader, decode_vote, encode_bounds,
    encode_committed, encode_leader, encode_vote,
};
pub(crate) use manifest::{ManifestRecord, Placement, Promised, decode_manifest, encode_manifest};
#[cfg(feature = "rocksdb")]
pub(crate) use mark::{MARK_LEN, MarkRecord, decode_mark, decode_opens, encode_mark, encode_opens};
pub use member::{decode_membership, encode_membership};
pub(crate) use node::{NodeRecord, Phase, decode_node, encode_node};
pub(crate) use reader::Reader;
pub(crate) use state::{
    decode_extent, decode_generation, decode_outcome, decode_request, decode_run, decode_state,
    encode_extent, encode_generation, encode_outcome, encode_request, encode_run, encode_state,
};
pub(crate) use writer::Writer;

/// Bytes that are no record of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// There are fewer bytes than the record says.
    #[error("the record is cut short")]
    Truncated,
    /// There are more bytes than the record says.
    #[error("the record has {0} bytes too many")]
    TooLong(usize),
    /// The bytes are not what was written.
    #[error("the record's checksum is {found:08x}, not {expected:08x}")]
    Checksum {
        /// What the record says.
        expected: u32,
        /// What its bytes sum to.
        found: u32,
    },
    /// A newer program wrote it.
    #[error("the record has version {found}, newer than {supported}")]
    Newer {
        /// Of the record.
        found: u8,
        /// The newest that this program reads.
        supported: u8,
    },
    /// A field has a value that it never has.
    #[error("the record has an invalid {0}")]
    Invalid(&'static str),
}

//! Bounds of what one caller may ask for.

/// The largest answer frame of a read, in bytes.
pub(crate) const FRAME_LEN_MAX: usize = 1024 * 1024;
/// The most ids of one DeleteExtents.
pub(crate) const DELETE_IDS_MAX: usize = 1000;

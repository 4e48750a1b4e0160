//! Bounds of what one caller may ask for, and the HTTP/2 knobs of a port.
//!
//! tonic passes its unset knobs on as "no limit", which removes the limits of
//! the HTTP library below it: each one is set here.

mod budget;

use std::time::Duration;

use tonic::transport::Server;

pub(crate) use budget::Budget;

/// What the data of all calls under way may take of a node's memory, in bytes.
pub(crate) const IN_FLIGHT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The largest frame of a read, in bytes.
pub(crate) const FRAME_LEN_MAX: usize = 1024 * 1024;
/// The largest answer that a forwarded call may bring, in bytes.
pub(crate) const ANSWER_LEN_MAX: usize = 8 * 1024 * 1024;
/// The most ids of one DeleteExtents.
pub(crate) const DELETE_IDS_MAX: usize = 1000;
/// Extents of a page: what is given when nothing is asked for, and the most.
pub(crate) const LIST_EXTENTS: PageSize = PageSize { default: 100, max: 1000 };
/// Routes of a page, likewise.
pub(crate) const LIST_ROUTES: PageSize = PageSize { default: 1000, max: 10_000 };
/// What a message may have besides its data, in bytes.
const MESSAGE_SLACK: usize = 64 * 1024;

/// Calls under way on one connection.
const STREAMS_PER_CONNECTION: u32 = 256;
/// Streams that a peer opens and resets before it is cut off: rapid reset.
const RESET_STREAMS_PENDING: usize = 20;
const RESET_STREAMS_LOCAL: usize = 1024;
const HEADERS_LEN_MAX: u32 = 16 * 1024;
/// Bytes that a caller may have under way before this node took them.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many items a page may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageSize {
    default: usize,
    max: usize,
}

impl PageSize {
    /// The size for a request's `page_size`: more than the most is the most.
    pub(crate) fn of(self, asked: u32) -> usize {
        match asked {
            0 => self.default,
            asked => usize::try_from(asked).unwrap_or(usize::MAX).min(self.max),
        }
    }
}

/// The decode limit for messages whose data may have `max_message` bytes.
pub(crate) const fn decode_limit(max_message: usize) -> usize {
    max_message.saturating_add(MESSAGE_SLACK)
}

/// A server for callers that are not trusted to be kind.
pub(crate) fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(RESET_STREAMS_PENDING))
        .http2_max_local_error_reset_streams(Some(RESET_STREAMS_LOCAL))
        .http2_max_header_list_size(HEADERS_LEN_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_cut_not_refused() {
        let cases = [(0, 100), (1, 1), (999, 999), (1000, 1000), (1001, 1000), (u32::MAX, 1000)];
        for (asked, expected) in cases {
            assert_eq!(LIST_EXTENTS.of(asked), expected, "page_size {asked}");
        }
    }
}

//! How connections to peers are set up. There are two to each peer: one that
//! carries Raft and `Hello`, one that carries all the rest.

use std::time::Duration;

use tonic::transport::{Endpoint, Server};

/// What one stream, and one connection, may have under way unread. A batch of
/// appends fits whole, so that flow control never splits it over round trips.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Large frames: a batch of appends is not cut into sixteen-kilobyte pieces.
const FRAME_BYTES: u32 = 256 << 10;
/// Peers that run are a round trip away; one that does not answer in this time
/// is tried again.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that vanished without a word is noticed after the sum of the two.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A peer port to dial.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint)
}

/// The same settings for the side that is dialled. Limits are set: the
/// builder's defaults would take hyper's away.
pub(crate) fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(1024)
        .http2_max_local_error_reset_streams(Some(1024))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_header_list_size(16 << 10)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

/// The largest message on the peer port: a batch, the largest payload there
/// may be with its record and headers, and room to spare.
pub(crate) const fn message_len_max(max_message: usize) -> usize {
    const BATCH_AND_OVERHEAD: usize = 8 << 20;
    2 * max_message + BATCH_AND_OVERHEAD
}

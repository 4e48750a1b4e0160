//! Carries Raft messages to the peers: `raft_glue::Transport` over PeerService.

use super::PeerBook;

/// The node's way to its peers.
pub struct PeerTransport {
    _book: PeerBook,
}

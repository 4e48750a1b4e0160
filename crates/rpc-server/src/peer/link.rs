//! The connection to one peer: dials, introduces itself, keeps the Raft stream
//! open, and begins anew when it breaks.
//!
//! ```text
//!          dial, Hello, open stream
//!   Down ───────────────────────────▶ Up (a Lane is there)
//!     ▲                                │ the stream ends, or the peer is
//!     └──── wait, or be kicked ◀───────┘ another one than it was
//! ```
//!
//! A peer that is down is dialled several times a second: that costs a refused
//! connect, and a peer that returns is noticed at once.

use std::sync::Arc;
use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use parking_lot::{Mutex, RwLock};
use partition_types::{Incarnation, NodeId};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tonic::Streaming;
use tonic::transport::Channel;

use super::hello::{self, Told};
use super::lane::Lane;
use super::{PeerBook, channel};

/// How long after a failed attempt the next one begins: below a third of a
/// second, so that a peer that is back is noticed within it.
const RETRY: Duration = Duration::from_millis(150);
/// After a connection that was up: is that process still there?
const LOOK_AT_ONCE: Duration = Duration::from_millis(5);
/// A peer that refuses this node will hardly change its mind.
const RETRY_REFUSED: Duration = Duration::from_secs(2);
/// A peer that is connected answers `Hello` and opens a stream in this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);

/// The connection to one peer, whether it is up or not.
pub(super) struct Link {
    node_id: NodeId,
    lane: RwLock<Option<Arc<Lane>>>,
    told: Mutex<Told>,
    kick: Notify,
    message_len_max: usize,
}

/// What a link saw of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sighting {
    /// It is connected, maybe after having been away.
    Back(NodeId),
    /// It was connected, and now nobody listens at its address: its process is
    /// gone. A machine that vanished does not say so.
    Gone(NodeId),
}

/// Why a connection did not come about, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Its address is not known, or none.
    #[error("no address to dial")]
    NoAddress,
    /// Nobody listens, or it does not answer.
    #[error("dial {address}: {source}")]
    Dial {
        /// Where.
        address: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// It did not answer in time.
    #[error("no answer in time")]
    Slow,
    /// It, or this node, will not have it.
    #[error("refused: {0}")]
    Refused(String),
    /// It was up and ended.
    #[error("the stream ended: {0}")]
    Ended(String),
}

impl Broken {
    /// Whether the peer's machine said that nobody listens there.
    fn is_refused_connect(&self) -> bool {
        let Self::Dial { source, .. } = self else { return false };
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                return io.kind() == std::io::ErrorKind::ConnectionRefused;
            }
            cause = error.source();
        }
        false
    }
}

impl Link {
    /// A link that is down.
    pub(super) fn new(book: &PeerBook, node_id: NodeId, message_len_max: usize) -> Self {
        Self {
            node_id,
            lane: RwLock::new(None),
            told: Mutex::new(Told::from_now_on(book)),
            kick: Notify::new(),
            message_len_max,
        }
    }

    /// The open stream, if there is one.
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.lane.read().clone()
    }

    /// Dials at once where it waits to dial again.
    pub(super) fn kick(&self) {
        self.kick.notify_one();
    }

    /// Keeps the connection up, for ever. Says on `sightings` when it is up, and
    /// when the peer's process turns out to be gone.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub(super) async fn drive(&self, book: &PeerBook, sightings: &mpsc::UnboundedSender<Sighting>) {
        let mut last = String::new();
        let mut was_up = false;
        loop {
            let broken = self.connect_and_serve(book, sightings).await;
            if was_up && broken.is_refused_connect() {
                was_up = false;
                // Nobody listens only while the node goes down.
                let _ = sightings.send(Sighting::Gone(self.node_id));
            }
            let text = broken.to_string();
            if text != last {
                tracing::info!(node_id = %self.node_id, cause = %text, "peer is not connected");
                last = text;
            }
            let wait = match broken {
                Broken::Refused(_) => RETRY_REFUSED,
                Broken::Ended(_) if !was_up => {
                    was_up = true;
                    LOOK_AT_ONCE
                }
                _ => RETRY,
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.kick.notified() => {}
            }
        }
    }

    async fn connect_and_serve(
        &self,
        book: &PeerBook,
        sightings: &mpsc::UnboundedSender<Sighting>,
    ) -> Broken {
        let (mut peer, incarnation) = match self.greet(book).await {
            Ok(greeted) => greeted,
            Err(broken) => return broken,
        };
        let (lane, batches) = Lane::open(incarnation);
        let up = Up { link: self, book, lane };
        let mut request = tonic::Request::new(batches);
        book.signature(incarnation).sign(request.metadata_mut());
        let replies = match timeout(HANDSHAKE_TIMEOUT, peer.raft(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            // It said yes to `Hello`: it may have restarted since.
            Ok(Err(status)) => return Broken::Ended(status.message().to_owned()),
            Err(_) => return Broken::Slow,
        };
        up.announce();
        tracing::info!(node_id = %self.node_id, "peer is connected");
        // Nobody listens only while the node goes down.
        let _ = sightings.send(Sighting::Back(self.node_id));
        tokio::select! {
            broken = up.receive(replies) => broken,
            broken = self.keep_telling(book, &mut peer, incarnation) => broken,
        }
    }

    /// Dials and says `Hello`: afterwards both sides know whom they talk to.
    async fn greet(
        &self,
        book: &PeerBook,
    ) -> Result<(PeerServiceClient<Channel>, Incarnation), Broken> {
        let address = book.peer_address(self.node_id).ok_or(Broken::NoAddress)?;
        let mut peer = dial(&address, self.message_len_max).await?;
        let incarnation = self.tell(book, &mut peer, true).await?;
        Ok((peer, incarnation))
    }

    /// One `Hello`. The answer must come from the node that is meant.
    async fn tell(
        &self,
        book: &PeerBook,
        peer: &mut PeerServiceClient<Channel>,
        back: bool,
    ) -> Result<Incarnation, Broken> {
        let mut told = self.told.lock().clone();
        let node = hello::say(book, peer, &mut told, back).await?;
        *self.told.lock() = told;
        if node != self.node_id {
            return Err(Broken::Refused(format!("node {node} answers there")));
        }
        book.incarnation(node).ok_or_else(|| Broken::Refused("this node answers there".to_owned()))
    }

    /// Says `Hello` now and again, and at once when there is news.
    async fn keep_telling(
        &self,
        book: &PeerBook,
        peer: &mut PeerServiceClient<Channel>,
        incarnation: Incarnation,
    ) -> Broken {
        let mut news = book.subscribe_local();
        let mut wait = hello::INTERVAL;
        loop {
            wait = tokio::select! {
                () = sleep(wait) => hello::next_wait(wait, book.shares_with(self.node_id)),
                Ok(()) = news.changed() => {
                    sleep(hello::SETTLE).await;
                    hello::INTERVAL
                }
            };
            match self.tell(book, peer, false).await {
                Ok(now) if now == incarnation => {}
                Ok(now) => return Broken::Refused(format!("it is now in incarnation {now}")),
                // A peer under load; a dead one is noticed by keep-alive.
                Err(Broken::Slow) => wait = hello::INTERVAL,
                Err(broken) => return broken,
            }
        }
    }
}

/// Dials a peer port, for a bounded time.
pub(super) async fn dial(
    address: &str,
    message_len_max: usize,
) -> Result<PeerServiceClient<Channel>, Broken> {
    let failed = |source| Broken::Dial { address: address.to_owned(), source };
    let endpoint = channel::endpoint(address).map_err(failed)?;
    let connecting = timeout(channel::CONNECT_TIMEOUT * 2, endpoint.connect());
    let channel = connecting.await.map_err(|_| Broken::Slow)?.map_err(failed)?;
    Ok(PeerServiceClient::new(channel)
        .max_decoding_message_size(message_len_max)
        .max_encoding_message_size(message_len_max))
}

/// A link that is up, until this is dropped.
struct Up<'a> {
    link: &'a Link,
    book: &'a PeerBook,
    lane: Arc<Lane>,
}

impl Up<'_> {
    fn announce(&self) {
        *self.link.lane.write() = Some(Arc::clone(&self.lane));
        self.book.set_connected(self.link.node_id, true);
    }

    async fn receive(&self, mut replies: Streaming<v1::RaftResponse>) -> Broken {
        loop {
            match replies.message().await {
                Ok(Some(response)) => self.lane.deliver(response),
                Ok(None) => return Broken::Ended("the peer closed it".to_owned()),
                Err(status) => return Broken::Ended(status.message().to_owned()),
            }
        }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        *self.link.lane.write() = None;
        self.book.set_connected(self.link.node_id, false);
        self.lane.close();
    }
}

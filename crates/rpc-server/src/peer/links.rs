//! One link to each node that is known, and a look at the seeds until they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use partition_types::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hello::{self, Told};
use super::link::{self, Broken, Link, Sighting};
use super::{PeerBook, channel};
use crate::context::NodeContext;

/// A seed that is not known yet is asked this often.
const SEED_RETRY: Duration = Duration::from_millis(250);
/// Seeds that are known are compared with the book this often: one may have
/// become another node.
const SEED_REVIEW: Duration = Duration::from_secs(10);

/// The links of a node. A cheap handle.
#[derive(Clone)]
pub(super) struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    book: PeerBook,
    message_len_max: usize,
    links: Mutex<HashMap<NodeId, Arc<Link>>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Links {
    /// No links yet.
    pub(super) fn new(book: PeerBook, max_message: usize) -> Self {
        let inner = Inner {
            book,
            message_len_max: channel::message_len_max(max_message),
            links: Mutex::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The link to a node, if it was started.
    pub(super) fn get(&self, node_id: NodeId) -> Option<Arc<Link>> {
        self.inner.links.lock().get(&node_id).map(Arc::clone)
    }

    /// A node said that it is here: dials it at once where that waits.
    pub(super) fn is_here(&self, node_id: NodeId) {
        if let Some(link) = self.get(node_id)
            && link.lane().is_none()
        {
            link.kick();
        }
    }

    /// Who these links belong to.
    pub(super) fn book(&self) -> &PeerBook {
        &self.inner.book
    }

    /// Begins to connect to the nodes of the book and to the seeds. The channel
    /// tells which peers come and go.
    pub(super) fn start(&self) -> mpsc::UnboundedReceiver<Sighting> {
        let (sightings, seen) = mpsc::unbounded_channel();
        self.spawn(self.clone().follow_book(sightings));
        self.spawn(self.clone().follow_seeds());
        seen
    }

    /// Closes every link and waits until that is done.
    pub(super) async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.inner.closing.clone();
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = task => {}
            }
        });
    }

    async fn follow_book(self, sightings: mpsc::UnboundedSender<Sighting>) {
        let mut nodes = self.inner.book.subscribe_nodes();
        loop {
            for node_id in self.inner.book.node_ids() {
                self.ensure(node_id, &sightings);
            }
            if nodes.changed().await.is_err() {
                return;
            }
        }
    }

    fn ensure(&self, node_id: NodeId, sightings: &mpsc::UnboundedSender<Sighting>) {
        let mut links = self.inner.links.lock();
        if let Some(link) = links.get(&node_id) {
            // It may have moved: an attempt at the new address costs little.
            if link.lane().is_none() {
                link.kick();
            }
            return;
        }
        let link = Arc::new(Link::new(&self.inner.book, node_id, self.inner.message_len_max));
        links.insert(node_id, Arc::clone(&link));
        drop(links);
        let (book, sightings) = (self.inner.book.clone(), sightings.clone());
        self.spawn(async move { link.drive(&book, &sightings).await });
    }

    async fn follow_seeds(self) {
        loop {
            let known: Vec<String> =
                self.inner.book.nodes().into_iter().map(|node| node.peer_address).collect();
            let ours = self.inner.book.local().peer_address;
            let is_new = |seed: &&String| **seed != ours && !known.contains(*seed);
            let unknown: Vec<&String> = self.inner.book.seeds().iter().filter(is_new).collect();
            for seed in &unknown {
                self.ask_seed(seed).await;
            }
            let wait = if unknown.is_empty() { SEED_REVIEW } else { SEED_RETRY };
            tokio::time::sleep(wait).await;
        }
    }

    /// One `Hello` to a seed. When it answers it is in the book, and its link
    /// does the rest; a seed that is this node under another address is too.
    async fn ask_seed(&self, seed: &str) {
        match hello_to(&self.inner.book, seed, self.inner.message_len_max).await {
            Ok(node_id) => tracing::info!(seed, %node_id, "seed is known"),
            Err(error) => tracing::debug!(seed, %error, "seed does not answer"),
        }
    }
}

/// Says `Hello` at an address. Who answered is in the book then.
pub(crate) async fn introduce(context: &NodeContext, address: &str) -> Result<NodeId, String> {
    let len_max = channel::message_len_max(context.config().max_message);
    hello_to(context.peers(), address, len_max).await.map_err(|broken| broken.to_string())
}

async fn hello_to(
    book: &PeerBook,
    address: &str,
    message_len_max: usize,
) -> Result<NodeId, Broken> {
    let mut peer = link::dial(address, message_len_max).await?;
    hello::say(book, &mut peer, &mut Told::from_now_on(book), false).await
}

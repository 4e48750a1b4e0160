//! The sending side: one consistent view, read by a thread of its own into a
//! bounded queue.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use partition_types::{ExtentId, LogId, Membership};
use tokio::sync::{mpsc, oneshot};

use super::format::{self, Kind, PAYLOAD_LEN_MAX};
use super::item::Item;
use crate::codec;
use crate::state::{
    ExtentRecord, PartitionState, Shared, StateError, StateRecord, View, Visibility,
};

/// Chunks read ahead of who takes them: bounds memory, hides the disk.
const QUEUE_LEN: usize = 2;
/// A simulated partition is a few chunks long.
const SIMULATED_QUEUE_LEN: usize = 1024;

/// A snapshot that nothing was read for yet; cheap to clone and to keep.
#[derive(Clone)]
pub struct SnapshotSource {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for SnapshotSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SnapshotSource(partition {})", self.shared.id)
    }
}

/// A snapshot being read. Its view of the partition does not change, whatever
/// is applied or installed meanwhile; dropping it ends the reading.
#[derive(Debug)]
pub struct SnapshotReader {
    /// The last entry that is part of it.
    pub last: LogId,
    /// The entry that brought `membership`.
    pub membership_log_id: Option<LogId>,
    /// As of `last`.
    pub membership: Membership,
    chunks: mpsc::Receiver<io::Result<Bytes>>,
}

impl PartitionState {
    /// The state as a snapshot, as of the moment it is opened.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotSource {
        SnapshotSource { shared: Arc::clone(&self.shared) }
    }
}

impl SnapshotSource {
    /// Takes the view and begins to read ahead.
    ///
    /// # Errors
    /// `NotFound` when nothing was applied yet; else when the disk fails.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing behind.
    pub async fn open(&self) -> io::Result<SnapshotReader> {
        let shared = Arc::clone(&self.shared);
        let (opened, header) = oneshot::channel();
        let chunks = if shared.pools.is_simulated() {
            // Whole, at once: there is no thread that could wait for the taker.
            let (out, chunks) = mpsc::channel(SIMULATED_QUEUE_LEN);
            let read = move || send(&shared, opened, &Out { queue: out, waits: false });
            self.shared.pools.reads.run(read).await?;
            chunks
        } else {
            let (out, chunks) = mpsc::channel(QUEUE_LEN);
            std::thread::Builder::new()
                .name(format!("snap-out-{}", shared.id))
                .spawn(move || send(&shared, opened, &Out { queue: out, waits: true }))?;
            chunks
        };
        let (last, state) = header.await.map_err(|_| io::Error::other("read a snapshot"))??;
        Ok(SnapshotReader {
            last,
            membership_log_id: state.membership_log_id,
            membership: Arc::unwrap_or_clone(state.membership),
            chunks,
        })
    }
}

impl SnapshotReader {
    /// The next chunk of the stream, at most 1 MiB long; `None` after the last.
    ///
    /// # Errors
    /// When the disk fails or stored bytes are damaged; there is no more then.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call loses no chunk.
    pub async fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        self.chunks.recv().await.transpose()
    }
}

type Opened = oneshot::Sender<io::Result<(LogId, StateRecord)>>;

/// The thread's work. Ends early when nobody takes the chunks any more.
fn send(shared: &Shared, opened: Opened, out: &Out) {
    let snapshot = shared.engine.snapshot();
    let head = View::current(snapshot.as_ref(), shared.id)
        .and_then(|view| Ok((view, view.state()?)))
        .map_err(io::Error::from)
        .and_then(|(view, state)| {
            let nothing = || io::Error::new(io::ErrorKind::NotFound, "nothing was applied yet");
            Ok((view, state.applied.ok_or_else(nothing)?, state))
        });
    let (view, last, state) = match head {
        Ok(head) => head,
        Err(error) => {
            // Nobody waits any more: then nobody needs the reason.
            let _ = opened.send(Err(error));
            return;
        }
    };
    if opened.send(Ok((last, state.clone()))).is_err() {
        return;
    }
    let mut stream = Stream::new(out);
    if let Err(error) = stream.send_all(view, &state)
        && !stream.is_abandoned
    {
        let _ = out.send(Err(error.into()));
    }
}

/// Where the chunks go.
struct Out {
    queue: mpsc::Sender<io::Result<Bytes>>,
    /// For room in the queue.
    waits: bool,
}

/// Nobody takes the chunks any more.
struct Abandoned;

impl Out {
    fn send(&self, chunk: io::Result<Bytes>) -> Result<(), Abandoned> {
        if self.waits {
            return self.queue.blocking_send(chunk).map_err(|_| Abandoned);
        }
        self.queue.try_send(chunk).map_err(|_| Abandoned)
    }
}

/// The stream in the making.
struct Stream<'a> {
    out: &'a Out,
    records: BytesMut,
    number: u32,
    item_count: u64,
    is_abandoned: bool,
}

impl<'a> Stream<'a> {
    fn new(out: &'a Out) -> Self {
        let records = BytesMut::with_capacity(PAYLOAD_LEN_MAX);
        Self { out, records, number: 0, item_count: 0, is_abandoned: false }
    }

    fn send_all(&mut self, view: View<'_>, state: &StateRecord) -> Result<(), StateError> {
        let mut header = BytesMut::new();
        header.put_u64_le(view.partition_id().get());
        header.put_slice(&codec::encode_state(state));
        self.put_chunk(Kind::Header, &header);

        for visibility in [Visibility::Visible, Visibility::Staged] {
            view.each_extent(visibility, 0, |id, extent| {
                self.put_extent(view, visibility, id, extent)?;
                Ok(self.flow())
            })?;
        }
        view.each_request(0, |index, request| {
            if let Some(outcome) = view.outcome(&request.request_id)? {
                self.put_item(&Item::Request { index, request, outcome });
            }
            Ok(self.flow())
        })?;
        self.put_records();
        let trailer = self.item_count.to_le_bytes();
        self.put_chunk(Kind::Trailer, &trailer);
        Ok(())
    }

    fn put_extent(
        &mut self,
        view: View<'_>,
        visibility: Visibility,
        id: ExtentId,
        extent: ExtentRecord,
    ) -> Result<(), StateError> {
        self.put_item(&Item::Extent { visibility, id, extent });
        // Chunks that were sent and may be mapped by a later run, by the end of
        // the range they were written to.
        let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
        view.each_run(id, 0..u64::MAX, |offset, run| {
            self.put_item(&Item::Run { offset, run });
            sent.retain(|_, end| *end > offset);
            if let Entry::Vacant(first) = sent.entry(run.chunk_id) {
                first.insert(run.chunk_range(offset).1);
                // A damaged chunk must not travel on as a good one.
                self.put_item(&Item::Chunk(view.verified_chunk(id, offset, &run)?));
            }
            Ok(self.flow())
        })
    }

    fn put_item(&mut self, item: &Item) {
        let begin = self.records.len();
        item.encode(&mut self.records);
        self.item_count += 1;
        if self.records.len() > PAYLOAD_LEN_MAX {
            let last = self.records.split_off(begin);
            self.put_records();
            self.records.extend_from_slice(&last);
        }
    }

    fn put_records(&mut self) {
        if !self.records.is_empty() {
            let records = std::mem::take(&mut self.records);
            self.put_chunk(Kind::Records, &records);
            self.records = records;
            self.records.clear();
        }
    }

    fn put_chunk(&mut self, kind: Kind, payload: &[u8]) {
        let chunk = format::encode(kind, self.number, payload);
        self.number += 1;
        self.is_abandoned = self.is_abandoned || self.out.send(Ok(chunk)).is_err();
    }

    fn flow(&self) -> ControlFlow<()> {
        if self.is_abandoned { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

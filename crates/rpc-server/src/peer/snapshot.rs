//! Snapshots between nodes: one stream each, on the connection that does not
//! carry Raft, so that heartbeats never wait behind one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datanode_proto::v1;
use datanode_proto::v1::install_snapshot_request::Body;
use datanode_proto::v1::peer_service_client::PeerServiceClient;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use parking_lot::Mutex;
use partition_types::{NodeId, Reason, Vote};
use raft_glue::{Refusal, SnapshotHeader, TransportError};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::{PeerBook, convert};

/// A sender that has nothing to say for this long has gone.
const STALL: Duration = Duration::from_secs(30);

/// Sends one snapshot and waits until it is installed.
pub(super) async fn send(
    book: &PeerBook,
    to: NodeId,
    header: &SnapshotHeader,
    chunks: BoxStream<'static, io::Result<Bytes>>,
) -> Result<Vote, TransportError> {
    let unreachable = || TransportError::Unreachable("its address is not known".to_owned());
    let mut peer = PeerServiceClient::new(book.forward_channel(to).ok_or_else(unreachable)?);
    let fault = Arc::new(Mutex::new(None));
    let messages = messages(convert::header_to_wire(header), chunks, Arc::clone(&fault));
    let answer = peer.install_snapshot(messages).await;
    if let Some(error) = fault.lock().take() {
        return Err(TransportError::Failed(format!("read snapshot: {error}")));
    }
    let answer = answer.map_err(|status| failed(&status))?.into_inner();
    convert::vote_from_wire(answer.vote)
        .map_err(|malformed| TransportError::Failed(malformed.to_string()))
}

/// Header, chunks, end. A chunk that cannot be read is left in `fault`, and the
/// stream ends without its end: the receiver discards what it has.
fn messages(
    header: v1::SnapshotHeader,
    chunks: BoxStream<'static, io::Result<Bytes>>,
    fault: Arc<Mutex<Option<io::Error>>>,
) -> impl Stream<Item = v1::InstallSnapshotRequest> {
    let bodies = stream::unfold((Some(chunks), 0), move |(chunks, count)| {
        let fault = Arc::clone(&fault);
        async move {
            let mut chunks = chunks?;
            match chunks.next().await {
                Some(Ok(chunk)) => Some((Body::Chunk(chunk), (Some(chunks), count + 1))),
                Some(Err(error)) => {
                    *fault.lock() = Some(error);
                    None
                }
                None => Some((Body::End(v1::SnapshotEnd { chunks: count }), (None, count))),
            }
        }
    });
    stream::once(async move { Body::Header(header) })
        .chain(bodies)
        .map(|body| v1::InstallSnapshotRequest { body: Some(body) })
}

/// What a call to a peer that failed means for a group.
pub(super) fn failed(status: &Status) -> TransportError {
    match (status.code(), status.get_details_error_info()) {
        (Code::Unavailable, None) => TransportError::Unreachable(status.message().to_owned()),
        (_, Some(info)) => {
            let reason = info.reason.parse().unwrap_or(Reason::Internal);
            Refusal { reason, message: status.message().to_owned() }.into()
        }
        (_, None) => TransportError::Failed(status.message().to_owned()),
    }
}

/// Reads what opens a snapshot's stream.
pub(super) async fn receive_header(
    messages: &mut Streaming<v1::InstallSnapshotRequest>,
) -> Result<SnapshotHeader, Refusal> {
    let refuse =
        |message: &str| Refusal { reason: Reason::InvalidRequest, message: message.to_owned() };
    let first = timeout(STALL, messages.message()).await;
    let first = first.map_err(|_| refuse("no header came"))?;
    let first = first.map_err(|status| refuse(status.message()))?;
    match first.and_then(|message| message.body) {
        Some(Body::Header(header)) => Ok(convert::header_from_wire(header)?),
        _ => Err(refuse("the first message is no header")),
    }
}

/// The chunks after the header. The last item is an error unless the sender
/// said that it was through.
pub(super) fn receive_chunks(
    messages: Streaming<v1::InstallSnapshotRequest>,
) -> BoxStream<'static, io::Result<Bytes>> {
    stream::unfold(Some((messages, 0)), |state| async move {
        let (mut messages, count) = state?;
        match next_chunk(&mut messages, count).await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some((messages, count + 1)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

async fn next_chunk(
    messages: &mut Streaming<v1::InstallSnapshotRequest>,
    count: u64,
) -> io::Result<Option<Bytes>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned());
    let message = timeout(STALL, messages.message()).await.map_err(|_| io::ErrorKind::TimedOut)?;
    let message = message.map_err(|status| broken(status.message()))?;
    match message.and_then(|message| message.body) {
        Some(Body::Chunk(chunk)) => Ok(Some(chunk)),
        Some(Body::End(end)) if end.chunks == count => Ok(None),
        Some(Body::End(_)) => Err(broken("snapshot lacks chunks")),
        Some(Body::Header(_)) => Err(broken("snapshot has two headers")),
        None => Err(broken("snapshot ended without its end")),
    }
}

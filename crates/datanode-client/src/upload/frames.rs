//! A source as the messages of an upload stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use datanode_proto::v1::UploadExtentRequest;
use futures::{Stream, stream};
use parking_lot::Mutex;
use partition_types::{Crc32c, PartitionId, RequestId};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::oneshot;

use crate::client::wire;

/// How far one stream got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Handed to the connection.
    pub(super) sent_len_bytes: AtomicU64,
    /// Size and checksum, once the source is at its end.
    pub(super) whole: Mutex<Option<(u64, Crc32c)>>,
    /// While the source is being waited for, the node is not to blame.
    reading: AtomicBool,
}

impl Progress {
    /// Resolves when the node took nothing for `limit`.
    pub(super) async fn stalled(&self, limit: Duration, watch_every: Duration) {
        let mut seen = u64::MAX;
        let mut still = Duration::ZERO;
        while still < limit {
            let sent = self.sent_len_bytes.load(Ordering::Relaxed);
            if sent != seen || self.reading.load(Ordering::Relaxed) {
                seen = sent;
                still = Duration::ZERO;
            }
            tokio::time::sleep(watch_every).await;
            still += watch_every;
        }
    }
}

/// What the stream of one attempt is made from.
pub(super) struct Frames<R> {
    /// What the first message says.
    pub(super) first: Option<(PartitionId, RequestId)>,
    pub(super) frame_len_bytes: usize,
    pub(super) source: R,
    /// Of what was read so far.
    pub(super) sum: Crc32c,
    pub(super) progress: Arc<Progress>,
    pub(super) failed: Option<oneshot::Sender<io::Error>>,
}

impl<R: AsyncRead + Send + Unpin + 'static> Frames<R> {
    /// The messages: the partition first, then the data. It ends only when the
    /// source does: after a read error it stays pending for ever, because an
    /// end would pass for the end of the data.
    pub(super) fn into_stream(self) -> impl Stream<Item = UploadExtentRequest> + Send + 'static {
        stream::unfold(self, |mut frames| async move {
            let message = frames.next().await?;
            Some((message, frames))
        })
    }

    async fn next(&mut self) -> Option<UploadExtentRequest> {
        if let Some((partition_id, request_id)) = self.first.take() {
            return Some(UploadExtentRequest {
                partition_id: partition_id.get(),
                request_id: wire(request_id),
                ..Default::default()
            });
        }
        self.progress.reading.store(true, Ordering::Relaxed);
        let read = read_frame(&mut self.source, self.frame_len_bytes).await;
        self.progress.reading.store(false, Ordering::Relaxed);
        let data = match read {
            Ok(data) => data,
            Err(error) => {
                if let Some(failed) = self.failed.take() {
                    // Nobody listens any more when the call was dropped.
                    let _ = failed.send(error);
                }
                std::future::pending().await
            }
        };
        let before = self.progress.sent_len_bytes.load(Ordering::Relaxed);
        if data.is_empty() {
            *self.progress.whole.lock() = Some((before, self.sum));
            return None;
        }
        let crc32c = Crc32c::of(&data);
        let len_bytes = data.len() as u64;
        self.sum = self.sum.followed_by(crc32c, len_bytes);
        self.progress.sent_len_bytes.store(before + len_bytes, Ordering::Relaxed);
        Some(UploadExtentRequest { data, crc32c: Some(crc32c.get()), ..Default::default() })
    }
}

/// A full frame, or what is left before the end; empty at the end.
async fn read_frame<R: AsyncRead + Unpin>(source: &mut R, len_bytes: usize) -> io::Result<Bytes> {
    let mut frame = BytesMut::with_capacity(len_bytes);
    // `read_buf` would grow a full buffer: the limit keeps it to one frame.
    let mut source = source.take(len_bytes as u64);
    while source.read_buf(&mut frame).await? > 0 {}
    Ok(frame.freeze())
}

/// A source on loan: it goes home unless something of it was read.
pub(super) struct Lent<R> {
    reader: Option<R>,
    home: Arc<Mutex<Option<R>>>,
    touched: bool,
}

impl<R> Lent<R> {
    pub(super) fn new(reader: R, home: Arc<Mutex<Option<R>>>) -> Self {
        Self { reader: Some(reader), home, touched: false }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lent<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.touched = true;
        let reader = self.reader.as_mut().expect("it goes home only when dropped");
        Pin::new(reader).poll_read(cx, buf)
    }
}

impl<R> Drop for Lent<R> {
    fn drop(&mut self) {
        if !self.touched {
            *self.home.lock() = self.reader.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn frames(source: &'static [u8], frame_len_bytes: usize) -> Frames<&'static [u8]> {
        Frames {
            first: Some((PartitionId::new(3).unwrap(), RequestId::from_bytes([7; 16]))),
            frame_len_bytes,
            source,
            sum: Crc32c::EMPTY,
            progress: Arc::default(),
            failed: None,
        }
    }

    #[tokio::test]
    async fn cuts_a_source_into_checked_frames() {
        for (source, lens) in [
            (&b""[..], vec![]),
            (b"123", vec![3]),
            (b"1234", vec![4]),
            (b"123456789", vec![4, 4, 1]),
        ] {
            let frames = frames(source, 4);
            let progress = Arc::clone(&frames.progress);
            let messages: Vec<_> = frames.into_stream().collect().await;
            let (first, data) = messages.split_first().unwrap();
            assert_eq!((first.partition_id, first.request_id.len()), (3, 16));
            assert!(first.data.is_empty());
            assert_eq!(data.iter().map(|m| m.data.len()).collect::<Vec<_>>(), lens);
            for message in data {
                assert_eq!(message.crc32c, Some(Crc32c::of(&message.data).get()));
                assert_eq!((message.partition_id, message.request_id.len()), (0, 0));
            }
            let whole = Some((source.len() as u64, Crc32c::of(source)));
            assert_eq!(*progress.whole.lock(), whole);
        }
    }

    #[tokio::test]
    async fn an_untouched_source_goes_home() {
        let home = Arc::new(Mutex::new(None));
        drop(Lent::new(&b"abc"[..], Arc::clone(&home)));
        assert_eq!(*home.lock(), Some(&b"abc"[..]));
        let mut lent = Lent::new(home.lock().take().unwrap(), Arc::clone(&home));
        assert_eq!(lent.read_u8().await.unwrap(), b'a');
        drop(lent);
        assert_eq!(*home.lock(), None);
    }
}

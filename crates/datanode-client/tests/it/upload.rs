//! Uploading: from the beginning again under the same id, and never a part for
//! the whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use datanode_client::{Code, Crc32c, ErrorKind};
use tokio::io::{AsyncRead, ReadBuf};

use crate::fake::{Act, Fake, partition};

const LONG: Duration = Duration::from_secs(20);
const DATA: &[u8] = b"ten bytes.";

#[tokio::test]
async fn starts_over_under_the_same_request_id() {
    for (taken, code) in [(1, Code::Unavailable), (2, Code::Unavailable), (3, Code::Unknown)] {
        let fake = Fake::start([Act::TakeThenFail(taken, code), Act::TakeAll(None)]).await;
        let client = fake.client(LONG);
        let stored = client.upload(partition(), async || Ok(DATA)).await.unwrap();
        assert_eq!((stored.size, stored.crc32c), (10, Crc32c::of(DATA)));
        let calls = fake.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0].request_id, calls[1].request_id);
        assert_eq!(calls[1].data, DATA);
    }
}

#[tokio::test]
async fn takes_an_empty_source() {
    let fake = Fake::start([Act::TakeAll(None)]).await;
    let stored = fake.client(LONG).upload(partition(), async || Ok(&b""[..])).await.unwrap();
    assert_eq!((stored.size, stored.crc32c), (0, Crc32c::EMPTY));
}

#[tokio::test]
async fn does_not_believe_another_checksum() {
    let fake = Fake::start([Act::TakeAll(Some(Crc32c::of(b"other")))]).await;
    let error = fake.client(LONG).upload(partition(), async || Ok(DATA)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

/// Gives some bytes and then an error.
struct Breaks(usize);

impl AsyncRead for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::Error::other("the disk is gone")));
        }
        let len = self.0.min(buf.remaining());
        buf.put_slice(&DATA[..len]);
        self.0 -= len;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_source_that_breaks_never_passes_for_a_short_one() {
    for len in [0, 4, 8] {
        let fake = Fake::start([Act::TakeAll(None)]).await;
        let client = fake.client(LONG);
        let error = client.upload(partition(), async || Ok(Breaks(len))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Source, "{error:?}");
        // The reset of the stream arrives a little later.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(fake.calls().iter().all(|call| !call.ended_well), "{:?}", fake.calls());
    }
}

#[tokio::test]
async fn what_can_be_read_once_is_sent_once() {
    let fake = Fake::start([Act::TakeAll(None)]).await;
    fake.client(LONG).upload_once(partition(), DATA).await.unwrap();
    assert_eq!(fake.calls()[0].data, DATA);

    let acts = [Act::TakeThenFail(2, Code::Unavailable), Act::TakeAll(None)];
    let fake = Fake::start(acts).await;
    let error = fake.client(LONG).upload_once(partition(), DATA).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(fake.calls().len(), 1);
}

//! Reading: checked frame by frame, and taken up again where a stream broke.

use std::time::Duration;

use datanode_client::{Code, ErrorKind, ExtentId, ExtentReader};

use crate::fake::{Act, Fake, frame, partition};

const LONG: Duration = Duration::from_secs(20);

fn read(fake: &Fake, timeout: Duration) -> ExtentReader {
    fake.client(timeout).read(partition(), ExtentId::new(1).unwrap())
}

fn asked(fake: &Fake) -> Vec<(u64, u64)> {
    fake.calls().iter().map(|call| (call.offset, call.length)).collect()
}

#[tokio::test]
async fn goes_on_at_the_next_offset() {
    let whole = [frame(0, b"abc", true), frame(3, b"def", true)];
    let rest = vec![frame(3, b"def", true)];
    let broken = Act::Frames(whole[..1].to_vec(), Some(Code::Unavailable));
    let torn = Act::Frames(whole[..1].to_vec(), Some(Code::Unknown));
    let flipped = Act::Frames(vec![whole[0].clone(), frame(3, b"def", false)], None);
    for bad in [broken, torn, flipped] {
        let fake = Fake::start([bad.clone(), Act::Frames(rest.clone(), None)]).await;
        let data = read(&fake, LONG).collect().await.unwrap();
        assert_eq!(data, "abcdef", "{bad:?}");
        assert_eq!(asked(&fake), [(0, 0), (3, 0)], "{bad:?}");
    }
}

#[tokio::test]
async fn asks_for_what_is_left_of_a_range() {
    let first = Act::Frames(vec![frame(10, b"abc", true)], Some(Code::Unavailable));
    let fake = Fake::start([first, Act::Frames(vec![frame(13, b"de", true)], None)]).await;
    assert_eq!(read(&fake, LONG).range(10..15).collect().await.unwrap(), "abcde");
    assert_eq!(asked(&fake), [(10, 5), (13, 2)]);
}

#[tokio::test]
async fn a_range_that_is_full_needs_no_good_end() {
    let act = Act::Frames(vec![frame(0, b"abc", true)], Some(Code::Unavailable));
    let fake = Fake::start([act]).await;
    assert_eq!(read(&fake, LONG).range(0..3).collect().await.unwrap(), "abc");
    assert_eq!(read(&fake, LONG).range(5..5).collect().await.unwrap(), "");
    assert_eq!(asked(&fake), [(0, 3)], "an empty range asks nobody");
}

#[tokio::test]
async fn never_returns_what_is_wrong() {
    let timeout = Duration::from_millis(300);
    let cases = [
        (vec![frame(0, b"abc", false)], ErrorKind::Corrupt),
        (vec![frame(1, b"abc", true)], ErrorKind::Internal),
        (vec![frame(0, b"abcdef", true)], ErrorKind::Internal),
    ];
    for (frames, kind) in cases {
        let fake = Fake::start([Act::Frames(frames.clone(), None)]).await;
        let mut reader = read(&fake, timeout).range(0..5);
        let error = reader.next().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{frames:?}: {error:?}");
        assert_eq!(reader.next().await.unwrap(), None, "after an error there is nothing more");
    }
}

#[tokio::test]
async fn an_empty_extent_has_no_frames() {
    let fake = Fake::start([Act::Frames(vec![frame(0, b"", true)], None)]).await;
    assert_eq!(read(&fake, LONG).next().await.unwrap(), None);
}

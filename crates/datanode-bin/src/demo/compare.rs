//! Reading back: every byte and every checksum against the file.

use std::io::SeekFrom;
use std::ops::Range;
use std::sync::Mutex;

use datanode_client::{Client, Crc32c, Error, ExtentReader};
use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::record::Faults;
use super::store::{AT_ONCE, StoredFile};

/// What a comparison ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Different(String),
}

/// Reads all files back, many at once.
pub(super) async fn all(
    client: &Client,
    files: &[StoredFile],
    faults: &Mutex<Faults>,
    bar: &ProgressBar,
) {
    stream::iter(files)
        .for_each_concurrent(AT_ONCE, |file| async move {
            let verdict = whole(client, file).await;
            let mut faults = faults.lock().expect("no panics under it");
            match verdict {
                Ok(Verdict::Same) => {}
                Ok(Verdict::Different(what)) => faults.mismatch(&told(file, &what)),
                Err(error) => faults.client_error(&told(file, &error.to_string())),
            }
            bar.inc(file.source.len_bytes);
        })
        .await;
}

/// A fault with the file and the extent it is about.
pub(super) fn told(file: &StoredFile, what: &str) -> String {
    let StoredFile { source, partition_id, extent_id } = file;
    format!("{} (partition {partition_id}, extent {extent_id}): {what}", source.path.display())
}

/// A whole extent against its file, and its checksum against the file's.
async fn whole(client: &Client, file: &StoredFile) -> Result<Verdict, Error> {
    let info = client.stat(file.partition_id, file.extent_id).await?;
    let reader = client.read(file.partition_id, file.extent_id);
    let (verdict, sum) = against(reader, file, 0..file.source.len_bytes).await?;
    if verdict == Verdict::Same && info.crc32c != Some(sum) {
        let what = format!("the file sums to {sum}, the extent says {:?}", info.crc32c);
        return Ok(Verdict::Different(what));
    }
    Ok(verdict)
}

/// A range of an extent against the same range of its file.
pub(super) async fn range(
    client: &Client,
    file: &StoredFile,
    range: Range<u64>,
) -> Result<Verdict, Error> {
    let reader = client.read(file.partition_id, file.extent_id).range(range.clone());
    against(reader, file, range).await.map(|(verdict, _)| verdict)
}

/// What `reader` gives against a range of the file. Gives the sum of the file's
/// bytes too.
async fn against(
    mut reader: ExtentReader,
    file: &StoredFile,
    range: Range<u64>,
) -> Result<(Verdict, Crc32c), Error> {
    let mut expected = match Expected::open(file, range.clone()).await {
        Ok(expected) => expected,
        Err(error) => return Ok((unreadable(&error), Crc32c::EMPTY)),
    };
    while let Some(frame) = reader.next().await? {
        match expected.next(frame.data.len()).await {
            Ok(bytes) if bytes == frame.data => {}
            Ok(_) => {
                let what = format!("different bytes in {} at {}", frame.data.len(), frame.offset);
                return Ok((Verdict::Different(what), expected.sum));
            }
            Err(error) => return Ok((unreadable(&error), expected.sum)),
        }
    }
    if expected.left > 0 {
        let what = format!("{} bytes are missing at the end", expected.left);
        return Ok((Verdict::Different(what), expected.sum));
    }
    Ok((Verdict::Same, expected.sum))
}

fn unreadable(error: &std::io::Error) -> Verdict {
    Verdict::Different(format!("the file cannot be read again: {error}"))
}

/// The bytes that should come.
struct Expected {
    file: File,
    buffer: Vec<u8>,
    left: u64,
    sum: Crc32c,
}

impl Expected {
    async fn open(file: &StoredFile, range: Range<u64>) -> std::io::Result<Self> {
        let left = range.end - range.start;
        let mut file = File::open(&file.source.path).await?;
        file.seek(SeekFrom::Start(range.start)).await?;
        Ok(Self { file, buffer: Vec::new(), left, sum: Crc32c::EMPTY })
    }

    /// The next `len` bytes; fewer where there are no more.
    async fn next(&mut self, len: usize) -> std::io::Result<&[u8]> {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(len);
        self.buffer.resize(take, 0);
        self.file.read_exact(&mut self.buffer).await?;
        self.left -= take as u64;
        self.sum = self.sum.followed_by(Crc32c::of(&self.buffer), take as u64);
        Ok(&self.buffer)
    }
}

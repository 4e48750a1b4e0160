//! Uploading an extent of any size: the source is read frame by frame, and read
//! again from its beginning, under the same request id, when a stream breaks.

mod frames;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use partition_types::{Crc32c, PartitionId, RequestId};
use tokio::io::AsyncRead;
use tokio::sync::oneshot;

use crate::call::{Attempt, Target};
use crate::client::Client;
use crate::convert;
use crate::effort::Effort;
use crate::endpoint::Address;
use crate::error::{Detail, Error};
use crate::extent::Stored;
use crate::retry::AttemptError;

use frames::{Frames, Lent, Progress};

/// How often a stream is looked at for progress.
const WATCH_EVERY: Duration = Duration::from_millis(250);

/// Why one stream did not end in an extent.
enum Broken {
    Attempt(AttemptError),
    Source(io::Error),
}

impl Client {
    /// Stores an extent of any size and seals it. `open` gives the source from
    /// its beginning, again for each time that a stream breaks.
    ///
    /// The deadline counts from the last time that the upload got further than
    /// ever before.
    ///
    /// # Errors
    /// `Source` when `open` or reading fails; `Corrupt` when the cluster stored
    /// something else than was read; and what
    /// [`ErrorKind`](crate::ErrorKind) lists for a cluster that does not answer.
    /// A failed upload leaves nothing, unless its outcome is unknown.
    ///
    /// # Cancel safety
    /// A dropped upload leaves nothing, unless all of it was sent.
    pub async fn upload<R, Open, Opening>(
        &self,
        partition_id: PartitionId,
        mut open: Open,
    ) -> Result<Stored, Error>
    where
        R: AsyncRead + Send + Unpin + 'static,
        Open: FnMut() -> Opening,
        Opening: Future<Output = io::Result<R>>,
    {
        let (target, request_id) = self.change(partition_id);
        let mut effort = Effort::new(&self.core, target);
        let mut furthest = 0;
        loop {
            let source = open().await.map_err(|error| Error::new(Detail::Source(error)))?;
            let (address, _) = effort.next_attempt(&self.core);
            let progress = Arc::<Progress>::default();
            match self.stream(target, &address, request_id, source, &progress).await {
                Ok(stored) => return check(stored, &progress),
                Err(broken) => {
                    let sent = progress.sent_len_bytes.load(Ordering::Relaxed);
                    if sent > furthest {
                        furthest = sent;
                        effort.progressed(&self.core);
                    }
                    self.recover(&mut effort, &address, broken).await?;
                }
            }
        }
    }

    /// Stores a file as [`Client::upload`] does.
    ///
    /// # Errors
    /// As for [`Client::upload`]; `Source` for a file that cannot be read.
    ///
    /// # Cancel safety
    /// As for [`Client::upload`].
    pub async fn upload_file(
        &self,
        partition_id: PartitionId,
        path: &Path,
    ) -> Result<Stored, Error> {
        self.upload(partition_id, || tokio::fs::File::open(path)).await
    }

    /// Stores what can be read only once, such as a pipe: repeated only while
    /// nothing of it was read.
    ///
    /// # Errors
    /// As for [`Client::upload`], and at once when a stream breaks.
    ///
    /// # Cancel safety
    /// As for [`Client::upload`].
    pub async fn upload_once<R>(
        &self,
        partition_id: PartitionId,
        reader: R,
    ) -> Result<Stored, Error>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (target, request_id) = self.change(partition_id);
        let mut effort = Effort::new(&self.core, target);
        let home = Arc::new(Mutex::new(Some(reader)));
        let mut broken: Option<(Address, Broken)> = None;
        loop {
            let lent = home.lock().take();
            let (reader, cause) = match (lent, broken.take()) {
                (Some(reader), cause) => (reader, cause),
                (None, Some((address, broken))) => {
                    return Err(self.settle(&effort, &address, broken));
                }
                (None, None) => return Err(convert::nonsense("a source that nobody took")),
            };
            if let Some((address, broken)) = cause {
                self.recover(&mut effort, &address, broken).await?;
            }
            let source = Lent::new(reader, Arc::clone(&home));
            let (address, _) = effort.next_attempt(&self.core);
            let progress = Arc::<Progress>::default();
            match self.stream(target, &address, request_id, source, &progress).await {
                Ok(stored) => return check(stored, &progress),
                Err(error) => broken = Some((address, error)),
            }
        }
    }

    async fn recover(
        &self,
        effort: &mut Effort,
        address: &Address,
        broken: Broken,
    ) -> Result<(), Error> {
        match broken {
            Broken::Source(error) => Err(Error::new(Detail::Source(error))),
            Broken::Attempt(error) => effort.failed(&self.core, address, error).await,
        }
    }

    fn settle(&self, effort: &Effort, address: &Address, broken: Broken) -> Error {
        match broken {
            Broken::Source(error) => Error::new(Detail::Source(error)),
            Broken::Attempt(error) => effort.settle(&self.core, address, error),
        }
    }

    /// One stream, until its answer.
    async fn stream<R>(
        &self,
        target: Target,
        address: &Address,
        request_id: RequestId,
        source: R,
        progress: &Arc<Progress>,
    ) -> Result<Stored, Broken>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let core = &self.core;
        let partition_id = target.partition_id().expect("an upload has a partition");
        let (source_failed, mut failure) = oneshot::channel();
        let frames = Frames {
            first: Some((partition_id, request_id)),
            frame_len_bytes: core.config.upload_frame_len_bytes,
            source,
            sum: Crc32c::EMPTY,
            progress: Arc::clone(progress),
            failed: Some(source_failed),
        };
        let attempt = Attempt::new(core.pool.channel(address), core.config.attempt_timeout);
        let mut extents = attempt.extents();
        let call = extents.upload_extent(frames.into_stream());
        // The stall watch below is the only limit: an upload may take hours.
        let answer = core.finish(target, address, Duration::MAX, call);
        let stalled = progress.stalled(core.config.attempt_timeout, WATCH_EVERY);
        tokio::select! {
            answer = answer => {
                let answer = answer.map_err(Broken::Attempt)?;
                convert::stored(answer.extent_id, answer.size, answer.crc32c)
                    .map_err(|_| Broken::Attempt(AttemptError::Nonsense("an extent without an id")))
            }
            // Dropping the call resets the stream: nothing of it stays.
            Ok(error) = &mut failure => Err(Broken::Source(error)),
            () = stalled => Err(Broken::Attempt(AttemptError::TimedOut)),
        }
    }
}

/// The cluster must have stored what was read.
fn check(stored: Stored, progress: &Progress) -> Result<Stored, Error> {
    match *progress.whole.lock() {
        Some((size, crc32c)) => stored.must_be(size, crc32c),
        // Answered before everything was sent: a repeat of what is stored.
        None => Ok(stored),
    }
}

//! Extents: created, written, described, sealed, deleted. Each call here is one
//! message; see [`crate::read`] and [`crate::upload`] for the streams.

use std::time::SystemTime;

use bytes::Bytes;
use datanode_proto::v1;
use partition_types::{Crc32c, ExtentId, PartitionId};

use crate::call::Target;
use crate::client::{Client, wire};
use crate::convert;
use crate::error::{Detail, Error};

/// Which state a read may answer from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write acknowledged before it began.
    #[default]
    Linearizable,
    /// The state of whichever replica answers.
    Stale,
}

impl Consistency {
    pub(crate) fn wire(self) -> i32 {
        match self {
            Self::Linearizable => v1::Consistency::Linearizable as i32,
            Self::Stale => v1::Consistency::Stale as i32,
        }
    }
}

/// An extent that is whole and sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Which one.
    pub extent_id: ExtentId,
    /// In bytes.
    pub size: u64,
    /// Of the whole.
    pub crc32c: Crc32c,
}

/// Where bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Where the first of them stands.
    pub offset: u64,
    /// Size of the extent afterwards, in bytes.
    pub size: u64,
}

/// What is known of an extent without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentInfo {
    /// Which one.
    pub extent_id: ExtentId,
    /// In bytes.
    pub size: u64,
    /// Whether it takes no more writes.
    pub sealed: bool,
    /// Of the whole, when sealed.
    pub crc32c: Option<Crc32c>,
    /// By the clock of the leader of the time.
    pub created_at: SystemTime,
    /// Likewise: the last write, or the sealing.
    pub modified_at: SystemTime,
}

/// The methods of this file end like each other.
///
/// # Errors
/// [`Error`] once it is pointless to repeat, or the time of
/// [`ClientConfig::timeout`](crate::ClientConfig::timeout) is up.
///
/// # Cancel safety
/// A change whose future is dropped may or may not be made.
impl Client {
    /// Creates an empty extent.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition; see [`ErrorKind`](crate::ErrorKind).
    pub async fn create(&self, partition_id: PartitionId) -> Result<ExtentId, Error> {
        let (target, request_id) = self.change(partition_id);
        let request = v1::CreateExtentRequest {
            partition_id: partition_id.get(),
            request_id: wire(request_id),
        };
        let answer = self
            .core
            .call(target, |attempt| {
                let request = request.clone();
                async move { attempt.extents().create_extent(attempt.request(request)).await }
            })
            .await?;
        convert::extent_id(answer.extent_id)
    }

    /// Stores an extent whole, in one message and one commit, and seals it.
    ///
    /// # Errors
    /// `Invalid` (`MESSAGE_TOO_LARGE`) above the node's message limit: use
    /// [`Client::upload`]. `Corrupt` when the cluster stored something else.
    pub async fn put(&self, partition_id: PartitionId, data: Bytes) -> Result<Stored, Error> {
        let (target, request_id) = self.change(partition_id);
        let (size, crc32c) = (data.len() as u64, Crc32c::of(&data));
        let request = v1::PutExtentRequest {
            partition_id: partition_id.get(),
            data,
            crc32c: Some(crc32c.get()),
            request_id: wire(request_id),
        };
        let answer = self
            .core
            .call(target, |attempt| {
                let request = request.clone();
                async move { attempt.extents().put_extent(attempt.request(request)).await }
            })
            .await?;
        let stored = convert::stored(answer.extent_id, answer.size, answer.crc32c)?;
        stored.must_be(size, crc32c)
    }

    /// Writes at the end of an extent.
    ///
    /// # Errors
    /// `Conflict` (`EXTENT_SEALED`) when it takes no more writes.
    pub async fn append(
        &self,
        partition_id: PartitionId,
        extent_id: ExtentId,
        data: Bytes,
    ) -> Result<Written, Error> {
        let (target, request_id) = self.change(partition_id);
        let request = v1::AppendExtentRequest {
            partition_id: partition_id.get(),
            extent_id: extent_id.get(),
            crc32c: Some(Crc32c::of(&data).get()),
            data,
            request_id: wire(request_id),
        };
        let answer = self
            .core
            .call(target, |attempt| {
                let request = request.clone();
                async move { attempt.extents().append_extent(attempt.request(request)).await }
            })
            .await?;
        Ok(Written { offset: answer.offset, size: answer.size })
    }

    /// Overwrites from `offset` on, and extends where it goes past the end.
    ///
    /// # Errors
    /// `Invalid` (`OFFSET_OUT_OF_RANGE`) for an offset beyond the end;
    /// `Conflict` (`EXTENT_SEALED`) when it takes no more writes.
    pub async fn write(
        &self,
        partition_id: PartitionId,
        extent_id: ExtentId,
        offset: u64,
        data: Bytes,
    ) -> Result<Written, Error> {
        let (target, request_id) = self.change(partition_id);
        let request = v1::WriteExtentRequest {
            partition_id: partition_id.get(),
            extent_id: extent_id.get(),
            offset,
            crc32c: Some(Crc32c::of(&data).get()),
            data,
            request_id: wire(request_id),
        };
        let answer = self
            .core
            .call(target, |attempt| {
                let request = request.clone();
                async move { attempt.extents().write_extent(attempt.request(request)).await }
            })
            .await?;
        Ok(Written { offset, size: answer.size })
    }

    /// Ends all writing and fixes the checksum of the whole. Again is fine.
    ///
    /// # Errors
    /// `NotFound` for an unknown extent.
    pub async fn seal(
        &self,
        partition_id: PartitionId,
        extent_id: ExtentId,
    ) -> Result<Stored, Error> {
        let (target, request_id) = self.change(partition_id);
        let request = v1::SealExtentRequest {
            partition_id: partition_id.get(),
            extent_id: extent_id.get(),
            request_id: wire(request_id),
        };
        let answer = self
            .core
            .call(target, |attempt| {
                let request = request.clone();
                async move { attempt.extents().seal_extent(attempt.request(request)).await }
            })
            .await?;
        convert::stored(extent_id.get(), answer.size, answer.crc32c)
    }

    /// Deletes up to 1,000 extents. Says of each, in the same order, whether it
    /// was there.
    ///
    /// # Errors
    /// `Invalid` for more ids; an absent extent is no error.
    pub async fn delete(
        &self,
        partition_id: PartitionId,
        extent_ids: &[ExtentId],
    ) -> Result<Vec<(ExtentId, bool)>, Error> {
        let (target, request_id) = self.change(partition_id);
        let request = v1::DeleteExtentsRequest {
            partition_id: partition_id.get(),
            extent_ids: extent_ids.iter().map(|id| id.get()).collect(),
            request_id: wire(request_id),
        };
        let answer = self
            .core
            .call(target, |attempt| {
                let request = request.clone();
                async move { attempt.extents().delete_extents(attempt.request(request)).await }
            })
            .await?;
        let deleted = |result: v1::DeleteResult| {
            let found = result.status == v1::DeleteStatus::Deleted as i32;
            Ok((convert::extent_id(result.extent_id)?, found))
        };
        answer.results.into_iter().map(deleted).collect()
    }

    /// Describes an extent, as of now.
    ///
    /// # Errors
    /// `NotFound` for an unknown extent.
    pub async fn stat(
        &self,
        partition_id: PartitionId,
        extent_id: ExtentId,
    ) -> Result<ExtentInfo, Error> {
        let request = v1::StatExtentRequest {
            partition_id: partition_id.get(),
            extent_id: extent_id.get(),
            consistency: Consistency::Linearizable.wire(),
        };
        let answer = self
            .core
            .call(Target::Read(partition_id), |attempt| async move {
                attempt.extents().stat_extent(attempt.request(request)).await
            })
            .await?;
        convert::stat(answer)
    }

    /// Every extent of a partition, in the order of their ids. Page by page:
    /// what is created or deleted meanwhile may be in it or not.
    ///
    /// # Errors
    /// `NotFound` for an unknown partition.
    pub async fn list(&self, partition_id: PartitionId) -> Result<Vec<ExtentInfo>, Error> {
        let mut extents = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListExtentsRequest {
                partition_id: partition_id.get(),
                page_size: 0,
                page_token,
                consistency: Consistency::Linearizable.wire(),
            };
            let page = self
                .core
                .call(Target::Read(partition_id), |attempt| {
                    let request = request.clone();
                    async move { attempt.extents().list_extents(attempt.request(request)).await }
                })
                .await?;
            for extent in page.extents {
                extents.push(convert::extent(extent)?);
            }
            if page.next_page_token.is_empty() {
                return Ok(extents);
            }
            page_token = page.next_page_token;
        }
    }
}

impl Stored {
    /// Checks the cluster's word against what was sent.
    pub(crate) fn must_be(self, size: u64, crc32c: Crc32c) -> Result<Self, Error> {
        if (self.size, self.crc32c) == (size, crc32c) {
            return Ok(self);
        }
        Err(Error::new(Detail::StoredOther {
            size,
            expected: crc32c,
            actual_size: self.size,
            actual: self.crc32c,
        }))
    }
}

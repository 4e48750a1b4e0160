//! Typed client of a datanode cluster.
//!
//! [`Client`] speaks to the client port: extents in and out, and where
//! partitions live. [`AdminClient`] speaks to the admin port: status, start-up
//! reports, partitions, draining.
//!
//! What it does so that callers need not:
//!
//! - finds the leader by itself: any node takes any request, and the client
//!   remembers who the leader was (routes and the `x-datanode-leader` trailer);
//! - repeats what failed for a passing reason, with jittered back-off, inside a
//!   deadline ([`ClientConfig::timeout`]), at another node where one refuses;
//! - gives every change a request id, so that a repeat is never applied twice;
//! - checks the CRC-32C of every frame it reads, and goes on at the next offset
//!   when a stream breaks.
//!
//! An [`Error`] is what is left after all that; its [`ErrorKind`] says what the
//! caller can do.
//!
//! ```no_run
//! use datanode_client::{Client, ClientConfig, PartitionId};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(["127.0.0.1:17310"], ClientConfig::default())?;
//! let partition = PartitionId::new(1)?;
//! let stored = client.put(partition, "hello".into()).await?;
//! let back = client.read(partition, stored.extent_id).collect().await?;
//! assert_eq!(back, "hello");
//! # Ok(())
//! # }
//! ```

mod client;
mod extent;
mod read;
mod route;
mod upload;

mod admin;

mod call;
mod config;
mod convert;
mod effort;
mod endpoint;
mod error;
mod pick;
mod retry;

pub use admin::{AdminClient, StartupWatch};
pub use client::Client;
pub use config::{ClientConfig, InvalidConfig};
pub use error::{Error, ErrorKind};
pub use extent::{Consistency, ExtentInfo, Stored, Written};
pub use read::{ExtentReader, Frame};
pub use route::{Replica, Route};

pub use bytes::Bytes;
pub use datanode_proto::v1 as proto;
pub use partition_types::{Crc32c, ExtentId, NodeId, PartitionId, Reason, RequestId};
pub use tonic::Code;

//! The wire contract: `datanode.v1` messages, clients, servers and the
//! descriptor set for reflection. Generated code only, no logic.
//!
//! The sources are in `proto/datanode/v1/`; only additive changes are made.

// Generated code follows prost's style, not ours.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
/// Messages, clients and servers of package `datanode.v1`.
pub mod v1 {
    tonic::include_proto!("datanode.v1");
}

/// The `FileDescriptorSet` of package `datanode.v1` with its imports, for
/// gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/datanode.v1.bin"));

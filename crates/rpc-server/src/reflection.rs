//! gRPC reflection: what a port serves, in both versions that clients speak.
//!
//! grpcurl and Python know v1alpha only, buf knows v1. The details of errors
//! are registered too, so that tools print them in words.

use tonic_reflection::server::{Builder, v1, v1alpha};

/// Which port is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// Extents and routes.
    Client,
    /// Partitions and the node.
    Admin,
}

impl Port {
    fn services(self) -> &'static [&'static str] {
        match self {
            Self::Client => &["datanode.v1.ExtentService", "datanode.v1.RouteService"],
            Self::Admin => &["datanode.v1.NodeService", "datanode.v1.PartitionService"],
        }
    }
}

/// On every port.
const COMMON: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

const READABLE: &str = "descriptor sets are made by the build";

/// The service that current clients ask.
pub(crate) fn v1(port: Port) -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    builder(port).build_v1().expect(READABLE)
}

/// The service that older clients ask.
pub(crate) fn v1alpha(
    port: Port,
) -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    builder(port).build_v1alpha().expect(READABLE)
}

fn builder(port: Port) -> Builder<'static> {
    // Reflection lists what it is told, not what is served: the names are given.
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(datanode_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .include_reflection_service(false);
    let names = port.services().iter().chain(&COMMON);
    names.fold(builder, |builder, name| builder.with_service_name(*name))
}

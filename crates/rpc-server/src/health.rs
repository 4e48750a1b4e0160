//! grpc.health.v1.

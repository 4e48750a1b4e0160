//! gRPC reflection, v1 and v1alpha.

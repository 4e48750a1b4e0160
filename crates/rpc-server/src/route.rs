//! RouteService: where partitions live.

//! What every call on a port passes: deadline, metrics, panics, codes.

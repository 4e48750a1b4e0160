//! The admin port: opens first.

/// See the module.
pub struct AdminPort {}

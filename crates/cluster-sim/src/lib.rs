//! Checks of the whole protocol that need no real node: today the model of the
//! start-up and drain protocol. It stores nothing and speaks to nobody.

pub mod model;

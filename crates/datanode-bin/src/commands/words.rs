//! The contract's enums in the words that people and programs read.

use datanode_client::proto::{PartitionState, ReplicaRole, Stage};

/// A stage: `load`, `check`, `elect`, `listen`, `serving`, …
#[must_use]
pub(super) fn stage(stage: i32) -> &'static str {
    match Stage::try_from(stage).unwrap_or_default() {
        Stage::Unspecified => "unknown",
        Stage::Load => "load",
        Stage::Check => "check",
        Stage::Elect => "elect",
        Stage::Listen => "listen",
        Stage::Serving => "serving",
        Stage::Draining => "draining",
        Stage::Stopped => "stopped",
    }
}

/// What a replica may do.
#[must_use]
pub(super) fn state(state: i32) -> &'static str {
    match PartitionState::try_from(state).unwrap_or_default() {
        PartitionState::Unspecified => "unknown",
        PartitionState::Loading => "loading",
        PartitionState::Checking => "checking",
        PartitionState::Electing => "electing",
        PartitionState::Ready => "ready",
        PartitionState::Waived => "waived",
        PartitionState::Quarantined => "quarantined",
        PartitionState::Unreachable => "unreachable",
    }
}

/// A replica's part in its group.
#[must_use]
pub(super) fn role(role: i32) -> &'static str {
    match ReplicaRole::try_from(role).unwrap_or_default() {
        ReplicaRole::Unspecified => "unknown",
        ReplicaRole::Leader => "leader",
        ReplicaRole::Follower => "follower",
        ReplicaRole::Candidate => "candidate",
        ReplicaRole::Learner => "learner",
    }
}

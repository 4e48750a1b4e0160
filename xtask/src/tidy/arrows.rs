//! Which crate may know which: the arrows of ARCHITECTURE.md.

use cargo_metadata::{DependencyKind, Metadata};

/// What each crate of the workspace may depend on within it.
const ARROWS: [(&str, &[&str]); 10] = [
    ("datanode-proto", &[]),
    ("partition-types", &[]),
    ("startup-gate", &[]),
    ("partition-store", &["partition-types"]),
    ("raft-glue", &["partition-store", "partition-types", "startup-gate"]),
    (
        "rpc-server",
        &["datanode-proto", "partition-store", "partition-types", "raft-glue", "startup-gate"],
    ),
    ("cluster-sim", &["partition-store", "partition-types", "raft-glue", "startup-gate"]),
    ("datanode-client", &["datanode-proto", "partition-types"]),
    (
        "datanode-bin",
        &[
            "datanode-client",
            "partition-store",
            "partition-types",
            "raft-glue",
            "rpc-server",
            "startup-gate",
        ],
    ),
    ("xtask", &[]),
];

/// Where a foreign crate stops.
const FENCES: [(&str, &[&str]); 6] = [
    ("rocksdb", &["partition-store"]),
    ("openraft", &["raft-glue"]),
    ("tonic", &["datanode-proto", "rpc-server", "datanode-client"]),
    ("prost", &["datanode-proto", "rpc-server", "datanode-client"]),
    ("axum", &["rpc-server", "startup-gate"]),
    // partition-types has no async and no IO.
    (
        "tokio",
        &[
            "partition-store",
            "raft-glue",
            "startup-gate",
            "rpc-server",
            "datanode-client",
            "datanode-bin",
            "cluster-sim",
        ],
    ),
];

pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    let names: Vec<_> = super::ours(metadata).map(|package| package.name.as_str()).collect();
    for package in super::ours(metadata) {
        let name = package.name.as_str();
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            findings.push(format!("crate {name} has no place in the arrows of xtask tidy"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            // A test may take what it likes: it is nobody's dependency.
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            if names.contains(&to) && !allowed.contains(&to) {
                findings.push(format!("crate {name} must not depend on {to}"));
            }
            if let Some((_, within)) = FENCES.iter().find(|(foreign, _)| *foreign == to)
                && !within.contains(&name)
                && dependency.kind != DependencyKind::Build
            {
                findings.push(format!("{to} stops at {}, {name} has it", within.join(", ")));
            }
        }
    }
    findings
}

//! Whether what the directories say of themselves goes together, and with the
//! configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use partition_types::{ClusterId, Incarnation, NodeId};
use uuid::Uuid;

use super::Found;
use crate::codec::{NodeRecord, Phase};
use crate::error::OpenError;

/// What the configuration expects.
pub(crate) struct Expected<'a> {
    pub(crate) cluster_id: &'a ClusterId,
    pub(crate) node_id: NodeId,
    pub(crate) accept_lost_disk: bool,
}

/// A node's directories, in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) incarnation: Incarnation,
    /// Each with an identity: what it has, or what it is to get.
    pub(crate) identities: Vec<NodeRecord>,
    /// Whether the directory has that identity already.
    pub(crate) is_written: Vec<bool>,
}

/// Decides what each directory is. Nothing is written.
///
/// # Errors
/// [`OpenError`] for directories that are not ours, or not of one node, or not
/// all there.
pub(crate) fn agree(
    expected: &Expected<'_>,
    dirs: &[(PathBuf, Found)],
) -> Result<Agreed, OpenError> {
    let present: Vec<(&Path, &NodeRecord)> = dirs
        .iter()
        .filter_map(|(path, found)| match found {
            Found::Identity(identity) => Some((path.as_path(), identity)),
            Found::Nothing => None,
        })
        .collect();
    for (path, identity) in &present {
        check_ours(expected, path, identity)?;
    }
    check_each_other(&present)?;
    if !expected.accept_lost_disk {
        check_all_there(dirs, &present)?;
    }

    let incarnation =
        present.first().map_or_else(Incarnation::random, |(_, identity)| identity.incarnation);
    let mut known: BTreeSet<Uuid> = present.iter().map(|(_, identity)| identity.disk).collect();
    let mut identities = Vec::with_capacity(dirs.len());
    let mut is_written = Vec::with_capacity(dirs.len());
    for (_, found) in dirs {
        is_written.push(matches!(found, Found::Identity(_)));
        identities.push(match found {
            Found::Identity(identity) => identity.clone(),
            Found::Nothing => {
                let disk = Uuid::now_v7();
                known.insert(disk);
                NodeRecord {
                    cluster_id: expected.cluster_id.clone(),
                    node_id: expected.node_id,
                    incarnation,
                    disk,
                    phase: Phase::Making,
                    // Those that have an identity by the time this one has.
                    disks: known.iter().copied().collect(),
                }
            }
        });
    }
    Ok(Agreed { incarnation, identities, is_written })
}

impl Agreed {
    /// The identities as they are when everything is made.
    pub(crate) fn finished(&self) -> Vec<NodeRecord> {
        let disks: BTreeSet<Uuid> = self.identities.iter().map(|identity| identity.disk).collect();
        let disks: Vec<Uuid> = disks.into_iter().collect();
        self.identities
            .iter()
            .map(|identity| NodeRecord {
                phase: Phase::Made,
                disks: disks.clone(),
                ..identity.clone()
            })
            .collect()
    }
}

fn check_ours(
    expected: &Expected<'_>,
    path: &Path,
    identity: &NodeRecord,
) -> Result<(), OpenError> {
    if identity.cluster_id != *expected.cluster_id {
        return Err(OpenError::ForeignCluster {
            path: path.to_owned(),
            expected: expected.cluster_id.clone(),
            found: identity.cluster_id.clone(),
        });
    }
    if identity.node_id != expected.node_id {
        return Err(OpenError::OtherNode {
            path: path.to_owned(),
            expected: expected.node_id,
            found: identity.node_id,
        });
    }
    Ok(())
}

fn check_each_other(present: &[(&Path, &NodeRecord)]) -> Result<(), OpenError> {
    for (nth, (path, identity)) in present.iter().enumerate() {
        for (other, earlier) in &present[..nth] {
            let problem = if identity.disk == earlier.disk {
                "one is a copy of the other; use the one that was written last, and keep the \
                 other away"
            } else if identity.incarnation != earlier.incarnation {
                "they are of two lives of this node; use those of the same life, and keep the \
                 other away"
            } else {
                continue;
            };
            return Err(OpenError::DisksDisagree {
                path: path.to_path_buf(),
                other: other.to_path_buf(),
                problem,
            });
        }
    }
    Ok(())
}

/// A disk that is missing may only not be mounted: starting without it, or on the
/// empty directory below it, would make a replica that forgot what it voted.
fn check_all_there(
    dirs: &[(PathBuf, Found)],
    present: &[(&Path, &NodeRecord)],
) -> Result<(), OpenError> {
    for (known_by, identity) in present {
        for &disk in &identity.disks {
            if present.iter().any(|(_, other)| other.disk == disk) {
                continue;
            }
            let empty = dirs.iter().find(|(_, found)| *found == Found::Nothing);
            let instead = match empty {
                Some((path, _)) => format!("{} is empty", path.display()),
                None => "it is not configured".to_owned(),
            };
            return Err(OpenError::DiskLost { disk, known_by: known_by.to_path_buf(), instead });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(incarnation: u8, disk: u128, disks: &[u128]) -> Found {
        Found::Identity(NodeRecord {
            cluster_id: "c".parse().unwrap(),
            node_id: NodeId::new(1).unwrap(),
            incarnation: Incarnation::from_bytes([incarnation; 16]),
            disk: Uuid::from_u128(disk),
            phase: Phase::Made,
            disks: disks.iter().map(|&disk| Uuid::from_u128(disk)).collect(),
        })
    }

    fn decide(dirs: &[Found], accept_lost_disk: bool) -> Result<Agreed, OpenError> {
        let cluster_id = "c".parse().unwrap();
        let node_id = NodeId::new(1).unwrap();
        let expected = Expected { cluster_id: &cluster_id, node_id, accept_lost_disk };
        let dirs: Vec<_> = dirs
            .iter()
            .enumerate()
            .map(|(nth, found)| (PathBuf::from(format!("d{nth}")), found.clone()))
            .collect();
        agree(&expected, &dirs)
    }

    #[test]
    fn what_goes_together() {
        use Found::Nothing;
        let check = |dirs: &[Found], accept: bool, expected: Option<u8>| {
            let code = decide(dirs, accept).err().map(|error| error.exit_code());
            assert_eq!(code, expected, "{dirs:?}, accept {accept}");
        };
        let both = [1, 2];
        // A new node, and one with a disk more than before.
        check(&[Nothing, Nothing], false, None);
        check(&[identity(7, 1, &[1]), Nothing], false, None);
        // In any order.
        check(&[identity(7, 2, &both), identity(7, 1, &both)], false, None);
        // One identity was written before, the other after a crash.
        check(&[identity(7, 1, &[1]), identity(7, 2, &both)], false, None);
        // One of two is empty, or not configured.
        check(&[identity(7, 1, &both), Nothing], false, Some(16));
        check(&[identity(7, 1, &both)], false, Some(16));
        check(&[identity(7, 1, &both), Nothing], true, None);
        check(&[identity(7, 1, &both)], true, None);
        // A copy of a disk; a disk of an earlier life.
        check(&[identity(7, 1, &[1]), identity(7, 1, &[1])], false, Some(17));
        check(&[identity(7, 1, &both), identity(8, 2, &both)], false, Some(17));
        check(&[identity(7, 1, &both), identity(8, 2, &both)], true, Some(17));
    }

    #[test]
    fn no_identity_names_a_disk_that_has_none_yet() {
        let agreed =
            decide(&[Found::Nothing, identity(7, 9, &[9]), Found::Nothing], false).unwrap();
        let [first, old, second] = &agreed.identities[..] else { panic!("{agreed:?}") };
        assert_eq!(old.disks, [old.disk]);
        assert!(!first.disks.contains(&second.disk));
        assert!(first.disks.contains(&old.disk) && first.disks.contains(&first.disk));
        assert_eq!(second.disks.len(), 3);
        assert!(agreed.identities.iter().all(|i| i.incarnation == old.incarnation));
        assert!(agreed.finished().iter().all(|i| i.disks.len() == 3 && i.phase == Phase::Made));
    }
}

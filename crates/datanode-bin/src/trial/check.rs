//! The end: every promise is read back through every node, and the replicas of
//! every partition are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use datanode_client::{AdminClient, Consistency, PartitionId};
use futures::{StreamExt, stream};

use super::addresses::{Addresses, client_of};
use super::ledger::{Object, Place};
use super::load;
use super::record::{Broken, Recorder};

/// Requests that are on their way at once.
const AT_ONCE: usize = 16;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Checked {
    /// Extents with acknowledged bytes.
    pub(super) objects: usize,
    /// Of them, through every node.
    pub(super) reads: usize,
    /// Partitions whose replicas were compared.
    pub(super) partitions_compared: usize,
}

/// Reads every object back through every node. Each object counts once as lost.
pub(super) async fn read_back(
    nodes: &Addresses,
    objects: Vec<Object>,
    recorder: &Recorder,
) -> Checked {
    let count = objects.len();
    let blamed = Mutex::new(BTreeSet::new());
    // Partitions that a node does not answer for: once is enough, with a
    // time-out each.
    let deaf = Mutex::new(BTreeSet::new());
    let reads = AtomicUsize::new(0);
    let layers = layers(objects);
    for node in nodes.as_slice() {
        for layer in &layers {
            // New for each layer: it has learned no leader of these partitions.
            let (client, blamed, deaf, reads) = (&client_of(node), &blamed, &deaf, &reads);
            stream::iter(layer)
                .for_each_concurrent(AT_ONCE, |object| async move {
                    let Place { partition_id, extent_id } = object.place();
                    if deaf.lock().expect("no panics under it").contains(&(node, partition_id)) {
                        return;
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                    match load::read(client, object, Consistency::Linearizable).await {
                        Ok(Ok(())) => {}
                        Ok(Err(broken)) => {
                            let place = (partition_id, extent_id);
                            if blamed.lock().expect("no panics under it").insert(place) {
                                recorder.broken(through(node, broken.for_good()));
                            }
                        }
                        Err(error) => {
                            deaf.lock().expect("no panics under it").insert((node, partition_id));
                            recorder.error(format!(
                                "read back {} through {node}: {error}",
                                object.place()
                            ));
                        }
                    }
                })
                .await;
        }
    }
    Checked { objects: count, reads: reads.into_inner(), partitions_compared: 0 }
}

fn through(node: &str, broken: Broken) -> Broken {
    let told = |what: String| format!("{what} (through {node})");
    match broken {
        Broken::Stale(what) => Broken::Stale(told(what)),
        Broken::Lost(what) => Broken::Lost(told(what)),
        Broken::Wrong(what) => Broken::Wrong(told(what)),
    }
}

/// The objects, no two of the same partition in one layer.
fn layers(objects: Vec<Object>) -> Vec<Vec<Object>> {
    let mut heights: BTreeMap<PartitionId, usize> = BTreeMap::new();
    let mut layers: Vec<Vec<Object>> = Vec::new();
    for object in objects {
        let height = heights.entry(object.place().partition_id).or_default();
        if layers.len() == *height {
            layers.push(Vec::new());
        }
        layers[*height].push(object);
        *height += 1;
    }
    layers
}

/// Compares the replicas of every partition, each at one index. Gives how many
/// partitions were compared.
pub(super) async fn compare_replicas(
    admin: &AdminClient,
    partitions: &[PartitionId],
    recorder: &Recorder,
) -> usize {
    let compared = stream::iter(partitions)
        .map(|id| async move {
            let lines = match admin.verify_partition(*id).await {
                Ok(lines) => lines,
                Err(error) => {
                    recorder.error(format!("compare the replicas of partition {id}: {error}"));
                    return 0;
                }
            };
            for line in lines.iter().filter(|line| !line.matches) {
                let (node, why) = (line.node_id, &line.error);
                recorder.broken(Broken::Wrong(format!(
                    "partition {id}: the replica on node {node} is another one {why}"
                )));
            }
            // A replica that nobody summed was not compared.
            usize::from(lines.len() > 1)
        })
        .buffer_unordered(AT_ONCE);
    compared.fold(0, |sum, one| async move { sum + one }).await
}

#[cfg(test)]
mod tests {
    use datanode_client::ExtentId;

    use super::super::ledger::Whole;
    use super::*;

    #[test]
    fn a_layer_has_one_object_of_a_partition() {
        let object = |partition: u64, extent: u64| {
            let partition_id = PartitionId::new(partition).unwrap();
            let place = Place { partition_id, extent_id: ExtentId::new(extent).unwrap() };
            Object::Whole(Whole { place, seed: 1, len: 1 })
        };
        let objects = [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2), (3, 1)];
        let layers = layers(objects.map(|(p, e)| object(p, e)).to_vec());
        let places: Vec<Vec<_>> = layers
            .iter()
            .map(|layer| layer.iter().map(|o| o.place().to_string()).collect())
            .collect();
        let name = |p: u64, e: u64| format!("partition {p} extent {e}");
        assert_eq!(
            places,
            [
                vec![name(1, 1), name(2, 1), name(3, 1)],
                vec![name(1, 2), name(2, 2)],
                vec![name(1, 3)]
            ]
        );
    }
}

//! What a node does for clients, and what it tells the simulator of its states.

use partition_types::{Command, ExtentId, PartitionId};
use raft_glue::ProposeError;

use super::node::Node;
use super::wire::{Ask, Inbox, Parcel, Told};
use super::world::Trap;

/// Answers clients until it is stopped.
pub(crate) async fn clients(node: Node, inbox: Inbox) {
    while let Some((parcel, address)) = inbox.receive().await {
        let Parcel::Ask { id, ask } = parcel else { continue };
        let (node, port) = (node.clone(), inbox.port.clone());
        tokio::spawn(async move {
            let told = answer(&node, ask).await;
            let is_done = matches!(told, Told::Done(_));
            port.send_to(None, address, Parcel::Tell { id, told }).await;
            if is_done {
                node.world.lock().trip(node.id, Trap::Acknowledged);
            }
        });
    }
}

async fn answer(node: &Node, ask: Ask) -> Told {
    match ask {
        Ask::Write { partition, command } => write(node, partition, command).await,
        Ask::Read { partition, extent, offset } => read(node, partition, extent, offset).await,
    }
}

async fn write(node: &Node, id: PartitionId, command: Command) -> Told {
    let Some(partition) = node.host.get(id) else { return Told::Elsewhere(None) };
    // The proposer's clock, which may be far off.
    let command = Command { at_ms: node.world.clock_ms(node.id), ..command };
    match partition.propose(command).await {
        Ok(outcome) => Told::Done(outcome),
        Err(ProposeError::NotLeader { leader, .. }) => Told::Elsewhere(leader.map(|(id, _)| id)),
        Err(ProposeError::OutcomeUnknown) => Told::Unknown,
        Err(_) => Told::Elsewhere(None),
    }
}

async fn read(node: &Node, id: PartitionId, extent: ExtentId, offset: u64) -> Told {
    let Some(partition) = node.host.get(id) else { return Told::Elsewhere(None) };
    if partition.read_barrier().await.is_err() {
        return Told::Elsewhere(partition.leader());
    }
    let Ok(state) = partition.state() else { return Told::Elsewhere(None) };
    match state.read(extent, offset, 1 << 20).await {
        Ok(read) => Told::Data(read.frames.iter().flat_map(|f| f.data.to_vec()).collect()),
        Err(error) => {
            node.world.lock().violated("lost", format!("partition {id} extent {extent}: {error}"));
            Told::Elsewhere(None)
        }
    }
}

/// Tells the sums of this node's states now and then, for as long as it runs.
pub(crate) async fn report_sums(node: Node) {
    while let Some(every) = node.world.pace.sum_every {
        tokio::time::sleep(every).await;
        tell_sums(&node).await;
    }
}

/// Tells them once.
pub(crate) async fn tell_sums(node: &Node) {
    for partition in node.host.list() {
        let Ok(state) = partition.state() else { continue };
        let Ok(sum) = state.sum().await else { continue };
        let (id, index, sum) = (partition.id(), sum.applied_index, sum.crc32c.get());
        let mut world = node.world.lock();
        world.counts.sums_compared += 1;
        if let Err(what) = world.same_log.state(node.id, id, index, sum) {
            world.violated("same_log", what);
        }
    }
}

//! Faults that are planted on purpose, in the cluster itself, to show that the
//! trial sees them. For tests only.

use std::sync::Arc;

use datanode_client::{Client, Consistency};
use futures::StreamExt;
use futures::future::join_all;

use super::addresses::{Addresses, client_of};
use super::ledger::{Ledger, Object, Place};
use super::load;
use super::record::Recorder;

/// So often a replica that is behind is looked for.
const TRIES_MAX: usize = 4_000;
/// At the same time.
const TRIES: usize = 16;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Plant {
    /// An acknowledged extent is deleted behind the ledger's back.
    ForgetAck,
    /// Reads right after a write are answered by each replica as it is.
    StaleRead,
    /// Bytes are appended that nobody asked for.
    AppendTwice,
}

impl Plant {
    /// Does what is done once, after the load and before all is read back.
    ///
    /// # Errors
    /// The cluster's, or that there was nothing to do it to.
    pub(super) async fn strike(
        self,
        client: &Client,
        nodes: &Addresses,
        ledger: &Ledger,
        recorder: &Recorder,
    ) -> anyhow::Result<()> {
        let nothing = || anyhow::anyhow!("there is nothing to plant a fault in");
        match self {
            Self::ForgetAck => {
                let whole = ledger.whole(0).ok_or_else(nothing)?;
                let Place { partition_id, extent_id } = whole.place;
                client.delete(partition_id, &[extent_id]).await?;
            }
            Self::AppendTwice => {
                let journal = ledger.journal(0).map(Object::Journal).ok_or_else(nothing)?;
                let Place { partition_id, extent_id } = journal.place();
                client.append(partition_id, extent_id, "twice".into()).await?;
            }
            Self::StaleRead => read_behind(client, nodes, ledger, recorder).await?,
        }
        Ok(())
    }
}

/// Writes, and asks each replica for what it has at once, until one is found
/// to be behind: which it is for the time a commit takes to get to it. Many at a time, for
/// that is longer where much is written.
async fn read_behind(
    client: &Client,
    nodes: &Addresses,
    ledger: &Ledger,
    recorder: &Recorder,
) -> anyhow::Result<()> {
    let replicas: Vec<_> = nodes.as_slice().iter().map(|node| client_of(node)).collect();
    let registers = ledger.registers().iter().cycle();
    let tries = registers.take(TRIES_MAX).map(|register| async {
        let Place { partition_id, extent_id } = register.place;
        // Another try writes it just now.
        let Some((version, block)) = register.next() else { return anyhow::Ok(None) };
        client.write(partition_id, extent_id, 0, block).await?;
        register.acknowledged(version);
        let object = Object::Register(Arc::clone(register));
        let reads = replicas.iter().map(|replica| load::read(replica, &object, Consistency::Stale));
        for read in join_all(reads).await {
            if let Err(broken) = read? {
                return Ok(Some(broken));
            }
        }
        Ok(None)
    });
    let mut tries = futures::stream::iter(tries).buffer_unordered(TRIES);
    while let Some(found) = tries.next().await {
        if let Some(broken) = found? {
            recorder.broken(broken);
            return Ok(());
        }
    }
    Err(anyhow::anyhow!("no replica was behind in {TRIES_MAX} writes"))
}

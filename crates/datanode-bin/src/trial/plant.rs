//! Faults that are planted on purpose, in the cluster itself, to show that the
//! trial sees them. For tests only.

use std::sync::Arc;

use datanode_client::{Client, Consistency};

use super::addresses::{Addresses, client_of};
use super::ledger::{Ledger, Object, Place};
use super::load;
use super::record::Recorder;

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
            Self::StaleRead => {
                for register in ledger.registers() {
                    let Place { partition_id, extent_id } = register.place;
                    let Some((version, block)) = register.next() else { continue };
                    client.write(partition_id, extent_id, 0, block).await?;
                    register.acknowledged(version);
                    let object = Object::Register(Arc::clone(register));
                    for node in nodes.as_slice() {
                        let client = client_of(node);
                        let read = load::read(&client, &object, Consistency::Stale);
                        if let Err(broken) = read.await? {
                            recorder.broken(broken);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

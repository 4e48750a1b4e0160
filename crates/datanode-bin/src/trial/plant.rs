//! Faults that are planted on purpose, in the cluster itself, to show that the
//! trial sees them. For tests only.

use datanode_client::Client;

use super::ledger::{Ledger, Object, Place};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Plant {
    /// An acknowledged extent is deleted behind the ledger's back.
    ForgetAck,
    /// Reads of the load are answered by any replica as it is.
    StaleRead,
    /// Bytes are appended that nobody asked for.
    AppendTwice,
}

impl Plant {
    /// Does what is done once, after the load and before all is read back.
    ///
    /// # Errors
    /// The cluster's, or that there was nothing to do it to.
    pub(super) async fn strike(self, client: &Client, ledger: &Ledger) -> anyhow::Result<()> {
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
            Self::StaleRead => {}
        }
        Ok(())
    }
}

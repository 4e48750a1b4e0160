//! What a group that is in memory runs on, and how it is made: openraft and its
//! tasks. A group that is not in memory has none, and its store all the same.

use std::sync::{Arc, Weak};

use openraft::type_config::async_runtime::watch::WatchReceiver;
use partition_store::PartitionStore;
use partition_types::{LogId, Membership};
use tokio::sync::watch;

use crate::LoadFault;
use crate::convert::{from_raft_log_id, from_raft_membership, from_raft_node};
use crate::group::{Group, View};
use crate::lead::Won;
use crate::log_store::LogStore;
use crate::network::Network;
use crate::replay::Replay;
use crate::state_machine::StateMachine;
use crate::types::Raft;

/// What a group in memory runs on.
pub(crate) struct Body {
    pub(crate) store: PartitionStore,
    pub(crate) raft: Raft,
    /// One past the last applied index.
    pub(crate) applied_next: watch::Receiver<u64>,
    pub(crate) won: Arc<Won>,
    /// The term of the vote that it found on disk, given before it was made.
    pub(crate) found_term: u64,
    /// Gone when its Raft is: openraft owns it.
    pub(crate) replay: Weak<Replay>,
}

impl Body {
    pub(crate) fn view(&self) -> View {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        View {
            state: server.state,
            term: server.vote.leader_id.term,
            voted_for: from_raft_node(server.vote.leader_id.node_id),
            committed: server.vote.committed,
            membership_index: server.membership_config.log_id().map(|id| id.index),
        }
    }

    /// Waits until a Raft that was made shows what it has on disk: before its first report
    /// it says that its term is 0.
    ///
    /// # Errors
    /// Why it ended.
    pub(crate) async fn first_report(&self) -> Result<(), String> {
        // Its core answers this behind that report.
        self.raft.is_initialized().await.map(drop).map_err(|error| error.to_string())
    }

    pub(crate) fn members(&self) -> (Option<LogId>, Membership) {
        let server = self.raft.server_metrics();
        let config = Arc::clone(&server.borrow_watched().membership_config);
        (config.log_id().map(from_raft_log_id), from_raft_membership(config.membership()))
    }
}

impl Group {
    /// Makes a Raft of what the store has. It does not run yet, and nobody may make
    /// another one of the same store meanwhile.
    pub(crate) async fn make_body(&self, store: &PartitionStore) -> Result<Body, LoadFault> {
        let (id, shared) = (self.id, &self.shared);
        let won = Arc::new(Won::new(shared.config.node_id));
        let found_term = store.log().vote().map_or(0, |vote| vote.term);
        let log = LogStore::new(store.log().clone(), Arc::clone(&self.tail), Arc::clone(&won));
        let recovered = store.recovered().await.map_err(|error| LoadFault::of_io(id, &error))?;
        let (replay, applied_next) = Replay::new(store.clone(), &recovered);
        let replay = Arc::new(replay);
        let weak = Arc::downgrade(&replay);
        let machine = StateMachine::new(replay, recovered);
        let network = Network {
            node_id: shared.config.node_id,
            partition_id: id,
            transport: Arc::clone(&shared.transport),
            log: log.clone(),
            fence: Arc::clone(&self.fence),
            leader_gone: Arc::clone(&self.leader_gone),
            append_timeout: shared.config.election_timeout.0,
            backoff_max: shared.config.heartbeat_interval,
        };
        let node_id = shared.config.node_id.get();
        let config = Arc::clone(&shared.raft_config);
        let raft = Raft::build(node_id, config, network, log, machine)
            .await
            .map_err(|error| LoadFault::Failed { id, what: error.to_string() })?;
        Ok(Body { store: store.clone(), raft, applied_next, won, found_term, replay: weak })
    }
}

//! What every service of a node shares: one cheap handle, filled in as the
//! node starts.
//!
//! Before *load* has opened the store there is no host: services answer
//! STARTING. The context owns nothing that changes; each part of it does.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use partition_store::{ReadError, Store};
use partition_types::{NodeId, PartitionId};
use raft_glue::PartitionHost;
use startup_gate::{Admission, Handle, UnitFault};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::limits::{Budget, IN_FLIGHT_BYTES_MAX};
use crate::orders::{Desk, Order};
use crate::peer::{PeerBook, StopPromise};
use crate::status::Failure;

/// The parts of a node that its services use.
#[derive(Clone)]
pub struct NodeContext {
    inner: Arc<Inner>,
}

struct Inner {
    config: ServerConfig,
    gate: Handle<PartitionId>,
    peers: PeerBook,
    loaded: OnceLock<Loaded>,
    admission: OnceLock<Admission<PartitionId>>,
    started_at: SystemTime,
    /// The zero of the gate's times, as far as it can be told from outside.
    zero: Instant,
    closing: CancellationToken,
    budget: Budget,
    desk: Desk,
    stop_promise: StopPromise,
}

/// What exists once the store is open.
struct Loaded {
    store: Store,
    host: PartitionHost,
}

impl NodeContext {
    /// A context without a host.
    #[must_use]
    pub fn new(config: ServerConfig, gate: Handle<PartitionId>) -> Self {
        let peers = PeerBook::new(&config);
        // The gate was made a moment ago, and with it the stage load began.
        let began_ms = gate.report().stages.first().map_or(0.0, |load| load.start_ms);
        let began = Duration::try_from_secs_f64(began_ms / 1000.0).unwrap_or_default();
        let now = Instant::now();
        let zero = now.checked_sub(began).unwrap_or(now);
        let inner = Inner {
            config,
            gate,
            peers,
            loaded: OnceLock::new(),
            admission: OnceLock::new(),
            started_at: SystemTime::now(),
            zero,
            closing: CancellationToken::new(),
            budget: Budget::new(IN_FLIGHT_BYTES_MAX),
            desk: Desk::new(),
            stop_promise: StopPromise::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says that the store is open and its host stands.
    ///
    /// # Panics
    /// When it was said before.
    pub fn set_loaded(&self, store: Store, host: PartitionHost) {
        let first = self.inner.loaded.set(Loaded { store, host }).is_ok();
        assert!(first, "a node's host is made once");
    }

    /// The host of the partitions, once the store is open.
    #[must_use]
    pub fn host(&self) -> Option<&PartitionHost> {
        self.inner.loaded.get().map(|loaded| &loaded.host)
    }

    /// The store, once it is open.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.inner.loaded.get().map(|loaded| &loaded.store)
    }

    /// Says that the gate is open, with the means to admit new partitions.
    ///
    /// # Panics
    /// When it was said before.
    pub fn set_serving(&self, admission: Admission<PartitionId>) {
        let first = self.inner.admission.set(admission).is_ok();
        assert!(first, "a node's gate opens once");
    }

    /// The means to admit new partitions, once the gate is open.
    #[must_use]
    pub fn admission(&self) -> Option<&Admission<PartitionId>> {
        self.inner.admission.get()
    }

    /// The configuration of the ports.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.inner.config
    }

    /// This node's id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.inner.config.node_id
    }

    /// Where the start stands.
    #[must_use]
    pub fn gate(&self) -> &Handle<PartitionId> {
        &self.inner.gate
    }

    /// The other nodes, as far as they are known, and the routes they told.
    #[must_use]
    pub fn peers(&self) -> &PeerBook {
        &self.inner.peers
    }

    /// When the process began to serve its admin port.
    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.inner.started_at
    }

    /// The present moment in the times of the gate's report, in milliseconds;
    /// right to the moment between making the gate and this context.
    pub(crate) fn now_ms(&self) -> f64 {
        self.inner.zero.elapsed().as_secs_f64() * 1000.0
    }

    /// Says what a read ended with. Stored bytes that do not match are never
    /// served, and neither is anything else of that replica: it is quarantined.
    pub(crate) fn read_failed(&self, id: PartitionId, error: &ReadError) -> Failure {
        if let ReadError::ChecksumMismatch(damage) = error {
            self.gate().quarantine(&id, UnitFault::corrupt(damage));
            // The gate may not know it; the host then tells nobody else.
            if let Some(host) = self.host() {
                host.quarantine(id, damage.to_string());
            }
        }
        Failure::of_read(id, error)
    }

    /// Cancelled when the node goes down: endless streams end at it.
    #[must_use]
    pub fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    /// The orders of operators, for the owner of the gate.
    ///
    /// # Panics
    /// When they were taken before.
    #[must_use]
    pub fn take_orders(&self) -> mpsc::Receiver<Order> {
        self.inner.desk.take().expect("a node has one owner")
    }

    /// Where operators' orders are given.
    pub(crate) fn desk(&self) -> &Desk {
        &self.inner.desk
    }

    /// Which node this one promised to let stop.
    pub(crate) fn stop_promise(&self) -> &StopPromise {
        &self.inner.stop_promise
    }

    /// What calls under way may take of the node's memory.
    pub(crate) fn budget(&self) -> &Budget {
        &self.inner.budget
    }
}

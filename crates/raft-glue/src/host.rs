//! The groups of one node: loading, making, deleting and stopping them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use partition_store::{LoadError, PartitionStore, Store, Verify};
use partition_types::{Member, NodeId, PartitionId};
use startup_gate::{CampaignRight, VoteRight};
use tokio::sync::broadcast;

use crate::fence::Path;
use crate::group::Group;
use crate::protocol::Cause;
use crate::shared::Shared;
use crate::types::GroupMember;
use crate::{CheckFault, CreateError, HostConfig, LoadFault, Partition, Transport, maintain};

/// Groups stopped at the same time.
const STOP_PARALLEL: usize = 64;
/// Groups that talk to a peer that is back at a time, and the pause after them: all at once
/// are a fifth of a second of work that clients would wait for.
const NUDGES: usize = 16;
const NUDGE_PAUSE: Duration = Duration::from_millis(10);

/// Owns the groups of this node. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct PartitionHost {
    pub(crate) shared: Arc<Shared>,
}

/// A partition whose vote and log are readable.
pub struct Opened {
    id: PartitionId,
    store: PartitionStore,
}

impl Opened {
    /// Which one.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// When it was written to last, in milliseconds since the Unix epoch; 0 if
    /// never. As of the last flush.
    #[must_use]
    pub fn written_at_ms(&self) -> u64 {
        self.store.written_at_ms()
    }
}

/// A partition that is loaded and follows its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Which one.
    pub id: PartitionId,
}

impl PartitionHost {
    /// A host without groups yet, and its background work.
    ///
    /// # Panics
    /// Outside a tokio runtime, or with a configuration that
    /// [`HostConfig::validate`] refuses.
    #[must_use]
    pub fn new(config: HostConfig, store: Store, transport: Arc<dyn Transport>) -> Self {
        config.validate().expect("the configuration is validated before it comes here");
        let shared = Arc::new(Shared::new(config, store, transport));
        maintain::spawn(&shared);
        Self { shared }
    }

    /// Opens a partition's vote, log and state as they are on disk: a few point
    /// reads. Nothing runs yet.
    ///
    /// # Errors
    /// [`LoadFault`]; the partition is quarantined then.
    ///
    /// # Cancel safety
    /// Opening it again is fine.
    pub async fn open(&self, id: PartitionId) -> Result<Opened, LoadFault> {
        let loaded = self
            .shared
            .store
            .blocking(move |store| store.load(id))
            .await
            .map_err(|error| LoadFault::Failed { id, what: error.to_string() });
        let loaded = loaded.and_then(|loaded| {
            loaded.map_err(|error| match error {
                LoadError::Missing(id) => LoadFault::Missing(id),
                LoadError::Corrupt { what, .. } => LoadFault::Corrupt { id, what },
                other => LoadFault::Failed { id, what: other.to_string() },
            })
        });
        match loaded {
            Ok(store) => Ok(Opened { id, store }),
            Err(fault) => {
                self.quarantine(id, fault.to_string());
                Err(fault)
            }
        }
    }

    /// Lets the group of an opened partition run, fenced: it votes and appends,
    /// and campaigns on no path. Its state may be behind its log until it is
    /// [loaded](Self::load). On demand, its Raft is made when the first message comes.
    ///
    /// # Errors
    /// [`LoadFault`]; the partition is quarantined then.
    ///
    /// # Cancel safety
    /// It may run or not; joining again is fine.
    pub async fn join(
        &self,
        opened: Opened,
        right: VoteRight<PartitionId>,
    ) -> Result<(), LoadFault> {
        let Opened { id, store } = opened;
        debug_assert_eq!(*right.unit(), id, "the right is another partition's");
        // Two Rafts on one log would be the end of it.
        let _one = Loading::begin(&self.shared, id)?;
        if self.shared.group(id).is_some_and(|group| group.store.is_some()) {
            return Ok(());
        }
        let created_with = self.created_with(id);
        let (shared, created) = (&self.shared, created_with.clone());
        let result = match shared.is_on_demand() {
            true => Group::unloaded(shared, id, created, store).await,
            false => Group::start(shared, id, created, store).await,
        };
        let group = match &result {
            Ok(group) => Arc::clone(group),
            Err(fault) => Group::broken(&self.shared, id, created_with, fault.to_string()),
        };
        self.shared.groups.write().insert(id, Arc::clone(&group));
        // It may be broken, or wanted already.
        if group.running().is_some() {
            group.attend();
        }
        result.map(drop)
    }

    /// Applies what is committed and not in the state of a partition that has
    /// joined; `moved` is called after each few megabytes.
    ///
    /// # Errors
    /// [`LoadFault`]; the partition is quarantined then, but goes on voting and
    /// appending: its vote and log are intact.
    ///
    /// # Cancel safety
    /// Loading it again goes on where it stopped.
    pub async fn load(&self, id: PartitionId, moved: impl Fn()) -> Result<Loaded, LoadFault> {
        let group = self.shared.group(id).ok_or(LoadFault::Missing(id))?;
        group.load(moved).await?;
        Ok(Loaded { id })
    }

    /// Verifies a loaded partition's durable state.
    ///
    /// # Errors
    /// [`CheckFault`]; the partition is quarantined then, but goes on voting.
    pub async fn check(&self, id: PartitionId, verify: Verify) -> Result<(), CheckFault> {
        let fault = |what: String| CheckFault { id, what };
        let group = self.shared.group(id).ok_or_else(|| fault("is not loaded".into()))?;
        let store = group.sound().map_err(|error| fault(error.to_string()))?.clone();
        let checked = self.shared.store.blocking(move |_| store.check(verify)).await;
        let what = match checked {
            // Its Raft may have met a bad disk meanwhile.
            Ok(Ok(())) => return group.sound().map(drop).map_err(|e| fault(e.to_string())),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        group.quarantine(&what);
        Err(fault(what))
    }

    /// Makes an empty replica with the fence open, or finds it there. `members` are
    /// the group's first members, the preferred leader first; none for a
    /// replica that joins a living group.
    ///
    /// # Errors
    /// [`CreateError::Exists`] when it is there with other members.
    ///
    /// # Cancel safety
    /// The replica may be there or not; making it again is fine.
    pub async fn create(
        &self,
        id: PartitionId,
        members: Vec<(NodeId, Member)>,
        vote: VoteRight<PartitionId>,
        campaign: CampaignRight<PartitionId>,
    ) -> Result<bool, CreateError> {
        if self.is_draining() {
            return Err(CreateError::Draining);
        }
        let failed = |what: String| CreateError::Failed { id, what };
        let _turn = self.shared.placing.lock().await;
        let created = match self.shared.group(id) {
            Some(group) => {
                if let Some(cause) = group.cause() {
                    return Err(CreateError::Quarantined { cause });
                }
                if !same_members(&group.created_with, &members) {
                    return Err(CreateError::Exists(id));
                }
                false
            }
            None => {
                let create = move |store: &Store| store.create(id, members);
                let created = self.shared.store.blocking(create).await;
                created
                    .map_err(|error| failed(error.to_string()))?
                    .map_err(|error| failed(error.to_string()))?
            }
        };
        let joined = async {
            self.join(self.open(id).await?, vote).await?;
            self.load(id, || ()).await
        };
        joined.await.map_err(|error| failed(error.to_string()))?;
        self.unfence(campaign);
        let _ = self.shared.routes.send(id);
        Ok(created)
    }

    /// Gives a group its first membership and lets this replica campaign. Only
    /// one replica of a group is to be told. Returns false where the group has
    /// one already.
    ///
    /// # Errors
    /// [`CreateError::Fenced`] without the right to campaign.
    ///
    /// # Cancel safety
    /// It may be done or not; doing it again is fine.
    pub async fn initialize(
        &self,
        id: PartitionId,
        members: Vec<(NodeId, Member)>,
    ) -> Result<bool, CreateError> {
        let group = self.shared.group(id).ok_or(CreateError::NotFound(id))?;
        if let Some(cause) = group.cause() {
            return Err(CreateError::Quarantined { cause });
        }
        let failed = |what: String| CreateError::Failed { id, what };
        let fatal = |error: openraft::errors::Fatal<_>| failed(error.to_string());
        let body = group.activate(Cause::Client).await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        if body.raft.is_initialized().await.map_err(fatal)? {
            return Ok(false);
        }
        if self.is_draining() {
            return Err(CreateError::Draining);
        }
        if !group.fence.pass(Path::Initialize) {
            return Err(CreateError::Fenced(id));
        }
        let members: std::collections::BTreeMap<_, _> = members
            .into_iter()
            .map(|(node_id, member)| (node_id.get(), GroupMember(member)))
            .collect();
        body.raft.initialize(members).await.map_err(|error| failed(error.to_string()))?;
        Ok(true)
    }

    /// Stops a replica and drops its data. Returns false where there is none.
    ///
    /// # Errors
    /// [`CreateError::Failed`] when the store could not; the replica is stopped
    /// and gone from the list all the same.
    ///
    /// # Cancel safety
    /// It may be deleted or not; deleting it again is fine.
    pub async fn delete(&self, id: PartitionId) -> Result<bool, CreateError> {
        let _turn = self.shared.placing.lock().await;
        self.delete_in_turn(id).await
    }

    /// Likewise, for a caller whose turn it is to place replicas.
    pub(crate) async fn delete_in_turn(&self, id: PartitionId) -> Result<bool, CreateError> {
        let failed = |what: String| CreateError::Failed { id, what };
        let group = self.shared.groups.write().remove(&id);
        if let Some(group) = group {
            group.stop().await;
            let _ = self.shared.routes.send(id);
        }
        let deleted = self.shared.store.blocking(move |store| store.delete(id)).await;
        deleted
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }

    /// The partition's handle, if this node has a replica of it, however bad.
    #[must_use]
    pub fn get(&self, id: PartitionId) -> Option<Partition> {
        self.shared.group(id).map(|group| Partition { group })
    }

    /// All partitions of this node, in the order of their ids.
    #[must_use]
    pub fn list(&self) -> Vec<Partition> {
        self.shared.all().into_iter().map(|group| Partition { group }).collect()
    }

    /// Takes a replica out of service for good: it never leads and never
    /// serves, and gives away what it leads.
    pub fn quarantine(&self, id: PartitionId, cause: impl Into<String>) {
        let cause = cause.into();
        match self.shared.group(id) {
            Some(group) => group.quarantine(&cause),
            None => {
                let created_with = self.created_with(id);
                let group = Group::broken(&self.shared, id, created_with, cause);
                self.shared.groups.write().insert(id, group);
            }
        }
    }

    /// Has `told` called for each replica that is quarantined from now on,
    /// whoever found it bad, with the cause. Once for each; it may be called on
    /// any thread, must not block, and may call back into the host.
    ///
    /// # Panics
    /// When somebody is told already.
    pub fn on_quarantine(&self, told: impl Fn(PartitionId, &str) + Send + Sync + 'static) {
        let first = self.shared.on_quarantine.set(Box::new(told)).is_ok();
        assert!(first, "a host has one listener");
    }

    /// Has `told` called for each partition whose leader was not looked for in the start
    /// ([`NotYet::deferred`](crate::NotYet::deferred)), when it has one that this replica
    /// heard of and has caught up with. It must not block.
    ///
    /// # Panics
    /// When somebody is told already.
    pub fn on_confirmed(&self, told: impl Fn(PartitionId) + Send + Sync + 'static) {
        let first = self.shared.on_confirmed.set(Box::new(told)).is_ok();
        assert!(first, "a host has one listener");
    }

    /// A peer is connected again, or came a step further on its way up: what this node leads
    /// with it talks to it soon, if there is something to say. One whose groups are not
    /// loaded would refuse. Returns how many groups it matters to.
    pub fn peer_is_back(&self, node_id: NodeId, is_loaded: bool) -> usize {
        self.shared.offer_again(node_id);
        let mut groups = self.shared.shared_with(node_id);
        // What sleeps is offered to the peer as it is, and wakes where it refuses.
        groups.retain(|group| !group.leads_asleep() && group.is_news(node_id, is_loaded));
        let (shared, count) = (Arc::clone(&self.shared), groups.len());
        self.shared.tasks.spawn(async move {
            for some in groups.chunks(NUDGES) {
                // Some were asked by the peer meanwhile.
                for group in some.iter().filter(|group| group.is_news(node_id, is_loaded)) {
                    shared.tasks.spawn(Arc::clone(group).nudge(node_id));
                }
                tokio::select! {
                    () = tokio::time::sleep(NUDGE_PAUSE) => {}
                    () = shared.cancel.cancelled() => return,
                }
            }
        });
        count
    }

    /// Whether the client port is open. From the first time on, groups with the
    /// right to may campaign when their leader is lost.
    pub fn set_serving(&self, serving: bool) {
        self.shared.leads.set_serving(serving);
        for group in self.shared.all() {
            group.lead.settle(&self.shared.leads, &self.shared.metrics);
            group.enable_elections();
        }
    }

    /// How often the fences of this node held back an election that came by
    /// `path`. A vote or pre-vote here means that a path above it leaked.
    #[must_use]
    pub fn suppressed_elections(&self, path: Path) -> u64 {
        self.shared.metrics.suppressed.count(path)
    }

    /// How long partitions were led by this node while its client port was
    /// closed, added up over the partitions, up to now. It never shrinks.
    #[must_use]
    pub fn leader_unserved(&self) -> Duration {
        let leads = &self.shared.leads;
        // In this order: a clock that stops in between is missed until the next
        // call, where the other order would count it twice.
        let settled = leads.unserved();
        let running = self.shared.all().iter().map(|group| group.lead.unserved_so_far()).sum();
        leads.tell_unserved(settled.saturating_add(running))
    }

    /// Partitions whose leader, members or state changed. A receiver that lags
    /// behind must look at all of them.
    #[must_use]
    pub fn subscribe_routes(&self) -> broadcast::Receiver<PartitionId> {
        self.shared.routes.subscribe()
    }

    /// Stops every group and all background work; the store stays open. What is
    /// still in flight ends with [`ProposeError::OutcomeUnknown`].
    ///
    /// [`ProposeError::OutcomeUnknown`]: crate::ProposeError::OutcomeUnknown
    pub async fn shutdown(&self) {
        self.shared.cancel.cancel();
        let groups = std::mem::take(&mut *self.shared.groups.write());
        futures::stream::iter(groups.into_values())
            .for_each_concurrent(STOP_PARALLEL, |group| async move { group.stop().await })
            .await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    fn created_with(&self, id: PartitionId) -> Vec<(NodeId, Member)> {
        self.shared.store.created_with(id)
    }
}

/// A partition's place among those being loaded, for as long as it lives.
struct Loading<'a>(&'a Shared, PartitionId);

impl<'a> Loading<'a> {
    fn begin(shared: &'a Shared, id: PartitionId) -> Result<Self, LoadFault> {
        if shared.loading.lock().insert(id) {
            return Ok(Self(shared, id));
        }
        Err(LoadFault::Failed { id, what: "is being loaded already".into() })
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.loading.lock().remove(&self.1);
    }
}

/// The same nodes in the same lives; addresses may differ.
fn same_members(a: &[(NodeId, Member)], b: &[(NodeId, Member)]) -> bool {
    let key = |members: &[(NodeId, Member)]| {
        let mut key: Vec<_> = members.iter().map(|(id, m)| (*id, m.incarnation)).collect();
        key.sort_unstable();
        key
    };
    key(a) == key(b)
}

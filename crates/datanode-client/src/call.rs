//! One call: attempts at one node after the other until it is done, pointless
//! to go on, or out of time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use datanode_proto::v1::node_service_client::NodeServiceClient;
use datanode_proto::v1::partition_service_client::PartitionServiceClient;
use datanode_proto::v1::route_service_client::RouteServiceClient;
use partition_types::{PartitionId, RequestId};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::config::{ClientConfig, InvalidConfig};
use crate::effort::Effort;
use crate::endpoint::{Address, Pool};
use crate::error::Error;
use crate::retry::AttemptError;
use crate::route::RouteCache;

/// Trailing metadata that names the leader's client address.
const LEADER: &str = "x-datanode-leader";
/// Frames and pages are at most about 1 MiB; this is for odd servers.
const ANSWER_LEN_BYTES_MAX: usize = 64 << 20;

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Any node will do.
    Anybody,
    /// Any node, and it may take as long as the deadline allows.
    AnybodySlow,
    /// The leader of a partition answers best; nothing is changed.
    Read(PartitionId),
    /// The leader of a partition makes a change under this id.
    Change(PartitionId, RequestId),
}

impl Target {
    pub(crate) fn partition_id(self) -> Option<PartitionId> {
        match self {
            Self::Anybody | Self::AnybodySlow => None,
            Self::Read(id) | Self::Change(id, _) => Some(id),
        }
    }

    pub(crate) fn request_id(self) -> Option<RequestId> {
        match self {
            Self::Change(_, id) => Some(id),
            Self::Anybody | Self::AnybodySlow | Self::Read(_) => None,
        }
    }
}

/// What all calls of a client share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: ClientConfig,
    pub(crate) pool: Pool,
    pub(crate) routes: RouteCache,
    pub(crate) seeds: Vec<Address>,
    /// Whose turn it is, so that calls without a leader spread.
    turn: AtomicUsize,
}

impl Core {
    pub(crate) fn new<I, S>(endpoints: I, config: ClientConfig) -> Result<Self, InvalidConfig>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        config.validate()?;
        let mut seeds = Vec::new();
        for endpoint in endpoints {
            let address = Address::parse(endpoint.as_ref())?;
            if !seeds.contains(&address) {
                seeds.push(address);
            }
        }
        if seeds.is_empty() {
            return Err(InvalidConfig::NoEndpoint);
        }
        let pool = Pool::new(&config);
        Ok(Self { config, pool, routes: RouteCache::default(), seeds, turn: AtomicUsize::new(0) })
    }

    /// Makes attempts until one succeeds.
    pub(crate) async fn call<T, F, Fut>(&self, target: Target, attempt: F) -> Result<T, Error>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let mut effort = Effort::new(self, target);
        loop {
            let (address, timeout) = effort.next_attempt(self);
            let channel = self.pool.channel(&address);
            let answer = attempt(Attempt { channel, timeout });
            match self.finish(target, &address, timeout, answer).await {
                Ok(value) => return Ok(value),
                Err(error) => effort.failed(self, &address, error).await?,
            }
        }
    }

    /// Waits for one attempt and learns from its answer, good or bad.
    pub(crate) async fn finish<T>(
        &self,
        target: Target,
        address: &Address,
        timeout: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, AttemptError> {
        match tokio::time::timeout(timeout, answer).await {
            Err(_elapsed) => Err(AttemptError::TimedOut),
            Ok(Ok(response)) => {
                self.pool.praise(address);
                self.learn(target, response.metadata());
                Ok(response.into_inner())
            }
            Ok(Err(status)) => {
                self.learn(target, status.metadata());
                Err(AttemptError::of(&status))
            }
        }
    }

    /// Remembers the leader that an answer names.
    pub(crate) fn learn(&self, target: Target, metadata: &MetadataMap) {
        let leader = metadata.get(LEADER).and_then(|value| value.to_str().ok());
        if let (Some(partition_id), Some(leader)) = (target.partition_id(), leader)
            && let Ok(address) = Address::parse(leader)
        {
            self.routes.leader_is(partition_id, address);
        }
    }

    /// Whom to ask, best first.
    pub(crate) fn candidates(&self, target: Target) -> Vec<Address> {
        let known = target.partition_id().map(|id| self.routes.addresses(id));
        let mut candidates = known.unwrap_or_default();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.seeds.len();
        let (later, sooner) = self.seeds.split_at(turn);
        for seed in sooner.iter().chain(later) {
            if !candidates.contains(seed) {
                candidates.push(seed.clone());
            }
        }
        candidates
    }

    pub(crate) fn attempt_timeout(&self, target: Target, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        match target {
            Target::AnybodySlow => left,
            _ => left.min(self.config.attempt_timeout),
        }
    }
}

/// One attempt at one node.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    channel: Channel,
    timeout: Duration,
}

impl Attempt {
    pub(crate) fn extents(&self) -> ExtentServiceClient<Channel> {
        ExtentServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_LEN_BYTES_MAX)
    }

    pub(crate) fn routes(&self) -> RouteServiceClient<Channel> {
        RouteServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_LEN_BYTES_MAX)
    }

    pub(crate) fn partitions(&self) -> PartitionServiceClient<Channel> {
        PartitionServiceClient::new(self.channel.clone())
            .max_decoding_message_size(ANSWER_LEN_BYTES_MAX)
    }

    pub(crate) fn nodes(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_LEN_BYTES_MAX)
    }

    /// A request that tells the node how long it has.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) fn new(channel: Channel, timeout: Duration) -> Self {
        Self { channel, timeout }
    }
}

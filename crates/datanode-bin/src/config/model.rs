//! The configuration as types. The words, defaults and limits of each key for
//! people are in [`super::keys`]; a test keeps the two together.

use std::net::SocketAddr;
use std::path::PathBuf;

use partition_types::{ClusterId, NodeId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value::{Interval, Ratio, Size};

/// Everything that a node is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cluster the node belongs to.
    #[serde(serialize_with = "as_text", deserialize_with = "cluster_id")]
    pub cluster_id: ClusterId,
    /// The node; unique in the cluster.
    #[serde(serialize_with = "as_number", deserialize_with = "node_id")]
    pub node_id: NodeId,
    /// Peer addresses of a few other nodes.
    pub seeds: Vec<String>,
    /// Where the three ports listen.
    pub listen: Listen,
    /// What others dial.
    pub advertise: Advertise,
    /// The data directories.
    pub disk: Vec<Disk>,
    /// How the node starts.
    pub startup: Startup,
    /// How it goes down.
    pub shutdown: Shutdown,
    /// The clocks of consensus.
    pub raft: Raft,
    /// Limits of a request.
    pub limits: Limits,
    /// Certificates of the three ports.
    #[serde(skip_serializing_if = "Tls::is_empty")]
    pub tls: Tls,
    /// What is logged, and how.
    pub log: Log,
}

/// Where the ports listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// The data service.
    pub client: SocketAddr,
    /// Metrics, health, administration.
    pub admin: SocketAddr,
    /// The other nodes.
    pub peer: SocketAddr,
}

/// What others dial; each defaults to its address in [`Listen`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Advertise {
    /// For clients, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// For operators, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// For other nodes, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// A data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The directory; made when it is missing.
    pub path: PathBuf,
    /// Free bytes below which it takes no more data.
    #[serde(default = "default_reserve")]
    pub reserve: Size,
}

/// How the node starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Startup {
    /// What a bad partition does to the rest.
    pub policy: Policy,
    /// Which partitions are in memory.
    pub activation: Activation,
    /// How much of the stored data is verified.
    pub verify: Verify,
    /// Partitions loaded at once; 0: by cores and disks.
    pub load_concurrency: usize,
    /// How long a partition may be without a verified leader before it is waived.
    pub elect_timeout: Interval,
    /// No progress at all for so long is a stall.
    pub stall_timeout: Interval,
    /// More than this share quarantined: the start refuses.
    pub max_quarantined: Ratio,
}

/// What a partition that cannot be loaded, or finds no leader, does to the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// It is set aside and named; the rest goes on.
    Quarantine,
    /// The client port stays closed.
    Strict,
}

/// Which partitions are in memory. All are loaded and checked before the port opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// All of them.
    Eager,
    /// Idle ones when they are asked for.
    OnDemand,
}

/// How much of the stored data the *check* stage reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Metadata only.
    None,
    /// Metadata and some checksums.
    Sample,
    /// Every checksum.
    Full,
}

/// How the node goes down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// From "not ready" to the first step: time for load balancers.
    pub notice: Interval,
    /// The whole way down, notice apart.
    pub timeout: Interval,
}

/// The clocks of consensus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Raft {
    /// How often a leader is heard of.
    pub heartbeat_interval: Interval,
    /// Without a leader for a random time between the two, a replica campaigns.
    pub election_timeout: [Interval; 2],
    /// A partition that nobody uses for so long sleeps; zero: none ever.
    pub hibernate_after: Interval,
    /// On demand, a partition that sleeps here as follower for so long leaves memory.
    pub unload_after: Interval,
    /// Leaderships a second that go back to the node that is to have them; 0: none.
    pub hand_back_rate: u32,
}

/// Limits of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest `data` of a message.
    pub max_message: Size,
    /// The longest a request takes when its caller sets no deadline.
    pub request_timeout: Interval,
}

/// Certificates, port by port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Of the client port.
    #[serde(skip_serializing_if = "TlsFiles::is_empty")]
    pub client: TlsFiles,
    /// Of the admin port.
    #[serde(skip_serializing_if = "TlsFiles::is_empty")]
    pub admin: TlsFiles,
    /// Of the peer port.
    #[serde(skip_serializing_if = "TlsFiles::is_empty")]
    pub peer: TlsFiles,
}

/// The files of one port, PEM each; without any the port speaks plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Who signs the other side's certificate, if one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// In which form.
    pub format: LogFormat,
    /// How much: a level, or directives such as `info,raft_glue=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// What clients dial.
    #[must_use]
    pub fn client_address(&self) -> String {
        self.advertise.client.clone().unwrap_or_else(|| self.listen.client.to_string())
    }

    /// What operators dial.
    #[must_use]
    pub fn admin_address(&self) -> String {
        self.advertise.admin.clone().unwrap_or_else(|| self.listen.admin.to_string())
    }

    /// What other nodes dial.
    #[must_use]
    pub fn peer_address(&self) -> String {
        self.advertise.peer.clone().unwrap_or_else(|| self.listen.peer.to_string())
    }
}

impl Tls {
    /// Whether no port has certificates.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.client, &self.admin, &self.peer].into_iter().all(TlsFiles::is_empty)
    }
}

impl TlsFiles {
    /// Whether none is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster_id: "default".parse().expect("a good name"),
            node_id: NodeId::new(1).expect("above 0"),
            seeds: Vec::new(),
            listen: Listen::default(),
            advertise: Advertise::default(),
            disk: vec![Disk { path: "./datanode-data".into(), reserve: default_reserve() }],
            startup: Startup::default(),
            shutdown: Shutdown::default(),
            raft: Raft::default(),
            limits: Limits::default(),
            tls: Tls::default(),
            log: Log::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let on = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { client: on(17310), admin: on(17320), peer: on(17330) }
    }
}

impl Default for Startup {
    fn default() -> Self {
        Self {
            policy: Policy::Quarantine,
            activation: Activation::Eager,
            verify: Verify::Sample,
            load_concurrency: 0,
            elect_timeout: Interval::ms(30_000),
            stall_timeout: Interval::ms(60_000),
            max_quarantined: Ratio(0.1),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { notice: Interval::ms(0), timeout: Interval::ms(30_000) }
    }
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_interval: Interval::ms(500),
            election_timeout: [Interval::ms(2_000), Interval::ms(4_000)],
            hibernate_after: Interval::ms(5_000),
            unload_after: Interval::ms(60_000),
            hand_back_rate: 100,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: Size::mib(4), request_timeout: Interval::ms(10_000) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Pretty, level: "info".into() }
    }
}

const fn default_reserve() -> Size {
    Size::gib(1)
}

fn cluster_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClusterId, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn node_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
    NodeId::new(u64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn as_text<S: Serializer>(id: &ClusterId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn as_number<S: Serializer>(id: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(id.get())
}

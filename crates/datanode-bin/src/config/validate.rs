//! What types cannot say: values that fit one by one and not together.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::layer::KeyProblem;
use super::model::{Activation, Config, Policy, TlsFiles};
use super::value::{Interval, Size};

/// The shortest heartbeat interval: below, timers cost more than they tell.
const HEARTBEAT_MIN: Interval = Interval::ms(10);
/// A message holds at least one stored chunk, and fits into memory many times.
const MESSAGE_MIN: Size = Size(64 << 10);
const MESSAGE_MAX: Size = Size::mib(64);
/// Below, partitions would leave memory as fast as they come.
const UNLOAD_MIN: Interval = Interval::ms(100);
const LOAD_CONCURRENCY_MAX: usize = 1024;
const HAND_BACK_RATE_MAX: u32 = 10_000;

/// Everything that is wrong; empty when the node can run with it.
pub(super) fn problems(config: &Config) -> Vec<KeyProblem> {
    let mut found = Problems::default();
    ports(config, &mut found);
    addresses(config, &mut found);
    disks(config, &mut found);
    clocks(config, &mut found);
    limits(config, &mut found);
    tls(config, &mut found);
    if EnvFilter::try_new(&config.log.level).is_err() {
        found.add(
            &["log.level"],
            format!("is {:?}, which is no level", config.log.level),
            "use error, warn, info, debug or trace, or directives like \"info,raft_glue=debug\"",
        );
    }
    activation(config, &mut found);
    found.0
}

#[derive(Default)]
struct Problems(Vec<KeyProblem>);

impl Problems {
    fn add(&mut self, keys: &[&str], message: impl Into<String>, advice: impl Into<String>) {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self.0.push(KeyProblem { keys, message: message.into(), advice: advice.into() });
    }
}

fn ports(config: &Config, found: &mut Problems) {
    let ports = [
        ("listen.client", config.listen.client),
        ("listen.admin", config.listen.admin),
        ("listen.peer", config.listen.peer),
    ];
    for (i, (key, address)) in ports.iter().enumerate() {
        if address.port() == 0 {
            found.add(
                &[key],
                "has port 0",
                "give a fixed port: clients and other nodes must be able to dial it",
            );
        }
        for (other, taken) in &ports[..i] {
            if address.port() != 0 && overlap(*address, *taken) {
                found.add(
                    &[key, other],
                    format!("({address}) takes the same port as {other} ({taken})"),
                    "give each of the three a port of its own",
                );
            }
        }
    }
}

/// Whether the second bind would fail.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn addresses(config: &Config, found: &mut Problems) {
    let advertised = [
        ("advertise.client", &config.advertise.client),
        ("advertise.admin", &config.advertise.admin),
        ("advertise.peer", &config.advertise.peer),
    ];
    let given = advertised.into_iter().filter_map(|(key, a)| Some((key.to_owned(), a.as_ref()?)));
    let seeds = config.seeds.iter().enumerate().map(|(i, seed)| (format!("seeds.{i}"), seed));
    for (key, address) in given.chain(seeds) {
        if !is_host_and_port(address) {
            found.add(
                &[&key],
                format!("is {address:?}, which is no host and port"),
                "write it like \"10.0.0.5:17330\" or \"node-5.example:17330\"",
            );
        }
    }
    // Others would dial 0.0.0.0 and reach themselves.
    if !config.seeds.is_empty() {
        for (key, listen, advertise) in [
            ("advertise.client", config.listen.client, &config.advertise.client),
            ("advertise.admin", config.listen.admin, &config.advertise.admin),
            ("advertise.peer", config.listen.peer, &config.advertise.peer),
        ] {
            if advertise.is_none() && listen.ip().is_unspecified() {
                found.add(
                    &[key, &key.replace("advertise", "listen")],
                    format!("is missing: nobody can dial {listen}"),
                    format!("set {key} to the address that others reach this node at"),
                );
            }
        }
    }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    let odd = host.is_empty() || bare_v6 || host.contains(|c: char| c.is_whitespace() || c == '/');
    !odd && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn disks(config: &Config, found: &mut Problems) {
    if config.disk.is_empty() {
        found.add(&["disk"], "is empty", "name at least one data directory in [[disk]]");
    }
    let mut seen = BTreeSet::new();
    for (i, disk) in config.disk.iter().enumerate() {
        let key = format!("disk.{i}.path");
        if disk.path.as_os_str().is_empty() {
            found.add(&[&key], "is empty", "name the data directory");
            continue;
        }
        // The same directory under two names counts as one, if it is there.
        let real = disk.path.canonicalize().or_else(|_| std::path::absolute(&disk.path));
        if !seen.insert(real.unwrap_or_else(|_| disk.path.clone())) {
            found.add(
                &[&key],
                format!("({}) is there twice", disk.path.display()),
                "give each [[disk]] a directory of its own",
            );
        }
    }
}

fn clocks(config: &Config, found: &mut Problems) {
    let heartbeat = config.raft.heartbeat_interval;
    let [shortest, longest] = config.raft.election_timeout;
    if heartbeat < HEARTBEAT_MIN {
        found.add(
            &["raft.heartbeat_interval"],
            format!("({heartbeat}) is below {HEARTBEAT_MIN}"),
            format!("use at least {HEARTBEAT_MIN}; 500ms is the default"),
        );
    }
    if shortest.0 < heartbeat.0.saturating_mul(2) {
        found.add(
            &["raft.election_timeout", "raft.heartbeat_interval"],
            format!("begins at {shortest}, less than twice the heartbeat interval ({heartbeat})"),
            "one late heartbeat would start an election: use at least twice, better four times",
        );
    }
    if longest <= shortest {
        found.add(
            &["raft.election_timeout"],
            format!("ends at {longest}, not after its begin ({shortest})"),
            "give a shorter and a longer time, such as [\"2s\", \"4s\"]",
        );
    }
    let hibernate_after = config.raft.hibernate_after;
    if hibernate_after.0 != Duration::ZERO && hibernate_after < heartbeat {
        found.add(
            &["raft.hibernate_after"],
            format!("({hibernate_after}) is below the heartbeat interval ({heartbeat})"),
            "use about ten heartbeat intervals, or 0s to let no partition sleep",
        );
    }
    for (key, value) in [
        ("startup.elect_timeout", config.startup.elect_timeout),
        ("startup.stall_timeout", config.startup.stall_timeout),
        ("shutdown.timeout", config.shutdown.timeout),
        ("limits.request_timeout", config.limits.request_timeout),
    ] {
        if value.0 == Duration::ZERO {
            found.add(&[key], "is zero", "give a time above zero, such as \"30s\"");
        }
    }
}

/// A node that opens for nothing less than a leader of each partition must look for all.
fn activation(config: &Config, found: &mut Problems) {
    let on_demand = config.startup.activation == Activation::OnDemand;
    if on_demand && config.startup.policy == Policy::Strict {
        found.add(
            &["startup.activation", "startup.policy"],
            "\"on-demand\" leaves idle partitions without a leader, and policy \"strict\" waits for \
             all of them",
            "use activation \"eager\", or policy \"quarantine\"",
        );
    }
    let unload_after = config.raft.unload_after;
    if unload_after < UNLOAD_MIN {
        found.add(
            &["raft.unload_after"],
            format!("({unload_after}) is below {UNLOAD_MIN}"),
            "60s is the default",
        );
    }
}

fn limits(config: &Config, found: &mut Problems) {
    let max_message = config.limits.max_message;
    if !(MESSAGE_MIN..=MESSAGE_MAX).contains(&max_message) {
        found.add(
            &["limits.max_message"],
            format!("({max_message}) is not from {MESSAGE_MIN} to {MESSAGE_MAX}"),
            "4MiB is the default; larger files are streamed and need no larger message",
        );
    }
    if config.startup.load_concurrency > LOAD_CONCURRENCY_MAX {
        found.add(
            &["startup.load_concurrency"],
            format!("({}) is above {LOAD_CONCURRENCY_MAX}", config.startup.load_concurrency),
            "use 0 to let cores and disks decide",
        );
    }
    if config.raft.hand_back_rate > HAND_BACK_RATE_MAX {
        found.add(
            &["raft.hand_back_rate"],
            format!("({}) is above {HAND_BACK_RATE_MAX}", config.raft.hand_back_rate),
            "100 a second is the default",
        );
    }
}

fn tls(config: &Config, found: &mut Problems) {
    for (key, files) in [
        ("tls.client", &config.tls.client),
        ("tls.admin", &config.tls.admin),
        ("tls.peer", &config.tls.peer),
    ] {
        // Refused rather than ignored: a port that looks protected must be.
        if *files != TlsFiles::default() {
            let keys = ["", ".cert", ".key", ".ca"].map(|suffix| format!("{key}{suffix}"));
            found.add(
                &keys.each_ref().map(String::as_str),
                "has certificates, and TLS is not available in this version",
                "remove them and keep the ports on a network that you trust",
            );
        }
    }
}

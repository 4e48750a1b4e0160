//! Looks at a node from outside, once and without a second try: what a client
//! that repeats its calls would hide, shows here.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use datanode_client::{Bytes, ExtentId, PartitionId};
use datanode_proto::v1::extent_service_client::ExtentServiceClient;
use datanode_proto::v1::{Consistency, PutExtentRequest, ReadExtentRequest};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::node::http;

/// Nothing that a test waits for takes longer, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The start-up report; `None` while nobody answers.
pub(crate) fn report(admin: SocketAddr) -> Option<Value> {
    let answer = http(admin, "/startup")?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// Waits for a report that is as wanted.
pub(crate) fn report_when(
    admin: SocketAddr,
    what: &str,
    mut is_wanted: impl FnMut(&Value) -> bool,
) -> Value {
    let since = Instant::now();
    let mut last = None;
    while since.elapsed() < PATIENCE {
        if let Some(now) = report(admin) {
            if is_wanted(&now) {
                return now;
            }
            last = Some(now);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("no report within {PATIENCE:?} in which {what}; the last one: {last:?}");
}

/// Waits until the start has come to a stage.
pub(crate) fn wait_stage(admin: SocketAddr, stage: &str) {
    report_when(admin, stage, |report| report["stage"] == stage);
}

/// The names of the units in a list of the report.
pub(crate) fn units(report: &Value, list: &str) -> Vec<u64> {
    let units = report[list].as_array().unwrap().iter();
    units.map(|unit| unit["unit"].as_str().unwrap().parse().unwrap()).collect()
}

/// A page as text.
pub(crate) fn page(admin: SocketAddr, path: &str) -> String {
    http(admin, path).unwrap_or_else(|| panic!("{admin} does not answer"))
}

/// A counter of a node, summed up over its labels; a part of one counts as one.
pub(crate) fn metric(admin: SocketAddr, name: &str) -> u64 {
    let page = page(admin, "/metrics");
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = if rest.starts_with('{') { rest.split_once("} ")?.1 } else { rest.trim() };
        value.parse::<f64>().ok().map(|value| value.ceil() as u64)
    };
    let values: Vec<u64> = page.lines().filter_map(of).collect();
    assert!(!values.is_empty(), "no {name} in {page}");
    values.iter().sum()
}

/// When a port took its first connection, and how often it had refused one.
pub(crate) struct Opened {
    pub(crate) at: Instant,
    pub(crate) refused: u64,
}

/// Tries a port every millisecond until it takes a connection. Anything but a
/// refusal before is a failure.
pub(crate) fn watch_port(port: SocketAddr) -> Opened {
    let (since, mut refused) = (Instant::now(), 0);
    while since.elapsed() < PATIENCE {
        match TcpStream::connect(port) {
            Ok(_) => return Opened { at: Instant::now(), refused },
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => refused += 1,
            Err(error) => panic!("{port} neither refuses nor takes a connection: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{port} did not open within {PATIENCE:?}");
}

/// When `/readyz` said yes for the first time.
pub(crate) fn watch_ready(admin: SocketAddr) -> Instant {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if crate::node::http_status(admin, "/readyz") == Some(200) {
            return Instant::now();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{admin} was not ready within {PATIENCE:?}");
}

/// Who may answer a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Whoever can, as for every client.
    Any,
    /// The replica of the node that is asked, as it is.
    Local,
}

/// One node's client port, asked once.
pub(crate) struct Once(ExtentServiceClient<Channel>);

impl Once {
    pub(crate) async fn connect(client: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{client}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self(ExtentServiceClient::new(channel))
    }

    pub(crate) async fn read(
        &mut self,
        partition: PartitionId,
        extent: ExtentId,
        whose: Whose,
    ) -> Result<Vec<u8>, Status> {
        let consistency = match whose {
            Whose::Any => Consistency::Linearizable,
            Whose::Local => Consistency::Stale,
        };
        let mut request = Request::new(ReadExtentRequest {
            partition_id: partition.get(),
            extent_id: extent.get(),
            offset: 0,
            length: 0,
            consistency: consistency.into(),
        });
        if whose == Whose::Local {
            request.metadata_mut().insert("x-datanode-no-forward", "1".parse().unwrap());
        }
        let mut frames = self.0.read_extent(request).await?.into_inner();
        let mut data = Vec::new();
        while let Some(frame) = frames.message().await? {
            data.extend_from_slice(&frame.data);
        }
        Ok(data)
    }

    pub(crate) async fn put(&mut self, partition: PartitionId, data: Bytes) -> Result<u64, Status> {
        let partition_id = partition.get();
        let request = PutExtentRequest { partition_id, data, ..PutExtentRequest::default() };
        Ok(self.0.put_extent(request).await?.into_inner().extent_id)
    }
}

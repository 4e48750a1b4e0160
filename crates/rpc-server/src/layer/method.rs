//! The methods of the contract and their metrics, and one call of them.
//!
//! Handles are made at a method's first use and kept: looking a labelled
//! metric up costs more than the call's other bookkeeping together.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

use crate::metric;

/// gRPC's codes, as go-grpc-prometheus spells them in `grpc_code`.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Methods that other descriptor sets bring: service, method, unary.
const FOREIGN: [(&str, &str, bool); 4] = [
    ("grpc.health.v1.Health", "Check", true),
    ("grpc.health.v1.Health", "Watch", false),
    ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", false),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", false),
];

/// Every method a port may be asked for, by its path.
pub(super) struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    /// Stands for every path that is no method: a label has few values.
    unknown: Arc<Method>,
}

struct Method {
    service: String,
    name: String,
    unary: bool,
    started: OnceLock<Counter>,
    seconds: OnceLock<Histogram>,
    handled: [OnceLock<Counter>; CODES.len()],
}

impl Methods {
    /// Those of our own descriptor set, of health and of reflection.
    pub(super) fn of_contract() -> Self {
        describe_counter!(metric::GRPC_STARTED, "Calls begun on the server.");
        describe_counter!(metric::GRPC_HANDLED, "Calls finished on the server, by code.");
        describe_histogram!(
            metric::GRPC_HANDLING_SECONDS,
            metrics::Unit::Seconds,
            "Time from a call's first byte to its last."
        );
        let set = FileDescriptorSet::decode(datanode_proto::FILE_DESCRIPTOR_SET)
            .expect("the build wrote a descriptor set");
        let mut by_path = HashMap::new();
        let mut add = |service: &str, name: &str, unary| {
            by_path.insert(format!("/{service}/{name}"), Method::new(service, name, unary));
        };
        for file in &set.file {
            for service in &file.service {
                let full = format!("{}.{}", file.package(), service.name());
                for method in &service.method {
                    let unary = !method.client_streaming() && !method.server_streaming();
                    add(&full, method.name(), unary);
                }
            }
        }
        for (service, name, unary) in FOREIGN {
            add(service, name, unary);
        }
        Self { by_path, unknown: Method::new("unknown", "unknown", true) }
    }

    /// A call to the method of this path begins.
    pub(super) fn begin(&self, path: &str) -> Call {
        let method = self.by_path.get(path).unwrap_or(&self.unknown).clone();
        method.started().increment(1);
        Call { method, began: Instant::now(), finished: false }
    }
}

impl Method {
    fn new(service: &str, name: &str, unary: bool) -> Arc<Self> {
        Arc::new(Self {
            service: service.to_owned(),
            name: name.to_owned(),
            unary,
            started: OnceLock::new(),
            seconds: OnceLock::new(),
            handled: [const { OnceLock::new() }; CODES.len()],
        })
    }

    fn labels(&self) -> [(&'static str, String); 2] {
        [("grpc_service", self.service.clone()), ("grpc_method", self.name.clone())]
    }

    fn started(&self) -> &Counter {
        self.started.get_or_init(|| counter!(metric::GRPC_STARTED, &self.labels()))
    }

    fn seconds(&self) -> &Histogram {
        self.seconds.get_or_init(|| histogram!(metric::GRPC_HANDLING_SECONDS, &self.labels()))
    }

    fn handled(&self, code: Code) -> &Counter {
        let index = code as usize;
        self.handled[index].get_or_init(|| {
            let [service, method] = self.labels();
            let labels = [service, method, ("grpc_code", CODES[index].to_owned())];
            counter!(metric::GRPC_HANDLED, &labels)
        })
    }
}

/// One call under way. Dropped unfinished, it counts as cancelled.
pub(super) struct Call {
    method: Arc<Method>,
    began: Instant,
    finished: bool,
}

impl Call {
    /// Whether it is one request and one response.
    pub(super) fn is_unary(&self) -> bool {
        self.method.unary
    }

    /// Whether it ends only when its caller or its port does.
    pub(super) fn is_endless(&self) -> bool {
        let name = self.name();
        name.starts_with("Watch") || name == "ServerReflectionInfo"
    }

    /// Its method, for logs.
    pub(super) fn name(&self) -> &str {
        &self.method.name
    }

    /// The call ended so.
    pub(super) fn finish(mut self, code: Code) {
        self.count(code);
    }

    fn count(&mut self, code: Code) {
        self.finished = true;
        self.method.handled(code).increment(1);
        self.method.seconds().record(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.finished {
            self.count(Code::Cancelled);
        }
    }
}

//! grpc.health.v1, on the client and the admin port.
//!
//! Written here because the stock service fails `Watch` of an unknown name,
//! where the protocol says SERVICE_UNKNOWN and an open stream. It keeps no
//! state: what a name's health is follows from the gate.

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use startup_gate::Stage;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::context::NodeContext;

/// Should a change ever go untold, watchers look this often.
const REVIEW: Duration = Duration::from_millis(250);
/// A start of many partitions changes many times a millisecond.
const SETTLE: Duration = Duration::from_millis(10);

/// The health service of a port.
pub(crate) fn service(context: NodeContext) -> HealthServer<impl Health> {
    HealthServer::new(Service { context })
}

struct Service {
    context: NodeContext,
}

/// What a name's health depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Whether the node does its work: it is open and does not drain.
    Ready,
    /// Whether the gate was opened: also while the node drains.
    Open,
    /// Whether the process turns.
    Alive,
    /// Whether the start is past this stage.
    Past(Stage),
}

/// The names and what they stand for.
const NAMES: [(&str, Named); 9] = [
    ("", Named::Ready),
    ("datanode.v1.ExtentService", Named::Ready),
    ("datanode.v1.RouteService", Named::Ready),
    ("datanode.v1.PartitionService", Named::Open),
    ("datanode.v1.NodeService", Named::Alive),
    ("startup.load", Named::Past(Stage::Load)),
    ("startup.check", Named::Past(Stage::Check)),
    ("startup.elect", Named::Past(Stage::Elect)),
    ("startup.listen", Named::Past(Stage::Listen)),
];

impl Named {
    fn of(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, named)| *named)
    }

    /// `opened`: the gate was open at some time of this process.
    fn is_serving(self, stage: Stage, opened: bool, draining: bool) -> bool {
        match self {
            Self::Ready => stage == Stage::Serving && !draining,
            Self::Open => opened && stage < Stage::Stopped,
            Self::Alive => true,
            // A start that failed never passed the stages it did not come to.
            Self::Past(passed) => opened || (stage.is_starting() && stage > passed),
        }
    }
}

impl Service {
    fn look(&self, named: Option<Named>) -> ServingStatus {
        let Some(named) = named else { return ServingStatus::ServiceUnknown };
        let stage = self.context.gate().stage();
        let draining = self.context.host().is_some_and(raft_glue::PartitionHost::is_draining);
        let opened = self.context.admission().is_some() || stage == Stage::Serving;
        match named.is_serving(stage, opened, draining) {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        }
    }
}

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // The protocol's own code, without a reason of ours: probes of all
        // languages know it.
        let named = Named::of(&request.get_ref().service)
            .ok_or_else(|| Status::not_found("service is not known"))?;
        Ok(Response::new(response(self.look(Some(named)))))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let named = Named::of(&request.get_ref().service);
        let watcher = Watcher {
            service: Self { context: self.context.clone() },
            changes: self.context.gate().subscribe(),
            named,
            told: None,
        };
        let closing = self.context.closing().clone().cancelled_owned();
        let statuses = stream::unfold(watcher, |mut watcher| async move {
            let status = watcher.next().await;
            Some((Ok(response(status)), watcher))
        });
        Ok(Response::new(statuses.take_until(closing).boxed()))
    }
}

struct Watcher {
    service: Service,
    changes: watch::Receiver<u64>,
    named: Option<Named>,
    told: Option<ServingStatus>,
}

impl Watcher {
    /// The status at first, then each other one.
    async fn next(&mut self) -> ServingStatus {
        loop {
            let status = self.service.look(self.named);
            if self.told != Some(status) {
                self.told = Some(status);
                return status;
            }
            match timeout(REVIEW, self.changes.changed()).await {
                Ok(Ok(())) => sleep(SETTLE).await,
                // The gate is gone, and nothing will change any more.
                Ok(Err(_)) => sleep(REVIEW).await,
                Err(_) => {}
            }
        }
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that are SERVING.
    fn check(stage: Stage, opened: bool, draining: bool, serving: &[&str]) {
        let is_serving = |(_, named): &&(&str, Named)| named.is_serving(stage, opened, draining);
        let names: Vec<&str> = NAMES.iter().filter(is_serving).map(|(name, _)| *name).collect();
        assert_eq!(names, serving, "{stage} opened {opened} draining {draining}");
    }

    #[test]
    fn health_follows_the_gate() {
        const NODE: &str = "datanode.v1.NodeService";
        const PARTITION: &str = "datanode.v1.PartitionService";
        const STAGES: [&str; 4] =
            ["startup.load", "startup.check", "startup.elect", "startup.listen"];
        let opened = [&[PARTITION, NODE][..], &STAGES].concat();
        let all: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        check(Stage::Load, false, false, &[NODE]);
        check(Stage::Check, false, false, &[NODE, "startup.load"]);
        check(Stage::Listen, false, false, &[&[NODE][..], &STAGES[..3]].concat());
        check(Stage::Serving, true, false, &all);
        check(Stage::Serving, true, true, &opened);
        check(Stage::Draining, true, true, &opened);
        check(Stage::Stopped, false, false, &[NODE]);
    }
}

//! NodeService: the state of one node, and taking it out of service. It answers
//! from the first moment on.

use std::time::Duration;

use datanode_proto::v1;
use datanode_proto::v1::node_service_server::NodeService;
use futures::stream::{self, BoxStream, StreamExt};
use startup_gate::Stage;
use tokio::time::sleep;
use tonic::{Request, Response, Status};

use super::{report, safe_to_stop, status};
use crate::context::NodeContext;
use crate::orders::Order;
use crate::peer::Replicas;

/// A watcher is told of changes at most this often.
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// The service on the admin port.
pub(crate) struct Service {
    context: NodeContext,
    replicas: Replicas,
}

impl Service {
    /// The service of this node.
    pub(crate) fn new(context: NodeContext) -> Self {
        Self { replicas: Replicas::new(context.clone()), context }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl NodeService for Service {
    type WatchStartupStream = BoxStream<'static, Result<v1::WatchStartupResponse, Status>>;

    async fn get_status(
        &self,
        _request: Request<v1::GetStatusRequest>,
    ) -> Answer<v1::GetStatusResponse> {
        Ok(Response::new(status::of(&self.context)))
    }

    async fn get_startup(
        &self,
        _request: Request<v1::GetStartupRequest>,
    ) -> Answer<v1::GetStartupResponse> {
        let report = Some(report::to_wire(self.context.gate().report()));
        Ok(Response::new(v1::GetStartupResponse { report }))
    }

    async fn watch_startup(
        &self,
        _request: Request<v1::WatchStartupRequest>,
    ) -> Answer<Self::WatchStartupStream> {
        let closing = self.context.closing().clone().cancelled_owned();
        let reports = watch(self.context.clone()).take_until(closing);
        Ok(Response::new(reports.map(Ok).boxed()))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        let host = self.replicas.host()?;
        if self.context.gate().stage().is_starting() {
            return Err(self.replicas.starting().into());
        }
        let desk = self.context.desk();
        if request.into_inner().undo {
            desk.order(Order::Undrain).await.map_err(|_| self.replicas.starting())?;
            let led = status::totals(&host.list()).leaders;
            let response =
                v1::DrainResponse { leaders_before: led, leaders_after: led, ..Default::default() };
            return Ok(Response::new(response));
        }
        let outcome = desk.order(Order::Drain).await.map_err(|_| self.replicas.starting())?;
        Ok(Response::new(v1::DrainResponse {
            leaders_before: outcome.before as u64,
            leaders_after: outcome.after as u64,
            sole_voters: outcome.sole_voters.len() as u64,
            alone: outcome.alone.len() as u64,
        }))
    }

    async fn safe_to_stop(
        &self,
        request: Request<v1::SafeToStopRequest>,
    ) -> Answer<v1::SafeToStopResponse> {
        Ok(Response::new(safe_to_stop::ask(&self.replicas, request.into_inner()).await?))
    }
}

/// The report now and at each change; the last one says that the gate is open,
/// or that the node goes down.
fn watch(context: NodeContext) -> impl futures::Stream<Item = v1::WatchStartupResponse> {
    let changes = context.gate().subscribe();
    stream::unfold(Some((context, changes, true)), |state| async move {
        let (context, mut changes, first) = state?;
        if !first {
            changes.changed().await.ok()?;
            // A start of many partitions changes many times a millisecond.
            sleep(WATCH_PAUSE).await;
        }
        changes.mark_unchanged();
        let report = context.gate().report();
        let over = report.stage >= Stage::Serving;
        let response = v1::WatchStartupResponse { report: Some(report::to_wire(report)) };
        Some((response, (!over).then_some((context, changes, false))))
    })
}

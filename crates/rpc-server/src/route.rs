//! RouteService: where partitions live.
//!
//! A node knows the routes of its own replicas at first hand and those that its
//! peers told; one that nobody told it asks for.

mod local;
mod watch;

use std::collections::BTreeMap;

use datanode_proto::v1;
use datanode_proto::v1::route_service_server::{RouteService, RouteServiceServer};
use futures::stream::BoxStream;
use partition_types::PartitionId;
use tonic::{Request, Response, Status};

use crate::context::NodeContext;
use crate::deadline::CallTime;
use crate::limits;
use crate::page;
use crate::peer::NoRoute;
use crate::status::Failure;

pub(crate) use local::{later_route, local_route, local_routes};

/// The list of a node's routes, in page tokens.
const LIST: u64 = 0;

/// RouteService for the client port.
pub(crate) fn service(context: NodeContext) -> RouteServiceServer<Routes> {
    RouteServiceServer::new(Routes { context })
}

/// The methods of RouteService.
pub(crate) struct Routes {
    context: NodeContext,
}

#[tonic::async_trait]
impl RouteService for Routes {
    async fn get_route(
        &self,
        request: Request<v1::GetRouteRequest>,
    ) -> Result<Response<v1::GetRouteResponse>, Status> {
        let id = PartitionId::new(request.get_ref().partition_id).map_err(Failure::from)?;
        let default = self.context.config().request_timeout;
        let time = request.extensions().get().copied();
        let until = time.unwrap_or_else(|| CallTime::unsaid(default)).step();
        let partition = self.context.host().and_then(|host| host.get(id));
        let known = |partition| {
            later_route(&self.context, &partition)
                .or_else(|| local_route(&self.context, &partition))
        };
        let route = match partition.and_then(known) {
            Some(route) => route,
            None => {
                let found = self.context.peers().find_route(id);
                let found = tokio::time::timeout_at(until, found).await;
                found
                    .unwrap_or(Err(NoRoute::NobodyAnswers))
                    .map_err(|why| Failure::no_route(id, why))?
            }
        };
        Ok(Response::new(v1::GetRouteResponse { route: Some(route) }))
    }

    async fn list_routes(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<Response<v1::ListRoutesResponse>, Status> {
        let request = request.into_inner();
        let after = page::after(&request.page_token, LIST)?;
        let size = limits::LIST_ROUTES.of(request.page_size);
        Ok(Response::new(page_of(known_routes(&self.context), after, size)))
    }

    type WatchRoutesStream = BoxStream<'static, Result<v1::WatchRoutesResponse, Status>>;

    async fn watch_routes(
        &self,
        _request: Request<v1::WatchRoutesRequest>,
    ) -> Result<Response<Self::WatchRoutesStream>, Status> {
        let stream = watch::watch(self.context.clone());
        Ok(Response::new(stream))
    }
}

/// Every route this node knows: its own at first hand, unless a peer told of a later
/// leader to a replica here that hears of none.
fn known_routes(context: &NodeContext) -> BTreeMap<u64, v1::Route> {
    let told = context.peers().routes().into_iter().map(|route| (route.partition_id, route));
    let mut routes: BTreeMap<u64, v1::Route> = told.collect();
    for own in local_routes(context) {
        let is_later = |told: &v1::Route| {
            own.leader_node_id == 0 && told.leader_node_id != 0 && told.epoch > own.epoch
        };
        if !routes.get(&own.partition_id).is_some_and(is_later) {
            routes.insert(own.partition_id, own);
        }
    }
    routes
}

fn page_of(
    routes: BTreeMap<u64, v1::Route>,
    after: Option<u64>,
    size: usize,
) -> v1::ListRoutesResponse {
    let mut rest = routes.into_iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
    let routes: Vec<v1::Route> = rest.by_ref().take(size).map(|(_, route)| route).collect();
    let next_page_token = match routes.last() {
        Some(last) if rest.next().is_some() => page::token(LIST, last.partition_id),
        _ => String::new(),
    };
    v1::ListRoutesResponse { routes, next_page_token }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_every_route_once() {
        let routes: BTreeMap<u64, v1::Route> = (1..=10)
            .map(|id| (id * 3, v1::Route { partition_id: id * 3, ..v1::Route::default() }))
            .collect();
        for size in [1, 3, 5, 10, 11] {
            let mut seen = Vec::new();
            let mut token = String::new();
            for _ in 0..20 {
                let after = page::after(&token, LIST).expect("it was given");
                let page = page_of(routes.clone(), after, size);
                assert!(page.routes.len() <= size);
                seen.extend(page.routes.iter().map(|route| route.partition_id));
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            assert!(seen.iter().eq(routes.keys()), "pages of {size}: {seen:?}");
        }
    }
}

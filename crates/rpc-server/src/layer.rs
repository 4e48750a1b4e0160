//! What every gRPC call on every port passes, from the outside in: metrics,
//! deadline, panic guard, codes of the contract, the leader's trailer.
//!
//! tonic by itself answers CANCELLED at a time-out and OUT_OF_RANGE to a large
//! message, ends the connection at a panic, and takes a reset request stream
//! for one that ended well. All four are put right here.

mod answer;
mod method;
mod reset;
mod stock;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Request, Response};
use partition_types::Reason;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::deadline::CallTime;
use crate::status::{Failure, LEADER_METADATA};

use answer::{Answer, Until};
use method::{Call, Methods};
use reset::ResetIsAnError;

pub(crate) use stock::{read_stock, too_large};

/// The client address of the partition's leader. A handler leaves it in its
/// response's extensions, and it goes out as trailing metadata.
#[derive(Debug, Clone)]
pub(crate) struct LeaderHint(pub(crate) String);

/// Wraps the gRPC services of a port.
#[derive(Clone)]
pub(crate) struct RequestLayer {
    methods: Arc<Methods>,
    request_timeout: Duration,
    max_message: usize,
    closing: Option<CancellationToken>,
}

impl RequestLayer {
    /// `request_timeout` bounds unary calls whose callers say nothing.
    pub(crate) fn new(request_timeout: Duration, max_message: usize) -> Self {
        let methods = Arc::new(Methods::of_contract());
        Self { methods, request_timeout, max_message, closing: None }
    }

    /// Ends the streams that have no end by themselves (watches, reflection)
    /// when the port closes, so that closing waits for the others only.
    #[must_use]
    pub(crate) fn ending_watches_at(self, closing: CancellationToken) -> Self {
        Self { closing: Some(closing), ..self }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequestService { inner, layer: self.clone() }
    }
}

/// See [`RequestLayer`].
#[derive(Clone)]
pub(crate) struct RequestService<S> {
    inner: S,
    layer: RequestLayer,
}

type ResponseFuture<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for RequestService<S>
where
    S: Service<Request<Body>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<tonic::codegen::StdError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<tonic::codegen::StdError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = self.layer.methods.begin(request.uri().path());
        let time = CallTime::read(request.headers(), self.layer.request_timeout);
        let deadline = if call.is_unary() { Some(time.step()) } else { time.caller() };
        let mut request = request.map(|body| Body::new(ResetIsAnError(body)));
        request.extensions_mut().insert(time);
        let handler = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        let max_message = self.layer.max_message;
        let closing = self.layer.closing.clone().filter(|_| call.is_endless());
        Box::pin(async move {
            let handled = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, handler).await,
                None => Ok(handler.await),
            };
            let response = match handled {
                Ok(Ok(response)) => response?.map(Body::new),
                Ok(Err(panic)) => Status::from(panicked(&call, panic.as_ref())).into_http(),
                Err(_) => Status::from(time_is_up()).into_http(),
            };
            let until = Until { deadline, closing };
            Ok(finish(call, response, until, max_message))
        })
    }
}

/// Puts the contract's words into a response that is an error already, and
/// follows the body of one that may still become one.
fn finish(
    call: Call,
    mut response: Response<Body>,
    until: Until,
    max_message: usize,
) -> Response<Body> {
    let leader = response.extensions_mut().remove::<LeaderHint>();
    let leader = leader.and_then(|LeaderHint(address)| HeaderValue::try_from(address).ok());
    if let Some(status) = Status::from_header_map(response.headers()) {
        let status = stock::translate(status, max_message);
        call.finish(status.code());
        let mut response: Response<Body> = status.into_http();
        if let Some(leader) = leader {
            response.headers_mut().insert(LEADER_METADATA, leader);
        }
        return response;
    }
    response.map(|body| Body::new(Answer::new(body, call, leader, until)))
}

fn time_is_up() -> Failure {
    Failure::new(Reason::DeadlineExceeded, "the time was up")
}

/// The node lives on: one handler's fault is told to one caller.
fn panicked(call: &Call, panic: &(dyn Any + Send)) -> Failure {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(method = call.name(), panic = said.unwrap_or("no message"), "handler panicked");
    Failure::new(Reason::Internal, "the handler failed")
}

/// The code in the trailers of a call.
fn code_of(trailers: &http::HeaderMap) -> Code {
    trailers
        .get(Status::GRPC_STATUS)
        .map_or(Code::Unknown, |value| Code::from_bytes(value.as_bytes()))
}

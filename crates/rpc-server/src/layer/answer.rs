//! The body of a response that began well: watched to its trailers.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::body::Body;
use tonic::{Code, Status};

use super::method::Call;
use super::{code_of, panicked, time_is_up};
use crate::status::{Failure, LEADER_METADATA};

/// What ends a response that does not end by itself.
pub(super) struct Until {
    /// When the time is up.
    pub(super) deadline: Option<Instant>,
    /// When the port closes.
    pub(super) closing: Option<CancellationToken>,
}

/// Adds the leader's trailer, ends at the deadline, survives a panic of the
/// handler's stream, and tells the metrics how the call ended.
pub(super) struct Answer {
    body: Body,
    /// `None` once the call is over.
    call: Option<Call>,
    leader: Option<HeaderValue>,
    deadline: Option<Pin<Box<Sleep>>>,
    closing: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Answer {
    pub(super) fn new(body: Body, call: Call, leader: Option<HeaderValue>, until: Until) -> Self {
        // A unary answer is there already: its timer would never fire.
        let deadline = until.deadline.filter(|_| !call.is_unary());
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        let closing = until.closing.map(|closing| Box::pin(closing.cancelled_owned()));
        Self { body, call: Some(call), leader, deadline, closing }
    }

    /// Ends the call with these trailers.
    fn end(&mut self, mut trailers: HeaderMap) -> Option<Result<Frame<Bytes>, Status>> {
        if let Some(call) = self.call.take() {
            call.finish(code_of(&trailers));
        }
        if let Some(leader) = self.leader.take() {
            trailers.entry(LEADER_METADATA).or_insert(leader);
        }
        Some(Ok(Frame::trailers(trailers)))
    }

    fn end_well(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        self.body = Body::empty();
        let ok = HeaderValue::from_static("0");
        self.end(HeaderMap::from_iter([(Status::GRPC_STATUS, ok)]))
    }

    fn fail(&mut self, failure: Failure) -> Option<Result<Frame<Bytes>, Status>> {
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        let status = Status::from(failure);
        if let Err(status) = status.add_header(&mut trailers) {
            return Some(Err(status));
        }
        self.end(trailers)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(call) = &this.call else { return Poll::Ready(None) };
        let body = Pin::new(&mut this.body);
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx)));
        let frame = match polled {
            Ok(Poll::Ready(frame)) => frame,
            Ok(Poll::Pending) => {
                let is_up = |sleep: &mut Pin<Box<Sleep>>| sleep.as_mut().poll(cx).is_ready();
                if this.deadline.as_mut().is_some_and(is_up) {
                    return Poll::Ready(this.fail(time_is_up()));
                }
                if this.closing.as_mut().is_some_and(|closing| closing.as_mut().poll(cx).is_ready())
                {
                    return Poll::Ready(this.end_well());
                }
                return Poll::Pending;
            }
            Err(panic) => {
                let failure = panicked(call, panic.as_ref());
                return Poll::Ready(this.fail(failure));
            }
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => this.end(trailers),
                Err(frame) => Some(Ok(frame)),
            },
            Some(Err(status)) => {
                if let Some(call) = this.call.take() {
                    call.finish(status.code());
                }
                Some(Err(status))
            }
            None => {
                if let Some(call) = this.call.take() {
                    call.finish(Code::Unknown);
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.call.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Trailers follow in any case.
        SizeHint::default()
    }
}

//! Tells a request stream that was reset from one that ended.
//!
//! tonic takes the error that a reset makes (CANCELLED) for the end of the
//! stream, and hyper lets the handler run once more before it drops it. An
//! upload that its client gave up would be published as far as it came.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::codegen::StdError;
use tonic::{Code, Status};

/// A request body whose reset is an error and no end.
pub(super) struct ResetIsAnError<B>(pub(super) B);

impl<B> Body for ResetIsAnError<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        polled.map(|frame| frame.map(|frame| frame.map_err(keep_visible)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn keep_visible(error: impl Into<StdError>) -> Status {
    let status = Status::from_error(error.into());
    match status.code() {
        Code::Cancelled => Status::aborted("the request stream was reset"),
        _ => status,
    }
}

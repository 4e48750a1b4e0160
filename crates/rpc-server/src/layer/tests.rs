//! What a call meets on its way, against handlers that misbehave.

use std::convert::Infallible;

use http::HeaderMap;
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::*;

const UNARY: &str = "/datanode.v1.ExtentService/StatExtent";
const STREAM: &str = "/datanode.v1.ExtentService/ReadExtent";

/// Calls a handler through the layer and reads its answer to the end.
async fn answer<H, F>(path: &'static str, timeout: Option<&'static str>, handler: H) -> Status
where
    H: Fn(Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    trailers(path, timeout, handler).await.0
}

async fn trailers<H, F>(
    path: &'static str,
    timeout: Option<&'static str>,
    handler: H,
) -> (Status, HeaderMap)
where
    H: Fn(Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let handled = handler(request);
        async move { Ok::<_, Infallible>(handled.await) }
    });
    let service = RequestLayer::new(Duration::from_millis(50), 100).layer(service);
    let mut request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    if let Some(timeout) = timeout {
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static(timeout));
    }
    let response = service.oneshot(request).await.expect("infallible");
    if let Some(status) = Status::from_header_map(response.headers()) {
        return (status, response.headers().clone());
    }
    let mut body = response.into_body();
    while let Some(frame) =
        std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await
    {
        if let Ok(trailers) = frame.expect("a frame").into_trailers() {
            let status = Status::from_header_map(&trailers).expect("a status");
            return (status, trailers);
        }
    }
    panic!("the answer had no trailers");
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// A body that never ends.
struct Silent;

impl http_body::Body for Silent {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        Poll::Pending
    }
}

/// A body that panics when it is read.
struct Panics;

impl http_body::Body for Panics {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        panic!("in the stream")
    }
}

/// A body that ends well.
struct Ends;

impl http_body::Body for Ends {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))))
    }
}

#[tokio::test]
async fn tonics_own_errors_get_the_contracts_codes() {
    let too_large =
        "Error, decoded message length too large: found 65700 bytes, the limit is: 65636 bytes";
    let no_message = "failed to decode Protobuf message: invalid tag value: 0";
    let cases = [
        (Status::out_of_range(too_large), Code::InvalidArgument, "MESSAGE_TOO_LARGE"),
        (Status::internal(no_message), Code::InvalidArgument, "INVALID_REQUEST"),
        (Status::out_of_range("beyond the end"), Code::OutOfRange, ""),
        (Status::internal("anything"), Code::Internal, ""),
        (Status::unimplemented(""), Code::Unimplemented, ""),
    ];
    for (made, code, word) in cases {
        let wire = made.clone();
        let status = answer(UNARY, None, move |_| {
            let response = wire.clone().into_http();
            async move { response }
        })
        .await;
        assert_eq!((status.code(), reason(&status).as_str()), (code, word), "{made:?}");
        if word == "MESSAGE_TOO_LARGE" {
            let info = status.get_details_error_info().expect("details");
            assert_eq!(info.metadata.get("size").map(String::as_str), Some("65700"));
            assert_eq!(info.metadata.get("limit").map(String::as_str), Some("100"));
        }
    }
}

#[tokio::test]
async fn time_is_up_with_deadline_exceeded() {
    let hangs = |_| std::future::pending::<Response<Body>>();
    for (path, timeout) in [(UNARY, None), (UNARY, Some("20m")), (STREAM, Some("20m"))] {
        let status = answer(path, timeout, hangs).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{path} {timeout:?}");
        assert_eq!(reason(&status), "DEADLINE_EXCEEDED", "{path} {timeout:?}");
    }
    let silent = |_| async { Response::new(Body::new(Silent)) };
    let status = answer(STREAM, Some("20m"), silent).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "in the middle of a stream");
}

#[tokio::test]
async fn a_stream_is_not_bound_by_the_default() {
    let slow = |_| async {
        tokio::time::sleep(Duration::from_millis(120)).await;
        Response::new(Body::new(Ends))
    };
    assert_eq!(answer(STREAM, None, slow).await.code(), Code::Ok);
    assert_eq!(answer(UNARY, None, slow).await.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_panic_is_told_to_its_caller_only() {
    let panics = |_: Request<Body>| async { panic!("in the handler") };
    let status = answer(UNARY, None, panics).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "INTERNAL"));
    let stream = |_| async { Response::new(Body::new(Panics)) };
    let status = answer(STREAM, None, stream).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "INTERNAL"));
}

#[tokio::test]
async fn the_leader_is_in_the_trailers() {
    let hinted = |response: Response<Body>| {
        let mut response = response;
        response.extensions_mut().insert(LeaderHint("10.0.0.3:17310".to_owned()));
        response
    };
    let ends = move |_| async move { hinted(Response::new(Body::new(Ends))) };
    let fails = move |_| async move { hinted(Status::not_found("no").into_http()) };
    for (status, trailers) in
        [trailers(UNARY, None, ends).await, trailers(UNARY, None, fails).await]
    {
        let leader = trailers.get(LEADER_METADATA).and_then(|value| value.to_str().ok());
        assert_eq!(leader, Some("10.0.0.3:17310"), "{status:?}");
    }
}

#[tokio::test]
async fn a_reset_request_stream_is_an_error() {
    struct Reset;
    impl http_body::Body for Reset {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Err(Status::cancelled("stream error received: CANCEL"))))
        }
    }
    let mut body = Box::pin(ResetIsAnError(Reset));
    let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await;
    let error = frame.expect("no end").expect_err("a reset");
    assert_eq!(error.code(), Code::Aborted, "tonic takes CANCELLED for the end");
}

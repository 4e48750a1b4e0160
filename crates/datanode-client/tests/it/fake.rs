//! A node that follows a script, and what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use datanode_client::{Bytes, Client, ClientConfig, Code, Crc32c, PartitionId, Reason};
use datanode_proto::v1::extent_service_server::{ExtentService, ExtentServiceServer};
use datanode_proto::v1::*;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

/// What the node does with one call.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Fails with this code, reason and details.
    Fail(Code, Option<Reason>, Vec<(&'static str, String)>),
    /// Fails and asks for a pause.
    FailFor(Reason, Duration),
    /// Does not answer.
    Hang,
    /// Answers well, and names this leader.
    Ok(Option<SocketAddr>),
    /// Reading: these frames, then an error or the end.
    Frames(Vec<ReadExtentResponse>, Option<Code>),
    /// Uploading: takes so many messages and fails.
    TakeThenFail(usize, Code),
    /// Uploading: takes all and answers with this checksum.
    TakeAll(Option<Crc32c>),
}

/// A call as it arrived.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Call {
    pub(crate) request_id: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Uploading: what came, and whether the stream ended well.
    pub(crate) data: Vec<u8>,
    pub(crate) ended_well: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    acts: Arc<Mutex<Vec<Act>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A node that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    script: Script,
    server: JoinHandle<()>,
}

impl Fake {
    /// Starts a node. The last act is repeated.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), acts).await
    }

    pub(crate) async fn start_at(address: SocketAddr, acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script::default();
        script.acts.lock().unwrap().extend(acts);
        let service = ExtentServiceServer::new(script.clone());
        let serve = Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serve.await.unwrap() });
        Self { address, script, server }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.script.calls.lock().unwrap().clone()
    }

    pub(crate) fn client(&self, timeout: Duration) -> Client {
        client([self.address], timeout)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn client(addresses: impl IntoIterator<Item = SocketAddr>, timeout: Duration) -> Client {
    let config = ClientConfig { timeout, upload_frame_len_bytes: 4, ..ClientConfig::default() };
    Client::new(addresses.into_iter().map(|address| address.to_string()), config).unwrap()
}

pub(crate) fn partition() -> PartitionId {
    PartitionId::new(7).unwrap()
}

pub(crate) fn fail(code: Code, reason: Reason) -> Act {
    Act::Fail(code, Some(reason), Vec::new())
}

/// A frame with its own checksum, or a wrong one.
pub(crate) fn frame(offset: u64, data: &'static [u8], good: bool) -> ReadExtentResponse {
    let crc32c = Crc32c::of(data).get() ^ u32::from(!good);
    ReadExtentResponse { offset, data: Bytes::from_static(data), crc32c, applied_index: 1 }
}

fn status(code: Code, reason: Option<Reason>, details: &[(&'static str, String)]) -> Status {
    let Some(reason) = reason else { return Status::new(code, "scripted") };
    let metadata: HashMap<String, String> =
        details.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let details = ErrorDetails::with_error_info(reason.as_str(), "datanode", metadata);
    Status::with_error_details(code, "scripted", details)
}

impl Script {
    fn next(&self) -> Act {
        let mut acts = self.acts.lock().unwrap();
        if acts.len() > 1 { acts.remove(0) } else { acts[0].clone() }
    }

    async fn unary<T: Default>(&self, call: Call) -> Result<Response<T>, Status> {
        self.calls.lock().unwrap().push(call);
        match self.next() {
            Act::Fail(code, reason, details) => Err(status(code, reason, &details)),
            Act::FailFor(reason, pause) => {
                let mut details = ErrorDetails::new();
                details.set_error_info(reason.as_str(), "datanode", HashMap::new());
                details.set_retry_info(Some(pause));
                Err(Status::with_error_details(Code::Unavailable, "scripted", details))
            }
            Act::Ok(leader) => {
                let mut response = Response::new(T::default());
                if let Some(leader) = leader {
                    let leader = MetadataValue::try_from(leader.to_string()).unwrap();
                    response.metadata_mut().insert("x-datanode-leader", leader);
                }
                Ok(response)
            }
            _ => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl ExtentService for Script {
    async fn append_extent(
        &self,
        request: Request<AppendExtentRequest>,
    ) -> Result<Response<AppendExtentResponse>, Status> {
        let request_id = request.into_inner().request_id.to_vec();
        self.unary(Call { request_id, ..Call::default() }).await
    }

    type ReadExtentStream = BoxStream<'static, Result<ReadExtentResponse, Status>>;

    async fn read_extent(
        &self,
        request: Request<ReadExtentRequest>,
    ) -> Result<Response<Self::ReadExtentStream>, Status> {
        let ReadExtentRequest { offset, length, .. } = request.into_inner();
        self.calls.lock().unwrap().push(Call { offset, length, ..Call::default() });
        let Act::Frames(frames, error) = self.next() else { std::future::pending().await };
        let end = error.map(|code| Err(Status::new(code, "scripted")));
        let frames = stream::iter(frames.into_iter().map(Ok)).chain(stream::iter(end));
        Ok(Response::new(frames.boxed()))
    }

    async fn upload_extent(
        &self,
        request: Request<Streaming<UploadExtentRequest>>,
    ) -> Result<Response<UploadExtentResponse>, Status> {
        let mut messages = request.into_inner();
        let act = self.next();
        let at = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(Call::default());
            calls.len() - 1
        };
        let mut taken = 0;
        while let Some(message) = messages.try_next().await? {
            let mut calls = self.calls.lock().unwrap();
            let call = &mut calls[at];
            call.data.extend_from_slice(&message.data);
            if !message.request_id.is_empty() {
                call.request_id = message.request_id.to_vec();
            }
            taken += 1;
            if let Act::TakeThenFail(limit, code) = act
                && taken == limit
            {
                return Err(Status::new(code, "scripted"));
            }
        }
        let Act::TakeAll(sum) = act else { std::future::pending().await };
        // A cancelled call ends like a whole one for tonic; only hyper knows, and
        // drops this future when it gets a turn.
        tokio::task::yield_now().await;
        let mut calls = self.calls.lock().unwrap();
        calls[at].ended_well = true;
        let data = &calls[at].data;
        let crc32c = sum.unwrap_or_else(|| Crc32c::of(data)).get();
        let size = data.len() as u64;
        Ok(Response::new(UploadExtentResponse { extent_id: 9, size, crc32c }))
    }

    async fn create_extent(
        &self,
        _: Request<CreateExtentRequest>,
    ) -> Result<Response<CreateExtentResponse>, Status> {
        Err(unscripted())
    }

    async fn put_extent(
        &self,
        _: Request<PutExtentRequest>,
    ) -> Result<Response<PutExtentResponse>, Status> {
        Err(unscripted())
    }

    async fn write_extent(
        &self,
        _: Request<WriteExtentRequest>,
    ) -> Result<Response<WriteExtentResponse>, Status> {
        Err(unscripted())
    }

    async fn stat_extent(
        &self,
        _: Request<StatExtentRequest>,
    ) -> Result<Response<StatExtentResponse>, Status> {
        Err(unscripted())
    }

    async fn list_extents(
        &self,
        _: Request<ListExtentsRequest>,
    ) -> Result<Response<ListExtentsResponse>, Status> {
        Err(unscripted())
    }

    async fn seal_extent(
        &self,
        _: Request<SealExtentRequest>,
    ) -> Result<Response<SealExtentResponse>, Status> {
        Err(unscripted())
    }

    async fn delete_extents(
        &self,
        _: Request<DeleteExtentsRequest>,
    ) -> Result<Response<DeleteExtentsResponse>, Status> {
        Err(unscripted())
    }
}

fn unscripted() -> Status {
    Status::unimplemented("the scripts append, read and upload only")
}

//! ExtentService: the data, on the client port and, for forwarded calls, on
//! the peer port. StageService: the steps of an upload, on the peer port.
//!
//! Each method checks its request, makes a command or a read of it, and has
//! [`forward`](crate::forward) carry it out where it belongs.

mod answer;
mod change;
mod field;
mod look;
mod part;
mod read;
mod stage;
mod upload;

use datanode_proto::v1;
use datanode_proto::v1::extent_service_server::{ExtentService, ExtentServiceServer};
use datanode_proto::v1::stage_service_server::{StageService, StageServiceServer};
use futures::stream::BoxStream;
use partition_types::PartitionId;
use tonic::{Request, Response, Status, Streaming};

use crate::context::NodeContext;
use crate::deadline::CallTime;
use crate::forward::{Call, Hops};
use crate::limits;
use crate::status::Failure;

/// The port a call came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, whose call may be sent on once.
    Client,
    /// A node, which sent it on already.
    Peer,
}

/// ExtentService for a port.
pub(crate) fn service(context: NodeContext, origin: Origin) -> ExtentServiceServer<Extents> {
    let limit = limits::decode_limit(context.config().max_message);
    ExtentServiceServer::new(Extents { context, origin }).max_decoding_message_size(limit)
}

/// StageService for the peer port.
pub(crate) fn stage_service(context: NodeContext) -> StageServiceServer<Extents> {
    let limit = limits::decode_limit(context.config().max_message.max(part::PART_LEN));
    let extents = Extents { context, origin: Origin::Peer };
    StageServiceServer::new(extents).max_decoding_message_size(limit)
}

/// The methods of both services.
#[derive(Clone)]
pub(crate) struct Extents {
    context: NodeContext,
    origin: Origin,
}

impl Extents {
    fn call<T>(&self, partition_id: u64, request: &Request<T>) -> Result<Call, Failure> {
        let partition_id = PartitionId::new(partition_id)?;
        if let Some(host) = self.context.host() {
            host.want(partition_id);
        }
        Ok(Call {
            context: self.context.clone(),
            partition_id,
            hops: self.hops(request),
            time: self.time(request),
        })
    }

    fn hops<T>(&self, request: &Request<T>) -> Hops {
        match self.origin {
            Origin::Client => Hops::read(request.metadata()),
            Origin::Peer => Hops::None,
        }
    }

    fn time<T>(&self, request: &Request<T>) -> CallTime {
        let default = self.context.config().request_timeout;
        request.extensions().get().copied().unwrap_or_else(|| CallTime::unsaid(default))
    }

    fn max_message(&self) -> usize {
        self.context.config().max_message
    }
}

/// A unary method: its call, its request, its module's function.
macro_rules! unary {
    ($self:ident, $request:ident, $carry_out:path) => {{
        let call = $self.call($request.get_ref().partition_id, &$request)?;
        let max_message = $self.max_message();
        let (context, id) = (call.context.clone(), call.partition_id);
        let done = $carry_out(call, $request.into_inner(), max_message).await;
        answer::finish(&context, id, done)
    }};
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ExtentService for Extents {
    async fn create_extent(
        &self,
        request: Request<v1::CreateExtentRequest>,
    ) -> Answered<v1::CreateExtentResponse> {
        unary!(self, request, change::create)
    }

    async fn put_extent(
        &self,
        request: Request<v1::PutExtentRequest>,
    ) -> Answered<v1::PutExtentResponse> {
        unary!(self, request, change::put)
    }

    async fn upload_extent(
        &self,
        request: Request<Streaming<v1::UploadExtentRequest>>,
    ) -> Answered<v1::UploadExtentResponse> {
        let (hops, time) = (self.hops(&request), self.time(&request));
        let mut messages = upload::Messages::new(request.into_inner(), time, self.max_message());
        let first = messages.first().await?;
        let partition_id = first.partition_id;
        let call = Call { context: self.context.clone(), partition_id, hops, time };
        let done = upload::upload(call, first, messages).await;
        answer::finish(&self.context, partition_id, done)
    }

    async fn append_extent(
        &self,
        request: Request<v1::AppendExtentRequest>,
    ) -> Answered<v1::AppendExtentResponse> {
        unary!(self, request, change::append)
    }

    async fn write_extent(
        &self,
        request: Request<v1::WriteExtentRequest>,
    ) -> Answered<v1::WriteExtentResponse> {
        unary!(self, request, change::write)
    }

    type ReadExtentStream = BoxStream<'static, Result<v1::ReadExtentResponse, Status>>;

    async fn read_extent(
        &self,
        request: Request<v1::ReadExtentRequest>,
    ) -> Answered<Self::ReadExtentStream> {
        unary!(self, request, read::read)
    }

    async fn stat_extent(
        &self,
        request: Request<v1::StatExtentRequest>,
    ) -> Answered<v1::StatExtentResponse> {
        unary!(self, request, look::stat)
    }

    async fn list_extents(
        &self,
        request: Request<v1::ListExtentsRequest>,
    ) -> Answered<v1::ListExtentsResponse> {
        unary!(self, request, look::list)
    }

    async fn seal_extent(
        &self,
        request: Request<v1::SealExtentRequest>,
    ) -> Answered<v1::SealExtentResponse> {
        unary!(self, request, change::seal)
    }

    async fn delete_extents(
        &self,
        request: Request<v1::DeleteExtentsRequest>,
    ) -> Answered<v1::DeleteExtentsResponse> {
        unary!(self, request, change::delete)
    }
}

#[tonic::async_trait]
impl StageService for Extents {
    async fn stage_extent(
        &self,
        request: Request<v1::StageExtentRequest>,
    ) -> Answered<v1::StageExtentResponse> {
        unary!(self, request, stage::serve_stage)
    }

    async fn stage_part(
        &self,
        request: Request<v1::StagePartRequest>,
    ) -> Answered<v1::StagePartResponse> {
        unary!(self, request, stage::serve_part)
    }

    async fn publish_extent(
        &self,
        request: Request<v1::PublishExtentRequest>,
    ) -> Answered<v1::PublishExtentResponse> {
        unary!(self, request, stage::serve_publish)
    }
}

//! Entries on their way to a follower.
//!
//! A new leader does not know where the log of a follower ends, and openraft begins in the middle of
//! its own: half a log went to each follower after each election, of which nearly all followers had
//! all. So what earlier leaders wrote is passed on as ids, and the first message continues after
//! it, with what this leader wrote. The follower compares the id before that with its own log:
//! where they are the same, so is all that comes before (Raft, Ongaro & Ousterhout, USENIX ATC
//! 2014, §5.3). Where they are not, what it may lack is read and sent, from where openraft began.

use std::time::Duration;

use openraft::RPCTypes;
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};

use crate::convert::{
    from_raft_entry, from_raft_log_id, from_raft_vote, is_unread, to_raft_log_id, to_raft_vote,
};
use crate::network::{Link, unreachable_error, wrong_reply};
use crate::types::{RaftEntry, TypeConfig};
use crate::{AppendReply, RaftReply, RaftRequest};

type Request = AppendEntriesRequest<TypeConfig>;
type Response = AppendEntriesResponse<TypeConfig>;
type Fault = RPCError<TypeConfig>;

impl Link {
    pub(crate) async fn append(
        &mut self,
        mut rpc: Request,
        timeout: Duration,
    ) -> Result<Response, Fault> {
        let own = rpc.entries.iter().position(|entry| !is_unread(entry));
        let own = rpc.entries.split_off(own.unwrap_or(rpc.entries.len()));
        let earlier = std::mem::replace(&mut rpc.entries, own);
        let Some(known) = earlier.last().map(|entry| entry.log_id) else {
            return self.send(rpc, timeout).await;
        };
        let Request { vote, prev_log_id, leader_commit, .. } = rpc;
        if !self.lacks_earlier {
            rpc.prev_log_id = Some(known);
            let reply = self.send(rpc, timeout).await?;
            if !matches!(reply, Response::Conflict) {
                return Ok(reply);
            }
            self.lacks_earlier = true;
        }
        // In messages of some entries, of which each continues what the last one brought.
        let mut brought = None;
        let mut rest = earlier.as_slice();
        while !rest.is_empty() {
            let entries = match self.read(rest).await {
                Ok(entries) => entries,
                Err(_) if brought.is_some() => break,
                Err(error) => return Err(error),
            };
            rest = &rest[entries.len()..];
            let last = entries.last().map(|entry| entry.log_id);
            let prev_log_id = brought.or(prev_log_id);
            let message = Request { vote, prev_log_id, leader_commit, entries };
            match (self.send(message, timeout).await, brought) {
                (Ok(Response::Success), _) => brought = last,
                // What came before counts.
                (Err(_) | Ok(Response::Conflict), Some(_)) => break,
                (other, _) => return other,
            }
        }
        Ok(Response::PartialSuccess(brought))
    }

    /// Reads entries that were not, from the first one on; at least one.
    async fn read(&self, unread: &[RaftEntry]) -> Result<Vec<RaftEntry>, Fault> {
        let (first, last) = (unread[0].log_id.index, unread[unread.len() - 1].log_id.index);
        // A replica that cannot read its own log is quarantined by its own reads.
        let entries = self.log.read(first..last + 1).await.map_err(|error| {
            tracing::error!(partition_id = %self.partition_id, %error, "read entries to send failed");
            unreachable_error(error)
        })?;
        // The log may be another leader's by now, whose entries are not for this one to send.
        let is_same = |(entry, asked): (&RaftEntry, &RaftEntry)| entry.log_id == asked.log_id;
        if entries.is_empty() || !entries.iter().zip(unread).all(is_same) {
            return Err(unreachable_error("the log has other entries by now"));
        }
        Ok(entries)
    }

    async fn send(&self, rpc: Request, timeout: Duration) -> Result<Response, Fault> {
        let timeout =
            if rpc.entries.is_empty() { timeout } else { timeout.max(self.append_timeout) };
        let entries = rpc.entries.into_iter().map(from_raft_entry);
        let request = RaftRequest::Append {
            vote: from_raft_vote(rpc.vote),
            prev: rpc.prev_log_id.map(from_raft_log_id),
            entries: entries.collect::<Result<_, _>>().map_err(unreachable_error)?,
            committed: rpc.leader_commit.map(from_raft_log_id),
        };
        match self.call(request, RPCTypes::AppendEntries, timeout).await? {
            RaftReply::Append(reply) => Ok(match reply {
                AppendReply::Success => Response::Success,
                AppendReply::Partial(last) => Response::PartialSuccess(last.map(to_raft_log_id)),
                AppendReply::Conflict => Response::Conflict,
                AppendReply::HigherVote(vote) => Response::HigherVote(to_raft_vote(vote)),
            }),
            other => Err(wrong_reply(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use bytes::Bytes;
    use openraft::RaftLogReader;
    use openraft::network::RPCOption;
    use openraft::storage::RaftLogStorageExt;
    use openraft::{RaftNetworkFactory, RaftNetworkV2};
    use parking_lot::Mutex;
    use partition_types::{Command, Crc32c, Entry, LogId, NodeId, Op, PartitionId, Payload, Vote};
    use tempfile::TempDir;

    use super::*;
    use crate::TransportError;
    use crate::convert::{to_raft_entry, to_raft_vote};
    use crate::fence::Fence;
    use crate::log_store::LogStore;
    use crate::metric::Metrics;
    use crate::network::Network;
    use crate::testing::{Peer, log_of, member, open_partition};
    use crate::types::GroupMember;

    const TIMEOUT: Duration = Duration::from_secs(1);
    /// Two of them are more than a message takes.
    const DATA_BYTES: usize = 600 << 10;

    /// The index before the entries of a message, and theirs.
    type Sent = (Option<u64>, Vec<u64>);

    /// Answers as it was told, and remembers what it was sent.
    #[derive(Default)]
    struct Follower {
        answers: Mutex<VecDeque<Result<AppendReply, TransportError>>>,
        sent: Mutex<Vec<Sent>>,
    }

    impl Follower {
        fn answer(&self, request: RaftRequest) -> Result<RaftReply, TransportError> {
            let RaftRequest::Append { prev, entries, .. } = request else { panic!("no append") };
            let indexes = entries.iter().map(|entry| entry.log_id.index).collect();
            self.sent.lock().push((prev.map(|id| id.index), indexes));
            self.answers.lock().pop_front().expect("an answer").map(RaftReply::Append)
        }
    }

    /// A leader of term 2, whose log has six entries of term 1 and two of its own.
    struct Leader {
        log: LogStore,
        link: Link,
        follower: Arc<Follower>,
        _stored: (partition_store::Store, TempDir),
    }

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn entry(term: u64, index: u64) -> RaftEntry {
        let data = Bytes::from(vec![7; if term == 1 { DATA_BYTES } else { 3 }]);
        let op = Op::Put { crc32c: Crc32c::of(&data), data };
        let payload = Payload::Command(Command { request_id: None, at_ms: 1, op });
        let log_id = LogId { term, leader: Some(node(term)), index };
        to_raft_entry(Entry { log_id, payload }).unwrap()
    }

    impl Leader {
        async fn new(
            answers: impl IntoIterator<Item = Result<AppendReply, TransportError>>,
        ) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (store, partition) = open_partition(dir.path());
            let mut log = log_of(&partition);
            let entries = (0..6).map(|index| entry(1, index)).chain([entry(2, 6), entry(2, 7)]);
            log.blocking_append(entries.collect::<Vec<_>>()).await.unwrap();
            let follower = Arc::new(Follower::default());
            follower.answers.lock().extend(answers);
            let mut network = Network {
                node_id: node(2),
                partition_id: PartitionId::new(7).unwrap(),
                transport: Arc::new(Peer({
                    let follower = Arc::clone(&follower);
                    move |request| follower.answer(request)
                })),
                log: log.clone(),
                fence: Arc::new(Fence::new(Metrics::new().suppressed)),
                leader_gone: Arc::default(),
                append_timeout: TIMEOUT,
                backoff_max: TIMEOUT,
            };
            let link = network.new_client(3, &GroupMember(member())).await;
            Self { log, link, follower, _stored: (store, dir) }
        }

        /// As openraft does at the beginning: entries 2 to 7.
        async fn replicate(&mut self) -> Result<Response, Fault> {
            let vote = Vote { term: 2, voted_for: Some(node(2)), committed: true };
            let entries = self.log.limited_get_log_entries(2, 8).await.unwrap();
            assert_eq!(entries.iter().filter(|entry| is_unread(entry)).count(), 4);
            let rpc = Request {
                vote: to_raft_vote(vote),
                prev_log_id: Some(entry(1, 1).log_id),
                entries,
                leader_commit: None,
            };
            self.link.append_entries(rpc, RPCOption::new(TIMEOUT)).await
        }

        fn sent(&self) -> Vec<Sent> {
            std::mem::take(&mut *self.follower.sent.lock())
        }
    }

    const SUCCESS: Result<AppendReply, TransportError> = Ok(AppendReply::Success);
    const CONFLICT: Result<AppendReply, TransportError> = Ok(AppendReply::Conflict);

    fn up_to(index: u64) -> Response {
        Response::PartialSuccess(Some(entry(1, index).log_id))
    }

    #[tokio::test]
    async fn who_has_what_earlier_leaders_wrote_is_sent_the_rest() {
        let mut leader = Leader::new([SUCCESS]).await;
        assert_eq!(leader.replicate().await.unwrap(), Response::Success);
        assert_eq!(leader.sent(), [(Some(5), vec![6, 7])]);
    }

    #[tokio::test]
    async fn who_lacks_it_is_sent_it_in_messages_of_some_and_asked_no_more() {
        let mut leader = Leader::new([CONFLICT, SUCCESS, SUCCESS]).await;
        assert_eq!(leader.replicate().await.unwrap(), up_to(5));
        let asked = (Some(5), vec![6, 7]);
        let pieces = [(Some(1), vec![2, 3]), (Some(3), vec![4, 5])];
        assert_eq!(leader.sent(), [asked, pieces[0].clone(), pieces[1].clone()]);
        leader.follower.answers.lock().extend([SUCCESS, SUCCESS]);
        assert_eq!(leader.replicate().await.unwrap(), up_to(5));
        assert_eq!(leader.sent(), pieces);
    }

    #[tokio::test]
    async fn what_was_brought_counts_whatever_follows() {
        let lost = || Err(TransportError::Timeout);
        for broken in [CONFLICT, lost()] {
            let mut leader = Leader::new([CONFLICT, SUCCESS, broken]).await;
            assert_eq!(leader.replicate().await.unwrap(), up_to(3));
        }
        let mut leader = Leader::new([CONFLICT, CONFLICT]).await;
        assert_eq!(leader.replicate().await.unwrap(), Response::Conflict);
        let mut leader = Leader::new([CONFLICT, lost()]).await;
        assert!(leader.replicate().await.is_err());
        let higher = Vote { term: 3, voted_for: Some(node(1)), committed: false };
        let deposed = Ok(AppendReply::HigherVote(higher));
        let mut leader = Leader::new([CONFLICT, SUCCESS, deposed]).await;
        let reply = leader.replicate().await.unwrap();
        assert_eq!(reply, Response::HigherVote(to_raft_vote(higher)));
    }

    /// It was deposed, and its log cut and written by another leader, between its look at the
    /// ids and the reading: what it sends then under its own vote would be taken.
    #[tokio::test]
    async fn what_a_later_leader_wrote_is_not_sent() {
        use openraft::storage::RaftLogStorage;
        let mut leader = Leader::new([]).await;
        leader.link.lacks_earlier = true;
        let unread = leader.log.limited_get_log_entries(2, 6).await.unwrap();
        leader.log.truncate_after(Some(entry(1, 1).log_id)).await.unwrap();
        let others = (2..6).map(|index| entry(3, index)).collect::<Vec<_>>();
        leader.log.blocking_append(others).await.unwrap();
        let vote = Vote { term: 2, voted_for: Some(node(2)), committed: true };
        let rpc = Request {
            vote: to_raft_vote(vote),
            prev_log_id: Some(entry(1, 1).log_id),
            entries: unread,
            leader_commit: None,
        };
        let refused = leader.link.append_entries(rpc, RPCOption::new(TIMEOUT)).await;
        assert!(refused.unwrap_err().to_string().contains("other entries by now"));
        assert_eq!(leader.sent(), []);
    }
}

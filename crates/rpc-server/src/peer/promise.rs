//! This node's part in stop tokens: its promise that of the nodes it shares
//! groups with, one is stopped and no second one.
//!
//! Kept in memory, on purpose: it ends by itself, so nobody is ever locked out.
//! Why that is enough is in `docs/decisions/0008-stop-token.md`.

use std::time::{Duration, Instant};

use datanode_proto::v1;
use parking_lot::Mutex;
use partition_types::{InvalidId, NodeId, RequestId};
use startup_gate::Stage;

use super::replica::Replicas;
use crate::status::Failure;

/// How long a token is good for when nobody says, and at most.
const TTL_DEFAULT: Duration = Duration::from_secs(60);
const TTL_MAX: Duration = Duration::from_secs(60 * 60);
/// Of a holder's name.
const HOLDER_LEN_MAX: usize = 256;

/// The promise of one node, if it gave one.
#[derive(Default)]
pub(crate) struct StopPromise(Mutex<Option<Promise>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Promise {
    /// Who is to stop.
    node_id: NodeId,
    token: RequestId,
    holder: String,
    until: Instant,
    /// The node was seen away since: when it serves again, it has been stopped.
    was_away: bool,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    node_id: NodeId,
    /// `None`: only whether it would be promised.
    token: Option<RequestId>,
    holder: String,
    ttl: Duration,
}

impl StopPromise {
    /// Promises, or says to whom another node is promised.
    fn ask(&self, now: Instant, wanted: Wanted) -> Result<(), v1::StopHeld> {
        let mut promise = self.0.lock();
        if let Some(given) = promise.as_mut().filter(|given| given.until > now) {
            let same_node = given.node_id == wanted.node_id;
            match wanted.token {
                None if same_node => return Ok(()),
                Some(token) if same_node && given.token == token => {
                    given.until = now + wanted.ttl;
                    return Ok(());
                }
                _ => return Err(given.told(now)),
            }
        }
        if let Some(token) = wanted.token {
            let Wanted { node_id, holder, ttl, .. } = wanted;
            let until = now + ttl;
            *promise = Some(Promise { node_id, token, holder, until, was_away: false });
        }
        Ok(())
    }

    /// Takes the promise for a token back.
    fn release(&self, token: RequestId) {
        self.0.lock().take_if(|given| given.token == token);
    }

    /// Hears how a node is. One that was away and serves again has been stopped:
    /// its token is used up.
    pub(super) fn hear(&self, node_id: NodeId, is_serving: bool) {
        let mut promise = self.0.lock();
        let Some(given) = promise.as_mut().filter(|given| given.node_id == node_id) else { return };
        match is_serving {
            false => given.was_away = true,
            true if given.was_away => *promise = None,
            true => {}
        }
    }
}

impl Promise {
    fn told(&self, now: Instant) -> v1::StopHeld {
        let left_ms = self.until.saturating_duration_since(now).as_millis();
        v1::StopHeld {
            node_id: self.node_id.get(),
            holder: self.holder.clone(),
            expires_in_ms: u64::try_from(left_ms).unwrap_or(u64::MAX).max(1),
        }
    }
}

impl Replicas {
    /// Promises that no other node than one is stopped, or takes that back.
    pub(crate) fn promise_stop(
        &self,
        request: v1::PromiseStopRequest,
    ) -> Result<v1::PromiseStopResponse, Failure> {
        let context = self.context();
        let wanted = Wanted {
            node_id: NodeId::new(request.node_id)?,
            token: token_from_wire(&request.token)?,
            ttl: ttl(request.ttl_ms)?,
            holder: holder(request.holder)?,
        };
        let no = |held| Ok(v1::PromiseStopResponse { granted: false, held });
        if request.release {
            if let Some(token) = wanted.token {
                context.stop_promise().release(token);
            }
            return Ok(v1::PromiseStopResponse { granted: true, held: None });
        }
        let us = context.node_id();
        if wanted.node_id != us && !context.gate().is_open() {
            // It is going down itself, by somebody's token or without one.
            let looked = Wanted { token: None, ..wanted };
            let promised = context.stop_promise().ask(Instant::now(), looked).err();
            let drains = context.gate().stage() == Stage::Draining;
            let holder = format!("the drain of node {us}");
            let drain = v1::StopHeld { node_id: us.get(), holder, expires_in_ms: 0 };
            return no(promised.or(drains.then_some(drain)));
        }
        match context.stop_promise().ask(Instant::now(), wanted) {
            Ok(()) => Ok(v1::PromiseStopResponse { granted: true, held: None }),
            Err(held) => no(Some(held)),
        }
    }
}

/// A token as it travels; empty is none.
pub(crate) fn token_from_wire(bytes: &[u8]) -> Result<Option<RequestId>, InvalidId> {
    let named = |invalid| InvalidId { field: "token", ..invalid };
    RequestId::from_wire(bytes).map_err(named)
}

fn ttl(ttl_ms: u64) -> Result<Duration, Failure> {
    match Duration::from_millis(ttl_ms) {
        Duration::ZERO => Ok(TTL_DEFAULT),
        ttl if ttl > TTL_MAX => Err(Failure::field("ttl_ms", "must be at most one hour")),
        ttl => Ok(ttl),
    }
}

fn holder(holder: String) -> Result<String, Failure> {
    match holder.len() {
        0 => Ok("somebody".to_owned()),
        len if len > HOLDER_LEN_MAX => Err(Failure::field("holder", "must be at most 256 bytes")),
        _ => Ok(holder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64) -> NodeId {
        NodeId::new(id).expect("above 0")
    }

    fn token(byte: u8) -> RequestId {
        RequestId::from_bytes([byte; 16])
    }

    fn wanted(node_id: u64, token: Option<RequestId>) -> Wanted {
        let ttl = Duration::from_secs(10);
        Wanted { node_id: node(node_id), token, holder: "A".to_owned(), ttl }
    }

    /// Node 1 is promised to token 1. What is said to these, so many seconds later.
    fn check(after_s: u64, node_id: u64, token: Option<RequestId>, granted: bool) {
        let (promise, now) = (StopPromise::default(), Instant::now());
        promise.ask(now, wanted(1, Some(self::token(1)))).expect("it is free");
        let later = now + Duration::from_secs(after_s);
        let said = promise.ask(later, wanted(node_id, token));
        assert_eq!(said.is_ok(), granted, "{after_s} s, {node_id}, {token:?}: {said:?}");
        if let Err(held) = said {
            let left_ms = 10_000 - after_s * 1000;
            assert_eq!((held.node_id, held.holder.as_str()), (1, "A"));
            assert_eq!(held.expires_in_ms, left_ms);
        }
    }

    #[test]
    fn one_node_one_token_until_it_ends() {
        check(9, 1, Some(token(1)), true);
        check(9, 1, Some(token(2)), false);
        check(9, 2, Some(token(2)), false);
        check(9, 2, Some(token(1)), false);
        check(9, 1, None, true);
        check(9, 2, None, false);
        check(10, 2, Some(token(2)), true);
        check(10, 2, None, true);
    }

    #[test]
    fn a_look_promises_nothing_and_a_repeat_prolongs() {
        let (promise, now) = (StopPromise::default(), Instant::now());
        let after = |s| now + Duration::from_secs(s);
        promise.ask(now, wanted(1, None)).expect("it is free");
        promise.ask(now, wanted(2, Some(token(2)))).expect("it is free still");
        promise.ask(after(9), wanted(2, Some(token(2)))).expect("it is its own");
        promise.ask(after(18), wanted(1, Some(token(1)))).expect_err("it was prolonged");
        promise.ask(after(19), wanted(1, Some(token(1)))).expect("it ended");
    }

    #[test]
    fn it_ends_when_it_is_given_back_or_the_node_was_away_and_serves_again() {
        let (promise, now) = (StopPromise::default(), Instant::now());
        let is_free = || promise.ask(now, wanted(9, None)).is_ok();
        promise.ask(now, wanted(1, Some(token(1)))).expect("it is free");
        promise.release(token(2));
        assert!(!is_free(), "that was another one's");
        promise.release(token(1));
        assert!(is_free());
        promise.ask(now, wanted(1, Some(token(3)))).expect("it is free");
        promise.hear(node(1), true);
        promise.hear(node(2), false);
        promise.hear(node(2), true);
        assert!(!is_free(), "node 1 did not go yet");
        promise.hear(node(1), false);
        promise.hear(node(1), false);
        assert!(!is_free(), "it is away");
        promise.hear(node(1), true);
        assert!(is_free());
    }
}

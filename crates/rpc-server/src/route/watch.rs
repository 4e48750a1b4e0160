//! WatchRoutes: every known route, then each change.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use datanode_proto::v1;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tonic::Status;

use super::known_routes;
use crate::context::NodeContext;

/// Changes that come together are told together.
const SETTLE: Duration = Duration::from_millis(20);
/// Routes of one message.
const MESSAGE_ROUTES: usize = 1000;

struct Watcher {
    context: NodeContext,
    changes: watch::Receiver<u64>,
    /// What the caller knows.
    told: BTreeMap<u64, v1::Route>,
    ready: VecDeque<v1::WatchRoutesResponse>,
}

/// The stream of one caller; the layer ends it when the port closes.
pub(super) fn watch(
    context: NodeContext,
) -> BoxStream<'static, Result<v1::WatchRoutesResponse, Status>> {
    let changes = context.peers().subscribe_routes();
    let told = known_routes(&context);
    // The first message comes even when there is nothing to tell: it says that
    // the caller knows all there is.
    let ready = messages(told.values().cloned().collect(), Vec::new());
    let watcher = Watcher { context, changes, told, ready };
    stream::unfold(watcher, Watcher::step).boxed()
}

impl Watcher {
    async fn step(mut self) -> Option<(Result<v1::WatchRoutesResponse, Status>, Self)> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some((Ok(message), self));
            }
            self.changes.changed().await.ok()?;
            tokio::time::sleep(SETTLE).await;
            let known = known_routes(&self.context);
            let (changed, removed) = difference(&self.told, &known);
            self.told = known;
            if !changed.is_empty() || !removed.is_empty() {
                self.ready = messages(changed, removed);
            }
        }
    }
}

/// The routes that are new or other in `new`, and the ids that are gone.
fn difference(
    old: &BTreeMap<u64, v1::Route>,
    new: &BTreeMap<u64, v1::Route>,
) -> (Vec<v1::Route>, Vec<u64>) {
    let is_new = |(id, route): &(&u64, &v1::Route)| old.get(id) != Some(*route);
    let changed = new.iter().filter(is_new).map(|(_, route)| route.clone()).collect();
    let removed = old.keys().filter(|id| !new.contains_key(id)).copied().collect();
    (changed, removed)
}

fn messages(routes: Vec<v1::Route>, removed: Vec<u64>) -> VecDeque<v1::WatchRoutesResponse> {
    let mut first = v1::WatchRoutesResponse { routes, removed_partition_ids: removed };
    let mut messages = VecDeque::new();
    while first.routes.len() > MESSAGE_ROUTES {
        let rest = first.routes.split_off(MESSAGE_ROUTES);
        let full = std::mem::replace(&mut first.routes, rest);
        messages
            .push_back(v1::WatchRoutesResponse { routes: full, removed_partition_ids: Vec::new() });
    }
    messages.push_back(first);
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(routes: &[(u64, u64)]) -> BTreeMap<u64, v1::Route> {
        let route = |&(partition_id, epoch)| {
            (partition_id, v1::Route { partition_id, epoch, ..v1::Route::default() })
        };
        routes.iter().map(route).collect()
    }

    #[test]
    fn only_what_changed_is_told() {
        let check = |old: &[(u64, u64)], new: &[(u64, u64)], changed: &[u64], gone: &[u64]| {
            let (routes, removed) = difference(&table(old), &table(new));
            let ids: Vec<u64> = routes.iter().map(|route| route.partition_id).collect();
            assert_eq!((ids.as_slice(), removed.as_slice()), (changed, gone), "{old:?} {new:?}");
        };
        check(&[], &[], &[], &[]);
        check(&[], &[(1, 1)], &[1], &[]);
        check(&[(1, 1), (2, 1)], &[(1, 1), (2, 2)], &[2], &[]);
        check(&[(1, 1), (2, 1)], &[(2, 1), (3, 1)], &[3], &[1]);
    }

    #[test]
    fn many_routes_are_told_in_several_messages() {
        for (count, lens) in [(0, vec![0]), (1000, vec![1000]), (2001, vec![1000, 1000, 1])] {
            let routes = vec![v1::Route::default(); count];
            let messages = messages(routes, vec![7]);
            assert!(messages.iter().map(|message| message.routes.len()).eq(lens));
            let removed = messages.iter().flat_map(|message| &message.removed_partition_ids);
            assert!(removed.eq(&[7]), "told once");
        }
    }
}

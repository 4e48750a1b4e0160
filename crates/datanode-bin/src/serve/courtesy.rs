//! A start that yields: nodes that serve on the same machine come first.
//!
//! A start takes every core that it gets. Where several nodes share a machine, in a
//! trial or as one process a disk, clients of the others would wait for it. So
//! the threads of a starting node have a lower priority until its client port
//! opens, or it has yielded long enough. On a machine of its own that changes nothing.
//!
//! Only where the priority may be raised again (`CAP_SYS_NICE`, or a limit that
//! allows it): otherwise the node would serve with it, too.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, getpriority_process, setpriority_process};

/// How much is yielded. A start has some twenty threads that want to run: of a core that
/// two threads of others want too they get about a seventh.
const YIELDED: i32 = 18;
/// How long at most: what others never leave is taken in the end.
const LONGEST: Duration = Duration::from_secs(5);
/// The bit of `CAP_SYS_NICE`.
const CAP_SYS_NICE: u32 = 23;

/// Until it is dropped, threads have a lower priority.
pub(super) struct Courtesy {
    /// Before it began, and since.
    usual: i32,
    lowered: i32,
}

impl Courtesy {
    /// Lowers this thread, and those that it starts from now on. `None` where that
    /// could not be undone.
    pub(super) fn begin() -> Option<Self> {
        let usual = getpriority_process(None).ok()?;
        let lowered = usual + YIELDED;
        if !may_be_raised_to(usual) || setpriority_process(None, lowered).is_err() {
            return None;
        }
        Some(Self { usual, lowered })
    }

    /// Yields for as long as anybody can ask of a start.
    ///
    /// # Cancel safety
    /// Dropping the future ends it.
    pub(super) async fn hold(self) {
        tokio::time::sleep(LONGEST).await;
    }
}

impl Drop for Courtesy {
    /// Raises every thread again that has the priority of the start; RocksDB's
    /// threads in the background have a lower one.
    fn drop(&mut self) {
        let Ok(threads) = fs::read_dir("/proc/self/task") else { return };
        for thread in threads.flatten() {
            let id = thread.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(id) = id.and_then(Pid::from_raw) else { continue };
            if getpriority_process(Some(id)) == Ok(self.lowered)
                && let Err(error) = setpriority_process(Some(id), self.usual)
            {
                tracing::debug!(%error, "a thread keeps the priority of the start");
            }
        }
    }
}

fn may_be_raised_to(priority: i32) -> bool {
    let limit = rlimit::getrlimit(rlimit::Resource::NICE).map_or(0, |(soft, _)| soft);
    // It stands for the priorities from 20 minus itself on.
    let is_allowed = i64::try_from(limit).is_ok_and(|limit| 20 - limit <= i64::from(priority));
    is_allowed || is_capable(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn is_capable(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|bits| bits >> CAP_SYS_NICE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lowered_is_raised_again_and_nothing_else() {
        // Threads of their own: the test runner's priority is not ours.
        std::thread::spawn(|| {
            let before = getpriority_process(None).unwrap();
            let Some(courtesy) = Courtesy::begin() else {
                assert_eq!(getpriority_process(None), Ok(before), "not lowered for good");
                return;
            };
            assert_eq!(getpriority_process(None), Ok(before + YIELDED));
            let (told, tell) = std::sync::mpsc::channel();
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let slower = std::thread::spawn(move || {
                setpriority_process(None, before + YIELDED + 1).unwrap();
                told.send(()).unwrap();
                wait.recv().unwrap();
                getpriority_process(None)
            });
            tell.recv().unwrap();
            drop(courtesy);
            go_on.send(()).unwrap();
            assert_eq!(getpriority_process(None), Ok(before));
            assert_eq!(slower.join().unwrap(), Ok(before + YIELDED + 1));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn the_capability_is_bit_23() {
        assert!(is_capable("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!is_capable("CapEff:\t00000000a80425fb\n"), "a container's usual set");
        assert!(!is_capable(""));
    }
}

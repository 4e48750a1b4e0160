//! Futures whose panics are caught, so that one unit's bug stays its own.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// Runs a future to its end, or to its panic, whose message is the error.
///
/// `AssertUnwindSafe`: a future that panicked is not polled again but dropped.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(message(panic.as_ref()))),
    })
    .await
}

/// The text of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_a_value_from_a_panic() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let text: Result<(), _> = caught(async { panic!("plain") }).await;
        assert_eq!(text, Err("plain".to_owned()));
        let formatted: Result<(), _> = caught(async { panic!("unit {}", 3) }).await;
        assert_eq!(formatted, Err("unit 3".to_owned()));
        let other: Result<(), _> = caught(async { std::panic::panic_any(5_u8) }).await;
        assert_eq!(other, Err("without a message".to_owned()));
    }
}

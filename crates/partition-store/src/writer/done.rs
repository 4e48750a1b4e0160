//! A callback that is called, whatever happens.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Callback = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Calls its callback exactly once: with a result, or, when it is dropped
/// without one, with an error. Whoever waits for a log write that nobody answers
/// would wait for good.
pub(crate) struct Done(Option<Callback>);

impl Done {
    pub(crate) fn new(callback: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Self(Some(Box::new(callback)))
    }

    pub(crate) fn call(mut self, result: io::Result<()>) {
        self.finish(result);
    }

    fn finish(&mut self, result: io::Result<()>) {
        let Some(callback) = self.0.take() else { return };
        // One caller's bug must not take the log writer from all the others.
        if catch_unwind(AssertUnwindSafe(move || callback(result))).is_err() {
            tracing::error!("the callback of a log write panicked");
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        self.finish(Err(super::stopped()));
    }
}

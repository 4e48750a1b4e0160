//! How a port's server ends.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Calls under way get this long when a port closes.
const GRACE: Duration = Duration::from_secs(2);

/// Says so when a server ended that was not told to.
pub(crate) fn log_end(port: &str, served: Result<(), tonic::transport::Error>) {
    if let Err(error) = served {
        tracing::error!(port, %error, "port failed");
    }
}

/// Tells a server to end, and ends it when that takes too long.
pub(crate) async fn close(closing: CancellationToken, mut server: JoinHandle<()>) {
    closing.cancel();
    if tokio::time::timeout(GRACE, &mut server).await.is_err() {
        server.abort();
        // Aborted, it has nothing to say.
        let _ = server.await;
    }
}

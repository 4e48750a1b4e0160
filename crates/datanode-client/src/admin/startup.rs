//! Following a start.

use datanode_proto::v1;
use tokio::time::sleep;
use tonic::Streaming;

use super::AdminClient;
use crate::call::Target;
use crate::error::Error;

/// The reports of a start, from [`AdminClient::watch_startup`].
#[derive(Debug)]
pub struct StartupWatch {
    client: AdminClient,
    reports: Option<Streaming<v1::WatchStartupResponse>>,
    done: bool,
}

impl AdminClient {
    /// Follows the start of the node: its report now, then at each change,
    /// until the gate is open.
    #[must_use]
    pub fn watch_startup(&self) -> StartupWatch {
        StartupWatch { client: self.clone(), reports: None, done: false }
    }
}

impl StartupWatch {
    /// The next report; `None` after the one of an open gate. A watch that
    /// ends before that, because the node goes down or starts over, is taken up
    /// again after a pause.
    ///
    /// # Errors
    /// [`Error`] when the node does not answer within
    /// [`ClientConfig::timeout`](crate::ClientConfig::timeout).
    ///
    /// # Cancel safety
    /// Safe: a dropped call loses no report.
    pub async fn next(&mut self) -> Result<Option<v1::StartupReport>, Error> {
        if self.done {
            return Ok(None);
        }
        loop {
            let reports = match &mut self.reports {
                Some(reports) => reports,
                None => {
                    let opened = self.open().await?;
                    self.reports.insert(opened)
                }
            };
            match reports.message().await {
                Ok(Some(v1::WatchStartupResponse { report: Some(report) })) => {
                    self.done = report.ready;
                    return Ok(Some(report));
                }
                Ok(Some(v1::WatchStartupResponse { report: None })) => {}
                // It ends with an open gate, or because the node went away.
                Ok(None) | Err(_) => {
                    self.reports = None;
                    // A node on its way down ends every watch at once, until it
                    // is gone.
                    sleep(self.client.core.config.back_off_max).await;
                }
            }
        }
    }

    async fn open(&self) -> Result<Streaming<v1::WatchStartupResponse>, Error> {
        self.client
            .core
            .call(Target::Anybody, |attempt| async move {
                // No deadline for the node: it sends until the gate is open.
                attempt.nodes().watch_startup(v1::WatchStartupRequest {}).await
            })
            .await
    }
}

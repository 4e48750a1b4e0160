//! What a client can be told about time, sizes and retries.

use std::time::Duration;

/// Settings of a [`Client`](crate::Client) or [`AdminClient`](crate::AdminClient).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long a call may take with all its repeats. A stream that moves is
    /// never cut: there the time counts from its last progress.
    /// Default: 30 s. Minimum: 1 ms.
    pub timeout: Duration,
    /// How long one attempt may take before another is made.
    /// Default: 10 s. Minimum: 1 ms.
    pub attempt_timeout: Duration,
    /// How long a connection may take to be made. Default: 2 s. Minimum: 1 ms.
    pub connect_timeout: Duration,
    /// The first pause between two rounds over the nodes; it doubles from
    /// there. Default: 20 ms. Minimum: 1 ms.
    pub back_off_min: Duration,
    /// The longest pause, unless a node asks for a longer one. It decides how
    /// soon a port that opens again is noticed. Default: 200 ms.
    pub back_off_max: Duration,
    /// How many bytes of an upload go into one message.
    /// Default: 1 MiB. Between 1 and 4,000,000 bytes.
    pub upload_frame_len_bytes: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            back_off_min: Duration::from_millis(20),
            back_off_max: Duration::from_millis(200),
            upload_frame_len_bytes: 1 << 20,
        }
    }
}

impl ClientConfig {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`InvalidConfig`] naming the first that is not.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let millisecond = Duration::from_millis(1);
        let times = [
            ("timeout", self.timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("connect_timeout", self.connect_timeout),
            ("back_off_min", self.back_off_min),
        ];
        for (field, value) in times {
            if value < millisecond {
                return Err(InvalidConfig::Field { field, problem: "must be at least 1 ms" });
            }
        }
        if self.back_off_max < self.back_off_min {
            let problem = "must be at least back_off_min";
            return Err(InvalidConfig::Field { field: "back_off_max", problem });
        }
        if !(1..=4_000_000).contains(&self.upload_frame_len_bytes) {
            let problem = "must be between 1 and 4,000,000 bytes";
            return Err(InvalidConfig::Field { field: "upload_frame_len_bytes", problem });
        }
        Ok(())
    }
}

/// A client cannot be made from what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A setting is out of its range.
    #[error("{field} {problem}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no endpoint to talk to.
    #[error("no endpoint given")]
    NoEndpoint,
    /// An endpoint is not `host:port`.
    #[error("endpoint {0:?} is not host:port")]
    Endpoint(String),
}

//! The clocks of a simulated cluster: how often what happens. Nodes of one cluster
//! have the same.

use std::time::Duration;

/// How often what happens, and how long what may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) heartbeat: Duration,
    pub(crate) election: (Duration, Duration),
    /// How long a start waits for leaders before it opens without them.
    pub(crate) elect_timeout: Duration,
    pub(crate) confirm_interval: Duration,
    /// Between two words to each peer.
    pub(crate) greet_every: Duration,
    /// Between two looks at the peers.
    pub(crate) look_every: Duration,
    /// A peer that says nothing for this long is away.
    pub(crate) silent: Duration,
    /// How often the states' sums are compared; `None`: never.
    pub(crate) sum_every: Option<Duration>,
    /// Some starts load slowly.
    pub(crate) slow_loads: bool,
}

impl Pace {
    /// For faults: much happens in little time.
    pub(crate) fn hurried() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election: (Duration::from_millis(600), Duration::from_millis(1200)),
            elect_timeout: Duration::from_secs(6),
            confirm_interval: Duration::from_millis(20),
            greet_every: Duration::from_millis(200),
            look_every: Duration::from_millis(20),
            silent: Duration::from_millis(900),
            sum_every: Some(Duration::from_millis(1500)),
            slow_loads: true,
        }
    }

    /// For figures: what `datanode` has where nobody configures anything.
    pub(crate) fn of_the_product() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            election: (Duration::from_secs(2), Duration::from_secs(4)),
            elect_timeout: Duration::from_secs(30),
            confirm_interval: Duration::from_millis(50),
            greet_every: Duration::from_secs(1),
            look_every: Duration::from_millis(20),
            silent: Duration::from_secs(7),
            sum_every: None,
            slow_loads: false,
        }
    }
}

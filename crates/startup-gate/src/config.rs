//! What a start may cost and what it may leave out.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// What happens to a unit that cannot be made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// A faulty unit is quarantined, an unconfirmed one waived; the rest goes on.
    #[default]
    Quarantine,
    /// The port stays closed: a faulty unit makes the start fail once all units
    /// are checked, an unconfirmed one is waited for without a deadline.
    Strict,
}

/// How much work of one kind runs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Concurrency {
    /// In one lane. Default: 4.
    pub per_lane: NonZeroUsize,
    /// In all lanes together. Default: 64.
    pub overall: NonZeroUsize,
}

impl Concurrency {
    /// Both bounds at once.
    ///
    /// # Panics
    /// If one of them is zero.
    #[must_use]
    pub const fn new(per_lane: usize, overall: usize) -> Self {
        Self {
            per_lane: NonZeroUsize::new(per_lane).expect("per_lane is at least 1"),
            overall: NonZeroUsize::new(overall).expect("overall is at least 1"),
        }
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        Self::new(4, 64)
    }
}

/// Hard bounds of time on the way up. `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadlines {
    /// For one unit's join, again for its load, and again for its check.
    /// Default: none; a slow unit is left alone while it makes progress.
    pub unit: Option<Duration>,
    /// For joining, loading and checking all units: those that are not done then are
    /// quarantined. Default: none.
    pub load: Option<Duration>,
    /// For the node-wide check: the start fails. Default: none.
    pub check: Option<Duration>,
    /// For opening the port: the start fails. Default: none.
    pub listen: Option<Duration>,
}

/// Bounds of time on the way down; a step that reaches its bound is dropped and
/// the next one begins. `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownDeadlines {
    /// For [`Step::Notice`](crate::Step::Notice). Default: 60 s.
    pub notice: Option<Duration>,
    /// For [`Step::HandOver`](crate::Step::HandOver). Default: 30 s.
    pub hand_over: Option<Duration>,
    /// For [`Step::Close`](crate::Step::Close). Default: 30 s.
    pub close: Option<Duration>,
    /// For [`Step::Flush`](crate::Step::Flush). Default: none.
    pub flush: Option<Duration>,
    /// For [`Step::Unload`](crate::Step::Unload). Default: none.
    pub unload: Option<Duration>,
}

impl Default for DownDeadlines {
    fn default() -> Self {
        Self {
            notice: Some(Duration::from_secs(60)),
            hand_over: Some(Duration::from_secs(30)),
            close: Some(Duration::from_secs(30)),
            flush: None,
            unload: None,
        }
    }
}

/// The gate's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Default: [`Policy::Quarantine`].
    pub policy: Policy,
    /// How many units join at once, beside the loads; only for
    /// [`Startup::load_joined`](crate::Startup::load_joined). A join is a few
    /// point reads. Default: 16 a lane, 64 overall.
    pub join_concurrency: Concurrency,
    /// How many units load at once. Default: 4 a lane, 64 overall.
    pub load_concurrency: Concurrency,
    /// How many units are checked at once. Default: 4 a lane, 64 overall.
    pub check_concurrency: Concurrency,
    /// After this long in *elect*, units that are not confirmed are waived.
    /// Default: 30 s. [`Policy::Strict`] ignores it.
    pub elect_timeout: Duration,
    /// The pause before a unit is asked again whether it is confirmed; it
    /// doubles up to twenty times this. Default: 50 ms. Minimum: 1 ms.
    pub confirm_interval: Duration,
    /// A unit whose join, load or check shows no progress for this long is given
    /// up. Its lane begins nothing new until another unit in it gets an answer;
    /// when none does, and as many in a row were given up as the lane has load
    /// slots (or join slots, if it has fewer; two at least), so is the rest of
    /// the lane. Default: 60 s. Minimum: 1 ms.
    pub stall_timeout: Duration,
    /// The largest part of the units that may be quarantined, 0 to 1; rounded
    /// up, so that anything above 0 allows one. Default: 0.1.
    pub max_quarantined: f64,
    /// Opens in spite of `max_quarantined`. Default: false.
    pub accept_degraded: bool,
    /// Hard bounds on the way up. Default: none.
    pub deadlines: Deadlines,
    /// Bounds on the way down.
    pub down: DownDeadlines,
    /// Names of lanes for the report, by index. Default: `lane 0`, `lane 1`, …
    pub lane_names: Vec<String>,
    /// The zero of the report's times. Default: when the config was made.
    pub process_start: Instant,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            join_concurrency: Concurrency::new(16, 64),
            load_concurrency: Concurrency::default(),
            check_concurrency: Concurrency::default(),
            elect_timeout: Duration::from_secs(30),
            confirm_interval: Duration::from_millis(50),
            stall_timeout: Duration::from_secs(60),
            max_quarantined: 0.1,
            accept_degraded: false,
            deadlines: Deadlines::default(),
            down: DownDeadlines::default(),
            lane_names: Vec::new(),
            process_start: Instant::now(),
        }
    }
}

/// A setting outside its bounds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `max_quarantined` is not within 0 to 1.
    #[error("max_quarantined is {value}; it is a part of the units, 0 to 1")]
    MaxQuarantined {
        /// What was set.
        value: f64,
    },
    /// A pause or timeout below its minimum.
    #[error("{name} is {value:?}; the minimum is 1 ms")]
    TooShort {
        /// Which setting.
        name: &'static str,
        /// What was set.
        value: Duration,
    },
}

impl Config {
    const SHORTEST: Duration = Duration::from_millis(1);

    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// The first setting that is outside them.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.max_quarantined) {
            return Err(ConfigError::MaxQuarantined { value: self.max_quarantined });
        }
        for (name, value) in
            [("confirm_interval", self.confirm_interval), ("stall_timeout", self.stall_timeout)]
        {
            if value < Self::SHORTEST {
                return Err(ConfigError::TooShort { name, value });
            }
        }
        Ok(())
    }
}

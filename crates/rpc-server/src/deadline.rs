//! How long a call may take: what its caller said, or the configured default.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// The header in which a gRPC caller says how long it waits.
const HEADER: &str = "grpc-timeout";
/// Answering just before the caller gives up lets the caller read the answer,
/// and comes before tonic's own timer, which would say CANCELLED.
const AHEAD: Duration = Duration::from_millis(5);
/// No caller waits longer than this; it keeps the arithmetic inside its range.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The time of one call, set by the layer that every call passes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallTime {
    caller: Option<Instant>,
    default: Duration,
}

impl CallTime {
    /// Reads what the caller said; a header that says nothing is ignored.
    pub(crate) fn read(headers: &HeaderMap, default: Duration) -> Self {
        let said = headers.get(HEADER).and_then(|value| parse(value.to_str().ok()?));
        let caller = said.map(|timeout| Instant::now() + timeout.saturating_sub(AHEAD));
        Self { caller, default }
    }

    /// A call whose caller said nothing.
    pub(crate) fn unsaid(default: Duration) -> Self {
        Self { caller: None, default }
    }

    /// When the caller gives up, if it said so.
    pub(crate) fn caller(&self) -> Option<Instant> {
        self.caller
    }

    /// When one step that begins now has to be done. A call of one step is its
    /// step; a stream takes as long as its caller lets it.
    pub(crate) fn step(&self) -> Instant {
        self.caller.unwrap_or_else(|| Instant::now() + self.default)
    }
}

/// A gRPC time-out: up to eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let split = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(split)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(timeout.min(TIMEOUT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_grpc_clients_send() {
        let ms = |count| Some(Duration::from_millis(count));
        let cases: [(&str, Option<Duration>); 12] = [
            ("1H", ms(3_600_000)),
            ("2M", ms(120_000)),
            ("3S", ms(3000)),
            ("4m", ms(4)),
            ("5000u", ms(5)),
            ("6000000n", ms(6)),
            ("99999999H", Some(TIMEOUT_MAX)),
            ("100000000m", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_callers_time_goes_before_the_default() {
        let default = Duration::from_secs(10);
        let mut headers = HeaderMap::new();
        assert!(CallTime::read(&headers, default).caller().is_none());
        headers.insert(HEADER, "2S".parse().expect("a header"));
        let time = CallTime::read(&headers, default);
        assert_eq!(time.caller(), Some(time.step()));
        assert!(time.step() <= Instant::now() + Duration::from_secs(2));
        assert!(time.step() > Instant::now() + Duration::from_secs(1));
    }
}

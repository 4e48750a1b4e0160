//! Connections to nodes: one channel an address, made when first used.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use crate::config::{ClientConfig, InvalidConfig};

/// How long an address that refused is asked after the others.
const SHUNNED_FOR: Duration = Duration::from_millis(250);
/// Enough for the frames that are on their way at 10 GbE and 1 ms.
const STREAM_WINDOW_LEN_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_LEN_BYTES: u32 = 16 << 20;

/// `host:port` of a node's client or admin port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address(Arc<str>);

impl Address {
    /// Takes `host:port`, with or without `http://` in front.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let invalid = || InvalidConfig::Endpoint(text.to_owned());
        let bare = text.trim().strip_prefix("http://").unwrap_or(text.trim());
        let bare = bare.trim_end_matches('/');
        let (host, port) = bare.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        if host.is_empty() || port == 0 || host.contains(['/', ' ', ',']) {
            return Err(invalid());
        }
        // The channel's own parser has the last word on hosts.
        Endpoint::from_shared(format!("http://{bare}")).map_err(|_| invalid())?;
        Ok(Self(bare.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every channel of a client.
#[derive(Debug)]
pub(crate) struct Pool {
    connect_timeout: Duration,
    slots: Mutex<HashMap<Address, Slot>>,
}

#[derive(Debug)]
struct Slot {
    channel: Channel,
    shunned_until: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        Self { connect_timeout: config.connect_timeout, slots: Mutex::default() }
    }

    /// The channel to `address`. It connects when used, and again whenever it
    /// is not connected: a port that opens again is found by the next attempt.
    pub(crate) fn channel(&self, address: &Address) -> Channel {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(address) {
            return slot.channel.clone();
        }
        let channel = self.connect_lazy(address);
        let slot = Slot { channel: channel.clone(), shunned_until: None };
        slots.insert(address.clone(), slot);
        channel
    }

    /// Marks an address that refused or lost a connection.
    pub(crate) fn shun(&self, address: &Address) {
        if let Some(slot) = self.slots.lock().get_mut(address) {
            slot.shunned_until = Some(Instant::now() + SHUNNED_FOR);
        }
    }

    /// Takes the mark away: it answered.
    pub(crate) fn praise(&self, address: &Address) {
        if let Some(slot) = self.slots.lock().get_mut(address) {
            slot.shunned_until = None;
        }
    }

    pub(crate) fn is_shunned(&self, address: &Address) -> bool {
        let slots = self.slots.lock();
        let until = slots.get(address).and_then(|slot| slot.shunned_until);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn connect_lazy(&self, address: &Address) -> Channel {
        Endpoint::from_shared(format!("http://{address}"))
            .expect("Address::parse has tried it")
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            // A machine that vanishes without a reset is noticed within 15 s.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .initial_stream_window_size(STREAM_WINDOW_LEN_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_LEN_BYTES)
            .connect_lazy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_addresses() {
        let good = [
            ("127.0.0.1:17310", "127.0.0.1:17310"),
            ("http://node-1.example:80/", "node-1.example:80"),
            (" [::1]:17310 ", "[::1]:17310"),
        ];
        for (text, address) in good {
            assert_eq!(Address::parse(text).unwrap().as_str(), address, "{text:?}");
        }
        for text in ["", "localhost", ":17310", "a:b", "a:0", "a:70000", "https://a:1", "a b:1"] {
            let refused = Address::parse(text).unwrap_err();
            assert_eq!(refused, InvalidConfig::Endpoint(text.to_owned()));
        }
    }
}

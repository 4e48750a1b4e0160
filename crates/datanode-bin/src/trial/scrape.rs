//! A node's `/metrics`, as Prometheus gets them, and the few figures of them
//! that count here.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A node that takes longer to tell its figures is given up.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a node tells of its leaderships since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Scrape {
    /// Partitions that it leads.
    pub(super) leaders: u64,
    /// Leaderships that it took while its client port was closed.
    pub(super) self_led_prelisten: u64,
    /// Seconds that it led so.
    pub(super) leader_unserved_seconds: f64,
}

/// Asks a node.
///
/// # Errors
/// It does not answer, or not with every figure: one that is absent is not 0.
pub(super) async fn scrape(admin: SocketAddr) -> anyhow::Result<Scrape> {
    let asked = tokio::time::timeout(TIMEOUT, get(admin)).await;
    let page = asked.context("no answer in 5 s").and_then(|page| page);
    parse(&page.with_context(|| format!("read the metrics of {admin}"))?)
}

/// Asks a node for one figure without labels.
///
/// # Errors
/// It does not answer, or not with that figure.
pub(super) async fn figure(admin: SocketAddr, name: &str) -> anyhow::Result<f64> {
    let asked = tokio::time::timeout(TIMEOUT, get(admin)).await;
    let page = asked.context("no answer in 5 s").and_then(|page| page);
    find(&page.with_context(|| format!("read the metrics of {admin}"))?, name)
}

fn find(page: &str, name: &str) -> anyhow::Result<f64> {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.with_context(|| format!("there is no {name}"))?;
    Ok(value.parse::<f64>()?)
}

async fn get(admin: SocketAddr) -> anyhow::Result<String> {
    let mut http = TcpStream::connect(admin).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    http.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    http.read_to_string(&mut page).await?;
    if !page.starts_with("HTTP/1.1 200 ") {
        bail!("{}", page.lines().next().unwrap_or("an empty answer"));
    }
    Ok(page)
}

fn parse(page: &str) -> anyhow::Result<Scrape> {
    let figure = |name: &str| find(page, name);
    // Of far fewer than 2^53.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let count = |name: &str| anyhow::Ok(figure(name)? as u64);
    Ok(Scrape {
        leaders: count("datanode_partition_leaders")?,
        self_led_prelisten: count("datanode_self_led_prelisten_total")?,
        leader_unserved_seconds: figure("datanode_leader_unserved_seconds_total")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_figures_and_misses_what_is_absent() {
        let page = "# TYPE datanode_partition_leaders gauge\ndatanode_partition_leaders 12\n\n\
                    datanode_self_led_prelisten_total 3\n\
                    datanode_leader_unserved_seconds_total 0.2\n";
        let expected = Scrape { leaders: 12, self_led_prelisten: 3, leader_unserved_seconds: 0.2 };
        assert_eq!(parse(page).unwrap(), expected);
        let without = page.replace("datanode_self_led_prelisten_total", "other");
        assert!(parse(&without).unwrap_err().to_string().contains("self_led_prelisten"));
    }
}

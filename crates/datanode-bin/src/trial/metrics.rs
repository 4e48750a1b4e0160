//! Reads a node's `/metrics`, as Prometheus would.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One scrape.
pub(crate) struct Scrape(String);

/// Scrapes a node's admin port.
///
/// # Errors
/// It does not answer, or not with success.
pub(crate) async fn read(admin: SocketAddr) -> Result<Scrape> {
    let mut stream = TcpStream::connect(admin).await.context("connect to the admin port")?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
    ensure!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{head}");
    Ok(Scrape(body.to_owned()))
}

impl Scrape {
    /// The sum of a metric over its labels; 0 when it is not there.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let values = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let is_it = series.split('{').next() == Some(name);
            is_it.then(|| value.parse::<f64>().ok()).flatten()
        });
        values.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_labels_and_takes_no_other_name() {
        let text = "# TYPE a_total counter\na_total{path=\"x\"} 1\na_total{path=\"y\"} 2.5\n\
                    a_total_more 7\nb 3\n";
        let scrape = Scrape(text.to_owned());
        assert!((scrape.sum("a_total") - 3.5).abs() < 1e-9);
        assert!((scrape.sum("b") - 3.0).abs() < 1e-9);
        assert!(scrape.sum("c").abs() < 1e-9);
    }
}

//! Latency and throughput over the time of a trial, as an SVG: what a table of
//! maxima does not show.

use std::fmt::Write;

use super::figures::{Span, ms, quantile};
use super::record::Op;

/// Latencies are drawn by windows of this length, in microseconds.
const BUCKET_US: u64 = 100_000;
/// Throughput likewise.
const RATE_US: u64 = 1_000_000;

/// Sizes are pixels.
const WIDTH: f64 = 1200.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 1180.0;
const LATENCY: Panel = Panel { top: 60.0, bottom: 360.0 };
const RATE: Panel = Panel { top: 400.0, bottom: 500.0 };
const HEIGHT: f64 = 545.0;

/// The lowest latency that is drawn, in milliseconds.
const MS_MIN: f64 = 0.5;

const STYLE: &str = "text{font:12px sans-serif;fill:#333}.end{text-anchor:end}\
.mid{text-anchor:middle}.grid{stroke:#ddd}.down{fill:#f3d9d2}.still{fill:#b8b8b8}.bound{stroke:#b00;\
stroke-dasharray:6 4}.max{fill:none;stroke:#c2552d}.p99{fill:none;stroke:#2d6fc2}\
.rate{fill:none;stroke:#3b7d3b}";

/// A restart on the time axis.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// From the signal until the port was open again.
    pub(super) away: Span,
    /// What stands above it.
    pub(super) name: String,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    /// In the order of their ends.
    pub(super) ops: &'a [Op],
    /// The part of the time that is shown.
    pub(super) span: Span,
    pub(super) restarts: &'a [Mark],
    /// When the disk stood still.
    pub(super) stills: &'a [Span],
    /// The bound on the slowest request, in milliseconds.
    pub(super) bound_ms: f64,
}

#[derive(Debug, Clone, Copy)]
struct Panel {
    top: f64,
    bottom: f64,
}

impl Panel {
    /// Where a part of the whole height stands.
    fn y(self, part: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * part.clamp(0.0, 1.0)
    }
}

impl Plot<'_> {
    /// Draws it.
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             width=\"{WIDTH}\" height=\"{HEIGHT}\">\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"22\">{}</text>\n",
            escaped(self.title)
        );
        self.marks(&mut svg);
        self.latencies(&mut svg);
        self.rates(&mut svg);
        self.time_axis(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, at_us: u64) -> f64 {
        let len_us = (self.span.end_us - self.span.start_us).max(1) as f64;
        let since_us = at_us.clamp(self.span.start_us, self.span.end_us) - self.span.start_us;
        LEFT + (RIGHT - LEFT) * since_us as f64 / len_us
    }

    fn marks(&self, svg: &mut String) {
        for Mark { away, name } in self.restarts {
            let (x, width) = self.shade(svg, "down", *away, RATE.bottom);
            let (middle, y, name) = (x + width / 2.0, LATENCY.top - 6.0, escaped(name));
            put(svg, format_args!("<text class=\"mid\" x=\"{middle:.1}\" y=\"{y}\">{name}</text>"));
        }
        let shown = |still: &&Span| {
            still.end_us >= self.span.start_us && still.start_us <= self.span.end_us
        };
        for still in self.stills.iter().filter(shown) {
            self.shade(svg, "still", *still, LATENCY.bottom);
        }
    }

    /// A time as a shade from the top down. Where it begins, and how wide it is.
    fn shade(&self, svg: &mut String, class: &str, time: Span, bottom: f64) -> (f64, f64) {
        let (x, top) = (self.x(time.start_us), LATENCY.top);
        let (width, height) = ((self.x(time.end_us) - x).max(1.0), bottom - top);
        put(
            svg,
            format_args!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\"/>"
            ),
        );
        (x, width)
    }

    fn latencies(&self, svg: &mut String) {
        let buckets = self.buckets(BUCKET_US);
        let largest = buckets.iter().filter_map(|bucket| bucket.last()).max();
        let ms_max = ms(largest.copied().unwrap_or_default()).max(self.bound_ms) * 1.2;
        let y = |ms: f64| LATENCY.y((ms / MS_MIN).ln() / (ms_max / MS_MIN).ln());
        for grid_ms in [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000] {
            if f64::from(grid_ms) < ms_max {
                grid(svg, y(f64::from(grid_ms)), &format!("{grid_ms} ms"));
            }
        }
        let bound = y(self.bound_ms);
        put(svg, format_args!("<path class=\"bound\" d=\"M{LEFT} {bound:.1}H{RIGHT}\"/>"));
        let at = |per_mille| {
            let height = move |bucket: &Vec<u64>| y(ms(quantile(bucket, per_mille)));
            self.path(&buckets, BUCKET_US, height)
        };
        put(svg, format_args!("<path class=\"max\" d=\"{}\"/>", at(1000)));
        put(svg, format_args!("<path class=\"p99\" d=\"{}\"/>", at(990)));
        let bound_ms = self.bound_ms;
        put(
            svg,
            format_args!(
                "<text x=\"{LEFT}\" y=\"40\">slowest (red) and 99th percentile (blue) of the requests \
             that ended in each 100 ms; red shade: from the signal until the port is open; grey: the \
             disk stood still; dashed: {bound_ms} ms</text>"
            ),
        );
    }

    fn rates(&self, svg: &mut String) {
        let buckets = self.buckets(RATE_US);
        let most = buckets.iter().map(Vec::len).max().unwrap_or_default().max(1);
        let height = |bucket: &Vec<u64>| RATE.y(bucket.len() as f64 / most as f64);
        grid(svg, RATE.y(0.0), "0");
        grid(svg, RATE.y(1.0), &format!("{most}/s"));
        // The last one is cut short by the end.
        let whole = &buckets[..buckets.len().saturating_sub(1)];
        let path = self.path(whole, RATE_US, height);
        put(svg, format_args!("<path class=\"rate\" d=\"{path}\"/>"));
        let y = RATE.top - 8.0;
        put(svg, format_args!("<text x=\"{LEFT}\" y=\"{y}\">requests in each second</text>"));
    }

    fn time_axis(&self, svg: &mut String) {
        let len_s = (self.span.end_us - self.span.start_us) / 1_000_000;
        let step_s = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800];
        let step_s = step_s.into_iter().find(|step| len_s / step <= 15).unwrap_or(3600);
        let y = RATE.bottom + 18.0;
        for second in (0..=len_s).step_by(usize::try_from(step_s).expect("an hour at most")) {
            let x = self.x(self.span.start_us + second * 1_000_000);
            put(svg, format_args!("<text class=\"mid\" x=\"{x:.1}\" y=\"{y}\">{second} s</text>"));
        }
    }

    /// The times of the requests that ended in each window, sorted.
    fn buckets(&self, len_us: u64) -> Vec<Vec<u64>> {
        let count = (self.span.end_us - self.span.start_us).div_ceil(len_us);
        let mut buckets = vec![Vec::new(); usize::try_from(count).expect("it is in memory")];
        for op in self.ops {
            let Some(since_us) = op.ended_us().checked_sub(self.span.start_us) else { continue };
            let index = usize::try_from(since_us / len_us).unwrap_or(usize::MAX);
            if let Some(bucket) = buckets.get_mut(index) {
                bucket.push(op.took_us);
            }
        }
        buckets.iter_mut().for_each(|bucket| bucket.sort_unstable());
        buckets
    }

    /// A line through the windows; it is broken where nothing ended.
    fn path(&self, buckets: &[Vec<u64>], len_us: u64, height: impl Fn(&Vec<u64>) -> f64) -> String {
        let (mut path, mut draws) = (String::new(), false);
        for (bucket, index) in buckets.iter().zip(0..) {
            if bucket.is_empty() {
                draws = false;
                continue;
            }
            let x = self.x(self.span.start_us + index * len_us + len_us / 2);
            let command = if draws { 'L' } else { 'M' };
            write!(path, "{command}{x:.1} {:.1}", height(bucket)).expect("a String takes all");
            draws = true;
        }
        path
    }
}

fn grid(svg: &mut String, y: f64, name: &str) {
    put(svg, format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"));
    let (x, y) = (LEFT - 6.0, y + 4.0);
    put(svg, format_args!("<text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{name}</text>"));
}

fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(svg, "{line}").expect("a String takes all");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::record::op;
    use super::*;

    #[test]
    fn draws_every_window_and_breaks_the_line_where_nothing_ended() {
        // Every 100 ms, but nothing between 2 and 3 s.
        let times = (1..50).map(|n| 1000 + n * 100).filter(|at| !(2000..3000).contains(at));
        let ops: Vec<_> = times.map(|at| op(at + 30, 20)).collect();
        let span = Span { start_us: 1_000_000, end_us: 6_000_000 };
        let away = Span { start_us: 2_000_000, end_us: 3_000_000 };
        let restarts = [Mark { away, name: "node 1 & <2>".to_owned() }];
        // The last one is after the time that is shown.
        let stills = [(2_100_000, 2_400_000), (6_500_000, 7_000_000)];
        let stills = stills.map(|(start_us, end_us)| Span { start_us, end_us });
        let (title, restarts, bound_ms) = ("a trial", &restarts, 250.0);
        let plot = Plot { title, ops: &ops, span, restarts, stills: &stills, bound_ms };
        let svg = plot.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("node 1 &amp; &lt;2>"));
        let max = svg.lines().find(|line| line.contains("class=\"max\"")).unwrap();
        let path = max.split("d=\"").nth(1).unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        assert_eq!(path.matches(['M', 'L']).count(), ops.len(), "{path}");
        assert_eq!(svg.matches("class=\"still\"").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let nothing = Plot { ops: &[], restarts: &[], ..plot };
        assert!(!nothing.svg().contains("NaN"));
    }
}

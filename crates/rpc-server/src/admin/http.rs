//! The pages of the admin port: for Prometheus, for probes, for people.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use datanode_proto::v1;
use serde::Deserialize;
use serde_json::json;
use startup_gate::{Report, Stage, StepReport};
use tonic::{Code, Status};

use super::{Metrics, json, safe_to_stop, status};
use crate::context::NodeContext;
use crate::peer::Replicas;

/// Prometheus 3 fails a scrape with any other type.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// One page; what it shows comes from `/api/v1/status`.
const PAGE: &str = include_str!("page.html");

/// What the pages are made of.
#[derive(Clone)]
struct Pages {
    context: NodeContext,
    metrics: Metrics,
}

/// The pages, and what answers on any other path.
pub(crate) fn router(context: NodeContext, metrics: Metrics) -> Router {
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/startup", get(startup))
        .route("/safe-to-stop", get(may_stop))
        .route("/api/v1/status", get(api_status))
        .fallback(not_found)
        .with_state(Pages { context, metrics })
}

async fn metrics_text(State(pages): State<Pages>) -> Response {
    match pages.metrics.render(&pages.context) {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn startup(State(pages): State<Pages>) -> Json<Report> {
    Json(pages.context.gate().report())
}

async fn api_status(State(pages): State<Pages>) -> Json<serde_json::Value> {
    Json(json::status(&pages.context))
}

async fn readyz(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let report = pages.context.gate().report();
    let draining = status::is_draining(&pages.context);
    let ready = report.ready && !draining;
    let verbose = query
        .as_deref()
        .unwrap_or_default()
        .split('&')
        .any(|key| key == "verbose" || key.starts_with("verbose="));
    let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text =
        if verbose { every_reason(&report, draining, ready) } else { verdict(&report, draining) };
    (code, text).into_response()
}

/// One line.
fn verdict(report: &Report, draining: bool) -> String {
    match (draining, report.ready, &report.failure) {
        (true, ..) => "not ready: draining\n".to_owned(),
        (false, true, _) => "ok\n".to_owned(),
        (false, false, Some(failure)) => format!("not ready: the start failed: {failure}\n"),
        (false, false, None) if report.stage == Stage::Stopped => "not ready: stopped\n".to_owned(),
        (false, false, None) => {
            format!("not ready: in {}, {} partitions block\n", report.stage, blocking(report))
        }
    }
}

/// The verdict, a line a stage, and a line a partition that is not as it should be.
fn every_reason(report: &Report, draining: bool, ready: bool) -> String {
    let mut lines = Vec::new();
    for stage in &report.stages {
        let (mark, word) = match stage.end_ms {
            Some(_) => ('+', "ok"),
            None => ('-', "running"),
        };
        let mut line = format!(
            "[{mark}]{} {word}: {}/{} done, {} failed, {} waived",
            stage.stage,
            stage.units_done,
            stage.units_total,
            stage.units_failed,
            stage.units_waived
        );
        if stage.units_deferred > 0 {
            line += &format!(", {} deferred until they are needed", stage.units_deferred);
        }
        lines.push(line);
    }
    let lists = [
        ("blocking", &report.blocking),
        ("quarantined", &report.quarantined),
        ("waived", &report.waived),
    ];
    for (word, units) in lists {
        for unit in units {
            let reason = unit.reason.as_deref().unwrap_or("in progress");
            lines.push(format!("{word}: partition {} in {}: {reason}", unit.unit, unit.stage));
        }
    }
    let unlisted = blocking(report).saturating_sub(report.blocking.len());
    if report.stage.is_starting() && unlisted > 0 {
        lines.push(format!("blocking: and {unlisted} more"));
    }
    // A way down that was called off is over.
    if report.stage > Stage::Serving {
        lines.extend(report.steps.iter().map(step_line));
    }
    lines.push(if ready { "ready\n".to_owned() } else { verdict(report, draining) });
    lines.join("\n")
}

/// A step of the way down.
fn step_line(step: &StepReport) -> String {
    match step.end {
        Some(end) => format!("[+]{} {end}", step.step),
        None => format!("[-]{} running", step.step),
    }
}

/// How many partitions the gate waits for; the report lists the first of them.
fn blocking(report: &Report) -> usize {
    let units = report.units;
    units.total() - units.ready - units.waived - units.deferred - units.quarantined
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    node: u64,
}

/// 200 when the node may stop, 503 when it may not: `curl -f` tells.
async fn may_stop(
    State(pages): State<Pages>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    let Ok(Query(which)) = which else {
        return (StatusCode::BAD_REQUEST, "node must be a node's id\n").into_response();
    };
    let replicas = Replicas::new(pages.context.clone());
    let request = v1::SafeToStopRequest { node_id: which.node, hold: None };
    match safe_to_stop::ask(&replicas, request).await {
        Ok(answer) => {
            let code = if answer.safe { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let blockers: Vec<_> = answer
                .blockers
                .iter()
                .map(|b| json!({ "partition_id": b.partition_id, "reason": b.reason }))
                .collect();
            let held = answer.held.map(|held| {
                json!({
                    "node_id": held.node_id,
                    "holder": held.holder,
                    "expires_in_ms": held.expires_in_ms,
                })
            });
            let body = json!({ "safe": answer.safe, "blockers": blockers, "held": held });
            (code, Json(body)).into_response()
        }
        Err(failure) => {
            let body = json!({ "safe": false, "error": failure.to_string() });
            let code = match Status::from(failure).code() {
                Code::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (code, Json(body)).into_response()
        }
    }
}

/// A gRPC client that asks for a service which is not here is told so in its
/// own words; everybody else gets a plain 404.
async fn not_found(headers: HeaderMap) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
        let status = Status::unimplemented("this port does not serve it");
        return status.into_http::<axum::body::Body>();
    }
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

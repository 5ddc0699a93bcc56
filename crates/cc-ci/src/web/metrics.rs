//! `/metrics`, in the text format that Prometheus reads.
//!
//! Requests are counted by route template, never by path, so that nobody can grow the number of series by asking for
//! pages that do not exist. What the database knows is read when somebody looks, and so is right after a restart too.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::store::views;
use crate::store::word;

use super::error::WebError;
use super::state::{Reconciler, WebState};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
}

/// What the process counts itself.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Asked, Counter>,
    seconds: Family<OfRoute, Histogram>,
    pub(super) viewers: Gauge,
    pub(super) lines: Arc<Counter<u64, AtomicU64>>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("ccci");
        let requests = Family::<Asked, Counter>::default();
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let seconds =
            Family::<OfRoute, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14)));
        registry.register("http_request_duration_seconds", "Time until the answer began", seconds.clone());
        let viewers = Gauge::default();
        registry.register("live_viewers", "Live logs that are being watched", viewers.clone());
        let lines = Arc::new(Counter::default());
        registry.register("live_lines", "Log lines that were sent to viewers", Counter::clone(&lines));
        Self { registry, requests, seconds, viewers, lines }
    }

    /// Counts an answer.
    pub(super) fn request(&self, method: &str, route: &str, status: StatusCode, took: Duration) {
        // Methods are free text in HTTP; a list keeps the number of series bounded.
        let method = if matches!(method, "GET" | "HEAD" | "POST") { method } else { "other" };
        let asked = Asked { method: method.to_owned(), route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&asked).inc();
        self.seconds.get_or_create(&OfRoute { route: route.to_owned() }).observe(took.as_secs_f64());
    }
}

/// `/metrics`
pub(super) async fn serve(State(state): State<WebState>) -> Result<Response, WebError> {
    let mut connection = state.store.read().await?;
    let vitals = views::vitals(&mut connection).await?;
    let ends = views::ends(&mut connection).await?;
    drop(connection);
    let now = state.clock.now();
    let age = |since: Option<jiff::Timestamp>| since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
    let mut text = String::new();
    for (name, help, value) in [
        ("ccci_runs_queued", "Runs that wait", vitals.queued),
        ("ccci_runs_running", "Runs that run", vitals.running),
        ("ccci_queue_oldest_age_seconds", "How long the oldest queued run has waited", age(vitals.oldest_queued)),
        ("ccci_outbox_due", "Writes that the forge has not got yet", vitals.outbox_due),
        ("ccci_outbox_oldest_age_seconds", "How long the oldest of them has waited", age(vitals.outbox_since)),
        ("ccci_deliveries_open", "Deliveries of the forge that are not decided", vitals.deliveries_open),
        ("ccci_database_bytes", "Size of the database file", vitals.database_bytes),
    ] {
        // Writing into a String cannot fail.
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n");
    }
    // Numbers, names and our own version: nothing here needs an escape.
    let version = env!("CARGO_PKG_VERSION");
    let _ = write!(
        text,
        "# HELP ccci_build_info Version of this program.\n# TYPE ccci_build_info gauge\nccci_build_info{{version=\"{version}\"}} 1\n"
    );
    reconcilers(&mut text, &(state.reconcilers)());
    text.push_str("# HELP ccci_runs_finished How runs ended.\n# TYPE ccci_runs_finished counter\n");
    for end in ends {
        let (outcome, verdict) = (word(&end.outcome), word(&end.verdict));
        let _ = writeln!(text, "ccci_runs_finished_total{{outcome=\"{outcome}\",verdict=\"{verdict}\"}} {}", end.runs);
    }
    encode(&mut text, &state.metrics.registry).map_err(|error| WebError::Internal(error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// The reconcilers, so that one that fails or hangs can raise an alarm.
fn reconcilers(text: &mut String, all: &[Reconciler]) {
    type Value = fn(&Reconciler) -> Option<f64>;
    let families: [(&str, &str, &str, Value); 3] = [
        ("ccci_reconciler_passes", "Passes that ended well", "counter", |one| Some(one.passes as f64)),
        ("ccci_reconciler_failures_in_row", "Failed passes since the last good one", "gauge", |one| {
            Some(f64::from(one.failures))
        }),
        ("ccci_reconciler_last_success_timestamp_seconds", "When a pass last ended well", "gauge", |one| {
            one.last_well.map(|at| at.as_millisecond() as f64 / 1000.0)
        }),
    ];
    for (name, help, kind, value) in families {
        let _ = write!(text, "# HELP {name} {help}.\n# TYPE {name} {kind}\n");
        let end = if kind == "counter" { "_total" } else { "" };
        for one in all {
            if let Some(value) = value(one) {
                let _ = writeln!(text, "{name}{end}{{reconciler=\"{}\"}} {value}", one.name);
            }
        }
    }
}

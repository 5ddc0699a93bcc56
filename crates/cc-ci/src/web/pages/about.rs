//! `/about`: what this is, how it is doing, and where machines find the same.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::domain::{ReasonCode, Stage};
use crate::store::views;

use super::{Page, html};
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::WebState;
use crate::web::view;

struct Reason {
    code: &'static str,
    fault: &'static str,
    summary: &'static str,
    remedy: &'static str,
}

#[derive(Template)]
#[template(path = "about.html")]
struct About {
    page: Page,
    version: &'static str,
    vitals: Vec<(&'static str, String, &'static str)>,
    stages: [Stage; 5],
    reasons: Vec<Reason>,
    base: String,
}

/// `/about`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, WebError> {
    let vitals = views::vitals(&mut *state.store.read().await?).await?;
    let now = state.clock.now();
    let since = |at: Option<jiff::Timestamp>| {
        at.map_or_else(String::new, |at| format!(", the oldest {}", view::time(at, now).ago))
    };
    html(&About {
        page: Page::new("About and health", "about", &state, &viewer),
        version: env!("CARGO_PKG_VERSION"),
        vitals: vec![
            ("Running", vitals.running.to_string(), "runs"),
            ("Waiting", format!("{}{}", vitals.queued, since(vitals.oldest_queued)), "runs in the queue"),
            (
                "To be told",
                format!("{}{}", vitals.outbox_due, since(vitals.outbox_since)),
                "writes the forge has not got yet",
            ),
            ("To be decided", vitals.deliveries_open.to_string(), "comments the forge has sent"),
            ("Database", view::bytes(u64::try_from(vitals.database_bytes).unwrap_or(0)), "on disk"),
        ],
        stages: Stage::ALL,
        reasons: ReasonCode::ALL
            .iter()
            .map(|code| Reason {
                code: code.as_str(),
                fault: code.fault().as_str(),
                summary: code.summary(),
                remedy: code.remedy(),
            })
            .collect(),
        base: state.settings.public_url.as_str().trim_end_matches('/').to_owned(),
    })
}

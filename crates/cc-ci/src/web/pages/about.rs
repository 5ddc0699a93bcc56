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
use crate::web::state::Reconciler;
use crate::web::state::WebState;
use crate::web::view::{self, Mark, Piece, Time};

struct Reason {
    code: &'static str,
    fault: &'static str,
    summary: Vec<Piece>,
    remedy: Vec<Piece>,
}

/// A reconciler for people.
struct Loop {
    name: &'static str,
    about: &'static str,
    mark: Mark,
    last: Option<Time>,
    error: String,
}

#[derive(Template)]
#[template(path = "about.html")]
struct About {
    page: Page,
    version: &'static str,
    vitals: Vec<(&'static str, String, &'static str)>,
    loops: Vec<Loop>,
    now: Time,
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
        loops: (state.reconcilers)().into_iter().map(|one| show_loop(one, now)).collect(),
        now: view::time(now, now),
        stages: Stage::ALL,
        reasons: ReasonCode::ALL
            .iter()
            .map(|code| Reason {
                code: code.as_str(),
                fault: code.fault().as_str(),
                summary: view::pieces(code.summary()),
                remedy: view::pieces(code.remedy()),
            })
            .collect(),
        base: state.settings.public_url.as_str().trim_end_matches('/').to_owned(),
    })
}

fn show_loop(one: Reconciler, now: jiff::Timestamp) -> Loop {
    let mark = |sign, word, class| Mark { sign, word, class };
    let mark = match (one.failures, one.last_well) {
        (0, Some(_)) => mark("✔", "well", "good"),
        (0, None) => mark("…", "begins", "busy"),
        (1.., _) => mark("✘", "fails", "bad"),
    };
    let tries = crate::results::words::count(usize::try_from(one.failures).unwrap_or(usize::MAX), "time");
    Loop {
        name: one.name,
        about: about_loop(one.name),
        mark,
        last: one.last_well.map(|at| view::time(at, now)),
        error: one.error.map_or_else(String::new, |why| format!("{} ({tries} in a row)", view::line(&why))),
    }
}

/// What a reconciler is for. One that is not known here is shown by its name alone.
fn about_loop(name: &str) -> &'static str {
    match name {
        "enrol" => "looks up repositories and open pull requests, keeps hooks",
        "poll" => "finds comments whose webhook was lost",
        "decide" => "decides what comments ask for",
        "queue" => "starts the next run when there is room",
        "publish" => "tells the forge statuses and comments",
        "recover" => "compares runs with what is deployed",
        _ => "",
    }
}

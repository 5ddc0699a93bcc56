//! `/queue`: what runs, what waits, and for how long.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use jiff::SignedDuration;

use crate::queue::{choose, wait};
use crate::store::runs::{self, RunRow, RunState};
use crate::store::{StoreError, leases, views};

use super::{Page, RunLine, html};
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::WebState;
use crate::web::view;

/// Past runs that an expectation is made of.
const PAST: i64 = 15;

/// A run in the queue and when it may start.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// The run.
    pub run: RunRow,
    /// Place in the queue, and waits; absent while the same commit runs, or its time has not come.
    pub wait: Option<wait::Wait>,
}

/// What runs and what waits, in the order in which it will probably start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    /// Running, oldest first, each with the time it probably still needs.
    pub running: Vec<(RunRow, SignedDuration)>,
    /// Waiting.
    pub waiting: Vec<Waiting>,
}

/// Reads the queue.
pub(crate) async fn line(state: &WebState) -> Result<Line, StoreError> {
    let now = state.clock.now();
    let mut connection = state.store.read().await?;
    let open = runs::open(&mut connection).await?;
    let claimable = leases::claimable(&mut connection, now).await?;
    let of_all = views::past_durations_of_all(&mut connection, 200).await?;
    let mut expected = std::collections::BTreeMap::new();
    for run in &open {
        if !expected.contains_key(&run.what.recipe) {
            let past = runs::past_durations(&mut connection, &run.what.recipe, PAST).await?;
            expected.insert(run.what.recipe.clone(), wait::expected_duration(&past, &of_all));
        }
    }
    drop(connection);
    let need = |run: &RunRow| expected.get(&run.what.recipe).copied().unwrap_or(wait::FIRST_GUESS);
    let left = |run: &RunRow| {
        let passed = run.started.map_or(SignedDuration::ZERO, |at| now.duration_since(at));
        need(run).saturating_sub(passed).max(SignedDuration::ZERO)
    };
    let (running, mut queued): (Vec<RunRow>, Vec<RunRow>) =
        open.into_iter().partition(|run| run.state == RunState::Running);
    let running: Vec<(RunRow, SignedDuration)> =
        running.into_iter().map(|run| (left(&run), run)).map(|(l, r)| (r, l)).collect();
    let order = choose::order(&claimable);
    let place = |run: &RunRow| order.iter().position(|number| *number == run.number);
    queued.sort_by_key(|run| (place(run).unwrap_or(usize::MAX), run.number));
    let in_order: Vec<SignedDuration> = queued.iter().filter(|run| place(run).is_some()).map(need).collect();
    let busy: Vec<SignedDuration> = running.iter().map(|(_, left)| *left).collect();
    let waits = wait::waits(&busy, &in_order, state.settings.slots);
    let waiting = queued
        .into_iter()
        .map(|run| {
            let wait = place(&run).and_then(|at| waits.get(at).copied());
            Waiting { run, wait }
        })
        .collect();
    Ok(Line { running, waiting })
}

struct WaitingLine {
    line: RunLine,
    position: String,
    until: String,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    page: Page,
    running: Vec<(RunLine, String)>,
    waiting: Vec<WaitingLine>,
    slots: usize,
}

/// `/queue`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, WebError> {
    let line = line(&state).await?;
    html(&Queue {
        page: Page::new("Queue", "queue", &state, &viewer),
        running: line.running.iter().map(|(run, left)| (RunLine::new(run, &state), about(*left))).collect(),
        waiting: line
            .waiting
            .iter()
            .map(|waiting| WaitingLine {
                line: RunLine::new(&waiting.run, &state),
                position: waiting.wait.map_or_else(|| "–".to_owned(), |wait| wait.position.to_string()),
                until: waiting.wait.map_or_else(|| "not yet due".to_owned(), |wait| about(wait.until_start)),
            })
            .collect(),
        slots: state.settings.slots,
    })
}

/// A wait as the end of a sentence: `starts in about 4 min`.
pub(crate) fn soon(wait: SignedDuration) -> String {
    if wait <= SignedDuration::ZERO { about(wait) } else { format!("in {}", about(wait)) }
}

/// An expectation is rough, and is told so.
fn about(duration: SignedDuration) -> String {
    match duration.as_secs() {
        i64::MIN..=0 => "any moment".to_owned(),
        1..=59 => "under a minute".to_owned(),
        60..=3_599 => format!("about {} min", (duration.as_secs() + 59) / 60),
        _ => format!("about {}", view::span(duration)),
    }
}

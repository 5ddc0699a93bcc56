//! `/recipes/{name}`: a recipe's levels and stage durations over time, and its runs.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;

use crate::domain::{Stage, Verdict};
use crate::results::words;
use crate::store::runs::{self, RunRow};
use crate::store::views::{self, StageTime};

use super::{Page, RunLine, html, repo_url};
use crate::web::chart::{self, Column, Curve};
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::{OpenPull, WebState};
use crate::web::view::{self, Mark};

/// Judged runs in the charts.
const CHARTED: i64 = 60;
/// Columns that a level chart has room for at least.
const ROOM: i64 = 20;
/// Runs on a page.
const PAGE: i64 = 50;

/// Where the list begins.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct From {
    before: Option<i64>,
}

struct HistoryRow {
    line: RunLine,
    stages: Vec<(Stage, Option<(Mark, String)>)>,
}

#[derive(Template)]
#[template(path = "recipe.html")]
struct Recipe {
    page: Page,
    name: String,
    path: String,
    repo: Option<String>,
    level: Option<i64>,
    version: String,
    columns: Vec<Column>,
    left: i64,
    width: i64,
    oldest_day: String,
    newest_day: String,
    curves: Vec<(Curve, String, String, String)>,
    history: Vec<HistoryRow>,
    runs: Vec<RunLine>,
    older: Option<i64>,
    first: bool,
    pulls: Vec<OpenPull>,
    badge: String,
}

/// `/recipes/{name}`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Path(name): Path<String>,
    from: Result<Query<From>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, WebError> {
    let bad = || WebError::Bad("`before` is the number of a run".into());
    let Query(from) = from.map_err(|_| bad())?;
    let before = from.before.unwrap_or(i64::MAX);
    if before < 1 {
        return Err(bad());
    }
    let missing = || WebError::NotFound(format!("a run of recipe {}", view::line(&name)));
    let mut connection = state.store.read().await?;
    let recipe = views::recipe(&mut connection, &name, CHARTED).await?.ok_or_else(missing)?;
    let numbers: Vec<i64> = recipe.judged.iter().map(|run| run.number).collect();
    let times = views::stage_times(&mut connection, &numbers).await?;
    let mut rows = runs::of_recipe(&mut connection, &name, before, PAGE + 1).await?;
    drop(connection);
    let more = rows.len() as i64 > PAGE;
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let repo_name = recipe.newest.what.repo_name.clone();
    let pulls = state.open_pulls.borrow().get(&repo_name).cloned().unwrap_or_default();
    let shown = view::line(&name);
    let path = super::segment(&name);
    let charted = i64::try_from(numbers.len()).unwrap_or(CHARTED);
    let (room, step) = (charted.max(ROOM), i64::try_from(chart::STEP).unwrap_or(1));
    let base = state.settings.public_url.as_str().trim_end_matches('/').to_owned();
    html(&Recipe {
        page: Page::new(shown.clone(), "recipes", &state, &viewer),
        badge: format!("[![cc-ci]({base}/recipes/{path}/badge.svg)]({base}/recipes/{path})"),
        repo: state.settings.forge_url.as_ref().and_then(|forge| repo_url(forge, &repo_name)),
        level: recipe.telling().filter(|run| run.verdict != Some(Verdict::Error)).and_then(|run| run.level),
        version: recipe.version.as_deref().map(view::line).unwrap_or_default(),
        columns: chart::levels(&recipe.judged),
        // The newest run stands at the right edge, and a short history does not make broad columns.
        left: (charted - room) * step,
        width: room * step,
        oldest_day: recipe.judged.last().map(|run| day(run, &state)).unwrap_or_default(),
        newest_day: recipe.judged.first().map(|run| day(run, &state)).unwrap_or_default(),
        curves: chart::curves(&times)
            .into_iter()
            .map(|c| {
                let (newest, median, longest) =
                    (words::duration(c.newest), words::duration(c.median), words::duration(c.longest));
                (c, newest, median, longest)
            })
            .collect(),
        history: recipe.judged.iter().map(|run| history_row(RunLine::new(run, &state), &times)).collect(),
        older: if more { rows.last().map(|run| run.number) } else { None },
        first: from.before.is_none(),
        runs: rows.iter().map(|run| RunLine::new(run, &state)).collect(),
        pulls: pulls.into_iter().map(|pull| OpenPull { number: pull.number, title: view::line(&pull.title) }).collect(),
        name: shown,
        path,
    })
}

/// The day on which a run ended, for the foot of the charts.
fn day(run: &RunRow, state: &WebState) -> String {
    let at = view::time(run.finished.unwrap_or(run.queued), state.clock.now());
    at.exact.split(' ').next().unwrap_or_default().to_owned()
}

fn history_row(line: RunLine, times: &[StageTime]) -> HistoryRow {
    let stages = Stage::ALL
        .into_iter()
        .map(|stage| {
            let found = times.iter().find(|time| time.run_number == line.number && time.stage == stage);
            let cell = found.map(|time| {
                let took = time.duration_ms.and_then(|ms| u64::try_from(ms).ok());
                (view::stage_mark(time.status), view::millis(took))
            });
            (stage, cell)
        })
        .collect();
    HistoryRow { line, stages }
}

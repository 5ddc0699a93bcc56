//! `/runs`: all runs, newest first.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use crate::store::views;

use super::{Page, RunLine, html};
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::WebState;

/// Runs on a page.
const PAGE: i64 = 50;

/// Where the list begins.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct From {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    page: Page,
    runs: Vec<RunLine>,
    older: Option<i64>,
    first: bool,
}

/// `/runs`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    from: Result<Query<From>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, WebError> {
    let Query(from) = from.map_err(|_| WebError::Bad("`before` is the number of a run".into()))?;
    let mut connection = state.store.read().await?;
    let mut rows = views::newest(&mut connection, from.before.unwrap_or(i64::MAX), PAGE + 1).await?;
    drop(connection);
    let more = rows.len() as i64 > PAGE;
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    html(&Runs {
        page: Page::new("Runs", "runs", &state, &viewer),
        older: if more { rows.last().map(|run| run.number) } else { None },
        first: from.before.is_none(),
        runs: rows.iter().map(|run| RunLine::new(run, &state)).collect(),
    })
}

//! `/runs`: all runs, newest first, or those with one verdict.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use crate::domain::Verdict;
use crate::store::runs::Outcome;
use crate::store::views;

use super::{Page, RunLine, html};
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::WebState;

/// Runs on a page.
const PAGE: i64 = 50;

/// Which runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Which {
    /// All.
    #[default]
    #[serde(alias = "")]
    All,
    /// Judged GREEN.
    Green,
    /// Judged RED.
    Red,
    /// Could not be judged.
    Error,
}

impl Which {
    const ALL: [Which; 4] = [Which::All, Which::Green, Which::Red, Which::Error];

    fn verdict(self) -> Option<Verdict> {
        match self {
            Which::All => None,
            Which::Green => Some(Verdict::Green),
            Which::Red => Some(Verdict::Red),
            Which::Error => Some(Verdict::Error),
        }
    }

    fn word(self) -> &'static str {
        self.verdict().map_or("all", Verdict::as_str)
    }

    /// The address of the list, from the newest run or from below a number on.
    fn link(self, before: Option<i64>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if self != Which::All {
            query.append_pair("show", &self.word().to_lowercase());
        }
        if let Some(before) = before {
            query.append_pair("before", &before.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/runs".to_owned() } else { format!("/runs?{query}") }
    }
}

/// The query of the list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    before: Option<i64>,
    show: Which,
}

struct Choice {
    word: &'static str,
    link: String,
    here: bool,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    page: Page,
    choices: Vec<Choice>,
    caption: String,
    runs: Vec<RunLine>,
    newest: Option<String>,
    older: Option<String>,
}

/// `/runs`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    part: Result<Query<Part>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, WebError> {
    let bad = || WebError::Bad("`before` is the number of a run, `show` is green, red or error".into());
    let Query(Part { before, show }) = part.map_err(|_| bad())?;
    let from = before.unwrap_or(i64::MAX);
    if from < 1 {
        return Err(bad());
    }
    let mut connection = state.store.read().await?;
    let mut rows = match show.verdict() {
        None => views::newest(&mut connection, from, PAGE + 1).await?,
        Some(verdict) => views::newest_ended(&mut connection, Outcome::Judged, verdict, from, PAGE + 1).await?,
    };
    drop(connection);
    let more = rows.len() as i64 > PAGE;
    rows.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let choice = |which: Which| Choice { word: which.word(), link: which.link(None), here: which == show };
    html(&Runs {
        page: Page::new("Runs", "runs", &state, &viewer),
        choices: Which::ALL.map(choice).into(),
        caption: match show.verdict() {
            None => "All runs, newest first".to_owned(),
            Some(verdict) => format!("Runs that were judged {verdict}, newest first"),
        },
        newest: before.map(|_| show.link(None)),
        older: rows.last().filter(|_| more).map(|run| show.link(Some(run.number))),
        runs: rows.iter().map(|run| RunLine::new(run, &state)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_goes_on_with_the_same_choice() {
        assert_eq!(Which::All.link(None), "/runs");
        assert_eq!(Which::Red.link(Some(7)), "/runs?show=red&before=7");
    }
}

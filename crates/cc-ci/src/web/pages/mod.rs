//! One file per page: it reads the store, shapes what the template shows, and renders it.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use url::Url;

use crate::domain::{RunId, Verdict};
use crate::results::words;
use crate::store::attempts;
use crate::store::runs::RunRow;

use super::error::WebError;
use super::session::Viewer;
use super::state::{Right, WebState};
use super::view::{self, Mark, Time};

pub(super) mod about;
pub(super) mod actions;
pub(super) mod login;
pub(super) mod overview;
pub(super) mod queue;
pub(super) mod recipe;
pub(super) mod run;
pub(super) mod runs;
mod stage;

/// What the frame around every page needs.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Title of this page.
    pub title: String,
    /// Name of the instance.
    pub site: String,
    /// Which entry of the menu is this page.
    pub here: &'static str,
    /// Version of the assets.
    pub assets: &'static str,
    /// Icon of the tab; that of a run shows how it stands.
    pub icon: &'static str,
    /// Who is logged in.
    pub login: Option<String>,
    /// Token for forms, if the viewer may act.
    pub form: Option<String>,
    /// Token for the form that logs out.
    pub session: bool,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, here: &'static str, state: &WebState, viewer: &Viewer) -> Self {
        let may_act = viewer.right == Some(Right::Act);
        Self {
            title: title.into(),
            site: state.settings.title.clone(),
            here,
            assets: super::assets::VERSION.as_str(),
            icon: "icon.svg",
            login: viewer.person.as_ref().map(|person| view::line(&person.login)),
            form: viewer.form.clone().filter(|_| may_act),
            session: viewer.form.is_some(),
        }
    }
}

impl Page {
    /// With the icon of a status, by its style class.
    pub(super) fn with_icon(mut self, class: &str) -> Self {
        self.icon = match class {
            "good" => "icon-good.svg",
            "bad" => "icon-bad.svg",
            "warn" => "icon-warn.svg",
            "busy" => "icon-busy.svg",
            _ => "icon.svg",
        };
        self
    }
}

/// A run in a list.
#[derive(Debug, Clone)]
pub(super) struct RunLine {
    pub number: i64,
    pub recipe: String,
    /// The recipe as part of an address.
    pub recipe_path: String,
    pub mark: Mark,
    pub level: Option<i64>,
    pub flaky: bool,
    /// The commit, short.
    pub commit: String,
    pub pull: Option<(i64, Option<String>)>,
    pub person: String,
    pub cause: &'static str,
    pub when: Time,
    pub took: String,
    pub why: String,
    pub progress: String,
}

impl RunLine {
    pub(super) fn new(run: &RunRow, state: &WebState) -> Self {
        let at = run.finished.or(run.started).unwrap_or(run.queued);
        let took =
            run.started.zip(run.finished).map_or_else(|| "–".to_owned(), |(s, f)| view::span(f.duration_since(s)));
        Self {
            number: run.number,
            recipe: view::line(&run.what.recipe),
            recipe_path: segment(&run.what.recipe),
            mark: view::run_mark(run),
            // A run that could not be judged says nothing about the commit, whatever held before it broke off.
            level: run.level.filter(|_| run.verdict != Some(Verdict::Error)),
            flaky: run.flaky,
            commit: view::line(words::short(&run.what.commit)),
            pull: run.what.pull.map(|pull| (pull, pull_url(state, &run.what.repo_name, pull))),
            person: view::line(&run.what.person_login),
            cause: view::cause_words(run.what.cause),
            when: view::time(at, state.clock.now()),
            took,
            why: view::line(&run.why),
            progress: view::line(&run.progress),
        }
    }
}

/// Renders a page.
pub(super) fn html<T: Template>(template: &T) -> Result<Response, WebError> {
    Ok(Html(template.render()?).into_response())
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    // As in a form, but a path has no plus for a blank.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Address of a pull request at the forge, if the forge is known and the repository's name is a plain `owner/name`.
pub(super) fn pull_url(state: &WebState, repo_name: &str, pull: i64) -> Option<String> {
    Some(format!("{}/pulls/{pull}", repo_url(state.settings.forge_url.as_ref()?, repo_name)?))
}

/// Address of a repository at the forge.
pub(super) fn repo_url(forge: &Url, repo_name: &str) -> Option<String> {
    let (owner, name) = repo_name.split_once('/')?;
    if owner.is_empty() || name.is_empty() || name.contains('/') || !matches!(forge.scheme(), "http" | "https") {
        return None;
    }
    Some(format!("{}/{}/{}", forge.as_str().trim_end_matches('/'), segment(owner), segment(name)))
}

/// The number of a run that is named by its number or by the id of one of its attempts.
pub(super) async fn run_number(state: &WebState, id: &str) -> Result<i64, WebError> {
    let missing = || WebError::NotFound(format!("run {}", view::line(id)));
    if !id.is_empty() && id.len() <= 18 && id.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = id.parse().map_err(|_| missing())?;
        let mut connection = state.store.read().await?;
        return crate::store::runs::get(&mut connection, number).await?.map(|run| run.number).ok_or_else(missing);
    }
    let run: RunId = id.parse().map_err(|_| missing())?;
    let mut connection = state.store.read().await?;
    attempts::run_of(&mut connection, &run).await?.ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hold_foreign_names_only_as_segments() {
        let forge: Url = "https://git.example.org/".parse().unwrap();
        for (name, want) in [
            ("coop-cloud/gitea", Some("https://git.example.org/coop-cloud/gitea")),
            ("a b/c\"d", Some("https://git.example.org/a%20b/c%22d")),
            ("gitea", None),
            ("a/b/c", None),
            ("/b", None),
        ] {
            assert_eq!(repo_url(&forge, name).as_deref(), want, "{name}");
        }
        assert_eq!(repo_url(&"javascript:x".parse().unwrap(), "a/b"), None);
        assert_eq!(segment("../x?y#z"), "..%2Fx%3Fy%23z");
    }
}

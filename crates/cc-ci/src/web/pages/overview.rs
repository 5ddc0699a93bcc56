//! `/`: all recipes, with filters and an order that are part of the address.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::domain::Verdict;
use crate::store::runs::{RunRow, RunState};
use crate::store::views::{self, RecipeView};

use super::{Page, RunLine, html};
use crate::web::chart::{self, Column};
use crate::web::error::WebError;
use crate::web::session::Viewer;
use crate::web::state::WebState;
use crate::web::view;

/// Judged runs in a trend.
pub(crate) const TREND: i64 = 20;
/// How old the overview may be when it is shown.
const FRESH: Duration = Duration::from_secs(1);

/// The recipes as they were a moment ago, so that many readers cost no more than one.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Option<(Instant, Arc<Vec<RecipeView>>)>>);

impl Cache {
    /// The recipes, at most a second old. Whoever comes while they are read waits for the same reading.
    pub(crate) async fn recipes(&self, state: &WebState) -> Result<Arc<Vec<RecipeView>>, WebError> {
        let mut kept = self.0.lock().await;
        if let Some((at, recipes)) = kept.as_ref()
            && state.clock.since(*at) < FRESH
        {
            return Ok(recipes.clone());
        }
        let at = state.clock.monotonic();
        let recipes = Arc::new(views::recipes(&mut *state.store.read().await?, TREND).await?);
        *kept = Some((at, recipes.clone()));
        Ok(recipes)
    }
}

/// Which verdicts are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Show {
    /// All.
    #[default]
    #[serde(alias = "")]
    All,
    /// Newest judged run is GREEN.
    Green,
    /// RED.
    Red,
    /// ERROR.
    Error,
    /// Something waits or runs.
    Active,
}

/// The order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    /// By name.
    #[default]
    #[serde(alias = "")]
    Name,
    /// Lowest level first.
    Level,
    /// Worst verdict first.
    Verdict,
    /// Newest run first.
    Recent,
    /// Most open pull requests first.
    Pulls,
}

/// The query of the overview.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wish {
    /// Part of the name.
    pub q: String,
    /// Which verdicts.
    pub show: Show,
    /// Only with open pull requests.
    pub pulls: Option<String>,
    /// Order.
    pub sort: Sort,
}

impl Wish {
    fn with_pulls(&self) -> bool {
        self.pulls.as_deref().is_some_and(|text| !text.is_empty())
    }

    /// The same wish in another order, as a query.
    fn sorted(&self, sort: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !self.q.is_empty() {
            query.append_pair("q", &self.q);
        }
        let show = match self.show {
            Show::All => "",
            Show::Green => "green",
            Show::Red => "red",
            Show::Error => "error",
            Show::Active => "active",
        };
        if !show.is_empty() {
            query.append_pair("show", show);
        }
        if self.with_pulls() {
            query.append_pair("pulls", "1");
        }
        query.append_pair("sort", sort);
        format!("/?{}", query.finish())
    }
}

struct Row {
    name: String,
    path: String,
    level: Option<i64>,
    of_pull: bool,
    newest: RunLine,
    version: String,
    trend: Vec<Column>,
    trend_words: String,
    pulls: Option<usize>,
}

struct Heading {
    word: &'static str,
    link: String,
    here: bool,
    order: &'static str,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    page: Page,
    wish: Wish,
    headings: Vec<Heading>,
    rows: Vec<Row>,
    all: usize,
    green: usize,
    red: usize,
    error: usize,
    active: usize,
}

/// `/`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, WebError> {
    let Query(wish) = wish.map_err(|_| WebError::Bad("these filters are not known; begin again from /".into()))?;
    let recipes = state.overview.recipes(&state).await?;
    let pulls = state.open_pulls.borrow().clone();
    let open = |recipe: &RecipeView| pulls.get(&recipe.newest.what.repo_name).map(Vec::len);
    let chosen = choose(&recipes, &wish, open);
    let count = |show| recipes.iter().filter(|recipe| fits(recipe, show)).count();
    let rows = chosen.iter().map(|recipe| row(recipe, open(recipe), &state)).collect();
    let headings = [
        ("Recipe", "name", Sort::Name, "ascending"),
        ("Level", "level", Sort::Level, "ascending"),
        ("Last run", "verdict", Sort::Verdict, "other"),
        ("When", "recent", Sort::Recent, "descending"),
        ("Open PRs", "pulls", Sort::Pulls, "descending"),
    ]
    .map(|(word, key, sort, order)| Heading { word, link: wish.sorted(key), here: wish.sort == sort, order });
    html(&Overview {
        page: Page::new("Recipes", "recipes", &state, &viewer),
        headings: headings.into(),
        rows,
        all: recipes.len(),
        green: count(Show::Green),
        red: count(Show::Red),
        error: count(Show::Error),
        active: count(Show::Active),
        wish,
    })
}

/// The recipes that a wish asks for, in its order.
fn choose<'r>(
    recipes: &'r [RecipeView],
    wish: &Wish,
    open: impl Fn(&RecipeView) -> Option<usize>,
) -> Vec<&'r RecipeView> {
    let needle = wish.q.trim().to_lowercase();
    let mut chosen: Vec<&RecipeView> = recipes
        .iter()
        .filter(|recipe| needle.is_empty() || recipe.newest.what.recipe.to_lowercase().contains(&needle))
        .filter(|recipe| fits(recipe, wish.show))
        .filter(|recipe| !wish.with_pulls() || open(recipe).is_some_and(|open| open > 0))
        .collect();
    // The sort is stable and the recipes come by name, so names break ties.
    match wish.sort {
        Sort::Name => {}
        Sort::Level => chosen.sort_by_key(|recipe| recipe.telling().and_then(|run| run.level)),
        Sort::Verdict => chosen.sort_by_key(|recipe| match recipe.judged.first().and_then(|run| run.verdict) {
            Some(Verdict::Red) => 0,
            Some(Verdict::Error) => 1,
            Some(Verdict::Pending) | None => 2,
            Some(Verdict::Green) => 3,
        }),
        Sort::Recent => chosen.sort_by_key(|recipe| std::cmp::Reverse(recipe.newest.number)),
        Sort::Pulls => chosen.sort_by_key(|recipe| std::cmp::Reverse(open(recipe))),
    }
    chosen
}

fn fits(recipe: &RecipeView, show: Show) -> bool {
    let judged = recipe.judged.first().and_then(|run| run.verdict);
    match show {
        Show::All => true,
        Show::Green => judged == Some(Verdict::Green),
        Show::Red => judged == Some(Verdict::Red),
        Show::Error => judged == Some(Verdict::Error),
        Show::Active => recipe.newest.state != RunState::Finished,
    }
}

fn row(recipe: &RecipeView, pulls: Option<usize>, state: &WebState) -> Row {
    let telling = recipe.telling();
    let newest = RunLine::new(&recipe.newest, state);
    let level = |run: &RunRow| match run.verdict {
        Some(Verdict::Error) | None => "not judged".to_owned(),
        Some(Verdict::Green | Verdict::Red | Verdict::Pending) => run.level.unwrap_or(0).to_string(),
    };
    let levels: Vec<String> = recipe.judged.iter().rev().map(level).collect();
    Row {
        name: newest.recipe.clone(),
        path: newest.recipe_path.clone(),
        level: telling.filter(|run| run.verdict != Some(Verdict::Error)).and_then(|run| run.level),
        of_pull: telling.is_some_and(|run| run.what.pull.is_some()),
        version: recipe.version.as_deref().map(view::line).unwrap_or_default(),
        trend: chart::levels(&recipe.judged),
        trend_words: format!("levels of the last {} judged runs: {}", levels.len(), levels.join(", ")),
        pulls,
        newest,
    }
}

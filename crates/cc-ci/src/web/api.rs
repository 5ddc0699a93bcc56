//! `/api/v1/…`: the pages as JSON. Fields are only ever added; names are those of results.json where they mean the same.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{Run, StageResult};
use crate::store::{attempts, results as records, runs as table, stage_rows, triggers, views, word};

use super::error::WebError;
use super::files::state_word;
use super::pages::overview::TREND;
use super::pages::{actions::person, queue as queue_page, run_number};
use super::session::Viewer;
use super::state::{Done, Enqueue, OpenPull, Reconciler, WebState};
use super::view;

/// Most runs in one answer.
pub(super) const PAGE_MAX: i64 = 200;

/// A run in short.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct RunJson {
    /// Its number.
    number: i64,
    /// Recipe.
    recipe: String,
    /// Repository, `owner/name`.
    repository: String,
    /// Pull request, if it is for one.
    pull: Option<i64>,
    /// Commit, in full.
    commit: String,
    /// `queued`, `running` or `finished`.
    state: String,
    /// How it ended: `judged`, `superseded`, `cancelled`, `overdue`, `exhausted`, `parked`.
    outcome: Option<String>,
    /// `GREEN`, `RED`, `ERROR`; `PENDING` until it has ended.
    verdict: String,
    /// The word that the pages show.
    word: String,
    /// Level 0 to 5, if it was judged.
    level: Option<i64>,
    /// Whether a test was red and then green.
    flaky: bool,
    /// Why it ended or waits, in one line.
    why: String,
    /// What it is doing.
    progress: String,
    /// Who asked first.
    person: String,
    /// What asked first: `comment`, `retest`, `cli`, `web`, `robot`, `schedule`.
    cause: String,
    /// How often it was begun.
    attempt: i64,
    /// When it was queued.
    queued: String,
    /// When its last attempt began.
    started: Option<String>,
    /// When it ended.
    finished: Option<String>,
    /// Its page.
    page: String,
}

/// A recipe.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecipeJson {
    /// Name.
    name: String,
    /// Repository, `owner/name`.
    repository: String,
    /// Level of the newest judged run of the target branch, else of the newest judged run.
    level: Option<i64>,
    /// Version label of the newest judged run.
    version: Option<String>,
    /// The newest run.
    newest: RunJson,
    /// Levels of the last judged runs, oldest first.
    trend: Vec<Option<i64>>,
    /// Open pull requests; absent until the forge has been asked.
    open_pulls: Option<Vec<OpenPull>>,
}

/// A list of runs.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunsJson {
    /// Newest first.
    runs: Vec<RunJson>,
    /// `before` for the next page; absent on the last.
    next_before: Option<i64>,
}

/// An attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AttemptJson {
    /// From 1.
    attempt: i64,
    /// Run id.
    id: String,
    /// When it began.
    started: String,
    /// When it ended.
    ended: Option<String>,
    /// How.
    ending: Option<String>,
    /// Why.
    why: String,
}

/// Somebody who asked for a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggerJson {
    /// Who.
    person: String,
    /// How.
    cause: String,
    /// When.
    at: String,
    /// The verdict that it was given.
    verdict: Option<String>,
}

/// A run with what is known of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunDetail {
    /// In short.
    #[serde(flatten)]
    run: RunJson,
    /// Stages that have ended, in the order in which they did.
    stages: Vec<StageResult>,
    /// Attempts.
    attempts: Vec<AttemptJson>,
    /// Who asked.
    triggers: Vec<TriggerJson>,
    /// Where the full record is, once there is one.
    results: Option<String>,
}

/// A run that runs.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunningJson {
    /// The run.
    run: RunJson,
    /// How long it probably still needs, in seconds.
    expected_seconds: i64,
}

/// A run that waits.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WaitingJson {
    /// The run.
    run: RunJson,
    /// Place in the queue; absent while it may not start yet.
    position: Option<usize>,
    /// Until it probably starts, in seconds.
    until_start_seconds: Option<i64>,
    /// Until it probably has a verdict, in seconds.
    until_verdict_seconds: Option<i64>,
}

/// The queue.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct QueueJson {
    /// What runs.
    running: Vec<RunningJson>,
    /// What waits, in the order in which it will probably start.
    waiting: Vec<WaitingJson>,
    /// How many may run side by side.
    slots: usize,
}

/// How one of the server's reconcilers is doing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReconcilerJson {
    /// Its name.
    name: String,
    /// Whether its last pass ended well.
    well: bool,
    /// Passes that ended well since the server began.
    passes: u64,
    /// When the last one did.
    last_well: Option<String>,
    /// Since when a pass has been going on.
    since: Option<String>,
    /// What went wrong in the last pass.
    error: Option<String>,
    /// Failed passes since the last good one.
    failures: u32,
}

/// How the server is doing.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HealthJson {
    /// Version of cc-ci.
    version: String,
    /// Runs that wait.
    queued: i64,
    /// Runs that run.
    running: i64,
    /// When the longest waiting run was queued.
    oldest_queued: Option<String>,
    /// Writes that the forge has not got yet.
    outbox_due: i64,
    /// Deliveries that are not decided.
    deliveries_open: i64,
    /// Bytes of the database.
    database_bytes: i64,
    /// What goes on all the time.
    reconcilers: Vec<ReconcilerJson>,
}

/// What came of an action.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DoneJson {
    /// The run to look at.
    run: Option<i64>,
    /// A sentence.
    message: String,
}

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErrorJson {
    /// What is wrong.
    error: String,
    /// The HTTP status.
    status: u16,
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part {
    before: Option<i64>,
    limit: Option<i64>,
    recipe: Option<String>,
}

type PartQuery = Result<Query<Part>, axum::extract::rejection::QueryRejection>;

impl RunJson {
    fn new(run: &table::RunRow, state: &WebState) -> Self {
        let base = state.settings.public_url.as_str().trim_end_matches('/');
        Self {
            number: run.number,
            recipe: run.what.recipe.clone(),
            repository: run.what.repo_name.clone(),
            pull: run.what.pull,
            commit: run.what.commit.clone(),
            state: word(&run.state),
            outcome: run.outcome.as_ref().map(word),
            verdict: run.verdict.unwrap_or(crate::domain::Verdict::Pending).to_string(),
            word: state_word(run).to_owned(),
            level: run.level,
            flaky: run.flaky,
            why: run.why.clone(),
            progress: run.progress.clone(),
            person: run.what.person_login.clone(),
            cause: word(&run.what.cause),
            attempt: run.attempt,
            queued: time(run.queued),
            started: run.started.map(time),
            finished: run.finished.map(time),
            page: format!("{base}/runs/{}", run.number),
        }
    }
}

impl RecipeJson {
    fn new(recipe: &views::RecipeView, state: &WebState) -> Self {
        let repository = recipe.newest.what.repo_name.clone();
        Self {
            name: recipe.newest.what.recipe.clone(),
            level: recipe.telling().and_then(|run| run.level),
            version: recipe.version.clone(),
            newest: RunJson::new(&recipe.newest, state),
            trend: recipe.judged.iter().rev().map(|run| run.level).collect(),
            open_pulls: state.open_pulls.borrow().get(&repository).cloned(),
            repository,
        }
    }
}

/// `GET /api/v1/recipes`
pub(super) async fn recipes(State(state): State<WebState>) -> Result<Json<Vec<RecipeJson>>, WebError> {
    let recipes = state.overview.recipes(&state).await?;
    Ok(Json(recipes.iter().map(|recipe| RecipeJson::new(recipe, &state)).collect()))
}

/// `GET /api/v1/recipes/{name}`
pub(super) async fn recipe(
    State(state): State<WebState>,
    Path(name): Path<String>,
) -> Result<Json<RecipeJson>, WebError> {
    let recipe = views::recipe(&mut *state.store.read().await?, &name, TREND).await?;
    recipe
        .map(|recipe| Json(RecipeJson::new(&recipe, &state)))
        .ok_or_else(|| WebError::NotFound("a run of this recipe".into()))
}

/// `GET /api/v1/runs`
pub(super) async fn runs(State(state): State<WebState>, part: PartQuery) -> Result<Json<RunsJson>, WebError> {
    let bad = || WebError::Bad(format!("`before` is the number of a run, `limit` is a number from 1 to {PAGE_MAX}"));
    let Query(part) = part.map_err(|_| bad())?;
    let (limit, before) = (part.limit.unwrap_or(50), part.before.unwrap_or(i64::MAX));
    if !(1..=PAGE_MAX).contains(&limit) || before < 1 {
        return Err(bad());
    }
    let mut connection = state.store.read().await?;
    let rows = match &part.recipe {
        Some(recipe) => table::of_recipe(&mut connection, recipe, before, limit).await?,
        None => views::newest(&mut connection, before, limit).await?,
    };
    let full = i64::try_from(rows.len()).is_ok_and(|found| found == limit);
    Ok(Json(RunsJson {
        next_before: if full { rows.last().map(|run| run.number) } else { None },
        runs: rows.iter().map(|run| RunJson::new(run, &state)).collect(),
    }))
}

/// `GET /api/v1/runs/{id}`
pub(super) async fn run(State(state): State<WebState>, Path(id): Path<String>) -> Result<Json<RunDetail>, WebError> {
    let number = run_number(&state, &id).await?;
    let mut connection = state.store.read().await?;
    let run = table::get(&mut connection, number).await?.ok_or_else(|| WebError::NotFound(format!("run {number}")))?;
    let stages = stage_rows::of_attempt(&mut connection, number, run.attempt).await?;
    let record = records::get(&mut connection, number).await?;
    let tries = attempts::of_run(&mut connection, number).await?;
    let asked = triggers::of_run(&mut connection, number).await?;
    let short = RunJson::new(&run, &state);
    Ok(Json(RunDetail {
        results: record.as_ref().map(|_| format!("/api/v1/runs/{number}/results")),
        stages: if stages.is_empty() { record.map(|record| record.stages).unwrap_or_default() } else { stages },
        run: short,
        attempts: tries
            .iter()
            .map(|attempt| AttemptJson {
                attempt: attempt.attempt,
                id: attempt.run_id.to_string(),
                started: time(attempt.started),
                ended: attempt.ended.map(time),
                ending: attempt.ending.as_ref().map(word),
                why: attempt.why.clone(),
            })
            .collect(),
        triggers: asked
            .iter()
            .map(|trigger| TriggerJson {
                person: trigger.what.person_login.clone(),
                cause: word(&trigger.what.cause),
                at: time(trigger.created),
                verdict: trigger.verdict.map(|verdict| verdict.to_string()),
            })
            .collect(),
    }))
}

/// `GET /api/v1/runs/{id}/results`
pub(super) async fn results(State(state): State<WebState>, Path(id): Path<String>) -> Result<Json<Run>, WebError> {
    let number = run_number(&state, &id).await?;
    let record = records::get(&mut *state.store.read().await?, number).await?;
    record.map(Json).ok_or_else(|| WebError::NotFound(format!("a record of run {number}")))
}

/// `GET /api/v1/queue`
pub(super) async fn queue(State(state): State<WebState>) -> Result<Json<QueueJson>, WebError> {
    let line = queue_page::line(&state).await?;
    Ok(Json(QueueJson {
        running: line
            .running
            .iter()
            .map(|(run, left)| RunningJson { run: RunJson::new(run, &state), expected_seconds: left.as_secs() })
            .collect(),
        waiting: line
            .waiting
            .iter()
            .map(|waiting| WaitingJson {
                run: RunJson::new(&waiting.run, &state),
                position: waiting.wait.map(|wait| wait.position),
                until_start_seconds: waiting.wait.map(|wait| wait.until_start.as_secs()),
                until_verdict_seconds: waiting.wait.map(|wait| wait.until_verdict.as_secs()),
            })
            .collect(),
        slots: state.settings.slots,
    }))
}

/// `GET /api/v1/health`
pub(super) async fn health(State(state): State<WebState>) -> Result<Json<HealthJson>, WebError> {
    let vitals = views::vitals(&mut *state.store.read().await?).await?;
    Ok(Json(HealthJson {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queued: vitals.queued,
        running: vitals.running,
        oldest_queued: vitals.oldest_queued.map(time),
        outbox_due: vitals.outbox_due,
        deliveries_open: vitals.deliveries_open,
        database_bytes: vitals.database_bytes,
        reconcilers: (state.reconcilers)().into_iter().map(ReconcilerJson::from).collect(),
    }))
}

/// `POST /api/v1/runs`
pub(super) async fn enqueue(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    what: Result<Json<Enqueue>, axum::extract::rejection::JsonRejection>,
) -> Result<Response, WebError> {
    let Json(what) = what.map_err(|error| WebError::Bad(error.body_text()))?;
    let done = state.actions.enqueue(&what, &person(viewer)?).await?;
    Ok((StatusCode::ACCEPTED, Json(DoneJson::from(done))).into_response())
}

/// `POST /api/v1/runs/{id}/cancel`
pub(super) async fn cancel(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Result<Json<DoneJson>, WebError> {
    let number = run_number(&state, &id).await?;
    Ok(Json(state.actions.cancel(number, &person(viewer)?).await?.into()))
}

/// `POST /api/v1/runs/{id}/rerun`
pub(super) async fn rerun(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Result<Json<DoneJson>, WebError> {
    let number = run_number(&state, &id).await?;
    Ok(Json(state.actions.rerun(number, &person(viewer)?).await?.into()))
}

/// `/healthz`: this process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `/readyz`: and so does its database, and it is not about to stop.
pub(super) async fn readyz(State(state): State<WebState>) -> Response {
    if state.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    let answers = async { views::mark(&mut *state.store.read().await?, 0).await };
    match answers.await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!("not ready: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

impl From<Reconciler> for ReconcilerJson {
    fn from(one: Reconciler) -> Self {
        Self {
            name: one.name.to_owned(),
            well: one.failures == 0 && one.last_well.is_some(),
            passes: one.passes,
            last_well: one.last_well.map(time),
            since: one.since.map(time),
            error: one.error.as_deref().map(view::line),
            failures: one.failures,
        }
    }
}

impl From<Done> for DoneJson {
    fn from(done: Done) -> Self {
        Self { run: done.run, message: done.message }
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

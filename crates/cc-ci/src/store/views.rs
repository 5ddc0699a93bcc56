//! What the pages read: several tables at a time, nothing written.
//!
//! Every statement here is bounded by an index and a limit, so that a page costs the same with a hundred runs of history
//! and with a hundred thousand. A statement that has to look at all runs does not belong here.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::domain::{Stage, StageStatus, Verdict};

use super::runs::{Outcome, RunRow, read};
use super::{Cells, StoreError, word};

/// A recipe as the overview shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeView {
    /// The newest run, whatever its state.
    pub newest: RunRow,
    /// Judged runs, newest first.
    pub judged: Vec<RunRow>,
    /// The newest judged run that was not for a pull request.
    pub target: Option<RunRow>,
    /// Version label of the newest judged run.
    pub version: Option<String>,
}

impl RecipeView {
    /// The run that tells the recipe's level: the newest judged one of its target branch, else the newest judged one.
    #[must_use]
    pub fn telling(&self) -> Option<&RunRow> {
        self.target.as_ref().or(self.judged.first())
    }
}

/// One stage of a run in a recipe's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTime {
    /// The run.
    pub run_number: i64,
    /// Which stage.
    pub stage: Stage,
    /// What came of it.
    pub status: StageStatus,
    /// How long it took, in milliseconds; absent if it never began.
    pub duration_ms: Option<i64>,
}

/// How many finished runs ended in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndCount {
    /// How they ended.
    pub outcome: Outcome,
    /// With which verdict.
    pub verdict: Verdict,
    /// How many.
    pub runs: i64,
}

/// Numbers for the health page and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Runs that wait.
    pub queued: i64,
    /// Runs that run.
    pub running: i64,
    /// When the longest waiting run was queued.
    pub oldest_queued: Option<Timestamp>,
    /// Writes that the forge has not got yet.
    pub outbox_due: i64,
    /// Since when the oldest of them is due.
    pub outbox_since: Option<Timestamp>,
    /// Deliveries of the forge that are not decided.
    pub deliveries_open: i64,
    /// Bytes of the database file, free pages included.
    pub database_bytes: i64,
}

/// Walks the index from recipe to recipe instead of grouping all of the history.
const RECIPES: &str = "WITH RECURSIVE recipes (recipe) AS (SELECT MIN(recipe) FROM runs UNION ALL \
    SELECT (SELECT MIN(r.recipe) FROM runs r WHERE r.recipe > recipes.recipe) FROM recipes \
    WHERE recipes.recipe IS NOT NULL) ";

/// All recipes that were ever tested, by name, each with its last `trend` judged runs.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn recipes(connection: &mut SqliteConnection, trend: i64) -> Result<Vec<RecipeView>, StoreError> {
    let newest = super::runs::newest_of_each_recipe(connection).await?;
    let judged = format!(
        "{RECIPES} SELECT runs.* FROM recipes JOIN runs ON runs.number IN (SELECT n.number FROM runs n \
         WHERE n.recipe = recipes.recipe AND n.outcome = 'judged' ORDER BY n.number DESC LIMIT $1) \
         ORDER BY runs.recipe, runs.number DESC"
    );
    let target = format!(
        "{RECIPES} SELECT runs.* FROM recipes JOIN runs ON runs.number = (SELECT n.number FROM runs n \
         WHERE n.recipe = recipes.recipe AND n.outcome = 'judged' AND n.pull IS NULL ORDER BY n.number DESC LIMIT 1)"
    );
    let versions = format!(
        "{RECIPES} SELECT recipes.recipe, json_extract(results.run, '$.recipe.version') AS version \
         FROM recipes JOIN results ON results.run_number = (SELECT n.number FROM runs n \
         WHERE n.recipe = recipes.recipe AND n.outcome = 'judged' ORDER BY n.number DESC LIMIT 1)"
    );
    let judged = fetch(connection, judged, Some(trend)).await?;
    let target = fetch(connection, target, None).await?;
    let versions = sqlx::query(sqlx::AssertSqlSafe(versions)).fetch_all(&mut *connection).await?;
    let mut views: Vec<RecipeView> = newest
        .into_iter()
        .map(|newest| RecipeView { newest, judged: Vec::new(), target: None, version: None })
        .collect();
    let place = |views: &[RecipeView], recipe: &str| {
        views.binary_search_by(|view| view.newest.what.recipe.as_str().cmp(recipe)).ok()
    };
    for run in judged {
        if let Some(at) = place(&views, &run.what.recipe) {
            views[at].judged.push(run);
        }
    }
    for run in target {
        if let Some(at) = place(&views, &run.what.recipe) {
            views[at].target = Some(run);
        }
    }
    for row in versions {
        if let Some(at) = place(&views, row.try_get("recipe")?) {
            views[at].version = row.try_get("version")?;
        }
    }
    Ok(views)
}

/// One recipe as the overview shows it; `None` if it was never tested.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn recipe(
    connection: &mut SqliteConnection,
    name: &str,
    trend: i64,
) -> Result<Option<RecipeView>, StoreError> {
    let Some(newest) = super::runs::of_recipe(connection, name, i64::MAX, 1).await?.pop() else { return Ok(None) };
    let judged =
        sqlx::query("SELECT * FROM runs WHERE recipe = $1 AND outcome = 'judged' ORDER BY number DESC LIMIT $2")
            .bind(name)
            .bind(trend)
            .fetch_all(&mut *connection)
            .await?;
    let judged: Vec<RunRow> = judged.iter().map(read).collect::<Result<_, _>>()?;
    let target = sqlx::query(
        "SELECT * FROM runs WHERE recipe = $1 AND outcome = 'judged' AND pull IS NULL ORDER BY number DESC LIMIT 1",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    let version = match judged.first() {
        None => None,
        Some(run) => sqlx::query_scalar::<_, Option<String>>(
            "SELECT json_extract(run, '$.recipe.version') FROM results WHERE run_number = $1",
        )
        .bind(run.number)
        .fetch_optional(&mut *connection)
        .await?
        .flatten(),
    };
    let target = target.as_ref().map(read).transpose()?;
    Ok(Some(RecipeView { newest, judged, target, version }))
}

/// The stages of these runs, in the order of the runs' numbers and then of the stages.
///
/// # Errors
/// If the database fails or a record cannot be read.
pub async fn stage_times(connection: &mut SqliteConnection, numbers: &[i64]) -> Result<Vec<StageTime>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT r.run_number, json_extract(s.value, '$.stage') AS stage, json_extract(s.value, '$.status') AS status, \
         json_extract(s.value, '$.duration_ms') AS duration_ms FROM results r, json_each(r.run, '$.stages') s \
         WHERE r.run_number IN (",
    );
    let mut list = query.separated(", ");
    for number in numbers {
        list.push_bind(*number);
    }
    query.push(") ORDER BY r.run_number, s.key");
    let rows = query.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "results", row };
            Ok(StageTime {
                run_number: cells.int("run_number")?,
                stage: cells.word("stage")?,
                status: cells.word("status")?,
                duration_ms: cells.maybe_int("duration_ms")?,
            })
        })
        .collect()
}

/// The newest runs with numbers below `before`, newest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn newest(connection: &mut SqliteConnection, before: i64, limit: i64) -> Result<Vec<RunRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM runs WHERE number < $1 ORDER BY number DESC LIMIT $2")
        .bind(before)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// The newest runs that ended in one way, with numbers below `before`, newest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn newest_ended(
    connection: &mut SqliteConnection,
    outcome: Outcome,
    verdict: Verdict,
    before: i64,
    limit: i64,
) -> Result<Vec<RunRow>, StoreError> {
    // By the index `runs_ends`, in which runs of one kind stand in the order of their numbers.
    let rows = sqlx::query(
        "SELECT * FROM runs WHERE state = 'finished' AND outcome = $1 AND verdict = $2 AND number < $3 \
         ORDER BY number DESC LIMIT $4",
    )
    .bind(word(&outcome))
    .bind(word(&verdict))
    .bind(before)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

/// Durations of the last judged runs of all recipes in milliseconds, newest first.
///
/// # Errors
/// If the database fails.
pub async fn past_durations_of_all(connection: &mut SqliteConnection, limit: i64) -> Result<Vec<i64>, StoreError> {
    // Bounded by the last runs, whatever became of them; those that were not judged only make the sample smaller.
    Ok(sqlx::query_scalar(
        "SELECT finished_at - started_at FROM (SELECT * FROM runs ORDER BY number DESC LIMIT $1) \
         WHERE outcome = 'judged' AND finished_at >= started_at",
    )
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

/// How many finished runs ended how, for counters that only rise.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn ends(connection: &mut SqliteConnection) -> Result<Vec<EndCount>, StoreError> {
    let rows = sqlx::query(
        "SELECT outcome, verdict, COUNT(*) AS runs FROM runs WHERE state = 'finished' AND outcome IS NOT NULL \
         AND verdict IS NOT NULL GROUP BY outcome, verdict",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "runs", row };
            Ok(EndCount { outcome: cells.word("outcome")?, verdict: cells.word("verdict")?, runs: cells.int("runs")? })
        })
        .collect()
}

/// The numbers of the health page.
///
/// # Errors
/// If the database fails.
pub async fn vitals(connection: &mut SqliteConnection) -> Result<Vitals, StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM runs WHERE state = 'queued') AS queued, \
         (SELECT COUNT(*) FROM runs WHERE state = 'running') AS running, \
         (SELECT MIN(queued_at) FROM runs WHERE state = 'queued') AS oldest_queued, \
         (SELECT COUNT(*) FROM outbox WHERE state = 'due') AS outbox_due, \
         (SELECT MIN(wanted_at) FROM outbox WHERE state = 'due') AS outbox_since, \
         (SELECT COUNT(*) FROM deliveries WHERE state = 'new') AS deliveries_open",
    )
    .fetch_one(&mut *connection)
    .await?;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await?;
    let page_size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut *connection).await?;
    let cells = Cells { table: "runs", row: &row };
    Ok(Vitals {
        queued: cells.int("queued")?,
        running: cells.int("running")?,
        oldest_queued: cells.maybe_time("oldest_queued")?,
        outbox_due: cells.int("outbox_due")?,
        outbox_since: cells.maybe_time("outbox_since")?,
        deliveries_open: cells.int("deliveries_open")?,
        database_bytes: pages.saturating_mul(page_size),
    })
}

/// The newest event of a run and the number of its changes: rises whenever a viewer could see something new.
///
/// # Errors
/// If the database fails.
pub async fn mark(connection: &mut SqliteConnection, run_number: i64) -> Result<Option<(i64, i64)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT change, COALESCE((SELECT MAX(id) FROM events WHERE run_number = $1), 0) FROM runs WHERE number = $1",
    )
    .bind(run_number)
    .fetch_optional(connection)
    .await?)
}

async fn fetch(
    connection: &mut SqliteConnection,
    statement: String,
    limit: Option<i64>,
) -> Result<Vec<RunRow>, StoreError> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement));
    if let Some(limit) = limit {
        query = query.bind(limit);
    }
    query.fetch_all(connection).await?.iter().map(read).collect()
}

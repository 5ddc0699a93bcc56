//! Table `runs`: what is to be tested, being tested, and was tested.
//!
//! The fence: a running row has a lease token, and everything that its holder writes names that token. Zero rows changed
//! means that the lease is gone and the holder must stop. Every change of state raises `change`; `publish` compares it
//! with `published` to see what the forge has not been told.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::domain::{RunId, Verdict};

use super::triggers::Cause;
use super::{Cells, StoreError, Write, word};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Waits for its turn.
    Queued,
    /// Somebody holds its lease.
    Running,
    /// Over; never changes again.
    Finished,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The harness judged the commit, GREEN or RED, or said that it cannot.
    Judged,
    /// A newer commit, or an equal run in the queue, took its place.
    Superseded,
    /// Somebody cancelled it.
    Cancelled,
    /// Its own time limit.
    Overdue,
    /// Interrupted too often.
    Exhausted,
    /// It took cc-ci down with it twice; a person has to look.
    Parked,
}

/// What a run tests, for whom, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Repository of the recipe.
    pub repo_id: i64,
    /// Its name, `owner/name`, when it was queued.
    pub repo_name: String,
    /// Recipe.
    pub recipe: String,
    /// Suite.
    pub suite: String,
    /// Pull request, if it is for one.
    pub pull: Option<i64>,
    /// The commit, in full.
    pub commit: String,
    /// Who asked first.
    pub person_id: i64,
    /// Login name at that time.
    pub person_login: String,
    /// What asked first.
    pub cause: Cause,
    /// Higher goes first; 0 for people, below 0 for what nobody waits for.
    pub priority: i64,
    /// Memory that the app is expected to need, in bytes.
    pub need_memory: i64,
    /// Overlay networks that it is expected to need; each takes a subnet of the swarm's pool.
    pub need_networks: i64,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The number that people see.
    pub number: i64,
    /// What is tested.
    pub what: NewRun,
    /// Where it stands.
    pub state: RunState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The verdict, once it has ended.
    pub verdict: Option<Verdict>,
    /// The level, if it was judged.
    pub level: Option<i64>,
    /// Why it ended or waits, in one line.
    pub why: String,
    /// A test was red and then green.
    pub flaky: bool,
    /// How often it was claimed.
    pub attempt: i64,
    /// How often it was queued again because infrastructure failed.
    pub retries: i64,
    /// How often its lease lapsed.
    pub crashes: i64,
    /// The lease, while it runs.
    pub lease: Option<LeaseCells>,
    /// What it is doing, in one line.
    pub progress: String,
    /// When somebody asked to cancel it, and who.
    pub cancel: Option<(Timestamp, String)>,
    /// Not to be claimed before.
    pub not_before: Timestamp,
    /// When it was queued first.
    pub queued: Timestamp,
    /// When it was claimed last.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When its attempt must be over.
    pub deadline: Option<Timestamp>,
    /// Counts changes of state.
    pub change: i64,
    /// The last change that the outbox knows of.
    pub published: i64,
}

/// The lease of a running row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseCells {
    /// The secret that its holder shows.
    pub token: String,
    /// When it lapses unless it is extended.
    pub expires: Timestamp,
    /// Who holds it: one life of one process.
    pub holder: String,
    /// Id of this attempt; its stacks are named after it.
    pub run_id: RunId,
}

/// Queues a run; fails on the unique index if its key is already queued.
///
/// # Errors
/// If the database fails.
pub async fn insert(write: &mut Write, new: &NewRun, now: Timestamp) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO runs (repo_id, repo_name, recipe, suite, pull, commit_id, person_id, person_login, cause, priority, \
         need_memory, need_addresses, not_before, queued_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13) RETURNING number",
    )
    .bind(new.repo_id)
    .bind(&new.repo_name)
    .bind(&new.recipe)
    .bind(&new.suite)
    .bind(new.pull)
    .bind(&new.commit)
    .bind(new.person_id)
    .bind(&new.person_login)
    .bind(word(&new.cause))
    .bind(new.priority)
    .bind(new.need_memory)
    .bind(new.need_networks)
    .bind(now.as_millisecond())
    .fetch_one(&mut **write)
    .await?)
}

/// One run.
///
/// # Errors
/// If the database fails or the row cannot be read.
pub async fn get(connection: &mut SqliteConnection, number: i64) -> Result<Option<RunRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM runs WHERE number = $1").bind(number).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// All runs that wait or run, oldest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn open(connection: &mut SqliteConnection) -> Result<Vec<RunRow>, StoreError> {
    // Left alone, SQLite reads all of the history in the order of its numbers.
    let open = "SELECT * FROM runs INDEXED BY runs_open WHERE state <> 'finished' ORDER BY number";
    let rows = sqlx::query(open).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// The newest runs of a pull request, newest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn of_pull(
    connection: &mut SqliteConnection,
    repo_id: i64,
    pull: i64,
    limit: i64,
) -> Result<Vec<RunRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM runs WHERE repo_id = $1 AND pull = $2 ORDER BY number DESC LIMIT $3")
        .bind(repo_id)
        .bind(pull)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// A recipe's runs with numbers below `before`, newest first: one page of its history.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn of_recipe(
    connection: &mut SqliteConnection,
    recipe: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<RunRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM runs WHERE recipe = $1 AND number < $2 ORDER BY number DESC LIMIT $3")
        .bind(recipe)
        .bind(before)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// The newest run of each recipe, by recipe name.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn newest_of_each_recipe(connection: &mut SqliteConnection) -> Result<Vec<RunRow>, StoreError> {
    // Hops over the index from recipe to recipe instead of grouping all of the history.
    let rows = sqlx::query(
        "WITH RECURSIVE recipes (recipe) AS (SELECT MIN(recipe) FROM runs UNION ALL \
         SELECT (SELECT MIN(r.recipe) FROM runs r WHERE r.recipe > recipes.recipe) FROM recipes \
         WHERE recipes.recipe IS NOT NULL) \
         SELECT runs.* FROM recipes JOIN runs ON runs.number = \
         (SELECT MAX(n.number) FROM runs n WHERE n.recipe = recipes.recipe) ORDER BY runs.recipe",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(read).collect()
}

/// Runs whose last change the outbox does not know, oldest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn unpublished(connection: &mut SqliteConnection, limit: i64) -> Result<Vec<RunRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM runs WHERE published < change ORDER BY number LIMIT $1")
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// Notes that the outbox knows a run's change number `change`.
///
/// # Errors
/// If the database fails.
pub async fn mark_published(write: &mut Write, number: i64, change: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET published = $2 WHERE number = $1 AND published < $2")
        .bind(number)
        .bind(change)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Has the forge told again about a run, by pretending that it changed.
///
/// # Errors
/// If the database fails.
pub async fn touch(write: &mut Write, number: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE runs SET change = change + 1 WHERE number = $1").bind(number).execute(&mut **write).await?;
    Ok(())
}

/// Durations of a recipe's last judged runs in milliseconds, newest first.
///
/// # Errors
/// If the database fails.
pub async fn past_durations(
    connection: &mut SqliteConnection,
    recipe: &str,
    limit: i64,
) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT finished_at - started_at FROM runs WHERE recipe = $1 AND outcome = 'judged' \
         AND finished_at >= started_at ORDER BY number DESC LIMIT $2",
    )
    .bind(recipe)
    .bind(limit)
    .fetch_all(connection)
    .await?)
}

/// Sum of the change counters of a pull request's runs: rises whenever one of them changes, and never falls.
///
/// # Errors
/// If the database fails.
pub async fn changes_of_pull(connection: &mut SqliteConnection, repo_id: i64, pull: i64) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT COALESCE(SUM(change), 0) FROM runs WHERE repo_id = $1 AND pull = $2")
        .bind(repo_id)
        .bind(pull)
        .fetch_one(connection)
        .await?)
}

/// Level of the newest judged run of a repository that was not for a pull request: that of its target branch.
///
/// # Errors
/// If the database fails.
pub async fn target_level(connection: &mut SqliteConnection, repo_id: i64) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar::<_, Option<i64>>(
        "SELECT level FROM runs WHERE repo_id = $1 AND pull IS NULL AND outcome = 'judged' ORDER BY number DESC LIMIT 1",
    )
    .bind(repo_id)
    .fetch_optional(connection)
    .await?
    .flatten())
}

/// Commit of the newest GREEN run of a repository that was not for a pull request: the target branch's last known good.
///
/// # Errors
/// If the database fails.
pub async fn last_green(connection: &mut SqliteConnection, repo_id: i64) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT commit_id FROM runs WHERE repo_id = $1 AND pull IS NULL AND verdict = 'GREEN' ORDER BY number DESC LIMIT 1",
    )
    .bind(repo_id)
    .fetch_optional(connection)
    .await?)
}

pub(crate) fn read(row: &sqlx::sqlite::SqliteRow) -> Result<RunRow, StoreError> {
    let cells = Cells { table: "runs", row };
    let lease =
        match (cells.maybe_text("lease_token")?, cells.maybe_time("lease_expires")?, cells.maybe_text("holder")?) {
            (Some(token), Some(expires), Some(holder)) => {
                Some(LeaseCells { token, expires, holder, run_id: cells.word("live_run")? })
            }
            _ => None,
        };
    let cancel = match (cells.maybe_time("cancel_at")?, cells.maybe_text("cancel_by")?) {
        (Some(at), Some(by)) => Some((at, by)),
        _ => None,
    };
    Ok(RunRow {
        number: cells.int("number")?,
        what: NewRun {
            repo_id: cells.int("repo_id")?,
            repo_name: cells.text("repo_name")?,
            recipe: cells.text("recipe")?,
            suite: cells.text("suite")?,
            pull: cells.maybe_int("pull")?,
            commit: cells.text("commit_id")?,
            person_id: cells.int("person_id")?,
            person_login: cells.text("person_login")?,
            cause: cells.word("cause")?,
            priority: cells.int("priority")?,
            need_memory: cells.int("need_memory")?,
            need_networks: cells.int("need_addresses")?,
        },
        state: cells.word("state")?,
        outcome: cells.maybe_word("outcome")?,
        verdict: cells.maybe_word("verdict")?,
        level: cells.maybe_int("level")?,
        why: cells.text("why")?,
        flaky: cells.flag("flaky")?,
        attempt: cells.int("attempt")?,
        retries: cells.int("retries")?,
        crashes: cells.int("crashes")?,
        lease,
        progress: cells.text("progress")?,
        cancel,
        not_before: cells.time("not_before")?,
        queued: cells.time("queued_at")?,
        started: cells.maybe_time("started_at")?,
        finished: cells.maybe_time("finished_at")?,
        deadline: cells.maybe_time("deadline_at")?,
        change: cells.int("change")?,
        published: cells.int("published")?,
    })
}

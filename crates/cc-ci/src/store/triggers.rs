//! Table `triggers`: each thing that asked for something, what was decided, and the one verdict it got.
//!
//! A trigger gets a verdict once: the statements that write one only touch rows that have none. A verdict belongs to its
//! trigger, so a run hands its verdict only to the triggers that were attached before it started.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::domain::Verdict;

use super::runs::Outcome;
use super::{Cells, StoreError, Write, word};

/// What asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// `!testme` on a pull request.
    Comment,
    /// `!retest`, or the button on a run's page.
    Retest,
    /// The command line.
    Cli,
    /// A web page.
    Web,
    /// The upgrade robot.
    Robot,
    /// The schedule.
    Schedule,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decided {
    /// It has a run.
    Run,
    /// It cancelled something.
    Cancel,
    /// It was refused.
    Refused,
}

/// A trigger to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTrigger {
    /// What asked.
    pub cause: Cause,
    /// Repository.
    pub repo_id: i64,
    /// Pull request; 0 if there is none.
    pub pull: i64,
    /// The comment, if it was one.
    pub comment_id: Option<i64>,
    /// Who asked.
    pub person_id: i64,
    /// Login name at that time.
    pub person_login: String,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Row id, in order of arrival.
    pub id: i64,
    /// What asked.
    pub what: NewTrigger,
    /// What was decided.
    pub decided: Decided,
    /// Why.
    pub why: String,
    /// The run that answers it.
    pub run_number: Option<i64>,
    /// The verdict; absent while it is pending, and for what needs none.
    pub verdict: Option<Verdict>,
    /// How its run ended.
    pub outcome: Option<Outcome>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it was answered.
    pub ended: Option<Timestamp>,
}

/// Writes a trigger; `None` if its comment already has one.
///
/// # Errors
/// If the database fails.
pub async fn insert(
    write: &mut Write,
    new: &NewTrigger,
    decided: Decided,
    why: &str,
    run_number: Option<i64>,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO triggers (kind, repo_id, pull, comment_id, person_id, person_login, decision, why, run_number, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(word(&new.cause))
    .bind(new.repo_id)
    .bind(new.pull)
    .bind(new.comment_id)
    .bind(new.person_id)
    .bind(&new.person_login)
    .bind(word(&decided))
    .bind(why)
    .bind(run_number)
    .bind(now.as_millisecond())
    .fetch_optional(&mut **write)
    .await?)
}

/// Whether a comment already has its trigger.
///
/// # Errors
/// If the database fails.
pub async fn is_known(connection: &mut SqliteConnection, repo_id: i64, comment_id: i64) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT id FROM triggers WHERE repo_id = $1 AND comment_id = $2")
        .bind(repo_id)
        .bind(comment_id)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Whether a comment later than this one cancelled what its pull request had waiting or running.
///
/// # Errors
/// If the database fails.
pub async fn cancelled_after(
    connection: &mut SqliteConnection,
    repo_id: i64,
    pull: i64,
    comment_id: i64,
) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM triggers WHERE repo_id = $1 AND pull = $2 AND decision = 'cancel' \
         AND comment_id > $3)",
    )
    .bind(repo_id)
    .bind(pull)
    .bind(comment_id)
    .fetch_one(connection)
    .await?)
}

/// Gives the verdict to all triggers of a run that have none yet.
///
/// # Errors
/// If the database fails.
pub async fn answer(
    write: &mut Write,
    run_number: i64,
    verdict: Verdict,
    outcome: Outcome,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE triggers SET verdict = $2, outcome = $3, ended_at = $4 WHERE run_number = $1 AND verdict IS NULL",
    )
    .bind(run_number)
    .bind(word(&verdict))
    .bind(word(&outcome))
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected())
}

/// Hands the unanswered triggers of one run to another.
///
/// # Errors
/// If the database fails.
pub async fn hand_over(write: &mut Write, from_run: i64, to_run: i64) -> Result<u64, StoreError> {
    let done = sqlx::query("UPDATE triggers SET run_number = $2 WHERE run_number = $1 AND verdict IS NULL")
        .bind(from_run)
        .bind(to_run)
        .execute(&mut **write)
        .await?;
    Ok(done.rows_affected())
}

/// The newest triggers of a pull request, newest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn of_pull(
    connection: &mut SqliteConnection,
    repo_id: i64,
    pull: i64,
    limit: i64,
) -> Result<Vec<Trigger>, StoreError> {
    let rows = sqlx::query("SELECT * FROM triggers WHERE repo_id = $1 AND pull = $2 ORDER BY id DESC LIMIT $3")
        .bind(repo_id)
        .bind(pull)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read(&Cells { table: "triggers", row })).collect()
}

/// The triggers that a run answers, oldest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn of_run(connection: &mut SqliteConnection, run_number: i64) -> Result<Vec<Trigger>, StoreError> {
    let rows = sqlx::query("SELECT * FROM triggers WHERE run_number = $1 ORDER BY id")
        .bind(run_number)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read(&Cells { table: "triggers", row })).collect()
}

fn read(cells: &Cells<'_>) -> Result<Trigger, StoreError> {
    Ok(Trigger {
        id: cells.int("id")?,
        what: NewTrigger {
            cause: cells.word("kind")?,
            repo_id: cells.int("repo_id")?,
            pull: cells.int("pull")?,
            comment_id: cells.maybe_int("comment_id")?,
            person_id: cells.int("person_id")?,
            person_login: cells.text("person_login")?,
        },
        decided: cells.word("decision")?,
        why: cells.text("why")?,
        run_number: cells.maybe_int("run_number")?,
        verdict: cells.maybe_word("verdict")?,
        outcome: cells.maybe_word("outcome")?,
        created: cells.time("created_at")?,
        ended: cells.maybe_time("ended_at")?,
    })
}

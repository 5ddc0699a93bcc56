//! Table `attempts`: one row for each claim of a run. Its run id names the attempt's stacks on the swarm.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::domain::RunId;

use super::leases::NewLease;
use super::runs::RunRow;
use super::{Cells, StoreError, Write, word};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttemptEnding {
    /// With a judgement.
    Judged,
    /// Infrastructure failed; the run is queued again.
    Retried,
    /// The lease lapsed.
    Lapsed,
    /// Given back when the server stopped.
    Released,
    /// Cancelled.
    Cancelled,
    /// Out of time.
    Overdue,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The run.
    pub run_number: i64,
    /// From 1.
    pub attempt: i64,
    /// Id on the swarm and of the results folder.
    pub run_id: RunId,
    /// Who held the lease.
    pub holder: String,
    /// When it was claimed.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How.
    pub ending: Option<AttemptEnding>,
    /// Why, in one line.
    pub why: String,
}

/// Notes the attempt of a run that was just taken.
///
/// # Errors
/// If the database fails, also if the run id was used before.
pub async fn begin(write: &mut Write, run: &RunRow, lease: &NewLease, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO attempts (run_number, attempt, run_id, lease_token, holder, repo_id, person_id, started_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(run.number)
    .bind(run.attempt)
    .bind(lease.run_id.as_str())
    .bind(&lease.token)
    .bind(&lease.holder)
    .bind(run.what.repo_id)
    .bind(run.what.person_id)
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Notes how the attempt with this token ended.
///
/// # Errors
/// If the database fails.
pub async fn finish(
    write: &mut Write,
    token: &str,
    ending: AttemptEnding,
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE attempts INDEXED BY attempts_live SET ended_at = $2, ending = $3, why = $4 \
         WHERE lease_token = $1 AND ended_at IS NULL",
    )
    .bind(token)
    .bind(now.as_millisecond())
    .bind(word(&ending))
    .bind(why)
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// The run that an attempt belongs to; `None` if the id is none of this database's.
///
/// # Errors
/// If the database fails.
pub async fn run_of(connection: &mut SqliteConnection, run_id: &RunId) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar("SELECT run_number FROM attempts WHERE run_id = $1")
        .bind(run_id.as_str())
        .fetch_optional(connection)
        .await?)
}

/// Whether somebody holds the lease of this attempt.
///
/// # Errors
/// If the database fails.
pub async fn is_live(connection: &mut SqliteConnection, run_id: &RunId) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT number FROM runs WHERE state = 'running' AND live_run = $1")
        .bind(run_id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// The attempts of a run, in order.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn of_run(connection: &mut SqliteConnection, run_number: i64) -> Result<Vec<Attempt>, StoreError> {
    let rows = sqlx::query("SELECT * FROM attempts WHERE run_number = $1 ORDER BY attempt")
        .bind(run_number)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "attempts", row };
            Ok(Attempt {
                run_number: cells.int("run_number")?,
                attempt: cells.int("attempt")?,
                run_id: cells.word("run_id")?,
                holder: cells.text("holder")?,
                started: cells.time("started_at")?,
                ended: cells.maybe_time("ended_at")?,
                ending: cells.maybe_word("ending")?,
                why: cells.text("why")?,
            })
        })
        .collect()
}

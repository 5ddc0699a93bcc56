//! Table `results`: the record of a run as its harness wrote it, the same as results.json.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::domain::Run;

use super::{Cells, StoreError, Write, json};

/// Keeps the record of a run; that of an earlier attempt is replaced.
///
/// # Errors
/// If the database fails.
pub async fn put(
    write: &mut Write,
    run_number: i64,
    attempt: i64,
    run: &Run,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO results (run_number, attempt, run, duration_ms, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (run_number) DO UPDATE SET attempt = excluded.attempt, run = excluded.run, \
         duration_ms = excluded.duration_ms, at = excluded.at WHERE excluded.attempt >= results.attempt",
    )
    .bind(run_number)
    .bind(attempt)
    .bind(json(run)?)
    .bind(i64::try_from(run.duration_ms).unwrap_or(i64::MAX))
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// The record of a run, if it has one.
///
/// # Errors
/// If the database fails or the record cannot be read.
pub async fn get(connection: &mut SqliteConnection, run_number: i64) -> Result<Option<Run>, StoreError> {
    let row = sqlx::query("SELECT run FROM results WHERE run_number = $1")
        .bind(run_number)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Cells { table: "results", row: &row }.json("run")).transpose()
}

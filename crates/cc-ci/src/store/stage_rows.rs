//! Table `stage_rows`: what came of each stage, written when it ends and never changed.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::domain::StageResult;

use super::{Cells, StoreError, Write, json};

/// Writes a stage of the attempt that holds `token`. False if that lease is gone, or the stage was written before.
///
/// # Errors
/// If the database fails.
pub async fn insert(
    write: &mut Write,
    run_number: i64,
    token: &str,
    result: &StageResult,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO stage_rows (run_number, attempt, stage, status, result, at) \
         SELECT number, attempt, $3, $4, $5, $6 FROM runs WHERE number = $1 AND lease_token = $2 AND state = 'running' \
         ON CONFLICT DO NOTHING",
    )
    .bind(run_number)
    .bind(token)
    .bind(result.stage.as_str())
    .bind(result.status.as_str())
    .bind(json(result)?)
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The stages of one attempt, in the order in which they ended.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn of_attempt(
    connection: &mut SqliteConnection,
    run_number: i64,
    attempt: i64,
) -> Result<Vec<StageResult>, StoreError> {
    let rows = sqlx::query("SELECT result FROM stage_rows WHERE run_number = $1 AND attempt = $2 ORDER BY at, rowid")
        .bind(run_number)
        .bind(attempt)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Cells { table: "stage_rows", row }.json("result")).collect()
}

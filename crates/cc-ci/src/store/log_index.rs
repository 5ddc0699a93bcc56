//! Table `log_index`: at which byte of a log file a line begins, for every few hundred lines.
//!
//! Logs themselves are files; a viewer who wants to go on at line 80,000 must not have to read all of it.

use sqlx::SqliteConnection;

use super::{StoreError, Write};

/// Notes that line `line` (from 0) of a log file begins at byte `byte`.
///
/// # Errors
/// If the database fails.
pub async fn note(
    write: &mut Write,
    run_number: i64,
    attempt: i64,
    file: &str,
    line: i64,
    byte: i64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO log_index (run_number, attempt, file, line, byte) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
        .bind(run_number)
        .bind(attempt)
        .bind(file)
        .bind(line)
        .bind(byte)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// The last noted line at or before `line`, with its byte; the beginning of the file if none is noted.
///
/// # Errors
/// If the database fails.
pub async fn at_or_before(
    connection: &mut SqliteConnection,
    run_number: i64,
    attempt: i64,
    file: &str,
    line: i64,
) -> Result<(i64, i64), StoreError> {
    let found: Option<(i64, i64)> = sqlx::query_as(
        "SELECT line, byte FROM log_index WHERE run_number = $1 AND attempt = $2 AND file = $3 AND line <= $4 \
         ORDER BY line DESC LIMIT 1",
    )
    .bind(run_number)
    .bind(attempt)
    .bind(file)
    .bind(line)
    .fetch_optional(connection)
    .await?;
    Ok(found.unwrap_or((0, 0)))
}

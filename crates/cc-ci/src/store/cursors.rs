//! Table `cursors`: how far something has been read, so that a restart goes on from there.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{StoreError, Write};

/// The cursor's value, if it was ever set.
///
/// # Errors
/// If the database fails.
pub async fn get(connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar("SELECT value FROM cursors WHERE name = $1").bind(name).fetch_optional(connection).await?)
}

/// Sets the cursor. Belongs into the transaction that stores what was read.
///
/// # Errors
/// If the database fails.
pub async fn set(write: &mut Write, name: &str, value: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO cursors (name, value, updated_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    )
    .bind(name)
    .bind(value)
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}

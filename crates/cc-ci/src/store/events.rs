//! Table `events`: what viewers of a run were told, numbered, so that one who reconnects goes on without a gap.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{Cells, StoreError, Write};

/// An event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Rises from event to event; a viewer names the last one he has.
    pub id: i64,
    /// The attempt it belongs to.
    pub attempt: i64,
    /// `stage`, `step`, `state`, …
    pub kind: String,
    /// JSON.
    pub body: String,
    /// When.
    pub at: Timestamp,
}

/// Adds an event and gives its id.
///
/// # Errors
/// If the database fails.
pub async fn append(
    write: &mut Write,
    run_number: i64,
    attempt: i64,
    kind: &str,
    body: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "INSERT INTO events (run_number, attempt, kind, body, at) VALUES ($1, $2, $3, $4, $5) RETURNING id",
    )
    .bind(run_number)
    .bind(attempt)
    .bind(kind)
    .bind(body)
    .bind(now.as_millisecond())
    .fetch_one(&mut **write)
    .await?)
}

/// Events of a run after the one with id `after`, oldest first.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn after(
    connection: &mut SqliteConnection,
    run_number: i64,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let rows = sqlx::query("SELECT * FROM events WHERE run_number = $1 AND id > $2 ORDER BY id LIMIT $3")
        .bind(run_number)
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "events", row };
            Ok(Event {
                id: cells.int("id")?,
                attempt: cells.int("attempt")?,
                kind: cells.text("kind")?,
                body: cells.text("body")?,
                at: cells.time("at")?,
            })
        })
        .collect()
}

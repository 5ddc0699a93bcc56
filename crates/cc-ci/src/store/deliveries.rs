//! Table `deliveries`: the journal of what came from the forge.
//!
//! A comment's event is kept once, by repository, comment and action: the forge's own delivery ids change when a person
//! repeats a delivery, so they prove nothing. Rows are never deleted, which is what makes a replay harmless for ever.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{Cells, StoreError, Write, word};

/// How the comment came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// A signed delivery.
    Webhook,
    /// Found by reading the forge's comments: we were away, or the delivery was lost.
    Poll,
}

/// What happened to the comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Written.
    Created,
    /// Changed, by its author or by somebody else.
    Edited,
    /// Removed.
    Deleted,
}

/// Something to be journalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The repository's numeric id.
    pub repo_id: i64,
    /// The comment's numeric id.
    pub comment_id: i64,
    /// What happened to it.
    pub action: Action,
    /// Webhook or poll.
    pub arrival: Arrival,
    /// The forge's id of the delivery, for people who look for it; empty for polled ones.
    pub delivery: String,
    /// The body as it came.
    pub payload: String,
    /// When it came.
    pub received: Timestamp,
}

/// How far a delivery has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Not yet decided.
    New,
    /// Decided; see the trigger, if it became one.
    Done,
    /// Cannot be read; kept for people.
    Bad,
}

/// A journalled delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Row id: the order in which they were acknowledged.
    pub id: i64,
    /// What came.
    pub what: NewDelivery,
    /// How far it has got.
    pub state: DeliveryState,
    /// Why, in a few words.
    pub note: String,
}

/// What became of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is new.
    New(i64),
    /// It was here before, under this row id; nothing changed.
    Known(i64),
}

/// Writes one delivery, unless it is known.
///
/// # Errors
/// If the database fails.
pub async fn append(write: &mut Write, new: &NewDelivery) -> Result<Appended, StoreError> {
    let inserted: Option<i64> = sqlx::query_scalar(
        "INSERT INTO deliveries (repo_id, comment_id, action, arrival, delivery, payload, received_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repo_id, comment_id, action) DO NOTHING RETURNING id",
    )
    .bind(new.repo_id)
    .bind(new.comment_id)
    .bind(word(&new.action))
    .bind(word(&new.arrival))
    .bind(&new.delivery)
    .bind(&new.payload)
    .bind(new.received.as_millisecond())
    .fetch_optional(&mut **write)
    .await?;
    if let Some(id) = inserted {
        return Ok(Appended::New(id));
    }
    let known = sqlx::query_scalar("SELECT id FROM deliveries WHERE repo_id = $1 AND comment_id = $2 AND action = $3")
        .bind(new.repo_id)
        .bind(new.comment_id)
        .bind(word(&new.action))
        .fetch_one(&mut **write)
        .await?;
    Ok(Appended::Known(known))
}

/// The oldest undecided deliveries that are due.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn due(connection: &mut SqliteConnection, now: Timestamp, limit: i64) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query("SELECT * FROM deliveries WHERE state = 'new' AND not_before <= $1 ORDER BY id LIMIT $2")
        .bind(now.as_millisecond())
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| read(&Cells { table: "deliveries", row })).collect()
}

/// Marks a delivery as decided or as unreadable.
///
/// # Errors
/// If the database fails.
pub async fn settle(write: &mut Write, id: i64, state: DeliveryState, note: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE deliveries SET state = $2, note = $3 WHERE id = $1")
        .bind(id)
        .bind(word(&state))
        .bind(note)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// Leaves a delivery undecided until `until`.
///
/// # Errors
/// If the database fails.
pub async fn postpone(write: &mut Write, id: i64, until: Timestamp, note: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE deliveries SET not_before = $2, note = $3 WHERE id = $1 AND state = 'new'")
        .bind(id)
        .bind(until.as_millisecond())
        .bind(note)
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// How many deliveries are undecided.
///
/// # Errors
/// If the database fails.
pub async fn backlog(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("SELECT COUNT(*) FROM deliveries WHERE state = 'new'").fetch_one(connection).await?)
}

fn read(cells: &Cells<'_>) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: cells.int("id")?,
        what: NewDelivery {
            repo_id: cells.int("repo_id")?,
            comment_id: cells.int("comment_id")?,
            action: cells.word("action")?,
            arrival: cells.word("arrival")?,
            delivery: cells.text("delivery")?,
            payload: cells.text("payload")?,
            received: cells.time("received_at")?,
        },
        state: cells.word("state")?,
        note: cells.text("note")?,
    })
}

//! Table `deliveries`: the journal of what came from the forge.
//!
//! A comment's event is kept once, by repository, comment and action: the forge's own delivery ids change when a person
//! repeats a delivery, so they prove nothing. Rows are never deleted, which is what makes a replay harmless for ever.
//! Comments are decided in the order in which they were written, at least those of one pull request: the forge's ids rise.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::{Cells, StoreError, Write, word};

/// For how long an undecided comment holds back later ones of its pull request.
const HOLDS_BACK: SignedDuration = SignedDuration::from_mins(15);

/// Deliveries of one statement.
const ROWS: usize = 64;

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
    /// Number of its issue or pull request.
    pub pull: i64,
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
    /// The poll had found it, and it is yet undecided: from now on the row holds the signed delivery, which says more.
    Signed(i64),
    /// It was here before, under this row id; nothing changed.
    Known(i64),
}

/// Writes one delivery, unless it is known.
///
/// # Errors
/// If the database fails.
pub async fn append(write: &mut Write, new: &NewDelivery) -> Result<Appended, StoreError> {
    let inserted: Option<i64> = sqlx::query_scalar(
        "INSERT INTO deliveries (repo_id, pull, comment_id, action, arrival, delivery, payload, received_at) \
         VALUES ($1, $8, $2, $3, $4, $5, $6, $7) ON CONFLICT (repo_id, comment_id, action) DO NOTHING RETURNING id",
    )
    .bind(new.repo_id)
    .bind(new.comment_id)
    .bind(word(&new.action))
    .bind(word(&new.arrival))
    .bind(&new.delivery)
    .bind(&new.payload)
    .bind(new.received.as_millisecond())
    .bind(new.pull)
    .fetch_optional(&mut **write)
    .await?;
    if let Some(id) = inserted {
        return Ok(Appended::New(id));
    }
    if new.arrival == Arrival::Webhook
        && let Some(id) = sign(write, new).await?
    {
        return Ok(Appended::Signed(id));
    }
    let known = sqlx::query_scalar("SELECT id FROM deliveries WHERE repo_id = $1 AND comment_id = $2 AND action = $3")
        .bind(new.repo_id)
        .bind(new.comment_id)
        .bind(word(&new.action))
        .fetch_one(&mut **write)
        .await?;
    Ok(Appended::Known(known))
}

/// Writes many deliveries as [`append`] writes one, with few statements: each costs a trip to SQLite's thread and back,
/// which on a busy host is most of what a burst takes.
///
/// # Errors
/// If the database fails.
pub async fn append_all(write: &mut Write, all: &[&NewDelivery]) -> Result<Vec<Appended>, StoreError> {
    if let [new] = all {
        return Ok(vec![append(write, new).await?]);
    }
    let key = |new: &NewDelivery| (new.repo_id, new.comment_id, word(&new.action));
    let mut inserted = BTreeMap::new();
    for some in all.chunks(ROWS) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "INSERT INTO deliveries (repo_id, pull, comment_id, action, arrival, delivery, payload, received_at) ",
        );
        insert.push_values(some, |mut row, new| {
            row.push_bind(new.repo_id).push_bind(new.pull).push_bind(new.comment_id).push_bind(word(&new.action));
            row.push_bind(word(&new.arrival)).push_bind(&new.delivery).push_bind(&new.payload);
            row.push_bind(new.received.as_millisecond());
        });
        insert.push(" ON CONFLICT (repo_id, comment_id, action) DO NOTHING RETURNING repo_id, comment_id, action, id");
        // Each number of rows is a statement of its own: not worth keeping.
        for row in insert.build().persistent(false).fetch_all(&mut **write).await? {
            let key: (i64, i64, String) = (row.try_get("repo_id")?, row.try_get("comment_id")?, row.try_get("action")?);
            inserted.insert(key, row.try_get("id")?);
        }
    }
    let mut outcomes = Vec::with_capacity(all.len());
    for new in all {
        // Of two that say the same, the first is the new one.
        outcomes.push(match inserted.remove(&key(new)) {
            Some(id) => Appended::New(id),
            None => append(write, new).await?,
        });
    }
    Ok(outcomes)
}

/// Puts a signed delivery in the place of what the poll read, unless that has been decided.
async fn sign(write: &mut Write, new: &NewDelivery) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "UPDATE deliveries SET arrival = 'webhook', delivery = $4, payload = $5, not_before = 0 WHERE repo_id = $1 \
         AND comment_id = $2 AND action = $3 AND state = 'new' AND arrival = 'poll' RETURNING id",
    )
    .bind(new.repo_id)
    .bind(new.comment_id)
    .bind(word(&new.action))
    .bind(&new.delivery)
    .bind(&new.payload)
    .fetch_optional(&mut **write)
    .await?)
}

/// The undecided deliveries that are due, in the order in which the comments were written. One whose pull request has an
/// earlier comment that has to wait is not due either; but a comment that cannot be decided for a quarter of an hour no
/// longer holds back the others.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn due(connection: &mut SqliteConnection, now: Timestamp, limit: i64) -> Result<Vec<Delivery>, StoreError> {
    // What holds others back is found once, not for each of them: after a flood thousands are due.
    let rows = sqlx::query(
        "WITH held AS MATERIALIZED (SELECT repo_id, pull, MIN(comment_id) AS first FROM deliveries \
         WHERE state = 'new' AND not_before > $1 AND received_at > $3 GROUP BY repo_id, pull) \
         SELECT * FROM deliveries WHERE id IN (SELECT d.id FROM deliveries d LEFT JOIN held h ON h.repo_id = d.repo_id \
         AND h.pull = d.pull AND h.first < d.comment_id WHERE d.state = 'new' AND d.not_before <= $1 AND h.first IS NULL \
         ORDER BY d.comment_id, d.id LIMIT $2) ORDER BY comment_id, id",
    )
    .bind(now.as_millisecond())
    .bind(limit)
    .bind((now - HOLDS_BACK).as_millisecond())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read(&Cells { table: "deliveries", row })).collect()
}

/// When the next delivery that waits becomes due.
///
/// # Errors
/// If the database fails.
pub async fn next_due(connection: &mut SqliteConnection, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let millis: Option<i64> =
        sqlx::query_scalar("SELECT MIN(not_before) FROM deliveries WHERE state = 'new' AND not_before > $1")
            .bind(now.as_millisecond())
            .fetch_one(connection)
            .await?;
    Ok(millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
}

/// Whether the forge told that a comment was changed after it was written.
///
/// # Errors
/// If the database fails.
pub async fn was_edited(connection: &mut SqliteConnection, repo_id: i64, comment_id: i64) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE repo_id = $1 AND comment_id = $2 AND action = 'edited')",
    )
    .bind(repo_id)
    .bind(comment_id)
    .fetch_one(connection)
    .await?)
}

/// Opens again what was settled with this note since `since` in a repository. Gives how many there were.
///
/// # Errors
/// If the database fails.
pub async fn reopen(write: &mut Write, repo_id: i64, note: &str, since: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET state = 'new', not_before = 0, note = '' \
         WHERE repo_id = $1 AND state = 'done' AND note = $2 AND received_at >= $3",
    )
    .bind(repo_id)
    .bind(note)
    .bind(since.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected())
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
            pull: cells.int("pull")?,
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

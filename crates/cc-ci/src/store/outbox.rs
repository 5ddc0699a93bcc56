//! Table `outbox`: what the forge shall show, one row per place where it shows something.
//!
//! A row holds the *wanted* state, not a message: when it changes before it was delivered, the older state is simply
//! forgotten. Versions order what is wanted: a state with a lower version never replaces one with a higher version, so a
//! late `pending` cannot overwrite a verdict.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{Cells, StoreError, Write, json};

/// State of a commit status, in the forge's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusState {
    /// Not over.
    Pending,
    /// GREEN.
    Success,
    /// RED.
    Failure,
    /// No verdict: infrastructure, cancelled, superseded.
    Error,
}

/// Something that the forge shall show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Wanted {
    /// The newest commit status of a context.
    Status {
        /// The commit, in full.
        commit: String,
        /// The context, such as `cc-ci/testme`.
        context: String,
        /// State.
        state: StatusState,
        /// One line.
        description: String,
        /// Page of the run.
        target_url: String,
    },
    /// A comment of ours, told from others by its marker.
    Comment {
        /// The pull request.
        pull: i64,
        /// Hidden first line of the body: `<!-- cc-ci:… -->`.
        marker: String,
        /// The whole body, marker included.
        body: String,
    },
    /// A reaction to somebody's comment.
    Reaction {
        /// The comment.
        comment_id: i64,
        /// The forge's name of the reaction.
        content: String,
    },
}

impl Wanted {
    /// The place where it is shown: what a row is unique by.
    #[must_use]
    pub fn target(&self, repo_id: i64) -> String {
        match self {
            Wanted::Status { commit, context, .. } => format!("status {repo_id} {commit} {context}"),
            Wanted::Comment { pull, marker, .. } => format!("comment {repo_id} {pull} {marker}"),
            Wanted::Reaction { comment_id, content } => format!("reaction {repo_id} {comment_id} {content}"),
        }
    }
}

/// Orders what is wanted for one place: by run, then attempt, then change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Number of the run; 0 for what belongs to none.
    pub run: i64,
    /// Its attempt.
    pub attempt: i64,
    /// Rises with every change.
    pub seq: i64,
}

/// How far a row has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboxState {
    /// The forge may show something else.
    Due,
    /// The forge shows it.
    Settled,
    /// The forge will not show it; see the error.
    Abandoned,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// See [`Wanted::target`].
    pub target: String,
    /// Repository.
    pub repo_id: i64,
    /// Its name when the row was written.
    pub repo_name: String,
    /// What is wanted.
    pub wanted: Wanted,
    /// Its version.
    pub version: Version,
    /// How far it has got.
    pub state: OutboxState,
    /// Tries for this version that failed.
    pub tries: i64,
    /// Not to be tried before.
    pub next_try: Timestamp,
    /// Since when it has been wanted.
    pub since: Timestamp,
    /// Id of the comment on the forge, once known.
    pub forge_id: Option<i64>,
    /// What went wrong last.
    pub error: String,
}

/// Wants something of the forge, unless something newer is already wanted there. False if so.
///
/// # Errors
/// If the database fails.
pub async fn want(
    write: &mut Write,
    repo_id: i64,
    repo_name: &str,
    wanted: &Wanted,
    version: Version,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO outbox (target, repo_id, repo_name, wanted, run_number, attempt, seq, next_try_at, wanted_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8) ON CONFLICT (target) DO UPDATE SET repo_name = excluded.repo_name, \
         run_number = excluded.run_number, attempt = excluded.attempt, seq = excluded.seq, \
         state = CASE WHEN outbox.wanted = excluded.wanted AND outbox.state = 'settled' THEN 'settled' ELSE 'due' END, \
         wanted = excluded.wanted, tries = 0, next_try_at = excluded.next_try_at, wanted_at = excluded.wanted_at, \
         error = '' WHERE (excluded.run_number, excluded.attempt, excluded.seq) > \
         (outbox.run_number, outbox.attempt, outbox.seq)",
    )
    .bind(wanted.target(repo_id))
    .bind(repo_id)
    .bind(repo_name)
    .bind(json(wanted)?)
    .bind(version.run)
    .bind(version.attempt)
    .bind(version.seq)
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Rows that should be tried now, in the order in which they became due.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub async fn due(connection: &mut SqliteConnection, now: Timestamp, limit: i64) -> Result<Vec<OutboxRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM outbox WHERE state = 'due' AND next_try_at <= $1 ORDER BY next_try_at, rowid LIMIT $2",
    )
    .bind(now.as_millisecond())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read(&Cells { table: "outbox", row })).collect()
}

/// One row.
///
/// # Errors
/// If the database fails or the row cannot be read.
pub async fn get(connection: &mut SqliteConnection, target: &str) -> Result<Option<OutboxRow>, StoreError> {
    let row = sqlx::query("SELECT * FROM outbox WHERE target = $1").bind(target).fetch_optional(connection).await?;
    row.map(|row| read(&Cells { table: "outbox", row: &row })).transpose()
}

/// When the next row becomes due, if any waits.
///
/// # Errors
/// If the database fails.
pub async fn next_due(connection: &mut SqliteConnection) -> Result<Option<Timestamp>, StoreError> {
    let millis: Option<i64> =
        sqlx::query_scalar("SELECT MIN(next_try_at) FROM outbox WHERE state = 'due'").fetch_one(connection).await?;
    Ok(millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()))
}

/// Notes that the forge shows this version. Does nothing if something newer is wanted meanwhile.
///
/// # Errors
/// If the database fails.
pub async fn settle(
    write: &mut Write,
    row: &OutboxRow,
    forge_id: Option<i64>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET forge_id = COALESCE($5, forge_id), settled_at = $6, error = '', state = CASE WHEN \
         run_number = $2 AND attempt = $3 AND seq = $4 THEN 'settled' ELSE state END WHERE target = $1",
    )
    .bind(&row.target)
    .bind(row.version.run)
    .bind(row.version.attempt)
    .bind(row.version.seq)
    .bind(forge_id)
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Notes a failed try of this version: again at `next_try`, or never (`None`).
///
/// # Errors
/// If the database fails.
pub async fn failed(
    write: &mut Write,
    row: &OutboxRow,
    next_try: Option<Timestamp>,
    error: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET tries = tries + 1, next_try_at = COALESCE($5, next_try_at), error = $6, \
         state = CASE WHEN $5 IS NULL THEN 'abandoned' ELSE state END \
         WHERE target = $1 AND run_number = $2 AND attempt = $3 AND seq = $4",
    )
    .bind(&row.target)
    .bind(row.version.run)
    .bind(row.version.attempt)
    .bind(row.version.seq)
    .bind(next_try.map(Timestamp::as_millisecond))
    .bind(error)
    .execute(&mut **write)
    .await?;
    Ok(())
}

/// Lets a row wait behind the others without blaming it: the forge was down when its turn came.
///
/// # Errors
/// If the database fails.
pub async fn later(write: &mut Write, row: &OutboxRow, next_try: Timestamp, error: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE outbox SET next_try_at = MAX(next_try_at, $2), error = $3 WHERE target = $1 AND state = 'due'")
        .bind(&row.target)
        .bind(next_try.as_millisecond())
        .bind(error)
        .execute(&mut **write)
        .await?;
    Ok(())
}

fn read(cells: &Cells<'_>) -> Result<OutboxRow, StoreError> {
    Ok(OutboxRow {
        target: cells.text("target")?,
        repo_id: cells.int("repo_id")?,
        repo_name: cells.text("repo_name")?,
        wanted: cells.json("wanted")?,
        version: Version { run: cells.int("run_number")?, attempt: cells.int("attempt")?, seq: cells.int("seq")? },
        state: cells.word("state")?,
        tries: cells.int("tries")?,
        next_try: cells.time("next_try_at")?,
        since: cells.time("wanted_at")?,
        forge_id: cells.maybe_int("forge_id")?,
        error: cells.text("error")?,
    })
}

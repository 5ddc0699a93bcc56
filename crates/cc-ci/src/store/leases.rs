//! Table `runs`, the statements that move a run from one state to another.
//!
//! Each names the state it expects, and the token where there is a lease; a statement that changes no row has lost a
//! race, and its caller must stop.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::domain::{RunId, Verdict};

use super::runs::{NewRun, Outcome, RunRow, read};
use super::{StoreError, Write, word};

/// A queued run as the choice among them sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The run.
    pub number: i64,
    /// Repository.
    pub repo_id: i64,
    /// Who asked.
    pub person_id: i64,
    /// Higher goes first.
    pub priority: i64,
    /// Memory needed, in bytes.
    pub need_memory: i64,
    /// Overlay networks needed.
    pub need_networks: i64,
    /// When it was queued, in milliseconds.
    pub queued_ms: i64,
    /// When a run of this repository was last claimed, in milliseconds; 0 for never.
    pub repo_served_ms: i64,
    /// When a run of this person was last claimed, in milliseconds; 0 for never.
    pub person_served_ms: i64,
    /// How many runs of this repository run now.
    pub repo_running: i64,
    /// How many runs of this person run now.
    pub person_running: i64,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// What its triggers are told.
    pub verdict: Verdict,
    /// The level, if it was judged.
    pub level: Option<i64>,
    /// Why, in one line.
    pub why: String,
    /// A test was red and then green.
    pub flaky: bool,
}

/// What a claim writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLease {
    /// Fresh secret.
    pub token: String,
    /// Who claims.
    pub holder: String,
    /// Fresh id for the attempt.
    pub run_id: RunId,
    /// When the lease lapses.
    pub expires: Timestamp,
    /// When the attempt must be over.
    pub deadline: Timestamp,
}

/// The queued runs that may be claimed now: due, and no run with the same key running.
///
/// # Errors
/// If the database fails.
pub async fn claimable(connection: &mut SqliteConnection, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
    use sqlx::Row;
    let rows = sqlx::query(
        "SELECT number, repo_id, person_id, priority, need_memory, need_addresses, queued_at, \
         COALESCE((SELECT MAX(a.started_at) FROM attempts a WHERE a.repo_id = r.repo_id), 0) AS repo_served, \
         COALESCE((SELECT MAX(a.started_at) FROM attempts a WHERE a.person_id = r.person_id), 0) AS person_served, \
         (SELECT COUNT(*) FROM runs x WHERE x.state = 'running' AND x.repo_id = r.repo_id) AS repo_running, \
         (SELECT COUNT(*) FROM runs x WHERE x.state = 'running' AND x.person_id = r.person_id) AS person_running \
         FROM runs r INDEXED BY runs_one_queued WHERE state = 'queued' AND not_before <= $1 \
         AND NOT EXISTS (SELECT 1 FROM runs x WHERE x.state = 'running' AND x.repo_id = r.repo_id \
         AND x.commit_id = r.commit_id AND x.suite = r.suite) \
         ORDER BY number",
    )
    .bind(now.as_millisecond())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Waiting {
                number: row.try_get("number")?,
                repo_id: row.try_get("repo_id")?,
                person_id: row.try_get("person_id")?,
                priority: row.try_get("priority")?,
                need_memory: row.try_get("need_memory")?,
                need_networks: row.try_get("need_addresses")?,
                queued_ms: row.try_get("queued_at")?,
                repo_served_ms: row.try_get("repo_served")?,
                person_served_ms: row.try_get("person_served")?,
                repo_running: row.try_get("repo_running")?,
                person_running: row.try_get("person_running")?,
            })
        })
        .collect()
}

/// Takes a queued run: token, expiry, attempt + 1. `None` if it is no longer queued.
///
/// # Errors
/// If the database fails.
pub async fn take(
    write: &mut Write,
    number: i64,
    lease: &NewLease,
    now: Timestamp,
) -> Result<Option<RunRow>, StoreError> {
    let row = sqlx::query(
        "UPDATE runs SET state = 'running', lease_token = $2, holder = $3, live_run = $4, lease_expires = $5, \
         deadline_at = $6, started_at = $7, attempt = attempt + 1, progress = '', why = '', change = change + 1 \
         WHERE number = $1 AND state = 'queued' RETURNING *",
    )
    .bind(number)
    .bind(&lease.token)
    .bind(&lease.holder)
    .bind(lease.run_id.as_str())
    .bind(lease.expires.as_millisecond())
    .bind(lease.deadline.as_millisecond())
    .bind(now.as_millisecond())
    .fetch_optional(&mut **write)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Extends a lease and notes what the run is doing. `None` if the lease is gone.
///
/// # Errors
/// If the database fails.
pub async fn extend(
    write: &mut Write,
    number: i64,
    token: &str,
    progress: &str,
    expires: Timestamp,
) -> Result<Option<RunRow>, StoreError> {
    let row = sqlx::query(
        "UPDATE runs SET lease_expires = $3, progress = $4 \
         WHERE number = $1 AND lease_token = $2 AND state = 'running' RETURNING *",
    )
    .bind(number)
    .bind(token)
    .bind(expires.as_millisecond())
    .bind(progress)
    .fetch_optional(&mut **write)
    .await?;
    row.as_ref().map(read).transpose()
}

/// Notes that a held run changed in a way that people should see. False if the lease is gone.
///
/// # Errors
/// If the database fails.
pub async fn changed(write: &mut Write, number: i64, token: &str) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE runs SET change = change + 1 WHERE number = $1 AND lease_token = $2 AND state = 'running'")
            .bind(number)
            .bind(token)
            .execute(&mut **write)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a run for good. With a token, only if that lease is held; without, only if it is queued. False if not.
///
/// # Errors
/// If the database fails.
pub async fn end(
    write: &mut Write,
    number: i64,
    token: Option<&str>,
    ending: &Ending,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET state = 'finished', outcome = $3, verdict = $4, level = $5, why = $6, flaky = $7, \
         finished_at = $8, lease_token = NULL, lease_expires = NULL, holder = NULL, live_run = NULL, progress = '', \
         change = change + 1 WHERE number = $1 AND ((state = 'queued' AND $2 IS NULL) \
         OR (state = 'running' AND lease_token = $2))",
    )
    .bind(number)
    .bind(token)
    .bind(word(&ending.outcome))
    .bind(word(&ending.verdict))
    .bind(ending.level)
    .bind(&ending.why)
    .bind(i64::from(ending.flaky))
    .bind(now.as_millisecond())
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a lease left behind, when its run goes back into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Infrastructure failed; counts as a retry.
    Retry,
    /// The lease lapsed; counts as a crash.
    Crash,
    /// The server stops in an orderly way; counts as nothing.
    Released,
}

/// Puts a held run back into the queue. False if the lease is gone.
///
/// # Errors
/// If the database fails, also if an equal run is already queued.
pub async fn requeue(
    write: &mut Write,
    number: i64,
    token: &str,
    returned: Returned,
    not_before: Timestamp,
    why: &str,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET state = 'queued', lease_token = NULL, lease_expires = NULL, holder = NULL, live_run = NULL, \
         deadline_at = NULL, progress = '', why = $3, not_before = $4, retries = retries + $5, crashes = crashes + $6, \
         change = change + 1 WHERE number = $1 AND lease_token = $2 AND state = 'running'",
    )
    .bind(number)
    .bind(token)
    .bind(why)
    .bind(not_before.as_millisecond())
    .bind(i64::from(returned == Returned::Retry))
    .bind(i64::from(returned == Returned::Crash))
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Asks the holder of a running run to stop. False if it does not run, or was asked before.
///
/// # Errors
/// If the database fails.
pub async fn ask_to_cancel(write: &mut Write, number: i64, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE runs SET cancel_at = $2, cancel_by = $3, change = change + 1 \
         WHERE number = $1 AND state = 'running' AND cancel_at IS NULL",
    )
    .bind(number)
    .bind(now.as_millisecond())
    .bind(by)
    .execute(&mut **write)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The queued run with the same repository, pull request, commit and suite, if there is one. Two pull requests with the
/// same head are answered by runs of their own: either may be cancelled or get a newer commit without the other.
///
/// # Errors
/// If the database fails.
pub async fn queued_twin(connection: &mut SqliteConnection, of: &NewRun) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT number FROM runs WHERE state = 'queued' AND repo_id = $1 AND commit_id = $2 AND suite = $3 \
         AND pull IS $4",
    )
    .bind(of.repo_id)
    .bind(&of.commit)
    .bind(&of.suite)
    .bind(of.pull)
    .fetch_optional(connection)
    .await?)
}

/// Queued runs of the same pull request and suite for other commits.
///
/// # Errors
/// If the database fails.
pub async fn queued_for_other_commits(connection: &mut SqliteConnection, of: &NewRun) -> Result<Vec<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT number FROM runs WHERE state = 'queued' AND repo_id = $1 AND pull = $2 AND suite = $3 \
         AND commit_id <> $4 ORDER BY number",
    )
    .bind(of.repo_id)
    .bind(of.pull)
    .bind(&of.suite)
    .bind(&of.commit)
    .fetch_all(connection)
    .await?)
}

/// The newest run of the same pull request and suite for another commit that was queued after run `number`.
///
/// # Errors
/// If the database fails.
pub async fn newer_commit(
    connection: &mut SqliteConnection,
    of: &NewRun,
    number: i64,
) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT MAX(number) FROM runs WHERE repo_id = $1 AND pull = $2 AND suite = $3 AND commit_id <> $4 AND number > $5",
    )
    .bind(of.repo_id)
    .bind(of.pull)
    .bind(&of.suite)
    .bind(&of.commit)
    .bind(number)
    .fetch_one(connection)
    .await?)
}

/// How many runs are queued, in all and by one person.
///
/// # Errors
/// If the database fails.
pub async fn queued_counts(connection: &mut SqliteConnection, person_id: i64) -> Result<(i64, i64), StoreError> {
    Ok(sqlx::query_as("SELECT COUNT(*), COUNT(CASE WHEN person_id = $1 THEN 1 END) FROM runs WHERE state = 'queued'")
        .bind(person_id)
        .fetch_one(connection)
        .await?)
}

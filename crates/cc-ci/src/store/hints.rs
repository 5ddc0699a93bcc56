//! Table `hints`: what refused people were shown, so that refusals do not become a flood.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{StoreError, Write, word};

/// What was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HintKind {
    /// A comment with a hint.
    Hint,
    /// A reaction.
    Reaction,
}

/// What was said to this person lately, so that refusals do not become a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HintHistory {
    /// When this person was last given a hint on this pull request.
    pub last_to_person: Option<Timestamp>,
    /// Hints on this pull request within the last hour, to anybody.
    pub on_pull_last_hour: u32,
    /// Reactions to this person's comments within the last hour, in this repository.
    pub reactions_last_hour: u32,
}

/// Notes that a person was shown something on a pull request.
///
/// # Errors
/// If the database fails.
pub async fn note(
    write: &mut Write,
    repo_id: i64,
    pull: i64,
    person_id: i64,
    kind: HintKind,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO hints (repo_id, pull, person_id, kind, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(repo_id)
        .bind(pull)
        .bind(person_id)
        .bind(word(&kind))
        .bind(now.as_millisecond())
        .execute(&mut **write)
        .await?;
    Ok(())
}

/// What this person, and others on the same pull request, were shown lately.
///
/// # Errors
/// If the database fails.
pub async fn history(
    connection: &mut SqliteConnection,
    repo_id: i64,
    pull: i64,
    person_id: i64,
    now: Timestamp,
) -> Result<HintHistory, StoreError> {
    let hour_ago = (now - SignedDuration::from_hours(1)).as_millisecond();
    let last: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(at) FROM hints WHERE repo_id = $1 AND pull = $2 AND person_id = $3 AND kind = 'hint'",
    )
    .bind(repo_id)
    .bind(pull)
    .bind(person_id)
    .fetch_one(&mut *connection)
    .await?;
    let on_pull: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM hints WHERE repo_id = $1 AND pull = $2 AND kind = 'hint' AND at > $3")
            .bind(repo_id)
            .bind(pull)
            .bind(hour_ago)
            .fetch_one(&mut *connection)
            .await?;
    let reactions: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM hints WHERE repo_id = $1 AND person_id = $2 AND kind = 'reaction' AND at > $3",
    )
    .bind(repo_id)
    .bind(person_id)
    .bind(hour_ago)
    .fetch_one(connection)
    .await?;
    Ok(HintHistory {
        last_to_person: last.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
        on_pull_last_hour: u32::try_from(on_pull).unwrap_or(u32::MAX),
        reactions_last_hour: u32::try_from(reactions).unwrap_or(u32::MAX),
    })
}

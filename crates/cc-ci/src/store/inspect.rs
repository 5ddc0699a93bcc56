//! A look at a database without opening it for work: nothing is created, upgraded or written.
//!
//! For the doctor, who may look while a server of another version is using the file.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::{BUSY_TIMEOUT, Cells, StoreError, schema};

/// Parked runs that are told at most, the newest.
const PARKED: i64 = 20;

/// What a database file is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Steps of the schema that it has seen.
    pub schema: i64,
    /// Steps that this program knows.
    pub known: i64,
    /// Whether SQLite finds pages, indexes and keys in order.
    pub sound: bool,
    /// Runs that wait for a person, newest first; none where the schema is not this program's.
    pub parked: Vec<Parked>,
}

/// A run that took the server down too often, and that nobody has started again since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The run.
    pub number: i64,
    /// Repository, `owner/name`.
    pub repo_name: String,
    /// Pull request; none for a run of a branch.
    pub pull: Option<i64>,
    /// Commit, in full.
    pub commit: String,
}

/// Looks at a file that is there.
///
/// # Errors
/// If it cannot be opened, or is no database.
pub async fn inspect(path: &Path) -> Result<Inspection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await.map_err(failed)?;
    let schema = schema::version(&mut connection).await?;
    let word: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?;
    let broken_keys = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await?;
    let known = i64::try_from(schema::STEPS.len()).unwrap_or(i64::MAX);
    let sound = word == "ok" && broken_keys.is_empty();
    let parked = if sound && schema == known { parked(&mut connection).await? } else { Vec::new() };
    connection.close().await?;
    Ok(Inspection { schema, known, sound, parked })
}

async fn parked(connection: &mut SqliteConnection) -> Result<Vec<Parked>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, repo_name, pull, commit_id FROM runs r WHERE state = 'finished' AND outcome = 'parked' \
         AND NOT EXISTS (SELECT 1 FROM runs x WHERE x.repo_id = r.repo_id AND x.suite = r.suite AND x.number > r.number \
         AND (x.commit_id = r.commit_id OR x.pull = r.pull)) ORDER BY number DESC LIMIT $1",
    )
    .bind(PARKED)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "runs", row };
            Ok(Parked {
                number: cells.int("number")?,
                repo_name: cells.text("repo_name")?,
                pull: cells.maybe_int("pull")?,
                commit: cells.text("commit_id")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn sound_broken_and_missing_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert!(inspect(&path).await.is_err());
        assert!(!path.exists(), "looking must not create it");
        let store = Store::open(&path).await.unwrap();
        let newest = i64::try_from(schema::STEPS.len()).unwrap();
        let beside = inspect(&path).await.unwrap();
        let healthy = Inspection { schema: newest, known: newest, sound: true, parked: Vec::new() };
        assert_eq!(beside, healthy, "while somebody uses it");
        store.close().await;
        assert!(inspect(&path).await.unwrap().sound);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0xa5);
        std::fs::write(&path, bytes).unwrap();
        assert!(inspect(&path).await.is_ok_and(|seen| !seen.sound) || inspect(&path).await.is_err());
        std::fs::write(&path, "no database at all, but long enough to have a header of some kind or other").unwrap();
        assert!(inspect(&path).await.is_err());
    }
}

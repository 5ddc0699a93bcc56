//! The schema's steps, in order, and the way from any earlier step to the newest.
//!
//! Steps only ever get added; one that has been released is never changed. The number of steps that a database has seen
//! is in its `user_version`, written in the same transaction as the step itself.

use sqlx::{Connection, SqliteConnection};

use super::StoreError;

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// File name, for messages and tests.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
    /// Rows such as the version that ended with this step would have written: what upgrades are tested on.
    pub sample: &'static str,
}

/// All steps.
pub const STEPS: &[Step] = &[
    Step {
        name: "0001_journal",
        sql: include_str!("../../migrations/0001_journal.sql"),
        sample: include_str!("../../migrations/samples/0001.sql"),
    },
    Step {
        name: "0002_queue",
        sql: include_str!("../../migrations/0002_queue.sql"),
        sample: include_str!("../../migrations/samples/0002.sql"),
    },
    Step {
        name: "0003_outbox",
        sql: include_str!("../../migrations/0003_outbox.sql"),
        sample: include_str!("../../migrations/samples/0003.sql"),
    },
    Step {
        name: "0004_pages",
        sql: include_str!("../../migrations/0004_pages.sql"),
        sample: include_str!("../../migrations/samples/0004.sql"),
    },
    Step {
        name: "0005_order",
        sql: include_str!("../../migrations/0005_order.sql"),
        sample: include_str!("../../migrations/samples/0005.sql"),
    },
    Step {
        name: "0006_logs",
        sql: include_str!("../../migrations/0006_logs.sql"),
        sample: include_str!("../../migrations/samples/0006.sql"),
    },
    Step {
        name: "0007_scans",
        sql: include_str!("../../migrations/0007_scans.sql"),
        sample: include_str!("../../migrations/samples/0007.sql"),
    },
];

/// The number of steps that the database has seen.
///
/// # Errors
/// If it cannot be read.
pub async fn version(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await?)
}

/// Applies those of `steps` that the database has not seen. Each is all or nothing.
///
/// # Errors
/// If a step fails, or the database has seen more steps than there are.
pub async fn upgrade(connection: &mut SqliteConnection, steps: &'static [Step]) -> Result<(), StoreError> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let found = version(connection).await?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (number, step) in (1_i64..).zip(steps) {
        if number <= found {
            continue;
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        // Another process may have been quicker while this one waited for the lock.
        if version(&mut transaction).await? >= number {
            continue;
        }
        sqlx::raw_sql(step.sql).execute(&mut *transaction).await?;
        let mark = format!("PRAGMA user_version = {number}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(mark)).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}

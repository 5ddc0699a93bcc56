//! A long history out of a short one: SQLite copies rows much faster than they can be made one by one.
//!
//! A copy is an older run, with a number, an id and times of its own; only the times inside its record stay those of the
//! run it was made of. Columns are not named unless they change, so that the tables may grow. This is for made-up
//! history only: nothing that people did is ever copied.

use super::{Store, StoreError, Write};

/// Tables of finished runs. The first one is what the others refer to.
const TABLES: [&str; 5] = ["runs", "triggers", "attempts", "stage_rows", "results"];

/// Makes room for `older` runs with smaller numbers than any that is written from now on.
///
/// # Errors
/// If the database fails, or has runs already.
pub(crate) async fn leave_room(store: &Store, older: usize) -> Result<(), StoreError> {
    let mut write = store.begin_immediate().await?;
    execute(&mut write, format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', {older})")).await?;
    write.commit().await
}

/// Fills that room with copies of the `made` runs behind it, each block of them older by `apart_ms` times their number.
///
/// # Errors
/// If the database fails.
pub(crate) async fn fill(store: &Store, older: usize, made: usize, apart_ms: i64) -> Result<(), StoreError> {
    let blocks = older.div_ceil(made.max(1));
    let back = i64::try_from(made).unwrap_or(i64::MAX).saturating_mul(apart_ms);
    for block in 0..blocks {
        let mut write = store.begin_immediate().await?;
        if block == 0 {
            for table in TABLES {
                execute(&mut write, format!("CREATE TEMP TABLE made_{table} AS SELECT * FROM {table}")).await?;
            }
        }
        // Each block is made of the one before it.
        execute(
            &mut write,
            format!(
                "UPDATE made_runs SET number = number - {made}, queued_at = queued_at - {back}, \
                 started_at = started_at - {back}, finished_at = finished_at - {back}, \
                 deadline_at = deadline_at - {back}, not_before = not_before - {back}; \
                 UPDATE made_triggers SET id = NULL, run_number = run_number - {made}, \
                 comment_id = comment_id - {made}, created_at = created_at - {back}, ended_at = ended_at - {back}; \
                 UPDATE made_attempts SET run_number = run_number - {made}, started_at = started_at - {back}, \
                 ended_at = ended_at - {back}; \
                 UPDATE made_attempts SET run_id = 'c' || printf('%011d', run_number * 10 + attempt); \
                 UPDATE made_stage_rows SET run_number = run_number - {made}, at = at - {back}; \
                 UPDATE made_results SET run_number = run_number - {made}, at = at - {back}; \
                 UPDATE made_results SET run = json_set(run, '$.run', 'c' || printf('%011d', run_number * 10 + attempt))"
            ),
        )
        .await?;
        for table in TABLES {
            let number = if table == "runs" { "number" } else { "run_number" };
            let copy = format!("INSERT INTO {table} SELECT * FROM made_{table} WHERE {number} > 0");
            execute(&mut write, copy).await?;
        }
        write.commit().await?;
    }
    let mut write = store.begin_immediate().await?;
    for table in TABLES {
        execute(&mut write, format!("DROP TABLE IF EXISTS made_{table}")).await?;
    }
    write.commit().await
}

/// Marks all that is over as told to the forge, which knows nothing of made-up runs.
///
/// # Errors
/// If the database fails.
pub(crate) async fn nothing_to_tell(store: &Store) -> Result<(), StoreError> {
    let mut write = store.begin_immediate().await?;
    execute(&mut write, "UPDATE runs SET published = change WHERE state = 'finished'".to_owned()).await?;
    write.commit().await
}

async fn execute(write: &mut Write, statements: String) -> Result<(), StoreError> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut **write).await?;
    Ok(())
}

//! Cancelling: a queued run ends at once, a running one is asked to stop and ends when its holder has torn it down.

use jiff::Timestamp;

use crate::store::runs::{self, RunRow, RunState};
use crate::store::{StoreError, Write, leases, triggers};

use super::retry::cancelled_by;

/// What was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cancelled {
    /// Queued runs that are over.
    pub ended: Vec<i64>,
    /// Running runs that were asked to stop.
    pub asked: Vec<i64>,
}

/// Cancels one run. Nothing happens to one that is over.
///
/// # Errors
/// If the database fails.
pub async fn cancel_run(write: &mut Write, number: i64, by: &str, now: Timestamp) -> Result<Cancelled, StoreError> {
    let mut cancelled = Cancelled::default();
    if let Some(run) = runs::get(write, number).await? {
        cancel(write, &run, by, now, &mut cancelled).await?;
    }
    Ok(cancelled)
}

/// Cancels all runs of a pull request that wait or run, as comment `comment_id` asks; but not one that a later comment asked
/// for, because a comment may come to us late.
///
/// # Errors
/// If the database fails.
pub async fn cancel_pull(
    write: &mut Write,
    repo_id: i64,
    pull: i64,
    comment_id: i64,
    by: &str,
    now: Timestamp,
) -> Result<Cancelled, StoreError> {
    let mut cancelled = Cancelled::default();
    for run in runs::open(write).await? {
        if run.what.repo_id != repo_id || run.what.pull != Some(pull) {
            continue;
        }
        let asked = triggers::of_run(write, run.number).await?;
        if !asked.iter().any(|trigger| trigger.what.comment_id.is_some_and(|later| later > comment_id)) {
            cancel(write, &run, by, now, &mut cancelled).await?;
        }
    }
    Ok(cancelled)
}

async fn cancel(
    write: &mut Write,
    run: &RunRow,
    by: &str,
    now: Timestamp,
    cancelled: &mut Cancelled,
) -> Result<(), StoreError> {
    match run.state {
        RunState::Queued => {
            let ending = cancelled_by(by);
            if leases::end(write, run.number, None, &ending, now).await? {
                triggers::answer(write, run.number, ending.verdict, ending.outcome, now).await?;
                cancelled.ended.push(run.number);
            }
        }
        RunState::Running => {
            if leases::ask_to_cancel(write, run.number, by, now).await? {
                cancelled.asked.push(run.number);
            }
        }
        RunState::Finished => {}
    }
    Ok(())
}

//! From runs that changed to what the forge shall show.
//!
//! A run's `change` counter says that something about it is new, `published` how far the outbox knows; the difference
//! survives any crash. The comment shows the whole pull request, so it is rendered from all its newest runs, whichever of
//! them changed.

use jiff::Timestamp;

use crate::domain::{Run, StageResult};
use crate::queue::choose;
use crate::queue::wait::{self, Wait};
use crate::store::attempts::{self, Attempt};
use crate::store::outbox::{self, Version, Wanted};
use crate::store::runs::{self, RunRow, RunState};
use crate::store::triggers::{self, Trigger};
use crate::store::{Store, StoreError, Write, leases, results, stage_rows};

use super::{CONTEXT, pull_marker, status};

/// Runs that are refreshed in one transaction.
const BATCH: i64 = 50;

/// Runs that a comment looks back at.
const RUNS_IN_COMMENT: i64 = 10;

/// Past runs that an expected wait is judged by.
const PAST_RUNS: i64 = 20;

/// A run with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// The row.
    pub run: RunRow,
    /// What it answers.
    pub triggers: Vec<Trigger>,
    /// Its attempts, in order.
    pub attempts: Vec<Attempt>,
    /// Stages of the latest attempt that have ended.
    pub stages: Vec<StageResult>,
    /// The harness's record, once it is there.
    pub record: Option<Run>,
    /// Its turn, while it is queued.
    pub wait: Option<Wait>,
}

/// A pull request with its newest runs, newest first; at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct PullView {
    /// Repository.
    pub repo_id: i64,
    /// Its name.
    pub repo_name: String,
    /// The pull request.
    pub pull: i64,
    /// Its newest runs, newest first.
    pub runs: Vec<RunView>,
    /// Level of the target branch by its newest judged run, to compare with.
    pub target_level: Option<i64>,
}

/// Makes texts of views. What it returns is sent as it is, so foreign text in it must be harmless already.
pub trait Render {
    /// Link to a run's page, as `target_url` of the status.
    fn run_url(&self, number: i64) -> String;

    /// Markdown of the comment, without the marker.
    fn comment(&self, view: &PullView) -> String;
}

/// Writes what is wanted for all runs that changed. Gives how many there were.
///
/// # Errors
/// If the database fails; then the rest is found again next time.
pub async fn refresh(store: &Store, render: &impl Render, slots: usize, now: Timestamp) -> Result<usize, StoreError> {
    let mut done = 0;
    loop {
        let mut write = store.begin_immediate().await?;
        let changed = runs::unpublished(&mut write, BATCH).await?;
        if changed.is_empty() {
            return Ok(done);
        }
        let turns = turns(&mut write, slots, now).await?;
        for run in &changed {
            want_status(&mut write, run, &turns, render, now).await?;
            if run.what.pull.is_some() {
                want_comment(&mut write, run, &turns, render, now).await?;
            }
            runs::mark_published(&mut write, run.number, run.change).await?;
        }
        done += changed.len();
        write.commit().await?;
    }
}

/// When each queued run has its turn, by run number.
///
/// # Errors
/// If the database fails.
pub async fn turns(
    connection: &mut sqlx::SqliteConnection,
    slots: usize,
    now: Timestamp,
) -> Result<Vec<(i64, Wait)>, StoreError> {
    let open = runs::open(connection).await?;
    // Also those that are not due yet: they have a place in the line.
    let waiting = leases::claimable(connection, Timestamp::MAX).await?;
    let order = choose::order(&waiting);
    let mut running = Vec::new();
    let mut durations = std::collections::BTreeMap::new();
    for run in &open {
        let past = runs::past_durations(connection, &run.what.recipe, PAST_RUNS).await?;
        let expected = wait::expected_duration(&past, &[]);
        if run.state == RunState::Running {
            running.push(expected - run.started.map_or(jiff::SignedDuration::ZERO, |at| now.duration_since(at)));
        }
        durations.insert(run.number, expected);
    }
    let queued: Vec<_> =
        order.iter().map(|number| durations.get(number).copied().unwrap_or(wait::FIRST_GUESS)).collect();
    Ok(order.into_iter().zip(wait::waits(&running, &queued, slots)).collect())
}

/// All that is known of a run.
///
/// # Errors
/// If the database fails or something in it cannot be read.
pub async fn view(
    connection: &mut sqlx::SqliteConnection,
    run: RunRow,
    turns: &[(i64, Wait)],
) -> Result<RunView, StoreError> {
    Ok(RunView {
        triggers: triggers::of_run(connection, run.number).await?,
        attempts: attempts::of_run(connection, run.number).await?,
        stages: stage_rows::of_attempt(connection, run.number, run.attempt).await?,
        record: results::get(connection, run.number).await?,
        wait: turns.iter().find(|(number, _)| *number == run.number).map(|(_, wait)| *wait),
        run,
    })
}

async fn want_status(
    write: &mut Write,
    run: &RunRow,
    turns: &[(i64, Wait)],
    render: &impl Render,
    now: Timestamp,
) -> Result<(), StoreError> {
    let wait = turns.iter().find(|(number, _)| *number == run.number).map(|(_, wait)| *wait);
    let (state, description) = status::of(run, wait);
    let wanted = Wanted::Status {
        commit: run.what.commit.clone(),
        context: CONTEXT.to_owned(),
        state,
        description,
        target_url: render.run_url(run.number),
    };
    let version = Version { run: run.number, attempt: run.attempt, seq: run.change };
    outbox::want(write, run.what.repo_id, &run.what.repo_name, &wanted, version, now).await?;
    Ok(())
}

async fn want_comment(
    write: &mut Write,
    changed: &RunRow,
    turns: &[(i64, Wait)],
    render: &impl Render,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(pull) = changed.what.pull else { return Ok(()) };
    let repo_id = changed.what.repo_id;
    let rows = runs::of_pull(write, repo_id, pull, RUNS_IN_COMMENT).await?;
    let Some(newest) = rows.first().cloned() else { return Ok(()) };
    let target_level = runs::target_level(write, repo_id).await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        views.push(view(write, row, turns).await?);
    }
    let view = PullView { repo_id, repo_name: newest.what.repo_name.clone(), pull, runs: views, target_level };
    let marker = pull_marker(repo_id, pull);
    let body = format!("{marker}\n{}", render.comment(&view));
    // Rises whichever run of the pull request changes, and never falls.
    let seq = runs::changes_of_pull(write, repo_id, pull).await?;
    let version = Version { run: newest.number, attempt: newest.attempt, seq };
    outbox::want(write, repo_id, &newest.what.repo_name, &Wanted::Comment { pull, marker, body }, version, now).await?;
    Ok(())
}

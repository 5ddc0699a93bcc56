//! What the holder of a lease may write. Every function shows the token; [`Standing::Lost`] means: stop at once, write
//! nothing more, and leave the stacks to the reaper.

use jiff::Timestamp;

use crate::domain::{Run, RunId, StageResult, Verdict};
use crate::store::attempts::AttemptEnding;
use crate::store::leases::{self, Ending, Returned};
use crate::store::runs::{self, Outcome, RunRow};
use crate::store::{Store, StoreError, Write, attempts, results, stage_rows, triggers};

use super::QueueConfig;
use super::accept::back_to_queue;
use super::retry::{self, Next};

/// The right to execute a run. Only a claim makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    number: i64,
    attempt: i64,
    token: String,
    run_id: RunId,
}

impl Lease {
    pub(super) fn new(number: i64, attempt: i64, token: String, run_id: RunId) -> Self {
        Self { number, attempt, token, run_id }
    }

    /// The run's number.
    #[must_use]
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> i64 {
        self.attempt
    }

    /// The attempt's id on the swarm.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// The token, for the set of leases that this process knows to be alive.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// Whether the lease still stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Go on.
    Held,
    /// Tear down and report [`Report::Cancelled`].
    CancelWanted {
        /// Who asked.
        by: String,
    },
    /// Stop; somebody else owns the run.
    Lost,
}

/// How an attempt ended, as its holder tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The harness finished with a record.
    Record(Box<Run>),
    /// Cancelled and torn down.
    Cancelled,
    /// Past its deadline, and torn down.
    Overdue,
    /// It could not even begin, or broke without a record: infrastructure.
    Broken {
        /// One line.
        why: String,
    },
    /// The server stops in an orderly way; the run starts again later.
    Released,
}

/// Extends the lease. To be called when the run *progresses*, never by a timer: a stuck run must lapse.
///
/// # Errors
/// If the database fails.
pub async fn progress(
    store: &Store,
    lease: &Lease,
    what: &str,
    config: &QueueConfig,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    let mut write = store.begin_immediate().await?;
    let run = leases::extend(&mut write, lease.number, &lease.token, what, now + config.lease).await?;
    write.commit().await?;
    Ok(match run {
        None => Standing::Lost,
        Some(RunRow { cancel: Some((_, by)), .. }) => Standing::CancelWanted { by },
        Some(_) => Standing::Held,
    })
}

/// Writes a finished stage. False if the lease is gone.
///
/// # Errors
/// If the database fails.
pub async fn stage_ended(
    store: &Store,
    lease: &Lease,
    result: &StageResult,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut write = store.begin_immediate().await?;
    let held = leases::changed(&mut write, lease.number, &lease.token).await?;
    if held {
        stage_rows::insert(&mut write, lease.number, &lease.token, result, now).await?;
        write.commit().await?;
    }
    Ok(held)
}

/// Ends the attempt: with a verdict, or back into the queue. False if the lease is gone; then nothing was written.
///
/// # Errors
/// If the database fails; then nothing was written, and the same report may be given again.
pub async fn finish(
    store: &Store,
    lease: &Lease,
    report: &Report,
    config: &QueueConfig,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut write = store.begin_immediate().await?;
    let held = match runs::get(&mut write, lease.number).await? {
        Some(run) if run.lease.as_ref().is_some_and(|held| held.token == lease.token) => {
            finish_held(&mut write, &run, lease, report, config, now).await?
        }
        Some(_) | None => false,
    };
    if held {
        write.commit().await?;
    }
    Ok(held)
}

async fn finish_held(
    write: &mut Write,
    run: &RunRow,
    lease: &Lease,
    report: &Report,
    config: &QueueConfig,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if let Report::Record(record) = report {
        results::put(write, lease.number, lease.attempt, record, now).await?;
    }
    match retry::next(run, report, config) {
        Next::End(ending) => end_held(write, lease.number, &lease.token, &ending, now).await,
        Next::Again { returned, after, why } => {
            let ending = match returned {
                Returned::Released => AttemptEnding::Released,
                Returned::Retry => AttemptEnding::Retried,
                Returned::Crash => AttemptEnding::Lapsed,
            };
            attempts::finish(write, &lease.token, ending, &why, now).await?;
            back_to_queue(write, run, &lease.token, returned, now + after, &why, now).await
        }
    }
}

/// Ends a held run and answers its triggers. False if the lease is gone.
pub(super) async fn end_held(
    write: &mut Write,
    number: i64,
    token: &str,
    ending: &Ending,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let attempt = match ending.outcome {
        Outcome::Judged => AttemptEnding::Judged,
        Outcome::Cancelled => AttemptEnding::Cancelled,
        Outcome::Overdue => AttemptEnding::Overdue,
        Outcome::Superseded | Outcome::Exhausted | Outcome::Parked => AttemptEnding::Lapsed,
    };
    attempts::finish(write, token, attempt, &ending.why, now).await?;
    if !leases::end(write, number, Some(token), ending, now).await? {
        return Ok(false);
    }
    triggers::answer(write, number, ending.verdict, ending.outcome, now).await?;
    Ok(true)
}

/// The verdict that a record gives its triggers; a record that claims to be pending is none.
pub(super) fn settled(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Pending => Verdict::Error,
        Verdict::Green | Verdict::Red | Verdict::Error => verdict,
    }
}

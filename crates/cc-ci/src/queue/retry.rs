//! Whether an attempt that ended is the end of its run. Pure.
//!
//! Only what is nobody's fault is tried again, and only a few times; then the run ends with ERROR, never RED. A recipe's
//! or a test's failure is not retried here: the harness has already run a red test once more.

use jiff::SignedDuration;

use crate::domain::{Fault, Run, StageStatus, Verdict};
use crate::store::leases::{Ending, Returned};
use crate::store::runs::{Outcome, RunRow};

use super::QueueConfig;
use super::lease::{Report, settled};

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The run is over.
    End(Ending),
    /// The run goes back into the queue.
    Again {
        /// What it counts as.
        returned: Returned,
        /// How long it has to wait at least.
        after: SignedDuration,
        /// One line.
        why: String,
    },
}

/// What follows the attempt that `report` tells of.
#[must_use]
pub fn next(run: &RunRow, report: &Report, config: &QueueConfig) -> Next {
    let cancelled = run.cancel.as_ref().map(|(_, by)| by.as_str());
    match (report, cancelled) {
        // A judgement that came before the cancellation took effect is worth keeping.
        (Report::Record(record), _) if matches!(record.verdict, Verdict::Green | Verdict::Red) => {
            Next::End(judged(record))
        }
        (Report::Cancelled, _) => Next::End(cancelled_by(cancelled.unwrap_or("an operator"))),
        (Report::Record(_) | Report::Broken { .. } | Report::Released | Report::Overdue, Some(by)) => {
            Next::End(cancelled_by(by))
        }
        (Report::Overdue, None) => {
            Next::End(without_verdict(Outcome::Overdue, "its time limit was reached".to_owned()))
        }
        (Report::Released, None) => Next::Again {
            returned: Returned::Released,
            after: SignedDuration::ZERO,
            why: "cc-ci was stopped; the run starts again".to_owned(),
        },
        (Report::Broken { why }, None) => {
            retry_or(run, config, why, || without_verdict(Outcome::Exhausted, why.clone()))
        }
        (Report::Record(record), None) => match infrastructure(record) {
            Some(why) => retry_or(run, config, &why, || judged(record)),
            None => Next::End(judged(record)),
        },
    }
}

/// How long to wait before retry number `retry` (from 1): half a minute, then two minutes, and so on up to half an hour.
#[must_use]
pub fn pause(retry: i64) -> SignedDuration {
    let steps = u32::try_from(retry.clamp(1, 4) - 1).unwrap_or(0);
    SignedDuration::from_secs((30 * 4_i64.pow(steps)).min(1800))
}

/// The end of a run that somebody cancelled.
#[must_use]
pub(super) fn cancelled_by(by: &str) -> Ending {
    without_verdict(Outcome::Cancelled, format!("cancelled by {by}"))
}

pub(super) fn without_verdict(outcome: Outcome, why: String) -> Ending {
    Ending { outcome, verdict: Verdict::Error, level: None, why, flaky: false }
}

fn judged(record: &Run) -> Ending {
    let why =
        record.stages.iter().find_map(|stage| stage.reason.as_ref()).map_or_else(String::new, ToString::to_string);
    Ending {
        outcome: Outcome::Judged,
        verdict: settled(record.verdict),
        level: Some(i64::from(record.level)),
        why,
        flaky: record.flaky,
    }
}

fn retry_or(run: &RunRow, config: &QueueConfig, why: &str, end: impl FnOnce() -> Ending) -> Next {
    if run.retries >= config.retries {
        return Next::End(end());
    }
    Next::Again { returned: Returned::Retry, after: pause(run.retries + 1), why: why.to_owned() }
}

/// The first stage that could not be judged because of the host, engine, registry or network.
fn infrastructure(record: &Run) -> Option<String> {
    let reason = record
        .stages
        .iter()
        .filter(|stage| matches!(stage.status, StageStatus::Inconclusive | StageStatus::Fail))
        .filter_map(|stage| stage.reason.as_ref())
        .find(|reason| match reason.fault {
            Fault::Infrastructure | Fault::Interrupted => true,
            Fault::Recipe | Fault::Test | Fault::Base | Fault::Bug => false,
        })?;
    Some(reason.to_string())
}

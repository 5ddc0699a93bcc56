//! The commit status that a run deserves. Pure.

use crate::domain::Verdict;
use crate::queue::wait::Wait;
use crate::store::outbox::StatusState;
use crate::store::runs::{Outcome, RunRow, RunState};

/// Longest description, in characters: it is shown on one line.
const LONGEST: usize = 140;

/// State and description.
#[must_use]
pub fn of(run: &RunRow, wait: Option<Wait>) -> (StatusState, String) {
    let (state, text) = match (run.state, run.outcome, run.verdict) {
        (RunState::Queued, _, _) => (StatusState::Pending, queued(run, wait)),
        (RunState::Running, _, _) if run.cancel.is_some() => (StatusState::Pending, "is being cancelled".to_owned()),
        (RunState::Running, _, _) => (StatusState::Pending, format!("running{}", attempt(run))),
        (RunState::Finished, Some(Outcome::Judged), Some(Verdict::Green)) => {
            let flaky = if run.flaky { ", with a flaky test" } else { "" };
            (StatusState::Success, format!("GREEN, level {}{flaky}", run.level.unwrap_or(0)))
        }
        (RunState::Finished, Some(Outcome::Judged), Some(Verdict::Red)) => {
            (StatusState::Failure, because(&format!("RED, level {}", run.level.unwrap_or(0)), &run.why))
        }
        (RunState::Finished, Some(Outcome::Judged), _) => {
            (StatusState::Error, because("ERROR: could not be judged", &run.why))
        }
        (RunState::Finished, _, _) => (StatusState::Error, because("ERROR", &run.why)),
    };
    (state, one_line(&text))
}

fn queued(run: &RunRow, wait: Option<Wait>) -> String {
    let again = if run.why.is_empty() { String::new() } else { format!(" again: {}", run.why) };
    match wait {
        Some(wait) => {
            let minutes = wait.until_verdict.as_secs().div_euclid(60) + 1;
            format!("queued{again}, number {} in line, verdict in about {minutes} min", wait.position)
        }
        None => format!("queued{again}"),
    }
}

fn attempt(run: &RunRow) -> String {
    if run.attempt > 1 { format!(", attempt {}", run.attempt) } else { String::new() }
}

fn because(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.pop();
        line.push('…');
    }
    line
}

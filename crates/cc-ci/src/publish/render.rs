//! The one comment of a pull request: the newest run in full, the earlier ones in a line each. Pure.
//!
//! The frame is fixed; whatever a recipe, its author or an app wrote goes through [`crate::results::markdown`], which
//! makes it code. The rule to know: no line of ours may be a command, and no text of others may stand outside of code.

use std::fmt::Write as _;

use url::Url;

use super::answers::Answer;
use super::refresh::{PullView, Render, RunView};
use crate::domain::Verdict;
use crate::results::markdown::{comment_table, span, stages_so_far};
use crate::store::runs::{Outcome, RunState};

/// Earlier runs that are listed.
const EARLIER: usize = 5;

/// Renders with links to the pages at this address.
#[derive(Debug, Clone)]
pub struct Pages {
    base: String,
}

impl Pages {
    /// `public_url` with or without a slash at its end.
    #[must_use]
    pub fn at(public_url: &Url) -> Self {
        Self { base: public_url.as_str().trim_end_matches('/').to_owned() }
    }
}

impl Render for Pages {
    fn run_url(&self, number: i64) -> String {
        format!("{}/runs/{number}", self.base)
    }

    fn comment(&self, view: &PullView) -> String {
        let mut out = String::new();
        for answer in answers(view) {
            let _ = writeln!(out, "{answer}");
        }
        let Some((newest, earlier)) = view.runs.split_first() else { return out };
        out.push('\n');
        out.push_str(&state(newest));
        if let Some(line) = against_target(newest, view.target_level) {
            let _ = write!(out, "\n{line}\n");
        }
        out.push_str(&tries(newest));
        out.push_str(&self.links(newest));
        let earlier: Vec<String> = earlier.iter().take(EARLIER).map(|view| self.one_line(view)).collect();
        if !earlier.is_empty() {
            let _ = write!(out, "\nEarlier: {}\n", earlier.join(" · "));
        }
        out
    }
}

impl Pages {
    fn links(&self, view: &RunView) -> String {
        let url = self.run_url(view.run.number);
        let mut out = format!("\n[![level]({url}/badge.svg)]({url}) [Run {}]({url})", view.run.number);
        if view.record.is_some() {
            let _ = write!(out, " · [results.json]({url}/files/results.json) · [JUnit]({url}/files/junit.xml)");
        }
        let asked: Vec<String> = view.triggers.iter().map(|trigger| span(&trigger.what.person_login)).collect();
        if !asked.is_empty() {
            let _ = write!(out, " · asked by {}", asked.join(", "));
        }
        out.push('\n');
        if view.record.is_some() {
            let _ = write!(out, "\n[![summary]({url}/files/summary.png)]({url})\n");
        }
        out
    }

    fn one_line(&self, view: &RunView) -> String {
        let run = &view.run;
        let what = match (run.state, run.outcome) {
            (RunState::Finished, Some(Outcome::Judged)) => {
                format!("{}, level {}", verdict(view), run.level.unwrap_or(0))
            }
            (RunState::Finished, Some(outcome)) => words(outcome).to_owned(),
            (RunState::Queued | RunState::Running | RunState::Finished, _) => verdict(view).to_string(),
        };
        format!("[run {}]({}) of {}: {what}", run.number, self.run_url(run.number), span(short(&run.what.commit)))
    }
}

/// What each comment that asked for one of these runs is told, the latest first.
fn answers(view: &PullView) -> Vec<Answer> {
    let mut answers: Vec<Answer> = view
        .runs
        .iter()
        .flat_map(|of_run| {
            of_run.triggers.iter().filter_map(|trigger| {
                Some(Answer {
                    comment: trigger.what.comment_id?,
                    commit: of_run.run.what.commit.clone(),
                    run: of_run.run.number,
                    verdict: trigger.verdict.unwrap_or(Verdict::Pending),
                })
            })
        })
        .collect();
    answers.sort_by_key(|answer| std::cmp::Reverse(answer.comment));
    answers
}

/// Verdict, table and reason; or how far it has got.
fn state(view: &RunView) -> String {
    let run = &view.run;
    let commit = span(short(&run.what.commit));
    let head = |what: &str| format!("**cc-ci: {what}** · {} at {commit}\n", span(&run.what.recipe));
    match (run.state, run.outcome, &view.record) {
        (RunState::Finished, Some(Outcome::Judged), Some(record)) => comment_table(record),
        (RunState::Finished, Some(outcome), _) => {
            let why = if run.why.is_empty() { String::new() } else { format!("\n{}\n", span(&run.why)) };
            format!("{}{why}", head(&format!("{}, {}", verdict(view), words(outcome))))
        }
        (RunState::Finished, None, _) => head(verdict(view).as_str()),
        (RunState::Queued, _, _) => {
            let turn = view.wait.map_or_else(String::new, |wait| {
                let minutes = wait.until_verdict.as_secs().div_euclid(60) + 1;
                format!("\nNumber {} in line; a verdict is expected in about {minutes} min.\n", wait.position)
            });
            let again = if run.why.is_empty() { String::new() } else { format!("\nAgain: {}\n", span(&run.why)) };
            format!("{}{again}{turn}", head("PENDING, queued"))
        }
        (RunState::Running, _, _) => {
            let what = if run.cancel.is_some() { "PENDING, is being cancelled" } else { "PENDING, running" };
            format!("{}\n{}", head(what), stages_so_far(&view.stages))
        }
    }
}

/// What the change does to the level, if there is something to compare.
fn against_target(view: &RunView, target: Option<i64>) -> Option<String> {
    let level = view.run.level.filter(|_| view.run.outcome == Some(Outcome::Judged))?;
    Some(match target {
        None => "The target branch has not been tested yet, so there is no level to compare with.".to_owned(),
        Some(target) if target == level => format!("Level {level}, as the target branch."),
        Some(target) if target < level => {
            format!("Level {level}: **{} higher** than the target branch.", level - target)
        }
        Some(target) => {
            format!("Level {level}: **{} lower** than the target branch, which has {target}.", target - level)
        }
    })
}

/// Attempts before the last one, and why they ended.
fn tries(view: &RunView) -> String {
    let mut out = String::new();
    for attempt in view.attempts.iter().filter(|attempt| attempt.attempt < view.run.attempt) {
        let why = if attempt.why.is_empty() { "it was interrupted" } else { &attempt.why };
        let _ = write!(out, "\nAttempt {} gave no verdict: {}\n", attempt.attempt, span(why));
    }
    out
}

fn verdict(view: &RunView) -> Verdict {
    view.run.verdict.unwrap_or(Verdict::Pending)
}

fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Judged => "judged",
        Outcome::Superseded => "superseded",
        Outcome::Cancelled => "cancelled",
        Outcome::Overdue => "out of time",
        Outcome::Exhausted => "interrupted too often",
        Outcome::Parked => "parked for a person to look",
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::runs::{NewRun, RunRow};
    use crate::store::triggers::{Cause, Decided, NewTrigger, Trigger};

    fn view(number: i64, outcome: Option<Outcome>, verdict: Option<Verdict>, level: Option<i64>, why: &str) -> RunView {
        let at = Timestamp::UNIX_EPOCH;
        let what = NewRun {
            repo_id: 1,
            repo_name: "a/b".into(),
            recipe: "b`\n!testme".into(),
            suite: "b".into(),
            pull: Some(2),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            person_id: 3,
            person_login: "alice".into(),
            cause: Cause::Comment,
            priority: 0,
            need_memory: 0,
            need_networks: 0,
        };
        let asked = NewTrigger {
            cause: Cause::Comment,
            repo_id: 1,
            pull: 2,
            comment_id: Some(number * 10),
            person_id: 3,
            person_login: "alice".into(),
        };
        let trigger = Trigger {
            id: number,
            what: asked,
            decided: Decided::Run,
            why: String::new(),
            run_number: Some(number),
            verdict,
            outcome,
            created: at,
            ended: None,
        };
        let run = RunRow {
            number,
            what,
            state: if outcome.is_some() { RunState::Finished } else { RunState::Running },
            outcome,
            verdict,
            level,
            why: why.into(),
            flaky: false,
            attempt: 1,
            retries: 0,
            crashes: 0,
            lease: None,
            progress: String::new(),
            cancel: None,
            not_before: at,
            queued: at,
            started: Some(at),
            finished: None,
            deadline: None,
            change: 1,
            published: 0,
        };
        RunView { run, triggers: vec![trigger], attempts: Vec::new(), stages: Vec::new(), record: None, wait: None }
    }

    fn comment(runs: Vec<RunView>, target_level: Option<i64>) -> String {
        let pull = PullView { repo_id: 1, repo_name: "a/b".into(), pull: 2, runs, target_level };
        Pages::at(&"https://ci.test/".parse().unwrap()).comment(&pull)
    }

    #[test]
    fn each_trigger_has_its_own_answer_and_nothing_is_a_command() {
        let newest = view(2, None, None, None, "");
        let older = view(1, Some(Outcome::Cancelled), Some(Verdict::Error), None, "cancelled by `x`\n!cancel");
        let text = comment(vec![newest, older.clone()], None);
        let answers = Answer::read_all(&text);
        let told: Vec<_> = answers.iter().map(|answer| (answer.comment, answer.run, answer.verdict)).collect();
        assert_eq!(told, [(20, 2, Verdict::Pending), (10, 1, Verdict::Error)]);
        for text in [text, comment(vec![older], None)] {
            let live = text.lines().find(|line| line.trim_start().starts_with('!'));
            assert_eq!(live, None, "{text}");
        }
    }

    #[test]
    fn the_level_is_compared_with_the_target_branch() {
        let judged = |level| view(1, Some(Outcome::Judged), Some(Verdict::Green), Some(level), "");
        for (level, target, want) in [
            (5, Some(4), "**1 higher** than the target branch"),
            (3, Some(5), "**2 lower** than the target branch, which has 5"),
            (4, Some(4), "Level 4, as the target branch."),
            (4, None, "has not been tested yet"),
        ] {
            let text = comment(vec![judged(level)], target);
            assert!(text.contains(want), "{text}");
        }
    }
}

//! The table of a run for a comment on a pull request, and summary.md.
//!
//! The template is fixed and its words come from closed enums. Whatever the recipe, its author or an app wrote is shown
//! in code spans and fenced blocks only, so that it is never markup: no link, no picture, no mention, no reference to an
//! issue, no command to this or another bot. The rule to know: a fence is longer than any run of backticks inside it.

use super::{sanitise, words};
use crate::domain::{Reason, Run, StageResult, StageStatus};

/// Most lines of fenced text in one comment.
const LINES: usize = 60;
/// Most bytes of fenced text in one comment.
const BYTES: usize = 8 * 1024;
/// Longest line of fenced text, in characters.
const LINE: usize = 400;
/// Longest code span, in characters.
const SPAN: usize = 120;

/// The five-stage table as Markdown (GFM), with the reasons of what did not hold.
#[must_use]
pub fn comment_table(run: &Run) -> String {
    let mut out = format!(
        "**cc-ci: {} {}** · level {} of 5 · {}\n\n{} at {}{}\n\n",
        words::verdict_mark(run.verdict),
        run.verdict,
        run.level,
        words::duration(run.duration_ms),
        span(&run.recipe.name),
        span(&words::version_and_commit(run.recipe.version.as_deref(), &run.recipe.commit)),
        base(run),
    );
    out.push_str("|   | Stage | Result | Time | What |\n|---|---|---|---:|---|\n");
    for result in &run.stages {
        out.push_str(&row(result));
    }
    let mut budget = Budget { lines: LINES, bytes: BYTES };
    for result in &run.stages {
        if let Some(reason) = &result.reason
            && matches!(result.status, StageStatus::Fail | StageStatus::Inconclusive)
        {
            out.push_str(&format!(
                "\n**{}: {}** (fault: {})\n\n{}",
                result.stage,
                reason.code,
                reason.fault.as_str(),
                fence(&lines_of(reason), &mut budget)
            ));
        }
    }
    if !run.clean_teardown {
        out.push_str("\n**Not everything of this run could be removed from the swarm.**\n");
    }
    if !run.no_secret_leak {
        out.push_str("\n**A secret was found in the evidence; the files that hold it were withheld.**\n");
    }
    if run.flaky {
        out.push_str("\nSome test was red and then green when run again alone.\n");
    }
    out
}

/// Foreign text as a code span on one line that is safe inside a table too.
#[must_use]
pub fn span(text: &str) -> String {
    let inner = neutral(&sanitise::line(text, SPAN)).replace('`', "'").replace('|', "¦");
    if inner.is_empty() { "–".to_owned() } else { format!("`{inner}`") }
}

/// Foreign lines as one fenced block, at most 60 lines and 8 kB.
#[must_use]
pub fn fenced<S: AsRef<str>>(lines: &[S]) -> String {
    let lines: Vec<&str> = lines.iter().map(AsRef::as_ref).collect();
    fence(&lines, &mut Budget { lines: LINES, bytes: BYTES })
}

/// What is left of the room for foreign text in one comment.
struct Budget {
    lines: usize,
    bytes: usize,
}

fn base(run: &Run) -> String {
    run.base.as_ref().map_or_else(String::new, |base| {
        let name = base.version.as_deref().or(base.reference.as_deref());
        format!(", upgraded from {}", span(&words::version_and_commit(name, &base.commit)))
    })
}

fn row(result: &StageResult) -> String {
    let what = match result.status {
        StageStatus::Pass => words::checks(result),
        StageStatus::Fail | StageStatus::Inconclusive => {
            result.reason.as_ref().map_or_else(|| words::checks(result), |reason| format!("`{}`", reason.code))
        }
        StageStatus::NotApplicable | StageStatus::NotRun => result.skip.as_deref().map_or_else(String::new, span),
    };
    format!(
        "| {} | {} | {} | {} | {what} |\n",
        words::stage_mark(result.status),
        result.stage,
        result.status.words(),
        result.duration_ms.map(words::duration).unwrap_or_default(),
    )
}

fn lines_of(reason: &Reason) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(service) = &reason.service {
        lines.push(format!("service {service}"));
    }
    lines.push(reason.message.clone());
    lines.extend(reason.evidence.iter().cloned());
    lines.push(format!("Try: {}", reason.remedy));
    lines
}

fn fence<S: AsRef<str>>(lines: &[S], budget: &mut Budget) -> String {
    let clean: Vec<String> = lines
        .iter()
        .flat_map(|line| {
            let text = sanitise::text(line.as_ref());
            text.lines().map(|l| neutral(&sanitise::clip(l.trim_end(), LINE))).collect::<Vec<_>>()
        })
        .collect();
    let mut body = String::new();
    let mut shown = 0;
    for line in &clean {
        if budget.lines == 0 || budget.bytes < line.len() + 1 {
            break;
        }
        budget.lines -= 1;
        budget.bytes -= line.len() + 1;
        body.push_str(line);
        body.push('\n');
        shown += 1;
    }
    if shown < clean.len() {
        body.push_str(&format!("… {} in results.json\n", words::count(clean.len() - shown, "more line")));
    }
    let mark = "`".repeat((longest_run(&body) + 1).max(3));
    format!("{mark}text\n{body}{mark}\n")
}

/// Takes the meaning from what a forge or a bot might react to even inside code, by a zero-width space after it.
fn neutral(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        out.push(c);
        if matches!(c, '@' | '#' | '!') {
            out.push('\u{200b}');
        }
    }
    out
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

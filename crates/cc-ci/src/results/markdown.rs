//! The table of a run for a comment on a pull request, and summary.md.
//!
//! The template is fixed and its words come from closed enums. Whatever the recipe, its author or an app wrote is shown
//! in code spans and fenced blocks only, so that it is never markup: no link, no picture, no mention, no reference to an
//! issue, no command to this or another bot. The rule to know: a fence is longer than any run of backticks inside it.

use super::{sanitise, words};
use crate::domain::{Reason, Run, Stage, StageResult, StageStatus};

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
    out.push_str(&table(&run.stages));
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

/// The table of a run that goes on: the stages that have ended, the others as not yet run.
#[must_use]
pub fn stages_so_far(ended: &[StageResult]) -> String {
    let stage = |stage| {
        let result = ended.iter().find(|result| result.stage == stage).cloned();
        result.unwrap_or_else(|| StageResult::not_run(stage, "not yet"))
    };
    table(&Stage::ALL.map(stage))
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
        format!(", base {}", span(&words::version_and_commit(name, &base.commit)))
    })
}

fn table(stages: &[StageResult]) -> String {
    let rows: String = stages.iter().map(row).collect();
    format!("|   | Stage | Result | Time | What |\n|---|---|---|---:|---|\n{rows}")
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::super::sample;
    use super::*;

    #[test]
    fn a_green_comment() {
        insta::assert_snapshot!(comment_table(&sample::green_without_suite()), @r#"
        **cc-ci: ✔ GREEN** · level 4 of 5 · 36.2 s

        `custom-html-tiny` at `1.9.0+1.27.5 (4f1c2d9ab07e)`, base `1.8.0+1.27.4 (90aa1be2c3d4)`

        |   | Stage | Result | Time | What |
        |---|---|---|---:|---|
        | ✔ | install | pass | 9.4 s | 2 checks |
        | ✔ | upgrade | pass | 17.7 s | 2 checks |
        | – | backup | n/a |  | `stateless recipe: no service keeps data in a volume` |
        | – | restore | n/a |  | `stateless recipe: no service keeps data in a volume` |
        | – | custom | n/a |  | `no suite: there are no custom tests` |
        "#);
    }

    #[test]
    fn a_red_comment() {
        insta::assert_snapshot!(comment_table(&sample::red()), @r#"
        **cc-ci: ✘ RED** · level 1 of 5 · 36.2 s

        `custom-html` at `1.9.0+1.27.5 (4f1c2d9ab07e)`, base `1.8.0+1.27.4 (90aa1be2c3d4)`

        |   | Stage | Result | Time | What |
        |---|---|---|---:|---|
        | ✔ | install | pass | 9.4 s | 2 checks |
        | ✘ | upgrade | fail | 17.7 s | `crash-loop` |
        | ○ | backup | not run |  | `upgrade failed` |
        | ○ | restore | not run |  | `upgrade failed` |
        | ✔ | custom | pass | 3.3 s | 2 checks |

        **upgrade: crash-loop** (fault: recipe)

        ```text
        service app
        task app.1 ended 3 times in 6 s, each time with exit code 1
        app.1  Failed  08:12:14  task: non-zero exit (1)
        app.1  Failed  08:12:17  task: non-zero exit (1)
        app.1  | nginx: [emerg] unknown directive "sever" in /etc/nginx/conf.d/default.conf:3
        Try: read the service's log in the evidence
        ```
        "#);
    }

    #[test]
    fn evidence_is_bounded() {
        let many: Vec<String> = (0..500).map(|n| format!("line {n}")).collect();
        let block = fenced(&many);
        assert_eq!(block.lines().count(), LINES + 3);
        assert!(block.contains("… 440 more lines in results.json"), "{block}");
        let long = vec!["x".repeat(100_000); 100];
        assert!(fenced(&long).len() <= BYTES + 100);
        let mut run = sample::hostile(&"y ".repeat(5_000));
        run.stages[0] = run.stages[1].clone();
        assert!(comment_table(&run).len() <= BYTES + 4_000);
    }

    #[test]
    fn what_a_forge_or_bot_might_react_to_is_neutral() {
        let evil = "@admin fixes #1 and org/repo#2\n!testme\n  !testme  \n/close";
        let comment = comment_table(&sample::hostile(evil));
        for live in ["@admin", "#1", "#2", "!testme"] {
            assert!(!comment.contains(live), "{live} in {comment}");
        }
    }

    /// Checks that only elements of the template come out, and that foreign text is in code only.
    fn only_ours(comment: &str, marker: &str) -> Result<(), TestCaseError> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_MATH;
        let (mut rows, mut cells, mut blocks, mut in_block) = (0, 0, 0, false);
        for event in Parser::new_ext(comment, options) {
            match event {
                Event::Start(Tag::TableRow | Tag::TableHead) => rows += 1,
                Event::Start(Tag::TableCell) => cells += 1,
                Event::Start(Tag::CodeBlock(_)) => {
                    blocks += 1;
                    in_block = true;
                }
                Event::End(pulldown_cmark::TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Paragraph | Tag::Strong | Tag::Table(_)) | Event::End(_) | Event::Code(_) => {}
                Event::Text(text) => prop_assert!(in_block || !text.contains(marker), "outside of code: {text}"),
                other => return Err(TestCaseError::fail(format!("{other:?} in\n{comment}"))),
            }
        }
        prop_assert_eq!((rows, cells, blocks), (6, 30, 1), "{}", comment);
        for line in comment.lines() {
            prop_assert!(!line.trim_start().starts_with("!testme"), "live command: {line}");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn only_our_elements_come_out(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("`".to_owned()), Just("```".to_owned()), Just("````text".to_owned()), Just("\n".to_owned()),
                    Just("\r\n".to_owned()), Just("|".to_owned()), Just("\\".to_owned()), Just("~~~".to_owned()),
                    Just("![x](http://evil/i.png)".to_owned()), Just("[x](javascript:1)".to_owned()),
                    Just("<script>".to_owned()), Just("<!--".to_owned()), Just("<details>".to_owned()),
                    Just("@all #1".to_owned()), Just("!testme".to_owned()), Just("# h".to_owned()),
                    Just("http://evil/".to_owned()), Just("\u{1b}[31m".to_owned()), Just("\u{2028}".to_owned()),
                    Just("    ".to_owned()), Just("\t".to_owned()), Just("|---|".to_owned()), "\\PC{0,8}",
                ],
                0..12,
            )
        ) {
            let evil = format!("{}zqx{}", parts.concat(), parts.concat());
            only_ours(&comment_table(&sample::hostile(&evil)), "zqx")?;
        }
    }
}

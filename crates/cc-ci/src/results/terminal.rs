//! The table that ends a run on the terminal, and summary.txt.
//!
//! Plain or coloured, as wide as it is told: it never asks the terminal. A status is told by mark and word, colour only
//! repeats it. All text of the run is harmless before it gets here ([`sanitise`]): no escape sequence but our own.

use std::path::{Path, PathBuf};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{sanitise, words};
use crate::domain::{FileRef, Reason, Run, StageResult, StageStatus, Verdict};

/// How many lines of evidence the table shows; the rest is in results.json.
const EVIDENCE_LINES: usize = 12;

/// How to draw the table.
#[derive(Debug, Clone)]
pub struct View {
    /// Whether to colour it.
    pub colour: bool,
    /// Columns there are; fewer than 40 are taken as 40.
    pub width: usize,
    /// Folder of the evidence, to be named at the end.
    pub folder: PathBuf,
}

impl View {
    /// For a file: 100 columns, no colour.
    #[must_use]
    pub fn plain(folder: &Path) -> Self {
        Self { colour: false, width: 100, folder: folder.to_owned() }
    }
}

/// The final table: what was tested, each stage, verdict, level, what is left, what went wrong and where to look.
#[must_use]
pub fn stage_table(run: &Run, view: &View) -> String {
    let mut page = Page { colour: view.colour, width: view.width.max(40), out: String::new() };
    heading(&mut page, run);
    page.blank();
    for result in &run.stages {
        stage(&mut page, result);
    }
    page.blank();
    summary(&mut page, run);
    for result in &run.stages {
        if let Some(reason) = &result.reason
            && matches!(result.status, StageStatus::Fail | StageStatus::Inconclusive)
        {
            page.blank();
            trouble(&mut page, run, result, reason);
        }
    }
    closing(&mut page, run, &view.folder);
    page.out
}

#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Unsure,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Plain => "0",
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Good => "1;32",
            Paint::Bad => "1;31",
            Paint::Unsure => "1;33",
        }
    }

    fn of_stage(status: StageStatus) -> Self {
        match status {
            StageStatus::Pass => Paint::Good,
            StageStatus::Fail => Paint::Bad,
            StageStatus::Inconclusive => Paint::Unsure,
            StageStatus::NotApplicable | StageStatus::NotRun => Paint::Dim,
        }
    }

    fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Green => Paint::Good,
            Verdict::Red => Paint::Bad,
            Verdict::Pending | Verdict::Error => Paint::Unsure,
        }
    }
}

/// Lines under construction: spans are counted in columns, cut at the width, and painted last.
struct Page {
    colour: bool,
    width: usize,
    out: String,
}

impl Page {
    fn blank(&mut self) {
        self.out.push('\n');
    }

    /// One line, cut at the width.
    fn line(&mut self, spans: &[(Paint, &str)]) {
        let mut room = self.width;
        for (paint, text) in spans {
            let shown = cut(text, room);
            room -= shown.width();
            match (self.colour, paint) {
                (true, Paint::Bold | Paint::Dim | Paint::Good | Paint::Bad | Paint::Unsure) if !shown.is_empty() => {
                    self.out.push_str(&format!("\u{1b}[{}m{shown}\u{1b}[0m", paint.code()));
                }
                _ => self.out.push_str(&shown),
            }
        }
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
    }

    /// Running text under a first and a following indent, wrapped at words.
    fn text(&mut self, first: &str, indent: &str, text: &str) {
        let mut line = String::from(first);
        let mut empty = true;
        for word in sanitise::text(text).split_whitespace() {
            if !empty && line.width() + 1 + word.width() > self.width {
                self.line(&[(Paint::Plain, &line)]);
                line = String::from(indent);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(&[(Paint::Plain, &line)]);
    }
}

fn heading(page: &mut Page, run: &Run) {
    let recipe = &run.recipe;
    let what = words::version_and_commit(recipe.version.as_deref(), &recipe.commit);
    let name = sanitise::line(&recipe.name, 60);
    page.line(&[(Paint::Bold, &name), (Paint::Plain, &format!(" {}", sanitise::line(&what, 80)))]);
    if let Some(base) = &run.base {
        let from = words::version_and_commit(base.version.as_deref().or(base.reference.as_deref()), &base.commit);
        page.line(&[(Paint::Dim, &format!("upgraded from {}", sanitise::line(&from, 80)))]);
    }
}

fn stage(page: &mut Page, result: &StageResult) {
    let paint = Paint::of_stage(result.status);
    let time = result.duration_ms.map(words::duration).unwrap_or_default();
    page.line(&[
        (paint, &format!("  {} ", words::stage_mark(result.status))),
        (Paint::Bold, &format!("{:<8} ", result.stage.as_str())),
        (paint, &format!("{:<12} ", result.status.words())),
        (Paint::Plain, &format!("{time:>8}  ")),
        (Paint::Dim, &about(result)),
    ]);
}

/// What there is to say of a stage in a few words.
fn about(result: &StageResult) -> String {
    match result.status {
        StageStatus::Pass => words::checks(result),
        StageStatus::Fail | StageStatus::Inconclusive => {
            let code = result.reason.as_ref().map_or("no reason recorded", |reason| reason.code.as_str());
            [code.to_owned(), words::checks(result)]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        }
        StageStatus::NotApplicable | StageStatus::NotRun => {
            sanitise::line(result.skip.as_deref().unwrap_or("no reason recorded"), 200)
        }
    }
}

fn summary(page: &mut Page, run: &Run) {
    let paint = Paint::of_verdict(run.verdict);
    page.line(&[
        (paint, &format!("{} {}", words::verdict_mark(run.verdict), run.verdict)),
        (Paint::Plain, &format!("  level {} of 5  {}", run.level, words::duration(run.duration_ms))),
        (Paint::Unsure, if run.flaky { "  flaky" } else { "" }),
    ]);
    if run.clean_teardown {
        let removed = words::count(run.teardown.removed, "object");
        page.line(&[(Paint::Dim, &format!("Nothing is left on the swarm; {removed} removed."))]);
    } else if run.teardown.leftovers.is_empty() {
        page.line(&[(Paint::Bad, "It is not known whether something is left on the swarm; run `cc-ci reap`.")]);
    } else {
        page.line(&[(Paint::Bad, "Left on the swarm; run `cc-ci reap`:")]);
        for left in &run.teardown.leftovers {
            let text = format!("  {} {} {}", left.kind, left.name, left.why);
            page.line(&[(Paint::Plain, "  "), (Paint::Plain, &sanitise::line(&text, 300))]);
        }
    }
    if !run.no_secret_leak {
        page.line(&[(Paint::Bad, "A secret was found in the evidence; what holds it was withheld:")]);
        for hit in &run.secret_scan.hits {
            page.line(&[(Paint::Plain, "  "), (Paint::Plain, &sanitise::line(hit, 300))]);
        }
    }
}

fn trouble(page: &mut Page, run: &Run, result: &StageResult, reason: &Reason) {
    let paint = Paint::of_stage(result.status);
    let service = reason.service.as_ref().map(|s| format!(" (service {})", sanitise::line(s, 60))).unwrap_or_default();
    page.line(&[
        (paint, &format!("{} {}: {}", words::stage_mark(result.status), result.stage, reason.code)),
        (Paint::Plain, &service),
        (Paint::Dim, &format!("  fault: {}", reason.fault.as_str())),
    ]);
    page.text("  ", "  ", &reason.message);
    for line in reason.evidence.iter().take(EVIDENCE_LINES) {
        page.line(&[(Paint::Dim, "  │ "), (Paint::Plain, &sanitise::line(line, 1_000))]);
    }
    if reason.evidence.len() > EVIDENCE_LINES {
        let more = words::count(reason.evidence.len() - EVIDENCE_LINES, "more line");
        page.line(&[(Paint::Dim, &format!("  │ … {more} in results.json"))]);
    }
    page.text("  Try: ", "       ", &reason.remedy);
    for (n, file) in look_into(run, result).iter().enumerate() {
        let lead = if n == 0 { "  See: " } else { "       " };
        page.line(&[(Paint::Plain, lead), (Paint::Plain, &sanitise::line(&file.path, 300))]);
    }
}

/// The files that tell most about a stage's trouble: its own log, then those named like the service.
fn look_into<'a>(run: &'a Run, result: &StageResult) -> Vec<&'a FileRef> {
    let service = result.reason.as_ref().and_then(|reason| reason.service.as_deref());
    let stem = |file: &FileRef| Path::new(&file.path).file_stem().map(|s| s.to_string_lossy().into_owned());
    let has_part = |file: &FileRef, part: &str| {
        stem(file).is_some_and(|s| s == part || s.split(['-', '.', '_']).any(|p| p == part) || s.ends_with(part))
    };
    let of_stage = run.files.iter().filter(|f| has_part(f, result.stage.as_str()));
    let of_service =
        run.files.iter().filter(|f| service.is_some_and(|s| has_part(f, s)) && !has_part(f, result.stage.as_str()));
    of_stage.take(2).chain(of_service.take(2)).collect()
}

fn closing(page: &mut Page, run: &Run, folder: &Path) {
    let flaky: Vec<&str> =
        run.stages.iter().flat_map(|r| r.tests.iter().filter(|t| t.is_flaky()).map(|t| t.name.as_str())).collect();
    if !flaky.is_empty() || !run.warnings.is_empty() {
        page.blank();
    }
    for name in flaky {
        page.text("Flaky: ", "       ", &format!("{name} was red, and green when run again alone"));
    }
    for warning in &run.warnings {
        page.text("Warning: ", "         ", warning);
    }
    page.blank();
    // The path is not cut: it is there to be copied.
    page.out.push_str(&format!("Evidence: {}\n", sanitise::line(&folder.display().to_string(), 4_096)));
}

/// The first columns of `text`, with `…` if some had to go.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

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

    /// One line of evidence: spaces stay as they are, and what is too long goes on below, three lines at the most.
    fn evidence(&mut self, line: &str) {
        let text = sanitise::text(line).replace(['\n', '\t'], " ");
        let room = self.width - 6;
        let mut rest = text.trim_end();
        for n in 0..3 {
            let end = if n == 2 || rest.width() <= room { rest.len() } else { fitting(rest, room) };
            let (now, later) = rest.split_at(end);
            self.line(&[(Paint::Dim, if n == 0 { "  │ " } else { "  │   " }), (Paint::Plain, now)]);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }

    /// Running text after a lead, wrapped at words; what goes on is indented as far as the lead reaches.
    fn text(&mut self, lead: &str, text: &str) {
        let indent = " ".repeat(lead.width());
        for (n, part) in wrap(text, self.width - lead.width()).iter().enumerate() {
            self.line(&[(Paint::Plain, if n == 0 { lead } else { &indent }), (Paint::Plain, part)]);
        }
    }
}

fn heading(page: &mut Page, run: &Run) {
    let recipe = &run.recipe;
    let what = words::version_and_commit(recipe.version.as_deref(), &recipe.commit);
    let name = sanitise::line(&recipe.name, 60);
    page.line(&[(Paint::Bold, &name), (Paint::Plain, &format!(" {}", sanitise::line(&what, 80)))]);
    if let Some(base) = &run.base {
        let from = words::version_and_commit(base.version.as_deref().or(base.reference.as_deref()), &base.commit);
        page.line(&[(Paint::Dim, &format!("base {}", sanitise::line(&from, 80)))]);
    }
}

fn stage(page: &mut Page, result: &StageResult) {
    let paint = Paint::of_stage(result.status);
    let mark = format!("  {} ", words::stage_mark(result.status));
    let name = format!("{:<8} ", result.stage.as_str());
    let status = format!("{:<12} ", result.status.words());
    let about = about(result);
    if let Some(ms) = result.duration_ms {
        let time = format!("{:>8}  ", words::duration(ms));
        page.line(&[
            (paint, &mark),
            (Paint::Bold, &name),
            (paint, &status),
            (Paint::Plain, &time),
            (Paint::Dim, &about),
        ]);
    } else {
        // Without a time there is room for the reason, which goes on below if it must.
        let lead = [&mark, &name, &status].iter().map(|s| s.width()).sum::<usize>();
        for (n, part) in wrap(&about, page.width - lead).iter().enumerate() {
            if n == 0 {
                page.line(&[(paint, &mark), (Paint::Bold, &name), (paint, &status), (Paint::Dim, part)]);
            } else {
                page.line(&[(Paint::Plain, &" ".repeat(lead)), (Paint::Dim, part)]);
            }
        }
    }
}

/// What there is to say of a stage in a few words.
fn about(result: &StageResult) -> String {
    match result.status {
        StageStatus::Pass => {
            let names: Vec<String> = result.tests.iter().map(|t| sanitise::line(&t.name, 60)).collect();
            if names.is_empty() { String::new() } else { format!("{}: {}", words::checks(result), names.join(", ")) }
        }
        StageStatus::Fail | StageStatus::Inconclusive => {
            let code = result.reason.as_ref().map_or("no reason recorded", |reason| reason.code.as_str());
            let checks = words::checks(result);
            if checks.is_empty() { code.to_owned() } else { format!("{code}; {checks}") }
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
    if run.was_kept() {
        page.line(&[(
            Paint::Unsure,
            &format!("Left deployed, as --keep asked: `cc-ci reap --run {}` removes it.", run.run),
        )]);
    } else if run.clean_teardown {
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
    page.text("  ", &reason.message);
    for line in reason.evidence.iter().take(EVIDENCE_LINES) {
        page.evidence(line);
    }
    if reason.evidence.len() > EVIDENCE_LINES {
        let more = words::count(reason.evidence.len() - EVIDENCE_LINES, "more line");
        page.line(&[(Paint::Dim, &format!("  │ … {more} in results.json"))]);
    }
    page.text("  Try: ", &reason.remedy);
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
        page.text("Flaky: ", &format!("{name} was red, and green when run again alone"));
    }
    for warning in &run.warnings {
        page.text("Warning: ", warning);
    }
    page.blank();
    // The path is not cut: it is there to be copied.
    page.out.push_str(&format!("Evidence: {}\n", sanitise::line(&folder.display().to_string(), 4_096)));
}

/// Harmless lines of at most so many columns, broken between words; there is always one.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in sanitise::text(text).split_whitespace() {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The first columns of `text`, with `…` if some had to go.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    format!("{}…", &text[..fitting(text, columns - 1)])
}

/// How many bytes of `text` fit into so many columns.
fn fitting(text: &str, columns: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn table(run: &Run, colour: bool, width: usize) -> String {
        stage_table(run, &View { colour, width, folder: "/var/lib/cc-ci/runs/rtoues300007".into() })
    }

    #[test]
    fn green_wide() {
        insta::assert_snapshot!(table(&sample::green(), false, 120), @r#"
        custom-html 1.9.0+1.27.5 (4f1c2d9ab07e)
        base 1.8.0+1.27.4 (90aa1be2c3d4)

          ✔ install  pass            9.4 s  2 checks: converged, answers
          ✔ upgrade  pass           17.7 s  2 checks: converged, answers
          ✔ backup   pass            4.1 s  2 checks: converged, answers
          ✔ restore  pass            8.9 s  2 checks: converged, answers
          ✔ custom   pass            3.3 s  2 checks: custom/10-index.hurl, custom/20-users.sh

        ✔ GREEN  level 5 of 5  36.2 s
        Nothing is left on the swarm; 14 objects removed.

        Evidence: /var/lib/cc-ci/runs/rtoues300007
        "#);
    }

    #[test]
    fn a_run_that_is_kept_does_not_say_that_nothing_is_left() {
        let mut run = sample::green();
        run.teardown = Default::default();
        let text = table(&run, false, 100);
        assert!(text.contains(&format!("Left deployed, as --keep asked: `cc-ci reap --run {}`", run.run)), "{text}");
        assert!(!text.contains("Nothing is left"), "{text}");
    }

    #[test]
    fn green_without_suite_narrow() {
        insta::assert_snapshot!(table(&sample::green_without_suite(), false, 60), @r#"
        custom-html-tiny 1.9.0+1.27.5 (4f1c2d9ab07e)
        base 1.8.0+1.27.4 (90aa1be2c3d4)

          ✔ install  pass            9.4 s  2 checks: converged, an…
          ✔ upgrade  pass           17.7 s  2 checks: converged, an…
          – backup   n/a          stateless recipe: no service keeps
                                  data in a volume
          – restore  n/a          stateless recipe: no service keeps
                                  data in a volume
          – custom   n/a          no suite: there are no custom
                                  tests

        ✔ GREEN  level 4 of 5  36.2 s
        Nothing is left on the swarm; 14 objects removed.

        Evidence: /var/lib/cc-ci/runs/rtoues300007
        "#);
    }

    #[test]
    fn red_wide() {
        insta::assert_snapshot!(table(&sample::red(), false, 120), @r#"
        custom-html 1.9.0+1.27.5 (4f1c2d9ab07e)
        base 1.8.0+1.27.4 (90aa1be2c3d4)

          ✔ install  pass            9.4 s  2 checks: converged, answers
          ✘ upgrade  fail           17.7 s  crash-loop; 1 of 2 checks hold
          ○ backup   not run      upgrade failed
          ○ restore  not run      upgrade failed
          ✔ custom   pass            3.3 s  2 checks: custom/10-index.hurl, custom/20-users.sh

        ✘ RED  level 1 of 5  36.2 s
        Nothing is left on the swarm; 14 objects removed.

        ✘ upgrade: crash-loop (service app)  fault: recipe
          task app.1 ended 3 times in 6 s, each time with exit code 1
          │ app.1  Failed  08:12:14  task: non-zero exit (1)
          │ app.1  Failed  08:12:17  task: non-zero exit (1)
          │ app.1  | nginx: [emerg] unknown directive "sever" in /etc/nginx/conf.d/default.conf:3
          Try: read the service's log in the evidence
          See: logs/upgrade.log
               logs/service-app.log

        Evidence: /var/lib/cc-ci/runs/rtoues300007
        "#);
    }

    #[test]
    fn red_narrow() {
        insta::assert_snapshot!(table(&sample::red(), false, 60), @r#"
        custom-html 1.9.0+1.27.5 (4f1c2d9ab07e)
        base 1.8.0+1.27.4 (90aa1be2c3d4)

          ✔ install  pass            9.4 s  2 checks: converged, an…
          ✘ upgrade  fail           17.7 s  crash-loop; 1 of 2 chec…
          ○ backup   not run      upgrade failed
          ○ restore  not run      upgrade failed
          ✔ custom   pass            3.3 s  2 checks: custom/10-ind…

        ✘ RED  level 1 of 5  36.2 s
        Nothing is left on the swarm; 14 objects removed.

        ✘ upgrade: crash-loop (service app)  fault: recipe
          task app.1 ended 3 times in 6 s, each time with exit code
          1
          │ app.1  Failed  08:12:14  task: non-zero exit (1)
          │ app.1  Failed  08:12:17  task: non-zero exit (1)
          │ app.1  | nginx: [emerg] unknown directive "sever" in /
          │   etc/nginx/conf.d/default.conf:3
          Try: read the service's log in the evidence
          See: logs/upgrade.log
               logs/service-app.log

        Evidence: /var/lib/cc-ci/runs/rtoues300007
        "#);
    }

    #[test]
    fn error_with_leftovers() {
        insta::assert_snapshot!(table(&sample::error(), false, 100), @r#"
        custom-html 1.9.0+1.27.5 (4f1c2d9ab07e)
        base 1.8.0+1.27.4 (90aa1be2c3d4)

          ? install  inconclusive    9.4 s  addresses-exhausted
          ○ upgrade  not run      install could not be judged
          ○ backup   not run      install could not be judged
          ○ restore  not run      install could not be judged
          ○ custom   not run      install could not be judged

        ? ERROR  level 0 of 5  36.2 s
        Left on the swarm; run `cc-ci reap`:
          network custom-rabc_internal has active endpoints

        ? install: addresses-exhausted  fault: infrastructure
          all tasks of 2 services stayed New for 30 s
          │ network ccci_proxy 10.0.1.0/28: 13 of 13 addresses in use
          Try: enlarge the swarm's address pool, or remove unused stacks; `cc-ci doctor` shows both
          See: logs/install.log

        Warning: no Chromium was found in PATH, so there is no screenshot; install the package `chromium`

        Evidence: /var/lib/cc-ci/runs/rtoues300007
        "#);
    }

    #[test]
    fn interrupted_in_colour() {
        // ESC is shown as `^`.
        insta::assert_snapshot!(table(&sample::interrupted(), true, 80).replace('\u{1b}', "^"), @r#"
        ^[1mcustom-html^[0m 1.9.0+1.27.5 (4f1c2d9ab07e)
        ^[2mbase 1.8.0+1.27.4 (90aa1be2c3d4)^[0m

        ^[1;32m  ✔ ^[0m^[1minstall  ^[0m^[1;32mpass         ^[0m   9.4 s  ^[2m2 checks: converged, answers^[0m
        ^[1;32m  ✔ ^[0m^[1mupgrade  ^[0m^[1;32mpass         ^[0m  17.7 s  ^[2m2 checks: converged, answers^[0m
        ^[1;33m  ? ^[0m^[1mbackup   ^[0m^[1;33minconclusive ^[0m   4.1 s  ^[2minterrupted^[0m
        ^[2m  ○ ^[0m^[1mrestore  ^[0m^[2mnot run      ^[0m^[2mthe run was stopped^[0m
        ^[1;32m  ✔ ^[0m^[1mcustom   ^[0m^[1;32mpass         ^[0m   3.3 s  ^[2m2 checks: custom/10-index.hurl, custom/20-u…^[0m

        ^[1;33m? ERROR^[0m  level 2 of 5  24.0 s
        ^[2mNothing is left on the swarm; 14 objects removed.^[0m

        ^[1;33m? backup: interrupted^[0m^[2m  fault: interrupted^[0m
          SIGINT during the backup
          Try: run it again

        Evidence: /var/lib/cc-ci/runs/rtoues300007
        "#);
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        for (name, run) in sample::all() {
            for width in [40, 60, 120] {
                let coloured = table(&run, true, width);
                assert_ne!(coloured, table(&run, false, width), "{name}");
                let plain: Vec<String> = sanitise::text(&coloured).lines().map(|l| l.trim_end().to_owned()).collect();
                let wanted: Vec<String> = table(&run, false, width).lines().map(str::to_owned).collect();
                assert_eq!(plain, wanted, "{name} {width}");
            }
        }
    }

    #[test]
    fn no_line_is_too_wide_and_no_foreign_escape_gets_through() {
        let run = sample::hostile("漢字\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}1m\u{202e}x ".repeat(20).as_str());
        for width in [40, 60, 120] {
            for line in table(&run, false, width).lines().filter(|l| !l.starts_with("Evidence:")) {
                assert!(line.width() <= width, "{line:?}");
                assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
            }
        }
    }
}

//! The summary card: one picture of 1200×630 pixels that tells a run at a glance.
//!
//! Built as SVG from a [`Run`] alone; [`super::to_png`] draws it with the fonts of this program. A status is told by
//! mark and word, colour only repeats it. Text of the run is cut to its place and escaped; nothing in the picture
//! refers to anything outside it.

use std::fmt::Write;

use jiff::Timestamp;

use super::badge::verdict_colour;
use super::svg::{Font, escape, fit, width};
use super::{sanitise, words};
use crate::domain::{Run, Stage, StageResult, StageStatus, Verdict};

const WIDTH: f32 = 1200.0;
const HEIGHT: f32 = 630.0;
const MARGIN: f32 = 56.0;
const RIGHT: f32 = WIDTH - MARGIN;

const INK: &str = "#1b2129";
const SOFT: &str = "#57606a";
const LINE: &str = "#dde2e8";
const PAPER: &str = "#ffffff";
const GROUND: &str = "#f4f6f8";

/// Where the timeline begins and ends.
const TIME_LEFT: f32 = 372.0;
const TIME_RIGHT: f32 = 800.0;
const DURATION_RIGHT: f32 = 900.0;
const WHAT_LEFT: f32 = 924.0;

const TABLE_TOP: f32 = 216.0;
const ROW: f32 = 46.0;

/// The card as an SVG document.
#[must_use]
pub fn svg(run: &Run) -> String {
    let mut sheet = Sheet { out: String::new() };
    sheet.rect(0.0, 0.0, WIDTH, HEIGHT, 0.0, GROUND);
    sheet.rect(0.0, 0.0, WIDTH, 8.0, 0.0, verdict_colour(run.verdict));
    heading(&mut sheet, run);
    verdict(&mut sheet, run);
    table(&mut sheet, run);
    bottom_line(&mut sheet, run);
    footer(&mut sheet, run);
    let title = format!("cc-ci: {} {}, level {} of 5", run.recipe.name, run.verdict, run.level);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<title>{}</title>\n{}</svg>\n",
        escape(&title),
        sheet.out
    )
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// SVG elements under construction. Every text that enters is escaped here and nowhere else.
struct Sheet {
    out: String,
}

impl Sheet {
    fn rect(&mut self, x: f32, y: f32, w: f32, h: f32, radius: f32, fill: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.out,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="{radius}" fill="{fill}"/>"#
        );
    }

    fn frame(&mut self, x: f32, y: f32, w: f32, h: f32, radius: f32, stroke: &str) {
        let _ = writeln!(
            self.out,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="{radius}" fill="{PAPER}" stroke="{stroke}" stroke-width="1.5"/>"#
        );
    }

    fn text(&mut self, x: f32, y: f32, font: Font, fill: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.out,
            r#"<text x="{x:.1}" y="{y:.1}" {} fill="{fill}" text-anchor="{anchor}">{}</text>"#,
            font.attributes(),
            escape(text)
        );
    }

    /// Text from the left, cut at `max` pixels; returns where it ends.
    fn fitted(&mut self, x: f32, y: f32, font: Font, fill: &str, max: f32, text: &str) -> f32 {
        let text = fit(text, font, max);
        self.text(x, y, font, fill, Anchor::Start, &text);
        x + width(&text, font)
    }
}

fn heading(sheet: &mut Sheet, run: &Run) {
    let room = 760.0;
    let name = sanitise::line(&run.recipe.name, 200);
    let size = [50.0, 44.0, 38.0].into_iter().find(|s| width(&name, Font::sans(*s).bold()) <= room).unwrap_or(38.0);
    sheet.fitted(MARGIN, 92.0, Font::sans(size).bold(), INK, room, &name);
    let mut x = MARGIN;
    if let Some(version) = run.recipe.version.as_deref().filter(|v| !v.is_empty()) {
        x = sheet.fitted(x, 134.0, Font::sans(23.0), INK, 480.0, version) + 16.0;
    }
    let mono = Font::mono(20.0);
    let x = sheet.fitted(x, 134.0, mono, SOFT, 240.0, words::short(&run.recipe.commit)) + 16.0;
    if let Some(reference) = run.recipe.reference.as_deref().filter(|r| !run.recipe.commit.starts_with(*r)) {
        sheet.fitted(x, 134.0, mono, SOFT, (MARGIN + room - x).max(40.0), reference);
    }
    let font = Font::sans(19.0);
    match &run.base {
        Some(base) => {
            let name = base.version.as_deref().or(base.reference.as_deref());
            let from = words::version_and_commit(name, &base.commit);
            let head = run.recipe.version.as_deref().unwrap_or(words::short(&run.recipe.commit));
            let x = sheet.fitted(MARGIN, 170.0, font, SOFT, 480.0, &format!("base {from}"));
            sheet.fitted(x + 9.0, 170.0, font, SOFT, (MARGIN + room - x - 9.0).max(30.0), &format!("→ {head}"));
        }
        None => {
            sheet.fitted(MARGIN, 170.0, font, SOFT, room, "no earlier version to upgrade from");
        }
    }
}

fn verdict(sheet: &mut Sheet, run: &Run) {
    let (left, top, w, h) = (868.0, 44.0, RIGHT - 868.0, 76.0);
    let colour = verdict_colour(run.verdict);
    sheet.rect(left, top, w, h, 14.0, colour);
    let text = format!("{} {}", words::verdict_mark(run.verdict), run.verdict);
    sheet.text(left + w / 2.0, top + 52.0, Font::sans(38.0).bold(), PAPER, Anchor::Middle, &text);
    let (side, gap, y) = (30.0, 8.0, 138.0);
    for (n, stage) in Stage::ALL.iter().enumerate() {
        let x = left + n as f32 * (side + gap);
        let reached = n < usize::from(run.level);
        let status = run.stages.iter().find(|r| r.stage == *stage).map_or(StageStatus::NotRun, |r| r.status);
        let mark = words::stage_mark(status);
        let ink = if reached {
            sheet.rect(x, y, side, side, 8.0, stage_colour(StageStatus::Pass));
            PAPER
        } else {
            sheet.frame(x + 0.75, y + 0.75, side - 1.5, side - 1.5, 7.0, "#b6bec8");
            SOFT
        };
        sheet.text(x + side / 2.0, y + 21.5, Font::sans(17.0).bold(), ink, Anchor::Middle, mark);
    }
    sheet.text(RIGHT, y + 22.0, Font::sans(20.0).bold(), INK, Anchor::End, &format!("level {}", run.level));
}

fn table(sheet: &mut Sheet, run: &Run) {
    sheet.frame(MARGIN - 20.0, TABLE_TOP - 18.0, RIGHT - MARGIN + 40.0, ROW * 5.0 + 30.0, 16.0, LINE);
    let total = run.duration_ms.max(1);
    for (n, stage) in Stage::ALL.iter().enumerate() {
        let top = TABLE_TOP + n as f32 * ROW;
        match run.stages.iter().find(|r| r.stage == *stage) {
            Some(result) => row(sheet, run, result, top, total),
            None => row(sheet, run, &StageResult::not_run(*stage, "not recorded"), top, total),
        }
    }
}

fn row(sheet: &mut Sheet, run: &Run, result: &StageResult, top: f32, total: u64) {
    let base = top + 29.0;
    let colour = stage_colour(result.status);
    sheet.text(
        MARGIN + 14.0,
        base + 1.0,
        Font::sans(24.0).bold(),
        colour,
        Anchor::Middle,
        words::stage_mark(result.status),
    );
    sheet.text(MARGIN + 42.0, base, Font::sans(21.0).bold(), INK, Anchor::Start, result.stage.as_str());
    sheet.text(MARGIN + 158.0, base, Font::sans(19.0), colour, Anchor::Start, result.status.words());
    match (result.started, result.duration_ms) {
        (Some(started), Some(ms)) => {
            let share = |ms: u64| (ms as f64 / total as f64).clamp(0.0, 1.0) as f32;
            let x = TIME_LEFT + (TIME_RIGHT - TIME_LEFT) * share(since(run.started, started));
            let w = ((TIME_RIGHT - TIME_LEFT) * share(ms)).max(4.0).min(TIME_RIGHT - x.min(TIME_RIGHT - 4.0));
            sheet.rect(TIME_LEFT, top + 12.0, TIME_RIGHT - TIME_LEFT, 20.0, 5.0, GROUND);
            sheet.rect(x.min(TIME_RIGHT - 4.0), top + 12.0, w, 20.0, 5.0, colour);
            sheet.text(DURATION_RIGHT, base, Font::sans(19.0), INK, Anchor::End, &words::duration(ms));
            let (what, ink) = match (&result.reason, result.status) {
                (Some(reason), StageStatus::Fail | StageStatus::Inconclusive) => {
                    (reason.code.as_str().to_owned(), colour)
                }
                _ => (words::checks(result), SOFT),
            };
            sheet.fitted(WHAT_LEFT, base, Font::sans(18.0), ink, RIGHT - WHAT_LEFT, &what);
        }
        _ => {
            let why = result.reason.as_ref().map(|reason| reason.code.as_str()).or(result.skip.as_deref());
            let font = Font::sans(18.0);
            let why = fit(why.unwrap_or("no reason recorded"), font, RIGHT - TIME_LEFT);
            sheet.text(TIME_LEFT, base, font, SOFT, Anchor::Start, &why);
        }
    }
}

/// Why it is not green, or what was proved besides the stages.
fn bottom_line(sheet: &mut Sheet, run: &Run) {
    let (top, left) = (476.0, MARGIN - 20.0);
    let (first, second, font) = bottom_words(run);
    sheet.rect(left, top, RIGHT - MARGIN + 40.0, 84.0, 16.0, tint(run.verdict));
    sheet.rect(left, top + 14.0, 6.0, 56.0, 3.0, verdict_colour(run.verdict));
    let room = RIGHT - MARGIN;
    sheet.fitted(MARGIN, top + 36.0, Font::sans(21.0).bold(), INK, room, &first);
    sheet.fitted(MARGIN, top + 66.0, font, SOFT, room, &second);
}

fn bottom_words(run: &Run) -> (String, String, Font) {
    let prose = Font::sans(18.0);
    if let Some((result, reason)) = words::decisive(run).and_then(|r| r.reason.as_ref().map(|reason| (r, reason))) {
        let service = reason.service.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
        let message = reason.message.lines().next().unwrap_or_default();
        let first = format!("{} · {}{service}: {message}", result.stage, reason.code);
        return match reason.evidence.iter().find(|line| !line.trim().is_empty()) {
            Some(line) => (first, line.clone(), Font::mono(17.0)),
            None => (first, format!("Try: {}", reason.remedy), prose),
        };
    }
    let teardown = if run.was_kept() {
        "left deployed, as asked".to_owned()
    } else if run.clean_teardown {
        format!("nothing left on the swarm ({} removed)", words::count(run.teardown.removed, "object"))
    } else {
        format!("left on the swarm: {}", words::count(run.teardown.leftovers.len(), "object"))
    };
    let secrets = if run.no_secret_leak { "no secret in the evidence" } else { "a secret is in the evidence" };
    let first = match run.verdict {
        Verdict::Green if run.suite.is_none() => {
            "Every stage that applies holds; there is no suite, so the level ends at 4"
        }
        Verdict::Green if run.flaky => "Every stage that applies holds, one test only at its second try",
        Verdict::Green => "Every stage that applies holds",
        Verdict::Red if !run.no_secret_leak => "A secret of the run appears in what the app wrote",
        Verdict::Red => "A stage does not hold",
        Verdict::Pending => "The run is not finished",
        Verdict::Error if !run.clean_teardown => "Something of the run could not be removed",
        Verdict::Error => "The run could not judge the commit",
    };
    let checks = words::count(run.stages.iter().map(|r| r.tests.len()).sum(), "check");
    (first.to_owned(), format!("{checks} · {teardown} · {secrets}"), prose)
}

fn footer(sheet: &mut Sheet, run: &Run) {
    let y = 598.0;
    let font = Font::sans(17.0);
    let mut left = format!("{} · {}", date(run.started), words::duration(run.duration_ms));
    if !run.clean_teardown {
        left.push_str(" · not all of it could be removed");
    }
    if !run.no_secret_leak {
        left.push_str(" · a secret was found in the evidence");
    }
    if let Some(engine) = &run.engine {
        let _ = write!(left, " · Docker {} on {}", engine.version, engine.os);
    }
    let right = format!("cc-ci · run {}", run.run);
    let room = RIGHT - MARGIN - width(&right, font) - 32.0;
    sheet.fitted(MARGIN, y, font, SOFT, room, &left);
    sheet.text(RIGHT, y, font, SOFT, Anchor::End, &right);
}

fn stage_colour(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pass => verdict_colour(Verdict::Green),
        StageStatus::Fail => verdict_colour(Verdict::Red),
        StageStatus::Inconclusive => verdict_colour(Verdict::Error),
        StageStatus::NotApplicable | StageStatus::NotRun => SOFT,
    }
}

fn tint(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => "#e6f4ea",
        Verdict::Red => "#fdecea",
        Verdict::Pending => "#e7f0fb",
        Verdict::Error => "#fbf1de",
    }
}

/// Milliseconds from the run's start; 0 for what claims to have begun earlier.
fn since(start: Timestamp, then: Timestamp) -> u64 {
    u64::try_from(then.as_millisecond().saturating_sub(start.as_millisecond())).unwrap_or(0)
}

/// `2026-11-21 08:12 UTC`.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{sample, svg::to_png};
    use super::*;

    /// To look at the cards: `CC_CI_CARDS=<folder> cargo test -p cc-ci --lib card`.
    #[test]
    fn every_card_can_be_drawn() {
        let mut runs = sample::all();
        runs.push((
            "hostile",
            sample::hostile("</text><script>x()</script>\u{1b}[31m \u{202e}漢字 and a name that goes on"),
        ));
        for (name, run) in runs {
            let png = to_png(&svg(&run), 1.0).unwrap();
            assert_eq!(png[16..24], [0, 0, 4, 176, 0, 0, 2, 118], "{name} is not 1200 by 630");
            if let Some(dir) = option_env!("CC_CI_CARDS") {
                std::fs::write(format!("{dir}/card-{name}.png"), png).unwrap();
            }
        }
    }

    #[test]
    fn foreign_text_stays_text() {
        for evil in ["</text><script>x()</script>", "\"/><image href='http://evil/'/>", "&lt;&amp;]]>\u{0}\u{ffff}", ""]
        {
            let card = svg(&sample::hostile(evil));
            let document = roxmltree::Document::parse(&card).unwrap();
            for node in document.descendants().filter(roxmltree::Node::is_element) {
                assert!(["svg", "title", "rect", "text"].contains(&node.tag_name().name()), "{node:?}");
                assert!(
                    node.attributes().all(|a| !a.name().contains("href") && !a.name().starts_with("on")),
                    "{node:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_leaves_its_place() {
        let long = "a-name-that-is-much-longer-than-any-place-for-it-".repeat(6);
        let mut run = sample::hostile(&long);
        run.started = sample::start() + jiff::SignedDuration::from_secs(9_999);
        run.stages[4].duration_ms = Some(u64::MAX);
        let card = svg(&run);
        let document = roxmltree::Document::parse(&card).unwrap();
        for node in document.descendants().filter(|n| n.has_tag_name("text")) {
            let number = |name: &str| node.attribute(name).unwrap().parse::<f32>().unwrap();
            let family = if node.attribute("font-family") == Some("DejaVu Sans") { Font::sans } else { Font::mono };
            let font = Font { bold: node.attribute("font-weight") == Some("bold"), ..family(number("font-size")) };
            let (x, w) = (number("x"), width(node.text().unwrap_or(""), font));
            let (left, right) = match node.attribute("text-anchor") {
                Some("start") => (x, x + w),
                Some("end") => (x - w, x),
                _ => (x - w / 2.0, x + w / 2.0),
            };
            assert!(left >= MARGIN - 4.0 && right <= RIGHT + 4.0, "{:?} from {left} to {right}", node.text());
        }
        for node in document.descendants().filter(|n| n.has_tag_name("rect")) {
            let number = |name: &str| node.attribute(name).unwrap().parse::<f32>().unwrap();
            assert!(number("width") > 0.0 && number("x") + number("width") <= WIDTH, "{node:?}");
        }
    }

    #[test]
    fn what_is_left_over_is_told() {
        assert!(svg(&sample::error()).contains("not all of it could be removed"));
        assert!(!svg(&sample::green()).contains("not all of it"));
    }
}

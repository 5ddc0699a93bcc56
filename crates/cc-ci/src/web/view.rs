//! What templates show of domain values: marks, words, style classes, times. Pure.
//!
//! Status is always a mark and a word; the class only adds colour. Foreign text becomes one harmless line here.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{StageStatus, TestStatus, Verdict};
use crate::results::{sanitise, words};
use crate::store::attempts::AttemptEnding;
use crate::store::runs::{Outcome, RunRow, RunState};
use crate::store::triggers::Cause;

/// A status for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// A sign of its own shape.
    pub sign: &'static str,
    /// The word.
    pub word: &'static str,
    /// Style class.
    pub class: &'static str,
}

/// Where a run stands, or how it ended.
pub(super) fn run_mark(run: &RunRow) -> Mark {
    let mark = |sign, word, class| Mark { sign, word, class };
    match (run.state, run.outcome) {
        (RunState::Queued, _) => mark("◷", "queued", "busy"),
        (RunState::Running, _) if run.cancel.is_some() => mark("◼", "stopping", "busy"),
        (RunState::Running, _) => mark("▶", "running", "busy"),
        (RunState::Finished, Some(Outcome::Superseded)) => mark("»", "superseded", "none"),
        (RunState::Finished, Some(Outcome::Cancelled)) => mark("◼", "cancelled", "none"),
        (RunState::Finished, Some(Outcome::Overdue)) => mark("?", "out of time", "warn"),
        (RunState::Finished, Some(Outcome::Exhausted)) => mark("?", "given up", "warn"),
        (RunState::Finished, Some(Outcome::Parked)) => mark("?", "parked", "warn"),
        (RunState::Finished, Some(Outcome::Judged) | None) => verdict_mark(run.verdict.unwrap_or(Verdict::Error)),
    }
}

/// A verdict.
pub(super) fn verdict_mark(verdict: Verdict) -> Mark {
    let class = match verdict {
        Verdict::Green => "good",
        Verdict::Red => "bad",
        Verdict::Pending => "busy",
        Verdict::Error => "warn",
    };
    Mark { sign: words::verdict_mark(verdict), word: verdict.as_str(), class }
}

/// What came of a stage.
pub(super) fn stage_mark(status: StageStatus) -> Mark {
    let class = match status {
        StageStatus::Pass => "good",
        StageStatus::Fail => "bad",
        StageStatus::Inconclusive => "warn",
        StageStatus::NotApplicable | StageStatus::NotRun => "none",
    };
    Mark { sign: words::stage_mark(status), word: status.words(), class }
}

/// What came of a test.
pub(super) fn test_mark(status: TestStatus) -> Mark {
    match status {
        TestStatus::Pass => Mark { sign: "✔", word: "pass", class: "good" },
        TestStatus::Fail => Mark { sign: "✘", word: "fail", class: "bad" },
        TestStatus::Error => Mark { sign: "?", word: "error", class: "warn" },
        TestStatus::Skipped => Mark { sign: "○", word: "skipped", class: "none" },
    }
}

/// How an attempt ended, in words.
pub(super) fn ending_words(ending: Option<AttemptEnding>) -> &'static str {
    match ending {
        None => "going on",
        Some(AttemptEnding::Judged) => "judged",
        Some(AttemptEnding::Retried) => "infrastructure failed, tried again",
        Some(AttemptEnding::Lapsed) => "lost: its lease lapsed",
        Some(AttemptEnding::Released) => "given back when the server stopped",
        Some(AttemptEnding::Cancelled) => "cancelled",
        Some(AttemptEnding::Overdue) => "out of time",
    }
}

/// What asked for a run, in words.
pub(super) fn cause_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Comment => "!testme",
        Cause::Retest => "asked again",
        Cause::Cli => "command line",
        Cause::Web => "these pages",
        Cause::Robot => "upgrade robot",
        Cause::Schedule => "schedule",
    }
}

/// One harmless line of foreign text.
pub(super) fn line(text: &str) -> String {
    sanitise::line(text, 300)
}

/// Several harmless lines of foreign text.
pub(super) fn block(text: &str) -> String {
    sanitise::clip(&sanitise::text(text), 20_000)
}

/// A word that a shell takes as it is, whatever stands in it.
pub(super) fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A part of one of our own sentences, which mark code by backticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Whether it is code.
    pub code: bool,
    /// The text without its marks.
    pub text: &'static str,
}

/// Takes a sentence apart at its backticks. One that is never closed stays what it is.
pub(super) fn pieces(sentence: &'static str) -> Vec<Piece> {
    if !sentence.matches('`').count().is_multiple_of(2) {
        return vec![Piece { code: false, text: sentence }];
    }
    let parts = sentence.split('`').enumerate().map(|(at, text)| Piece { code: at % 2 == 1, text });
    parts.filter(|piece| !piece.text.is_empty()).collect()
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Time {
    /// RFC 3339, for `datetime`.
    pub machine: String,
    /// `2026-11-21 08:12 UTC`
    pub exact: String,
    /// `3 hours ago`
    pub ago: String,
}

/// A point in time, seen from `now`.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Time {
    Time {
        machine: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        exact: at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        ago: ago(now.duration_since(at)),
    }
}

fn ago(passed: SignedDuration) -> String {
    let seconds = passed.as_secs();
    let (n, unit) = match seconds {
        i64::MIN..=-60 => return format!("in {}", span(-passed)),
        -59..=59 => return "just now".to_owned(),
        60..=3_599 => (seconds / 60, "minute"),
        3_600..=86_399 => (seconds / 3_600, "hour"),
        86_400..=5_183_999 => (seconds / 86_400, "day"),
        5_184_000..=63_071_999 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{n} {unit}{} ago", if n == 1 { "" } else { "s" })
}

/// A duration for people.
pub(super) fn span(duration: SignedDuration) -> String {
    words::duration(u64::try_from(duration.as_millis()).unwrap_or(0))
}

/// Milliseconds for people; a dash for none.
pub(super) fn millis(ms: Option<u64>) -> String {
    ms.map_or_else(|| "–".to_owned(), words::duration)
}

/// Bytes for people: `1.2 MB`.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    let mut units = ["B", "kB", "MB", "GB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sign, self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_second(200_000_000).unwrap();
        for (before, want) in [
            (0, "just now"),
            (-30, "just now"),
            (-90, "in 1m 30s"),
            (60, "1 minute ago"),
            (7_300, "2 hours ago"),
            (86_400 * 3, "3 days ago"),
            (86_400 * 70, "2 months ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(time(now - SignedDuration::from_secs(before), now).ago, want, "{before}");
        }
    }

    #[test]
    fn sizes_read_well() {
        for (n, want) in
            [(0, "0 B"), (999, "999 B"), (1_234, "1.2 kB"), (18_000_000, "18.0 MB"), (u64::MAX, "18446744073.7 GB")]
        {
            assert_eq!(bytes(n), want);
        }
    }

    #[test]
    fn code_in_sentences_is_marked() {
        let shown = |text| pieces(text).iter().map(|p| (p.code, p.text)).collect::<Vec<_>>();
        assert_eq!(shown("add `a=b` under `c`"), [(false, "add "), (true, "a=b"), (false, " under "), (true, "c")]);
        assert_eq!(shown("plain"), [(false, "plain")]);
        assert_eq!(shown("odd ` one"), [(false, "odd ` one")]);
    }

    #[test]
    fn foreign_text_cannot_turn_a_line_around() {
        assert_eq!(line("a\u{202e}b\u{1b}[31m\nc"), "ab c");
    }
}

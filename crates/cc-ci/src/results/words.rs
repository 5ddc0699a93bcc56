//! The words and marks that all renderings for people share, so that they say the same thing the same way.

use crate::domain::{Run, StageResult, StageStatus, TestStatus, Verdict};

/// The mark of a stage's status. Every status has a shape of its own, so colour is never needed to tell them apart.
pub fn stage_mark(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pass => "✔",
        StageStatus::Fail => "✘",
        StageStatus::NotApplicable => "–",
        StageStatus::Inconclusive => "?",
        StageStatus::NotRun => "○",
    }
}

/// The mark of a verdict.
pub fn verdict_mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => "✔",
        Verdict::Red => "✘",
        Verdict::Pending => "…",
        Verdict::Error => "?",
    }
}

/// A duration for people: `840 ms`, `12.3 s`, `2m 05s`, `1h 02m`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=59_949 => format!("{}.{} s", (ms + 50) / 1_000, (ms + 50) % 1_000 / 100),
        _ => {
            let s = ms.saturating_add(500) / 1_000;
            if s < 3_600 {
                format!("{}m {:02}s", s / 60, s % 60)
            } else {
                format!("{}h {:02}m", s / 3_600, s % 3_600 / 60)
            }
        }
    }
}

/// `1 check`, `3 checks`.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// The first twelve characters of a commit.
pub fn short(commit: &str) -> &str {
    commit.char_indices().nth(12).map_or(commit, |(at, _)| &commit[..at])
}

/// What stands for a stage's tests: `5 checks`, `3 of 5 checks hold, 1 flaky`. Empty if it made none.
pub fn checks(result: &StageResult) -> String {
    let all = result.tests.len();
    if all == 0 {
        return String::new();
    }
    let good = result.tests.iter().filter(|t| t.status == TestStatus::Pass).count();
    let flaky = result.tests.iter().filter(|t| t.is_flaky()).count();
    let mut out = if good == all { count(all, "check") } else { format!("{good} of {} hold", count(all, "check")) };
    if flaky > 0 {
        out.push_str(&format!(", {flaky} flaky"));
    }
    out
}

/// The stage that decided a bad verdict: the first that failed by the commit's fault, else the first that could not be judged.
pub fn decisive(run: &Run) -> Option<&StageResult> {
    let blames = |r: &&StageResult| {
        r.status == StageStatus::Fail && r.reason.as_ref().is_none_or(|reason| reason.fault.blames_commit())
    };
    run.stages
        .iter()
        .find(blames)
        .or_else(|| run.stages.iter().find(|r| matches!(r.status, StageStatus::Fail | StageStatus::Inconclusive)))
}

/// `1.2.0+3.4 (0123456789ab)`, or the commit alone.
pub fn version_and_commit(version: Option<&str>, commit: &str) -> String {
    match version {
        Some(version) if !version.is_empty() => format!("{version} ({})", short(commit)),
        _ => short(commit).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (ms, want) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (12_349, "12.3 s"),
            (59_949, "59.9 s"),
            (59_950, "1m 00s"),
            (125_400, "2m 05s"),
            (3_599_499, "59m 59s"),
            (3_720_000, "1h 02m"),
        ] {
            assert_eq!(duration(ms), want, "{ms}");
        }
    }

    #[test]
    fn commits_are_cut_at_characters() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("äöü"), "äöü");
        assert_eq!(short("ääääääääääääää"), "ääääääääääää");
    }
}

//! One stage on the page of a run: what came of it, why, its steps and checks, and the end of its log.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path as FsPath;

use crate::domain::{Stage, StageResult, StageStatus};
use crate::results::{sanitise, words};
use crate::store::runs::RunState;
use crate::web::view::{self, Mark, Piece};

/// Bytes of a stage's log that stand on the page; the rest is a link away.
const TAIL: u64 = 16 * 1024;

/// A stage that has begun to write its log, and has not ended.
const RUNNING: Mark = Mark { sign: "▶", word: "running", class: "busy" };

/// A stage as the page shows it.
pub(super) struct StageView {
    pub stage: Stage,
    pub name: &'static str,
    pub lane: &'static str,
    pub about: &'static str,
    pub mark: Mark,
    pub took: String,
    pub checks: String,
    pub reason: Option<ReasonView>,
    pub skip: String,
    pub steps: Vec<StepView>,
    pub tests: Vec<TestView>,
    pub log: String,
    pub log_cut: bool,
    pub has_log: bool,
    pub open: bool,
    pub flaky: bool,
}

/// Why it does not hold.
pub(super) struct ReasonView {
    pub code: &'static str,
    pub meaning: Vec<Piece>,
    pub fault: &'static str,
    pub service: String,
    pub message: String,
    pub remedy: Vec<Piece>,
    pub evidence: String,
}

/// Something it did.
pub(super) struct StepView {
    pub name: String,
    pub detail: String,
    pub took: String,
    pub ok: bool,
}

/// A check of it.
pub(super) struct TestView {
    pub name: String,
    pub mark: Mark,
    pub took: String,
    pub attempts: u32,
    pub flaky: bool,
    pub message: String,
}

fn stage_about(stage: Stage) -> &'static str {
    match stage {
        Stage::Install => "a fresh deploy converges and answers",
        Stage::Upgrade => "an upgrade in place keeps the data",
        Stage::Backup => "the backup holds what its labels ask for",
        Stage::Restore => "after a loss the backup brings the data back",
        Stage::Custom => "the suite's own tests",
    }
}

impl StageView {
    /// Whether it is under way.
    pub(super) fn runs(&self) -> bool {
        self.mark == RUNNING
    }
}

/// What the page shows of a stage: its result if it has ended, and the end of its log.
pub(super) fn stage_view(stage: Stage, result: Option<&StageResult>, tail: Tail, state: RunState) -> StageView {
    let waiting = match state {
        RunState::Finished => Mark { sign: "…", word: "unknown", class: "none" },
        RunState::Running if tail.end > 0 => RUNNING,
        RunState::Running | RunState::Queued => Mark { sign: "…", word: "to come", class: "none" },
    };
    let mark = result.map_or(waiting, |result| view::stage_mark(result.status));
    let bad = result.is_some_and(|r| matches!(r.status, StageStatus::Fail | StageStatus::Inconclusive));
    StageView {
        stage,
        name: stage.as_str(),
        lane: stage.lane().as_str(),
        about: stage_about(stage),
        mark,
        took: view::millis(result.and_then(|r| r.duration_ms)),
        checks: result.map(words::checks).unwrap_or_default(),
        reason: result.and_then(|r| r.reason.as_ref()).map(|reason| ReasonView {
            code: reason.code.as_str(),
            meaning: view::pieces(reason.code.summary()),
            fault: reason.fault.as_str(),
            service: reason.service.as_deref().map(view::line).unwrap_or_default(),
            message: view::line(&reason.message),
            remedy: view::pieces(reason.code.remedy()),
            evidence: view::block(&reason.evidence.join("\n")),
        }),
        skip: result.and_then(|r| r.skip.as_deref()).map(view::line).unwrap_or_default(),
        steps: result
            .map_or(&[][..], |r| &r.steps)
            .iter()
            .map(|step| StepView {
                name: view::line(&step.name),
                detail: view::line(&step.detail),
                took: words::duration(step.duration_ms),
                ok: step.ok,
            })
            .collect(),
        tests: result
            .map_or(&[][..], |r| &r.tests)
            .iter()
            .map(|test| TestView {
                name: view::line(&test.name),
                mark: view::test_mark(test.status),
                took: words::duration(test.duration_ms),
                attempts: test.attempts,
                flaky: test.is_flaky(),
                message: view::block(&test.message),
            })
            .collect(),
        has_log: tail.end > 0,
        log: tail.text,
        log_cut: tail.cut,
        open: bad,
        flaky: result.is_some_and(|r| r.flaky),
    }
}

/// The end of a log.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub text: String,
    /// Whether something stands before it.
    pub cut: bool,
    /// The byte after it: where the live log goes on.
    pub end: u64,
}

/// The last whole lines of a log; nothing if it cannot be read.
pub(super) fn tail(path: &FsPath) -> Tail {
    let read = || -> std::io::Result<Tail> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let from = size.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(size - from).read_to_end(&mut bytes)?;
        let first = if from == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) };
        let last = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let text = sanitise::text(&String::from_utf8_lossy(bytes.get(first..last).unwrap_or_default()));
        Ok(Tail { text, cut: from > 0, end: from + last as u64 })
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_holds_whole_lines_and_says_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let end = tail(&path);
        assert_eq!((end.text.as_str(), end.cut, end.end), ("one\ntwo\n", false, 8));
        std::fs::write(&path, format!("{}\nlast\n", "x".repeat(20_000))).unwrap();
        let end = tail(&path);
        assert_eq!((end.text.as_str(), end.cut, end.end), ("last\n", true, 20_006));
        assert_eq!(tail(&folder.path().join("none")).end, 0);
    }
}

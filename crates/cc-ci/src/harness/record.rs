//! Writes down what a stage does while it does it: steps, tests, and the stage's log file.
//!
//! One recorder per stage. What it writes is masked on the way to the file; nothing is added after the fact.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use crate::clock;
use crate::domain::{Lane, Reason, Stage, StageResult, StageStatus, Step, TestCase, TestKind, TestStatus};
use crate::redact::Redactor;

use super::events::{Event, Reporter};
use super::log::LogFile;

/// How a stage ended, before it is written down.
#[derive(Debug)]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It cannot apply; says why.
    NotApplicable(String),
    /// It does not hold, or could not be judged; the reason's fault tells which.
    Broken(Reason),
}

/// `?` on a [`Reason`] ends a stage.
pub type StageRun = Result<Outcome, Box<Reason>>;

/// A stage in the making.
pub struct Recorder {
    stage: Stage,
    lane: Lane,
    started: jiff::Timestamp,
    clock: Instant,
    steps: Vec<Step>,
    tests: Vec<TestCase>,
    log: LogFile,
    redactor: Redactor,
    reporter: Reporter,
}

impl Recorder {
    /// Begins a stage: tells it and opens `logs/<stage>.log` in the run's folder.
    #[must_use]
    pub fn begin(stage: Stage, lane: Lane, dir: &Path, redactor: &Redactor, reporter: &Reporter) -> Self {
        reporter.tell(Event::StageStarted(stage));
        Self {
            stage,
            lane,
            started: clock::now(),
            clock: clock::monotonic(),
            steps: Vec::new(),
            tests: Vec::new(),
            log: LogFile::open(&dir.join("logs").join(format!("{stage}.log")), redactor),
            redactor: redactor.clone(),
            reporter: reporter.clone(),
        }
    }

    /// Which stage this is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Adds a line to the stage's log.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.log.line(text.as_ref());
    }

    /// Says what the stage is busy with.
    pub fn doing(&mut self, what: impl AsRef<str>) {
        let doing = self.redactor.mask_str(what.as_ref());
        self.log.line(&doing);
        self.reporter.tell(Event::Progress { stage: self.stage, doing });
    }

    /// Begins a step; end it with [`Recorder::done`].
    pub fn step(&mut self, name: &str) -> StepClock {
        self.doing(name);
        StepClock { name: name.to_owned(), started: clock::now(), clock: clock::monotonic() }
    }

    /// Ends a step.
    pub fn done(&mut self, step: StepClock, ok: bool, detail: impl AsRef<str>) {
        let detail = self.redactor.mask_str(detail.as_ref());
        let took = step.clock.elapsed();
        let mark = if ok { "ok" } else { "FAILED" };
        self.log.line(&format!("{}: {mark} after {:.2} s {detail}", step.name, took.as_secs_f64()));
        self.steps.push(Step { name: step.name, started: step.started, duration_ms: millis(took), detail, ok });
    }

    /// Records a check that cc-ci makes itself.
    pub fn check(&mut self, name: &str, started: &StepClock, held: Result<String, String>) {
        let (status, message) = match held {
            Ok(detail) => {
                self.log.line(&format!("check {name}: held. {detail}"));
                (TestStatus::Pass, String::new())
            }
            Err(message) => {
                self.log.line(&format!("check {name}: DID NOT HOLD. {message}"));
                (TestStatus::Fail, message)
            }
        };
        self.test(TestCase {
            name: name.to_owned(),
            kind: TestKind::Builtin,
            status,
            started: started.started,
            duration_ms: millis(started.clock.elapsed()),
            attempts: 1,
            assertions: Some(1),
            message,
        });
    }

    /// Records a test of the suite.
    pub fn test(&mut self, mut test: TestCase) {
        test.message = self.redactor.mask_str(&test.message);
        if test.kind != TestKind::Builtin {
            self.log
                .line(&format!("test {}: {:?} after {} ms {}", test.name, test.status, test.duration_ms, test.message));
        }
        self.tests.push(test);
    }

    /// The tests so far.
    #[must_use]
    pub fn tests(&self) -> &[TestCase] {
        &self.tests
    }

    /// Ends the stage.
    #[must_use]
    pub fn end(mut self, run: StageRun) -> StageResult {
        let outcome = run.unwrap_or_else(|reason| Outcome::Broken(*reason));
        let (status, reason, skip) = match outcome {
            Outcome::Pass => (StageStatus::Pass, None, None),
            Outcome::NotApplicable(why) => (StageStatus::NotApplicable, None, Some(why)),
            Outcome::Broken(reason) => {
                let status = if reason.fault.blames_commit() { StageStatus::Fail } else { StageStatus::Inconclusive };
                (status, Some(self.mask(reason)), None)
            }
        };
        let took = self.clock.elapsed();
        let mut last = format!("{}: {} after {:.2} s", self.stage, status.words(), took.as_secs_f64());
        if let Some(reason) = &reason {
            let _ = write!(last, " – {reason}");
            for line in &reason.evidence {
                let _ = write!(last, "\n    {line}");
            }
            let _ = write!(last, "\n  try: {}", reason.remedy);
        }
        self.log.line(&last);
        let flaky = self.tests.iter().any(TestCase::is_flaky);
        let result = StageResult {
            stage: self.stage,
            status,
            lane: self.lane,
            started: Some(self.started),
            duration_ms: Some(millis(took)),
            reason,
            skip,
            steps: self.steps,
            tests: self.tests,
            flaky,
        };
        self.reporter.tell(Event::StageEnded(result.clone()));
        result
    }

    fn mask(&self, mut reason: Reason) -> Reason {
        reason.message = self.redactor.mask_str(&reason.message);
        for line in &mut reason.evidence {
            *line = self.redactor.mask_str(line);
        }
        reason
    }
}

/// A step that has begun.
#[derive(Debug)]
pub struct StepClock {
    name: String,
    started: jiff::Timestamp,
    clock: Instant,
}

impl StepClock {
    /// A clock for a check that is no step of its own.
    #[must_use]
    pub fn now() -> Self {
        Self { name: String::new(), started: clock::now(), clock: clock::monotonic() }
    }

    /// When it began.
    #[must_use]
    pub fn started(&self) -> jiff::Timestamp {
        self.started
    }

    /// Milliseconds since it began.
    #[must_use]
    pub fn millis(&self) -> u64 {
        millis(self.clock.elapsed())
    }
}

fn millis(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

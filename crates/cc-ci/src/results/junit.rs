//! junit.xml: one test suite per stage, one test case per check or test, with the true times.
//!
//! JUnit's words: an assertion that does not hold is a *failure*, what could not be judged is an *error*, what did not
//! run is *skipped* and says why. A stage in which nothing ran has one case, named like the stage, so that no consumer
//! takes an empty suite for a good one.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCaseStatus, TestRerun, TestSuite};

use super::sanitise;
use crate::domain::{Reason, Run, StageResult, StageStatus, TestCase, TestStatus};

/// Type of the message of a test that failed without a reason code of its own.
const ASSERTION: &str = "assertion";

/// The run as a JUnit report.
///
/// # Errors
/// If the XML cannot be written, which would be a fault of this program.
pub fn xml(run: &Run) -> Result<String, SerializeError> {
    let mut report = Report::new(format!("cc-ci {}", run.recipe.name));
    report.timestamp = run.started.to_string().parse().ok();
    report.set_time(Duration::from_millis(run.duration_ms));
    for result in &run.stages {
        report.add_test_suite(suite(run, result));
    }
    report.to_string()
}

fn suite(run: &Run, result: &StageResult) -> TestSuite {
    let mut suite = TestSuite::new(format!("{}.{}", run.recipe.name, result.stage));
    suite.timestamp = result.started.and_then(|at| at.to_string().parse().ok());
    suite.time = result.duration_ms.map(Duration::from_millis);
    for (name, value) in [
        ("run", run.run.to_string()),
        ("recipe", run.recipe.name.clone()),
        ("commit", run.recipe.commit.clone()),
        ("version", run.recipe.version.clone().unwrap_or_default()),
        ("base", run.base.as_ref().map(|base| base.commit.clone()).unwrap_or_default()),
        ("verdict", run.verdict.to_string()),
        ("level", run.level.to_string()),
        ("stage", result.stage.to_string()),
        ("status", result.status.as_str().to_owned()),
        ("lane", result.lane.as_str().to_owned()),
    ] {
        if !value.is_empty() {
            suite.add_property(Property::new(name, sanitise::text(&value)));
        }
    }
    for test in &result.tests {
        suite.add_test_case(case(run, result, test));
    }
    if let Some(status) = own_status(result) {
        let mut case = quick_junit::TestCase::new(result.stage.as_str(), status);
        case.set_classname(format!("{}.{}", run.recipe.name, result.stage));
        case.timestamp = suite.timestamp;
        if result.tests.is_empty() {
            case.time = suite.time;
        }
        suite.add_test_case(case);
    }
    if !result.steps.is_empty() {
        let lines: Vec<String> = result
            .steps
            .iter()
            .map(|s| {
                let mark = if s.ok { "ok" } else { "failed" };
                format!("{} {} {mark} {} ms {}", s.started, s.name, s.duration_ms, sanitise::line(&s.detail, 300))
            })
            .collect();
        suite.set_system_out(lines.join("\n"));
    }
    suite
}

/// The status of the stage's own case; none where the stage's tests say it already.
fn own_status(result: &StageResult) -> Option<TestCaseStatus> {
    let told = |status: TestStatus| result.tests.iter().any(|t| t.status == status);
    match result.status {
        StageStatus::Pass => result.tests.is_empty().then(TestCaseStatus::success),
        StageStatus::Fail if told(TestStatus::Fail) => None,
        StageStatus::Inconclusive if told(TestStatus::Error) => None,
        StageStatus::Fail => Some(because(NonSuccessKind::Failure, result.reason.as_ref())),
        StageStatus::Inconclusive => Some(because(NonSuccessKind::Error, result.reason.as_ref())),
        StageStatus::NotApplicable | StageStatus::NotRun => {
            let mut status = TestCaseStatus::skipped();
            let why = result.skip.as_deref().unwrap_or("no reason was recorded");
            status.set_message(format!("{}: {}", result.status.words(), sanitise::line(why, 400)));
            Some(status)
        }
    }
}

fn because(kind: NonSuccessKind, reason: Option<&Reason>) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    if let Some(reason) = reason {
        status.set_type(reason.code.as_str()).set_message(sanitise::line(&reason.to_string(), 400));
        status.set_description(details(reason));
    }
    status
}

fn details(reason: &Reason) -> String {
    let mut lines = vec![sanitise::text(&reason.message)];
    lines.extend(reason.evidence.iter().map(|line| sanitise::text(line)));
    lines.push(format!("What to try: {}", sanitise::text(&reason.remedy)));
    lines.join("\n")
}

fn case(run: &Run, result: &StageResult, test: &TestCase) -> quick_junit::TestCase {
    let message = || sanitise::line(&test.message, 400);
    let non_success = |kind: NonSuccessKind, default: &str| {
        let mut status = TestCaseStatus::non_success(kind);
        let code = result.reason.as_ref().map_or(default, |reason| reason.code.as_str());
        status.set_type(code).set_message(message()).set_description(sanitise::text(&test.message));
        for _ in 1..test.attempts {
            status.add_rerun(TestRerun::new(kind));
        }
        status
    };
    let status = match test.status {
        TestStatus::Pass => {
            let mut status = TestCaseStatus::success();
            for _ in 1..test.attempts {
                let mut rerun = TestRerun::new(NonSuccessKind::Failure);
                rerun.set_type(ASSERTION).set_message(message());
                status.add_rerun(rerun);
            }
            status
        }
        TestStatus::Fail => non_success(NonSuccessKind::Failure, ASSERTION),
        TestStatus::Error => non_success(NonSuccessKind::Error, "error"),
        TestStatus::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(message());
            status
        }
    };
    let mut case = quick_junit::TestCase::new(sanitise::line(&test.name, 300), status);
    case.set_classname(format!("{}.{}", run.recipe.name, result.stage));
    case.timestamp = test.started.to_string().parse().ok();
    case.set_time(Duration::from_millis(test.duration_ms));
    if let Some(assertions) = test.assertions {
        case.set_assertions(assertions as usize);
    }
    if test.is_flaky() {
        case.add_property(Property::new("flaky", "true"));
    }
    case
}

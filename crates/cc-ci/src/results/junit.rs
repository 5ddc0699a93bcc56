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
    let mut report = Report::new(format!("cc-ci {}", sanitise::line(&run.recipe.name, 200)));
    report.timestamp = run.started.to_string().parse().ok();
    report.set_time(Duration::from_millis(run.duration_ms));
    for result in &run.stages {
        report.add_test_suite(suite(run, result));
    }
    report.to_string()
}

fn suite(run: &Run, result: &StageResult) -> TestSuite {
    let mut suite = TestSuite::new(place(run, result));
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
        case.set_classname(place(run, result));
        case.timestamp = suite.timestamp;
        if result.tests.is_empty() {
            case.time = suite.time;
        }
        suite.add_test_case(case);
    }
    if let Some(reason) = &result.reason {
        suite.set_system_err(details(reason));
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

/// Name of the stage's suite, and class of its cases.
fn place(run: &Run, result: &StageResult) -> String {
    format!("{}.{}", sanitise::line(&run.recipe.name, 200), result.stage)
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
    let mut lines = vec![sanitise::text(&reason.to_string())];
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
    case.set_classname(place(run, result));
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

#[cfg(test)]
mod tests {
    use roxmltree::Document;

    use super::super::sample;
    use super::*;

    #[test]
    fn a_red_run() {
        insta::assert_snapshot!(xml(&sample::red()).unwrap(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="cc-ci custom-html" tests="8" skipped="2" failures="1" errors="0" timestamp="2026-11-21T08:12:03.250+00:00" time="36.200">
            <testsuite name="custom-html.install" tests="2" skipped="0" errors="0" failures="0" timestamp="2026-11-21T08:12:04.150+00:00" time="9.400">
                <properties>
                    <property name="run" value="rtoues300007"/>
                    <property name="recipe" value="custom-html"/>
                    <property name="commit" value="4f1c2d9ab07e5d3c1b2a99887766554433221100"/>
                    <property name="version" value="1.9.0+1.27.5"/>
                    <property name="base" value="90aa1be2c3d4e5f60718293a4b5c6d7e8f901234"/>
                    <property name="verdict" value="RED"/>
                    <property name="level" value="1"/>
                    <property name="stage" value="install"/>
                    <property name="status" value="pass"/>
                    <property name="lane" value="fresh"/>
                </properties>
                <testcase name="converged" classname="custom-html.install" timestamp="2026-11-21T08:12:08.850+00:00" time="0.120"/>
                <testcase name="answers" classname="custom-html.install" timestamp="2026-11-21T08:12:09.050+00:00" time="0.120"/>
                <system-out>2026-11-21T08:12:04.15Z deploy ok 4700 ms 2 services</system-out>
            </testsuite>
            <testsuite name="custom-html.upgrade" tests="2" skipped="0" errors="0" failures="1" timestamp="2026-11-21T08:12:04.250+00:00" time="17.700">
                <properties>
                    <property name="run" value="rtoues300007"/>
                    <property name="recipe" value="custom-html"/>
                    <property name="commit" value="4f1c2d9ab07e5d3c1b2a99887766554433221100"/>
                    <property name="version" value="1.9.0+1.27.5"/>
                    <property name="base" value="90aa1be2c3d4e5f60718293a4b5c6d7e8f901234"/>
                    <property name="verdict" value="RED"/>
                    <property name="level" value="1"/>
                    <property name="stage" value="upgrade"/>
                    <property name="status" value="fail"/>
                    <property name="lane" value="data"/>
                </properties>
                <testcase name="converged" classname="custom-html.upgrade" timestamp="2026-11-21T08:12:13.100+00:00" time="0.120"/>
                <testcase name="answers" classname="custom-html.upgrade" timestamp="2026-11-21T08:12:13.300+00:00" time="0.120">
                    <failure message="expected 200, got no answer" type="crash-loop">expected 200, got no answer</failure>
                </testcase>
                <system-out>2026-11-21T08:12:04.25Z deploy ok 8850 ms 2 services</system-out>
                <system-err>crash-loop (app): task app.1 ended 3 times in 6 s, each time with exit code 1
        app.1  Failed  08:12:14  task: non-zero exit (1)
        app.1  Failed  08:12:17  task: non-zero exit (1)
        app.1  | nginx: [emerg] unknown directive &quot;sever&quot; in /etc/nginx/conf.d/default.conf:3
        What to try: read the service&apos;s log in the evidence</system-err>
            </testsuite>
            <testsuite name="custom-html.backup" tests="1" skipped="1" errors="0" failures="0">
                <properties>
                    <property name="run" value="rtoues300007"/>
                    <property name="recipe" value="custom-html"/>
                    <property name="commit" value="4f1c2d9ab07e5d3c1b2a99887766554433221100"/>
                    <property name="version" value="1.9.0+1.27.5"/>
                    <property name="base" value="90aa1be2c3d4e5f60718293a4b5c6d7e8f901234"/>
                    <property name="verdict" value="RED"/>
                    <property name="level" value="1"/>
                    <property name="stage" value="backup"/>
                    <property name="status" value="not_run"/>
                    <property name="lane" value="data"/>
                </properties>
                <testcase name="backup" classname="custom-html.backup">
                    <skipped message="not run: upgrade failed"/>
                </testcase>
            </testsuite>
            <testsuite name="custom-html.restore" tests="1" skipped="1" errors="0" failures="0">
                <properties>
                    <property name="run" value="rtoues300007"/>
                    <property name="recipe" value="custom-html"/>
                    <property name="commit" value="4f1c2d9ab07e5d3c1b2a99887766554433221100"/>
                    <property name="version" value="1.9.0+1.27.5"/>
                    <property name="base" value="90aa1be2c3d4e5f60718293a4b5c6d7e8f901234"/>
                    <property name="verdict" value="RED"/>
                    <property name="level" value="1"/>
                    <property name="stage" value="restore"/>
                    <property name="status" value="not_run"/>
                    <property name="lane" value="data"/>
                </properties>
                <testcase name="restore" classname="custom-html.restore">
                    <skipped message="not run: upgrade failed"/>
                </testcase>
            </testsuite>
            <testsuite name="custom-html.custom" tests="2" skipped="0" errors="0" failures="0" timestamp="2026-11-21T08:12:13.650+00:00" time="3.250">
                <properties>
                    <property name="run" value="rtoues300007"/>
                    <property name="recipe" value="custom-html"/>
                    <property name="commit" value="4f1c2d9ab07e5d3c1b2a99887766554433221100"/>
                    <property name="version" value="1.9.0+1.27.5"/>
                    <property name="base" value="90aa1be2c3d4e5f60718293a4b5c6d7e8f901234"/>
                    <property name="verdict" value="RED"/>
                    <property name="level" value="1"/>
                    <property name="stage" value="custom"/>
                    <property name="status" value="pass"/>
                    <property name="lane" value="fresh"/>
                </properties>
                <testcase name="custom/10-index.hurl" classname="custom-html.custom" assertions="4" timestamp="2026-11-21T08:12:13.750+00:00" time="0.120"/>
                <testcase name="custom/20-users.sh" classname="custom-html.custom" timestamp="2026-11-21T08:12:14.250+00:00" time="0.120"/>
                <system-out>2026-11-21T08:12:13.65Z deploy ok 1625 ms 2 services</system-out>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn times_and_numbers_are_those_of_the_run() {
        for (name, run) in sample::all() {
            let text = xml(&run).unwrap();
            let document = Document::parse(&text).unwrap();
            let suites: Vec<_> = document.descendants().filter(|n| n.has_tag_name("testsuite")).collect();
            assert_eq!(suites.len(), 5, "{name}");
            for (suite, result) in suites.iter().zip(&run.stages) {
                let cases: Vec<_> = suite.children().filter(|n| n.has_tag_name("testcase")).collect();
                assert!(!cases.is_empty(), "{name} {}: an empty suite looks good", result.stage);
                let with = |tag: &str| cases.iter().filter(|c| c.children().any(|n| n.has_tag_name(tag))).count();
                let failed = usize::from(result.status == StageStatus::Fail);
                let unsure = usize::from(result.status == StageStatus::Inconclusive);
                assert_eq!((with("failure"), with("error")), (failed, unsure), "{name} {}", result.stage);
                let idle = matches!(result.status, StageStatus::NotApplicable | StageStatus::NotRun);
                assert_eq!(with("skipped"), usize::from(idle), "{name} {}", result.stage);
                let at = suite.attribute("timestamp").map(|t| t.parse::<jiff::Timestamp>().unwrap());
                assert_eq!(at, result.started, "{name} {}", result.stage);
                let seconds = suite.attribute("time").map(|t| t.parse::<f64>().unwrap());
                assert_eq!(seconds, result.duration_ms.map(|ms| ms as f64 / 1000.0), "{name} {}", result.stage);
            }
        }
    }

    #[test]
    fn a_flaky_test_passes_and_shows_its_first_try() {
        let mut run = sample::green();
        run.stages[4].tests[0].attempts = 2;
        run.stages[4].tests[0].message = "expected 200, got 502".into();
        let text = xml(&run).unwrap();
        let document = Document::parse(&text).unwrap();
        let flaky: Vec<_> = document.descendants().filter(|n| n.has_tag_name("flakyFailure")).collect();
        assert_eq!(flaky.len(), 1);
        assert_eq!(flaky[0].attribute("message"), Some("expected 200, got 502"));
        assert_eq!(document.root_element().attribute("failures"), Some("0"));
    }

    #[test]
    fn hostile_text_keeps_the_xml_whole() {
        for evil in ["]]><failure/>", "\u{1b}[31m\u{0}\u{b}\u{ffff}", "\" onload='x' <!-- & "] {
            let text = xml(&sample::hostile(evil)).unwrap();
            let document = Document::parse(&text).unwrap();
            assert_eq!(document.descendants().filter(|n| n.has_tag_name("failure")).count(), 1, "{evil:?}");
        }
    }
}

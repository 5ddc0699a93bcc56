//! H5: the suite's own tests, on the fresh instance. Nothing was seeded there: a custom test makes what it needs.

use crate::domain::{Reason, ReasonCode, TestCase, TestStatus};

use super::super::instance::Instance;
use super::super::record::{Outcome, Recorder, StageRun};

/// Runs every custom test. A red one is run once more, alone, before it is believed; a green second time is shown as flaky.
///
/// # Errors
/// `test-failed` with every test that does not hold; `suite-invalid` for one that cannot be run.
pub async fn run(instance: &Instance, recorder: &mut Recorder) -> StageRun {
    let shared = instance.shared().clone();
    let Some(suite) = shared.suite.as_ref().filter(|suite| !suite.custom.is_empty()) else {
        let why = if shared.suite.is_some() { "the suite has no custom tests" } else { "the recipe has no suite" };
        return Ok(Outcome::NotApplicable(format!("{why}; the level ends at 4")));
    };
    let mut cases = Vec::new();
    for test in &suite.custom {
        recorder.doing(format!("test {}", test.name));
        cases.push(instance.run_test(recorder, test, instance.token()).await?);
    }
    if shared.profile.tests.retries > 0 {
        for (case, test) in cases.iter_mut().zip(&suite.custom) {
            if case.status == TestStatus::Fail {
                recorder.doing(format!("test {} once more, alone", test.name));
                let again = instance.run_test(recorder, test, instance.token()).await?;
                merge(case, &again);
            }
        }
    }
    let failed: Vec<TestCase> = cases.iter().filter(|case| case.status != TestStatus::Pass).cloned().collect();
    for case in cases {
        recorder.test(case);
    }
    instance.still_healthy(recorder).await?;
    match failed.first() {
        None => Ok(Outcome::Pass),
        Some(first) => Err(Box::new(failure(&failed, first, suite.custom.len()))),
    }
}

/// The second try of a red test: its result counts, both are remembered.
fn merge(first: &mut TestCase, again: &TestCase) {
    first.attempts += again.attempts;
    first.duration_ms += again.duration_ms;
    if again.status == TestStatus::Pass {
        first.message = format!("flaky: red, then green when run alone. First: {}", first.message);
        first.assertions = again.assertions;
    }
    first.status = again.status;
}

fn failure(failed: &[TestCase], first: &TestCase, of: usize) -> Reason {
    let code = if first.status == TestStatus::Error { ReasonCode::SuiteInvalid } else { ReasonCode::TestFailed };
    let more = if failed.len() > 1 { format!(" ({} of {of} tests)", failed.len()) } else { String::new() };
    let lines = failed.iter().flat_map(|case| {
        std::iter::once(format!("{}: {:?} after {} of {} tries", case.name, case.status, case.attempts, case.attempts))
            .chain(case.message.lines().take(12).map(|line| format!("  {line}")))
            .collect::<Vec<_>>()
    });
    Reason::new(code, format!("{} does not hold{more}", first.name)).evidence(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TestKind;

    fn case(status: TestStatus, message: &str) -> TestCase {
        TestCase {
            name: "custom/10.hurl".into(),
            kind: TestKind::Hurl,
            status,
            started: jiff::Timestamp::UNIX_EPOCH,
            duration_ms: 5,
            attempts: 1,
            assertions: Some(2),
            message: message.into(),
        }
    }

    #[test]
    fn green_the_second_time_is_flaky_and_red_twice_is_red() {
        let mut flaky = case(TestStatus::Fail, "no title");
        merge(&mut flaky, &case(TestStatus::Pass, ""));
        assert!(flaky.is_flaky() && flaky.message.contains("no title"), "{flaky:?}");
        assert_eq!((flaky.attempts, flaky.duration_ms), (2, 10));

        let mut red = case(TestStatus::Fail, "no title");
        merge(&mut red, &case(TestStatus::Fail, "no title"));
        assert!(!red.is_flaky() && red.status == TestStatus::Fail);
        let reason = failure(&[red.clone(), red.clone()], &red, 3);
        assert_eq!(reason.code, ReasonCode::TestFailed);
        assert!(
            reason.message.contains("2 of 3") && reason.evidence.iter().any(|l| l.contains("no title")),
            "{reason:?}"
        );
    }
}

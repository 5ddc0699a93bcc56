//! The level (H7) and the verdict: pure functions of the stages' outcomes.

use super::{Stage, StageResult, StageStatus, TestStatus, Verdict};

/// The number of leading stages that hold (H7).
///
/// A stage that is not applicable does not stop the count, except that without custom tests the level ends at 4.
#[must_use]
pub fn level(stages: &[StageResult]) -> u8 {
    let mut level = 0;
    for stage in Stage::ALL {
        let Some(result) = stages.iter().find(|r| r.stage == stage) else { return level };
        let holds = match result.status {
            StageStatus::Pass => true,
            StageStatus::NotApplicable => stage != Stage::Custom,
            StageStatus::Fail | StageStatus::Inconclusive | StageStatus::NotRun => false,
        };
        if !holds {
            return level;
        }
        level += 1;
    }
    level
}

/// What the stages say of the commit.
///
/// RED needs a failure that blames the commit: a recipe or test fault, or a leaked secret. Anything that could not be judged
/// makes ERROR. GREEN needs every requested stage to hold, a clean secret scan, a proved teardown, and at least one check made:
/// a run that checked nothing is never green.
#[must_use]
pub fn verdict(stages: &[StageResult], requested: &[Stage], clean_teardown: bool, no_secret_leak: bool) -> Verdict {
    let asked = || stages.iter().filter(|r| requested.contains(&r.stage));
    let blames = |r: &StageResult| {
        r.status == StageStatus::Fail && r.reason.as_ref().is_none_or(|reason| reason.fault.blames_commit())
    };
    if !no_secret_leak || asked().any(blames) {
        return Verdict::Red;
    }
    let all_settled = asked().all(|r| matches!(r.status, StageStatus::Pass | StageStatus::NotApplicable));
    let all_there = requested.iter().all(|stage| stages.iter().any(|r| r.stage == *stage));
    let something_checked =
        asked().any(|r| r.status == StageStatus::Pass && r.tests.iter().any(|t| t.status == TestStatus::Pass));
    if all_settled && all_there && something_checked && clean_teardown { Verdict::Green } else { Verdict::Error }
}

#[cfg(test)]
mod tests {
    use super::super::{Reason, ReasonCode, TestCase, TestKind};
    use super::*;
    use StageStatus::{Fail, Inconclusive, NotApplicable as Na, NotRun, Pass};

    fn stages(of: [StageStatus; 5]) -> Vec<StageResult> {
        Stage::ALL
            .iter()
            .zip(of)
            .map(|(stage, status)| {
                let mut result = StageResult::not_run(*stage, "");
                result.status = status;
                if status == Pass {
                    result.tests.push(TestCase {
                        name: "t".into(),
                        kind: TestKind::Builtin,
                        status: TestStatus::Pass,
                        started: jiff::Timestamp::UNIX_EPOCH,
                        duration_ms: 1,
                        attempts: 1,
                        assertions: None,
                        message: String::new(),
                    });
                }
                result
            })
            .collect()
    }

    #[test]
    fn levels_and_verdicts() {
        let table: &[([StageStatus; 5], u8, Verdict)] = &[
            ([Pass, Pass, Pass, Pass, Pass], 5, Verdict::Green),
            ([Pass, Na, Na, Na, Pass], 5, Verdict::Green),
            ([Pass, Pass, Pass, Pass, Na], 4, Verdict::Green),
            ([Pass, Na, Na, Na, Na], 4, Verdict::Green),
            ([Fail, NotRun, NotRun, NotRun, NotRun], 0, Verdict::Red),
            ([Pass, Fail, NotRun, NotRun, Pass], 1, Verdict::Red),
            ([Pass, Pass, Fail, NotRun, Pass], 2, Verdict::Red),
            ([Pass, Pass, Pass, Fail, Pass], 3, Verdict::Red),
            ([Pass, Pass, Pass, Pass, Fail], 4, Verdict::Red),
            ([Pass, Inconclusive, Pass, Pass, Pass], 1, Verdict::Error),
            ([Inconclusive, NotRun, NotRun, NotRun, NotRun], 0, Verdict::Error),
            ([Inconclusive, Fail, NotRun, NotRun, NotRun], 0, Verdict::Red),
            ([Pass, Pass, NotRun, NotRun, Pass], 2, Verdict::Error),
            ([Na, Na, Na, Na, Na], 4, Verdict::Error),
        ];
        for (given, want_level, want_verdict) in table {
            let results = stages(*given);
            assert_eq!(level(&results), *want_level, "{given:?}");
            assert_eq!(verdict(&results, &Stage::ALL, true, true), *want_verdict, "{given:?}");
        }
        assert_eq!(level(&[]), 0);
        assert_eq!(verdict(&[], &Stage::ALL, true, true), Verdict::Error);
    }

    #[test]
    fn only_requested_stages_count_for_the_verdict() {
        let results = stages([Pass, NotRun, NotRun, NotRun, NotRun]);
        assert_eq!(verdict(&results, &[Stage::Install], true, true), Verdict::Green);
        assert_eq!(verdict(&results, &[Stage::Install, Stage::Custom], true, true), Verdict::Error);
    }

    #[test]
    fn a_leak_is_red_and_a_dirty_teardown_is_not_green() {
        let results = stages([Pass; 5]);
        assert_eq!(verdict(&results, &Stage::ALL, true, false), Verdict::Red);
        assert_eq!(verdict(&results, &Stage::ALL, false, true), Verdict::Error);
    }

    #[test]
    fn a_failure_that_is_not_the_commits_fault_is_not_red() {
        let mut results = stages([Pass, Fail, NotRun, NotRun, Pass]);
        for (code, want) in [
            (ReasonCode::BaseBroken, Verdict::Error),
            (ReasonCode::NoNodeFits, Verdict::Error),
            (ReasonCode::DataLostUpgrade, Verdict::Red),
            (ReasonCode::TestFailed, Verdict::Red),
        ] {
            results[1].reason = Some(Reason::new(code, ""));
            assert_eq!(verdict(&results, &Stage::ALL, true, true), want, "{code}");
        }
    }
}

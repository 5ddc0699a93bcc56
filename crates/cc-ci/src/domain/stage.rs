//! The five stages, what can come of one, and the verdict of a run.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lane, Reason};

/// The stages in the order in which the level counts them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A fresh deploy converges and answers over HTTP.
    Install,
    /// An in-place upgrade from the base keeps the data.
    Upgrade,
    /// The recipe's backup holds what its labels ask for.
    Backup,
    /// After loss, the backup brings the data back.
    Restore,
    /// The suite's own tests.
    Custom,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 5] = [Stage::Install, Stage::Upgrade, Stage::Backup, Stage::Restore, Stage::Custom];

    /// Lower-case name, as in results.json and file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Install => "install",
            Stage::Upgrade => "upgrade",
            Stage::Backup => "backup",
            Stage::Restore => "restore",
            Stage::Custom => "custom",
        }
    }

    /// The lane that runs this stage.
    #[must_use]
    pub fn lane(self) -> Lane {
        match self {
            Stage::Install | Stage::Custom => Lane::Fresh,
            Stage::Upgrade | Stage::Backup | Stage::Restore => Lane::Data,
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageStatus {
    /// It holds, and was seen to hold.
    Pass,
    /// It does not hold: the recipe's or the test's fault.
    Fail,
    /// It cannot apply to this recipe; `skip` says why. Does not stop the level.
    NotApplicable,
    /// It could not be judged; not the recipe's fault.
    Inconclusive,
    /// It did not run: an earlier stage failed, it was not asked for, or the run was cut short.
    NotRun,
}

impl StageStatus {
    /// Name as in results.json.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StageStatus::Pass => "pass",
            StageStatus::Fail => "fail",
            StageStatus::NotApplicable => "not_applicable",
            StageStatus::Inconclusive => "inconclusive",
            StageStatus::NotRun => "not_run",
        }
    }

    /// Words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            StageStatus::Pass => "pass",
            StageStatus::Fail => "fail",
            StageStatus::NotApplicable => "n/a",
            StageStatus::Inconclusive => "inconclusive",
            StageStatus::NotRun => "not run",
        }
    }
}

/// One stage of a run, as it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageResult {
    /// Which stage.
    pub stage: Stage,
    /// What came of it.
    pub status: StageStatus,
    /// The lane it ran in.
    pub lane: Lane,
    /// When it began; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started: Option<Timestamp>,
    /// How long it took, in milliseconds; absent if it never began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why it failed or could not be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it was not applicable or did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<String>,
    /// What was done, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The checks and tests that were made in it.
    #[serde(default)]
    pub tests: Vec<TestCase>,
    /// True if a test was red and then green on its second, lonely try.
    #[serde(default)]
    pub flaky: bool,
}

impl StageResult {
    /// A stage that never began.
    #[must_use]
    pub fn not_run(stage: Stage, why: impl Into<String>) -> Self {
        Self {
            stage,
            status: StageStatus::NotRun,
            lane: stage.lane(),
            started: None,
            duration_ms: None,
            reason: None,
            skip: Some(why.into()),
            steps: Vec::new(),
            tests: Vec::new(),
            flaky: false,
        }
    }
}

/// One action inside a stage: deploy, seed, pre-hook, …
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Short name in lower case: `deploy`, `converge`, `probe`, `seed`.
    pub name: String,
    /// When it began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// One line of what came of it, such as the URL that answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Whether it went well.
    pub ok: bool,
}

/// Where a test case comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestKind {
    /// A check that cc-ci makes on every recipe: converged, answers, digests, witness.
    Builtin,
    /// HTTP assertions in a Hurl file of the suite.
    Hurl,
    /// A script of the suite, run inside a container.
    Script,
}

/// What came of a test case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TestStatus {
    /// Held.
    Pass,
    /// An assertion did not hold: JUnit `failure`.
    Fail,
    /// Could not be run: JUnit `error`.
    Error,
    /// Was not run; `message` says why: JUnit `skipped`.
    Skipped,
}

/// One check or test: a JUnit test case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCase {
    /// Name, unique in its stage: `converged`, `custom/10-index.hurl`.
    pub name: String,
    /// Where it comes from.
    pub kind: TestKind,
    /// What came of it.
    pub status: TestStatus,
    /// When it began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// How long it took, in milliseconds, all attempts together.
    pub duration_ms: u64,
    /// How often it was run: 1, or 2 if the first was red.
    pub attempts: u32,
    /// How many assertions were checked, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertions: Option<u32>,
    /// What did not hold, masked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl TestCase {
    /// Red first, green when run once more alone.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        self.status == TestStatus::Pass && self.attempts > 1
    }
}

/// What a run says of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every stage that applies holds.
    Green,
    /// A stage does not hold, by the fault of the recipe or of a test.
    Red,
    /// Not finished.
    Pending,
    /// The run could not judge: infrastructure, or a broken base.
    Error,
}

impl Verdict {
    /// `GREEN`, `RED`, `PENDING`, `ERROR`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Green => "GREEN",
            Verdict::Red => "RED",
            Verdict::Pending => "PENDING",
            Verdict::Error => "ERROR",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

//! The nouns of cc-ci: ids, stages, outcomes, reasons, verdicts, levels and the record of a run.
//!
//! Plain data with serde and nothing else: no IO, no clock, no Docker. Every rendering (results.json,
//! JUnit, badge, card, comment, page) is made from [`Run`], so they cannot disagree.

mod ids;
mod level;
mod reason;
mod run;
mod stage;

pub use ids::{InvalidId, Lane, RunId, StackName};
pub use level::{level, verdict};
pub use reason::{Fault, Reason, ReasonCode};
pub use run::{
    BaseInfo, EngineInfo, FileRef, HostLoad, ImageInfo, Leftover, PolicyFinding, Pressure, RecipeInfo, Run,
    SCHEMA_VERSION, Screenshot, SecretScan, SuiteInfo, Teardown, ToolVersion,
};
pub use stage::{Stage, StageResult, StageStatus, Step, TestCase, TestKind, TestStatus, Verdict};

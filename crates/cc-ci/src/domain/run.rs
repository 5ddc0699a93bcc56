//! The record of a run: what results.json holds.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RunId, Stage, StageResult, Verdict, level, verdict};

/// Version of the results.json format. Raised when a reader would have to change.
pub const SCHEMA_VERSION: u32 = 1;

/// One execution of the harness, as it ended. This is results.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Version of this format: 1.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema: u32,
    /// The run's id.
    pub run: RunId,
    /// What was tested.
    pub recipe: RecipeInfo,
    /// What the upgrade started from; absent if the recipe has no earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseInfo>,
    /// The suite that tested it; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<SuiteInfo>,
    /// When the run began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started: Timestamp,
    /// How long it took in milliseconds, teardown included.
    pub duration_ms: u64,
    /// What the run says of the commit.
    pub verdict: Verdict,
    /// Number of leading stages that hold, 0 to 5.
    #[schemars(range(min = 0, max = 5))]
    pub level: u8,
    /// The stages that were asked for.
    pub requested: Vec<Stage>,
    /// All five stages, in order.
    #[schemars(length(min = 5, max = 5))]
    pub stages: Vec<StageResult>,
    /// True if, after the run, nothing of it was found on the swarm.
    pub clean_teardown: bool,
    /// What the look after the run found.
    pub teardown: Teardown,
    /// True if no secret of the run was found in any file of this folder.
    pub no_secret_leak: bool,
    /// How that was looked for, and what was found.
    pub secret_scan: SecretScan,
    /// What the policy said, refusals and warnings.
    #[serde(default)]
    pub policy: Vec<PolicyFinding>,
    /// Images that ran, by service and role.
    #[serde(default)]
    pub images: Vec<ImageInfo>,
    /// True if any test was red and then green.
    pub flaky: bool,
    /// Whether the lanes ran side by side.
    pub parallel_lanes: bool,
    /// The engine it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineInfo>,
    /// What the host was under during the run.
    pub host: HostLoad,
    /// Programs used, with their versions.
    #[serde(default)]
    pub tools: Vec<ToolVersion>,
    /// Screenshot of the app's first page; absent if none could be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<Screenshot>,
    /// Files of the run's folder, with paths relative to it.
    #[serde(default)]
    pub files: Vec<FileRef>,
    /// What should be known but changes no verdict.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Run {
    /// The record of a run of which nothing is known but how its stages ended, and nothing is left; verdict and level are
    /// what these stages make. For runs that end before the harness has anything to tell.
    #[must_use]
    pub fn of_stages(
        run: RunId,
        recipe: RecipeInfo,
        started: Timestamp,
        duration_ms: u64,
        stages: Vec<StageResult>,
    ) -> Self {
        Self {
            schema: SCHEMA_VERSION,
            run,
            recipe,
            base: None,
            suite: None,
            started,
            duration_ms,
            verdict: verdict(&stages, &Stage::ALL, true, true),
            level: level(&stages),
            requested: Stage::ALL.to_vec(),
            stages,
            clean_teardown: true,
            teardown: Teardown::default(),
            no_secret_leak: true,
            secret_scan: SecretScan::default(),
            policy: Vec::new(),
            images: Vec::new(),
            flaky: false,
            parallel_lanes: false,
            engine: None,
            host: HostLoad::default(),
            tools: Vec::new(),
            screenshot: None,
            files: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// True if the apps were left deployed on purpose (`--keep`): then nothing was looked for.
    #[must_use]
    pub fn was_kept(&self) -> bool {
        self.clean_teardown && self.teardown.looked_for.is_empty()
    }
}

/// The recipe under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecipeInfo {
    /// Recipe name.
    pub name: String,
    /// Path or URL it was read from, without credentials.
    pub source: String,
    /// What was asked for: branch, tag or commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The commit, in full.
    pub commit: String,
    /// The recipe's version label at that commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What the upgrade starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaseInfo {
    /// The tag or branch, if it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The commit, in full.
    pub commit: String,
    /// Its version label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why this one: `--base`, `newest release tag`, …
    pub chosen: String,
}

/// The suite of the recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuiteInfo {
    /// Path or URL of the tests repository, without credentials.
    pub source: String,
    /// Commit of the tests repository; absent if it is a plain folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The suite's files.
    pub files: Vec<String>,
    /// SHA-256 over names and contents of the files, in hex.
    pub digest: String,
    /// Number of custom tests.
    pub custom_tests: usize,
}

/// The look after the run (H9).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Teardown {
    /// Kinds of objects that were looked for.
    pub looked_for: Vec<String>,
    /// How many objects the run had made.
    pub removed: usize,
    /// What was still there at the end.
    pub leftovers: Vec<Leftover>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Something of a run that is still on the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leftover {
    /// `service`, `task`, `container`, `network`, `volume`, `secret` or `config`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The engine's word on why, if it gave one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// The search for secrets at the end (H10).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SecretScan {
    /// How many secrets were looked for.
    pub secrets: usize,
    /// How many encodings of each.
    pub encodings: usize,
    /// How many files were read.
    pub files: usize,
    /// How many times a secret was masked while it was written.
    pub masked: u64,
    /// Names of secrets whose value the app itself wrote to its log, with the file.
    pub hits: Vec<String>,
    /// Files that were withheld because of a hit.
    pub withheld: Vec<String>,
}

/// One line of the policy's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyFinding {
    /// Stable code.
    pub code: String,
    /// `refuse` or `warn`.
    pub severity: String,
    /// File and line, as `compose.yml:12`.
    pub place: String,
    /// What and why.
    pub message: String,
    /// What to try.
    pub remedy: String,
}

/// An image that ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageInfo {
    /// `head` or `base`.
    pub role: String,
    /// Service, by its compose name.
    pub service: String,
    /// Reference as the recipe has it.
    pub reference: String,
    /// Digest it resolved to, if the registry gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The engine that the run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineInfo {
    /// Version of the engine.
    pub version: String,
    /// Highest API version it speaks.
    pub api: String,
    /// Operating system of the host.
    pub os: String,
    /// Kernel of the host.
    pub kernel: String,
    /// CPUs.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Nodes in the swarm.
    pub nodes: u64,
    /// Whether the kernel can balance virtual IPs; without it services get `endpoint_mode: dnsrr`.
    pub ipvs: bool,
}

/// Pressure on the host during the run, from `/proc/pressure` (PSI); absent where the kernel has none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostLoad {
    /// Share of time in which some task waited for a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Pressure>,
    /// Share of time in which some task waited for IO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Pressure>,
    /// Share of time in which some task waited for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Pressure>,
    /// Highest one-minute load average seen.
    pub load_max: f64,
    /// CPUs of the host that was looked at.
    #[serde(default)]
    pub cpus: u64,
    /// Least free memory seen, in bytes.
    pub memory_available_min: u64,
    /// Free bytes on the engine's disk at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free: Option<u64>,
}

/// Stall shares of one resource, in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// Over the whole run.
    pub mean: f64,
    /// The worst ten seconds.
    pub max: f64,
}

/// A program and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolVersion {
    /// Program.
    pub name: String,
    /// Version as it says itself.
    pub version: String,
}

/// Screenshot of the app's first page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Screenshot {
    /// File, relative to the folder.
    pub file: String,
    /// What was opened.
    pub url: String,
    /// True if the page stayed blank after all tries.
    pub blank: bool,
}

/// A file of the run's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileRef {
    /// Path relative to the folder.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// What it is.
    pub about: String,
}

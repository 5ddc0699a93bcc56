//! The record of a made-up run, and its files.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{RECIPES, chance, commit};
use crate::domain::{
    BaseInfo, EngineInfo, FileRef, HostLoad, ImageInfo, PolicyFinding, Pressure, Reason, ReasonCode, RecipeInfo, Run,
    RunId, SCHEMA_VERSION, Screenshot, SecretScan, Stage, StageResult, StageStatus, Step, SuiteInfo, Teardown,
    TestCase, TestKind, TestStatus, level, verdict,
};
use crate::results::card;

pub(super) fn stage(
    at: usize,
    stage: Stage,
    start: Timestamp,
    from: i64,
    took: i64,
    status: StageStatus,
) -> StageResult {
    let began = start + SignedDuration::from_millis(from);
    let mut result = StageResult::not_run(stage, "");
    result.status = status;
    result.skip = None;
    result.started = Some(began);
    result.duration_ms = u64::try_from(took).ok();
    let third = u64::try_from(took / 3).unwrap_or(0);
    let later = |part: i64| began + SignedDuration::from_millis(took / 3 * part);
    result.steps = [
        ("deploy", "3 services", 0),
        ("converge", "all tasks run", 1),
        ("probe", "http://app.ccci.test/ answered 200", 2),
    ]
    .map(|(name, detail, part)| Step {
        name: name.into(),
        started: later(part),
        duration_ms: third,
        detail: detail.into(),
        ok: status == StageStatus::Pass || part < 2,
    })
    .into();
    let test = |name: &str, kind, good| TestCase {
        name: name.into(),
        kind,
        status: if good { TestStatus::Pass } else { TestStatus::Fail },
        started: later(2),
        duration_ms: 180,
        attempts: if good && kind == TestKind::Hurl && chance(at, 9) < 4 { 2 } else { 1 },
        assertions: (kind == TestKind::Hurl).then_some(6),
        message: if good {
            String::new()
        } else {
            "custom/20-login.hurl:14: status\n   expected 200\n   actual   502".into()
        },
    };
    let good = status == StageStatus::Pass;
    result.tests = match stage {
        Stage::Custom => {
            vec![test("custom/10-index.hurl", TestKind::Hurl, true), test("custom/20-login.hurl", TestKind::Hurl, good)]
        }
        Stage::Install | Stage::Upgrade | Stage::Backup | Stage::Restore => {
            vec![test("converged", TestKind::Builtin, true), test("answers", TestKind::Builtin, good)]
        }
    };
    result.flaky = result.tests.iter().any(TestCase::is_flaky);
    result
}

fn bad_reason(stage: Stage) -> Reason {
    let (code, message) = match stage {
        Stage::Install => (ReasonCode::CrashLoop, "task backend.1 ended 3 times in 9 s, each time with exit code 1"),
        Stage::Upgrade => (ReasonCode::DataLostUpgrade, "the marker that was stored before is gone"),
        Stage::Backup => (ReasonCode::BackupEmpty, "the backup holds no file of volume `data`"),
        Stage::Restore => (ReasonCode::RestoreEmpty, "the marker is not back"),
        Stage::Custom => (ReasonCode::TestFailed, "custom/20-login.hurl: expected status 200, got 502"),
    };
    Reason::new(code, message).service("app").evidence([
        "app.1  Failed  08:12:14  task: non-zero exit (1)",
        "app.1  | could not connect to server: Connection refused",
        "app.1  |   Is the server running on host \"db\" (10.0.1.4) and accepting TCP/IP connections on port 5432?",
    ])
}

/// The record of the `at`-th run.
pub(super) fn record(at: usize, run: &RunId, began: Timestamp) -> Run {
    let (recipe, version, bad_share, bad_stage) = RECIPES[at * 7 % RECIPES.len()];
    let bad = chance(at, 1) < bad_share;
    let unjudged = !bad && chance(at, 2) < 4;
    let pace = 800 + i64::try_from(chance(at, 5)).unwrap_or(0) * 6;
    let took = |ms: i64| ms * pace / 1000;
    let plan = [
        (Stage::Install, 900, took(14_000)),
        (Stage::Upgrade, 1_100, took(26_000)),
        (Stage::Backup, 1_400 + took(26_000), took(5_000)),
        (Stage::Restore, 1_800 + took(31_000), took(9_000)),
        (Stage::Custom, 1_200 + took(14_000), took(7_000)),
    ];
    let mut stages = Vec::new();
    let mut broken = [false; 2];
    for (name, from, took) in plan {
        let lane = usize::from(name.lane() == crate::domain::Lane::Data);
        if broken[lane] {
            stages.push(StageResult::not_run(name, "an earlier stage of its lane did not hold"));
            continue;
        }
        let goes_wrong = name == if unjudged { Stage::Install } else { bad_stage };
        let status = match (bad && goes_wrong, unjudged && goes_wrong) {
            (true, _) => StageStatus::Fail,
            (_, true) => StageStatus::Inconclusive,
            _ => StageStatus::Pass,
        };
        let mut result = stage(at, name, began, from, took, status);
        match status {
            StageStatus::Fail => result.reason = Some(bad_reason(name)),
            StageStatus::Inconclusive => {
                result.reason =
                    Some(Reason::new(ReasonCode::AddressesExhausted, "all tasks of 2 services stayed New for 30 s"));
            }
            StageStatus::Pass | StageStatus::NotApplicable | StageStatus::NotRun => {}
        }
        broken[lane] |= status != StageStatus::Pass;
        stages.push(result);
    }
    let last = plan.iter().map(|(_, from, took)| from + took).max().unwrap_or(0);
    let listed = |path: &str, about: &str| FileRef { path: path.into(), bytes: 2_345, about: about.into() };
    Run {
        schema: SCHEMA_VERSION,
        run: run.clone(),
        recipe: RecipeInfo {
            name: recipe.into(),
            source: format!("https://git.coopcloud.tech/coop-cloud/{recipe}.git"),
            reference: None,
            commit: commit(at),
            version: Some(version.into()),
        },
        base: Some(BaseInfo {
            reference: Some("main".into()),
            commit: commit(at + 1_000_000),
            version: Some("2.3.0+1.24.5".into()),
            chosen: "newest release tag".into(),
        }),
        suite: Some(SuiteInfo {
            source: "https://git.coopcloud.tech/coop-cloud/cc-ci-tests.git".into(),
            commit: Some(commit(7)),
            files: vec!["custom/10-index.hurl".into(), "custom/20-login.hurl".into()],
            digest: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef".into(),
            custom_tests: 2,
        }),
        started: began,
        duration_ms: u64::try_from(last + 3_900).unwrap_or(0),
        verdict: verdict(&stages, &Stage::ALL, true, true),
        level: level(&stages),
        requested: Stage::ALL.into(),
        flaky: stages.iter().any(|stage| stage.flaky),
        clean_teardown: true,
        teardown: Teardown {
            looked_for: ["service", "container", "network", "volume", "secret", "config"].map(Into::into).into(),
            removed: 17,
            leftovers: Vec::new(),
            duration_ms: 3_100,
        },
        no_secret_leak: true,
        secret_scan: SecretScan { secrets: 4, encodings: 22, files: 31, masked: 6, ..SecretScan::default() },
        policy: vec![PolicyFinding {
            code: "floating-tag".into(),
            severity: "warn".into(),
            place: "compose.yml:41".into(),
            message: "image `redis:7` may change under the same name".into(),
            remedy: "name a full version".into(),
        }],
        images: vec![ImageInfo {
            role: "head".into(),
            service: "app".into(),
            reference: format!("docker.io/{recipe}/{recipe}:latest"),
            digest: Some("sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9".into()),
        }],
        parallel_lanes: true,
        engine: Some(EngineInfo {
            version: "20.10.24+dfsg1".into(),
            api: "1.41".into(),
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            kernel: "6.1.0-27-amd64".into(),
            cpus: 4,
            memory: 16_600_000_000,
            nodes: 1,
            ipvs: true,
        }),
        host: HostLoad {
            cpu: Some(Pressure { mean: 12.5, max: 61.0 }),
            io: Some(Pressure { mean: 3.1, max: 18.4 }),
            memory: Some(Pressure { mean: 0.0, max: 0.2 }),
            load_max: 3.41,
            cpus: 4,
            memory_available_min: 9_400_000_000,
            disk_free: Some(61_000_000_000),
        },
        tools: Vec::new(),
        screenshot: Some(Screenshot { file: SCREENSHOT.into(), url: "http://app.ccci.test/".into(), blank: false }),
        files: stages
            .iter()
            .filter(|stage| stage.status != StageStatus::NotRun)
            .map(|stage| listed(&format!("logs/{}.log", stage.stage), "log of a stage"))
            .chain([listed("compose.yml", "what was deployed")])
            .collect(),
        warnings: Vec::new(),
        stages,
    }
}

/// Name of the picture of the app's first page.
const SCREENSHOT: &str = "screenshot.png";

/// Writes what the record lists.
pub(super) fn files(record: &mut Run, dir: &Path) -> std::io::Result<()> {
    let folder = dir.join(record.run.as_str());
    std::fs::create_dir_all(folder.join("logs"))?;
    for stage in record.stages.iter().filter(|stage| stage.status != StageStatus::NotRun).map(|stage| stage.stage) {
        std::fs::write(folder.join(format!("logs/{stage}.log")), log_text(stage))?;
    }
    let pictures = [("summary.png", "summary card", card::svg(record)), (SCREENSHOT, "first page", first_page(record))];
    for (name, about, svg) in pictures {
        if let Ok(picture) = crate::results::to_png(&svg, 1.0) {
            std::fs::write(folder.join(name), &picture)?;
            record.files.push(FileRef { path: name.into(), bytes: picture.len() as u64, about: about.into() });
        }
    }
    std::fs::write(folder.join("compose.yml"), "services:\n  app:\n    image: example\n")
}

pub(super) fn log_text(stage: Stage) -> String {
    let mut text = format!("08:12:03.250  {stage}: begins\n");
    for line in 0..40 {
        text.push_str(&format!(
            "08:12:{:02}.{:03}  app.1 | GET /health {} in {} ms\n",
            4 + line,
            line * 23 % 1000,
            200,
            3 + line % 9
        ));
    }
    text.push_str(&format!("08:12:48.001  {stage}: ends\n"));
    text
}

/// What the app might look like.
fn first_page(record: &Run) -> String {
    let name = &record.recipe.name;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="1280" height="800">
<rect width="1280" height="800" fill="#eef1f4"/><rect width="1280" height="72" fill="#2b4c7e"/>
<text x="40" y="46" font-family="DejaVu Sans" font-size="28" fill="#fff">{name}</text>
<rect x="440" y="220" width="400" height="320" rx="12" fill="#fff"/>
<text x="480" y="280" font-family="DejaVu Sans" font-size="24" fill="#1b2129">Sign in</text>
<rect x="480" y="310" width="320" height="48" rx="6" fill="#eef1f4"/><rect x="480" y="376" width="320" height="48" rx="6" fill="#eef1f4"/>
<rect x="480" y="450" width="320" height="52" rx="6" fill="#2b4c7e"/>
</svg>"##
    )
}

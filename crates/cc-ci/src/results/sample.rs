//! Sample runs for the tests of the renderings.

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    BaseInfo, EngineInfo, FileRef, HostLoad, ImageInfo, Leftover, PolicyFinding, Pressure, Reason, ReasonCode,
    RecipeInfo, Run, RunId, SCHEMA_VERSION, Screenshot, SecretScan, Stage, StageResult, StageStatus, Step, SuiteInfo,
    Teardown, TestCase, TestKind, TestStatus, ToolVersion, level, verdict,
};

/// When every sample run began.
pub(super) fn start() -> Timestamp {
    "2026-11-21T08:12:03.25Z".parse().unwrap()
}

fn after(ms: u64) -> Timestamp {
    start() + SignedDuration::from_millis(ms as i64)
}

fn test(name: &str, kind: TestKind, at: u64) -> TestCase {
    TestCase {
        name: name.into(),
        kind,
        status: TestStatus::Pass,
        started: after(at),
        duration_ms: 120,
        attempts: 1,
        assertions: (kind == TestKind::Hurl).then_some(4),
        message: String::new(),
    }
}

fn passed(stage: Stage, at: u64, ms: u64) -> StageResult {
    let mut result = StageResult::not_run(stage, "");
    result.status = StageStatus::Pass;
    result.skip = None;
    result.started = Some(after(at));
    result.duration_ms = Some(ms);
    result.steps.push(Step {
        name: "deploy".into(),
        started: after(at),
        duration_ms: ms / 2,
        detail: "2 services".into(),
        ok: true,
    });
    result.tests =
        vec![test("converged", TestKind::Builtin, at + ms / 2), test("answers", TestKind::Builtin, at + ms / 2 + 200)];
    result
}

/// GREEN, level 5: every stage passed, with a suite.
pub(super) fn green() -> Run {
    let mut stages = vec![
        passed(Stage::Install, 900, 9_400),
        passed(Stage::Upgrade, 1_000, 17_700),
        passed(Stage::Backup, 18_800, 4_100),
        passed(Stage::Restore, 23_000, 8_900),
        passed(Stage::Custom, 10_400, 3_250),
    ];
    stages[4].tests = vec![
        test("custom/10-index.hurl", TestKind::Hurl, 10_500),
        test("custom/20-users.sh", TestKind::Script, 11_000),
    ];
    Run {
        schema: SCHEMA_VERSION,
        run: RunId::new(1_795_248_723, 7),
        recipe: RecipeInfo {
            name: "custom-html".into(),
            source: "https://git.coopcloud.tech/coop-cloud/custom-html.git".into(),
            reference: Some("main".into()),
            commit: "4f1c2d9ab07e5d3c1b2a99887766554433221100".into(),
            version: Some("1.9.0+1.27.5".into()),
        },
        base: Some(BaseInfo {
            reference: Some("1.8.0+1.27.4".into()),
            commit: "90aa1be2c3d4e5f60718293a4b5c6d7e8f901234".into(),
            version: Some("1.8.0+1.27.4".into()),
            chosen: "newest release tag".into(),
        }),
        suite: Some(SuiteInfo {
            source: "https://git.coopcloud.tech/coop-cloud/tests.git".into(),
            commit: Some("aa11bb22cc33dd44ee55ff6677889900aabbccdd".into()),
            files: vec!["custom-html/custom/10-index.hurl".into(), "custom-html/custom/20-users.sh".into()],
            digest: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef".into(),
            custom_tests: 2,
        }),
        started: start(),
        duration_ms: 36_200,
        verdict: verdict(&stages, &Stage::ALL, true, true),
        level: level(&stages),
        requested: Stage::ALL.to_vec(),
        stages,
        clean_teardown: true,
        teardown: Teardown {
            looked_for: ["service", "task", "container", "network", "volume", "secret", "config"]
                .map(Into::into)
                .into(),
            removed: 14,
            leftovers: Vec::new(),
            duration_ms: 2_900,
        },
        no_secret_leak: true,
        secret_scan: SecretScan { secrets: 2, encodings: 11, files: 23, masked: 3, ..SecretScan::default() },
        policy: vec![PolicyFinding {
            code: "floating-tag".into(),
            severity: "warn".into(),
            place: "compose.yml:6".into(),
            message: "image `nginx:latest` may change under the same name".into(),
            remedy: "name a version".into(),
        }],
        images: vec![ImageInfo {
            role: "head".into(),
            service: "app".into(),
            reference: "nginx:1.27.5".into(),
            digest: Some("sha256:0a1b2c3d".into()),
        }],
        flaky: false,
        parallel_lanes: true,
        engine: Some(EngineInfo {
            version: "20.10.24+dfsg1".into(),
            api: "1.41".into(),
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            kernel: "6.1.0-27-amd64".into(),
            cpus: 2,
            memory: 24_000_000_000,
            nodes: 1,
            ipvs: false,
        }),
        host: HostLoad {
            cpu: Some(Pressure { mean: 12.5, max: 61.0 }),
            io: None,
            memory: Some(Pressure::default()),
            load_max: 2.75,
            cpus: 2,
            memory_available_min: 18_000_000_000,
            disk_free: Some(90_000_000_000),
        },
        tools: vec![ToolVersion { name: "restic".into(), version: "0.14.0".into() }],
        screenshot: Some(Screenshot {
            file: "screenshot.png".into(),
            url: "http://custom-rabc.ccci.test/".into(),
            blank: false,
        }),
        files: ["logs/install.log", "logs/upgrade.log", "logs/service-app.log", "logs/service-db.log", "compose.yml"]
            .map(|path| FileRef { path: path.into(), bytes: 1_234, about: "log".into() })
            .into(),
        warnings: Vec::new(),
    }
}

/// GREEN, level 4: a stateless recipe without a suite.
pub(super) fn green_without_suite() -> Run {
    let mut run = green();
    run.suite = None;
    for (n, status, why) in [
        (2, StageStatus::NotApplicable, "stateless recipe: no service keeps data in a volume"),
        (3, StageStatus::NotApplicable, "stateless recipe: no service keeps data in a volume"),
        (4, StageStatus::NotApplicable, "no suite: there are no custom tests"),
    ] {
        run.stages[n] = StageResult::not_run(run.stages[n].stage, why);
        run.stages[n].status = status;
    }
    run.recipe.name = "custom-html-tiny".into();
    settle(run)
}

/// RED, level 1: the upgrade crashes.
pub(super) fn red() -> Run {
    let mut run = green();
    let upgrade = &mut run.stages[1];
    upgrade.status = StageStatus::Fail;
    upgrade.tests[1].status = TestStatus::Fail;
    upgrade.tests[1].message = "expected 200, got no answer".into();
    upgrade.reason = Some(
        Reason::new(ReasonCode::CrashLoop, "task app.1 ended 3 times in 6 s, each time with exit code 1")
            .service("app")
            .evidence([
                "app.1  Failed  08:12:14  task: non-zero exit (1)",
                "app.1  Failed  08:12:17  task: non-zero exit (1)",
                "app.1  | nginx: [emerg] unknown directive \"sever\" in /etc/nginx/conf.d/default.conf:3",
            ]),
    );
    for n in [2, 3] {
        run.stages[n] = StageResult::not_run(run.stages[n].stage, "upgrade failed");
    }
    settle(run)
}

/// ERROR: no address is left, and not everything could be removed.
pub(super) fn error() -> Run {
    let mut run = green();
    let install = &mut run.stages[0];
    install.status = StageStatus::Inconclusive;
    install.tests.clear();
    install.reason = Some(
        Reason::new(ReasonCode::AddressesExhausted, "all tasks of 2 services stayed New for 30 s")
            .evidence(["network ccci_proxy 10.0.1.0/28: 13 of 13 addresses in use"]),
    );
    for n in 1..5 {
        run.stages[n] = StageResult::not_run(run.stages[n].stage, "install could not be judged");
    }
    run.clean_teardown = false;
    run.teardown.leftovers = vec![Leftover {
        kind: "network".into(),
        name: "custom-rabc_internal".into(),
        why: "has active endpoints".into(),
    }];
    run.warnings =
        vec!["no Chromium was found in PATH, so there is no screenshot; install the package `chromium`".into()];
    settle(run)
}

/// ERROR: stopped by a person in the backup.
pub(super) fn interrupted() -> Run {
    let mut run = green();
    run.stages[2].status = StageStatus::Inconclusive;
    run.stages[2].tests.clear();
    run.stages[2].reason = Some(Reason::new(ReasonCode::Interrupted, "SIGINT during the backup"));
    run.stages[3] = StageResult::not_run(Stage::Restore, "the run was stopped");
    run.duration_ms = 24_000;
    settle(run)
}

/// Text that tries everything, in every field that a recipe, app or suite can fill; each piece holds `marker`.
pub(super) fn hostile(evil: &str) -> Run {
    let mut run = red();
    run.recipe.name = evil.into();
    run.recipe.version = Some(evil.into());
    run.recipe.commit = evil.into();
    run.recipe.reference = Some(evil.into());
    if let Some(base) = &mut run.base {
        base.version = Some(evil.into());
        base.commit = evil.into();
    }
    if let Some(reason) = &mut run.stages[1].reason {
        reason.message = evil.into();
        reason.service = Some(evil.into());
        reason.evidence = vec![evil.into(), evil.into()];
    }
    for result in &mut run.stages {
        if result.skip.is_some() {
            result.skip = Some(evil.into());
        }
        for test in &mut result.tests {
            test.name = evil.into();
            test.message = evil.into();
        }
        for step in &mut result.steps {
            step.detail = evil.into();
        }
    }
    run.warnings = vec![evil.into()];
    run.teardown.leftovers = vec![Leftover { kind: "volume".into(), name: evil.into(), why: evil.into() }];
    run.clean_teardown = false;
    run
}

/// The sample runs with their names.
pub(super) fn all() -> Vec<(&'static str, Run)> {
    vec![
        ("green", green()),
        ("green_without_suite", green_without_suite()),
        ("red", red()),
        ("error", error()),
        ("interrupted", interrupted()),
    ]
}

fn settle(mut run: Run) -> Run {
    run.verdict = verdict(&run.stages, &run.requested, run.clean_teardown, run.no_secret_leak);
    run.level = level(&run.stages);
    run
}

//! Made-up history for development, tests and measurements: recipes with runs of every kind, as the queue would write them.
//!
//! It writes rows directly, so it must never be given a database that people use. Everything follows from a counter, so
//! two seedings are equal.

pub mod served;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    BaseInfo, EngineInfo, FileRef, HostLoad, ImageInfo, PolicyFinding, Pressure, Reason, ReasonCode, RecipeInfo, Run,
    RunId, SCHEMA_VERSION, Screenshot, SecretScan, Stage, StageResult, StageStatus, Step, SuiteInfo, Teardown,
    TestCase, TestKind, TestStatus, Verdict, level, verdict,
};
use crate::results::card;
use crate::store::attempts::{self, AttemptEnding};
use crate::store::leases::{self, Ending, NewLease};
use crate::store::runs::{self, NewRun, Outcome};
use crate::store::triggers::{self, Cause, Decided, NewTrigger};
use crate::store::{Store, StoreError, Write, events, results, stage_rows};

/// Recipes, each with what becomes of its runs: a share of bad ones in per cent, and the stage that goes wrong.
const RECIPES: [(&str, &str, u64, Stage); 12] = [
    ("bookstack", "2.3.1+24.10.3", 5, Stage::Backup),
    ("custom-html", "1.9.0+1.27.5", 0, Stage::Install),
    ("cryptpad", "0.6.2+2025.9.0", 35, Stage::Upgrade),
    ("ghost", "1.4.0+5.120.0", 12, Stage::Custom),
    ("gitea", "3.5.0+1.24.6", 8, Stage::Restore),
    ("keycloak", "4.0.0+26.3.3", 20, Stage::Upgrade),
    ("lasuite-docs", "0.3.0+3.5.0", 60, Stage::Install),
    ("matrix-synapse", "7.1.0+1.137.0", 10, Stage::Custom),
    ("n8n", "0.11.0+1.110.1", 4, Stage::Restore),
    ("nextcloud", "11.0.2+31.0.8", 18, Stage::Backup),
    ("plausible", "1.2.0+3.0.1", 9, Stage::Upgrade),
    ("wordpress", "3.0.0+6.8.2", 6, Stage::Custom),
];

/// What can go wrong while history is made up.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error("a file of a made-up run cannot be written: {0}; see whether the folder is writable")]
    Io(#[from] std::io::Error),
}

/// Runs written in one transaction.
const BATCH: usize = 500;

/// Fills an empty database with `runs` finished runs, the last of which ended at `now`, one running and three waiting
/// ones. With a folder, the newest runs get their files too. Gives the number of the running run.
///
/// # Errors
/// If the database fails, or a file cannot be written.
pub async fn seed(store: &Store, runs: usize, now: Timestamp, runs_dir: Option<&Path>) -> Result<i64, SeedError> {
    let apart = SignedDuration::from_mins(97);
    let mut done = 0;
    while done < runs {
        let mut write = store.begin_immediate().await?;
        for at in done..runs.min(done + BATCH) {
            let left = i32::try_from(runs - at).unwrap_or(i32::MAX);
            let began = now - apart.saturating_mul(left);
            let files = runs_dir.filter(|_| runs - at <= 12);
            finished(&mut write, at, began, files).await?;
        }
        write.commit().await?;
        done += BATCH;
    }
    let mut write = store.begin_immediate().await?;
    let running = open(&mut write, runs, now, runs_dir).await?;
    write.commit().await?;
    Ok(running)
}

/// What the `at`-th run tests.
fn what(at: usize) -> NewRun {
    let (recipe, ..) = RECIPES[at * 7 % RECIPES.len()];
    let person = at % 5;
    let pull = (!at.is_multiple_of(3)).then(|| i64::try_from(at / 9 + 1).unwrap_or(1));
    NewRun {
        repo_id: i64::try_from(at * 7 % RECIPES.len()).unwrap_or(0) + 10,
        repo_name: format!("coop-cloud/{recipe}"),
        recipe: recipe.to_owned(),
        suite: recipe.to_owned(),
        pull,
        commit: commit(at),
        person_id: i64::try_from(person).unwrap_or(0) + 1,
        person_login: ["ana", "moritz", "p4u1", "decentral1se", "3wordchant"][person].to_owned(),
        cause: if pull.is_some() { Cause::Comment } else { Cause::Schedule },
        priority: 0,
        need_memory: 1 << 30,
        need_addresses: 8,
    }
}

fn commit(at: usize) -> String {
    let mix = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mix:016x}{:016x}{:08x}", mix.rotate_left(23), at)
}

/// A number in 0..100 that looks random and is the same every time.
fn chance(at: usize, salt: u64) -> u64 {
    let mut x = (at as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt.wrapping_mul(0x9e37_79b9);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 32)) % 100
}

async fn begin(
    write: &mut Write,
    at: usize,
    queued: Timestamp,
    began: Timestamp,
) -> Result<(i64, NewLease), SeedError> {
    let new = what(at);
    let number = runs::insert(write, &new, queued).await?;
    let trigger = NewTrigger {
        cause: new.cause,
        repo_id: new.repo_id,
        pull: new.pull.unwrap_or(0),
        comment_id: new.pull.map(|_| i64::try_from(at).unwrap_or(0) + 1_000),
        person_id: new.person_id,
        person_login: new.person_login.clone(),
    };
    triggers::insert(write, &trigger, Decided::Run, "", Some(number), queued).await?;
    let lease = NewLease {
        token: format!("seed-{at}"),
        holder: "seed".to_owned(),
        run_id: RunId::new(u64::try_from(began.as_second()).unwrap_or(0), u32::try_from(at).unwrap_or(0)),
        expires: began + SignedDuration::from_mins(5),
        deadline: began + SignedDuration::from_hours(1),
    };
    Ok((number, lease))
}

async fn take(write: &mut Write, number: i64, lease: &NewLease, began: Timestamp) -> Result<(), SeedError> {
    if let Some(run) = leases::take(write, number, lease, began).await? {
        attempts::begin(write, &run, lease, began).await?;
    }
    Ok(())
}

async fn finished(write: &mut Write, at: usize, began: Timestamp, dir: Option<&Path>) -> Result<(), SeedError> {
    let (number, lease) = begin(write, at, began - SignedDuration::from_secs(40), began).await?;
    take(write, number, &lease, began).await?;
    let odd = chance(at, 3);
    let (outcome, ended) = match odd {
        0..=1 => (Outcome::Cancelled, AttemptEnding::Cancelled),
        2 => (Outcome::Overdue, AttemptEnding::Overdue),
        _ => (Outcome::Judged, AttemptEnding::Judged),
    };
    let mut record = record(at, &lease.run_id, began);
    let end = began + SignedDuration::from_millis(i64::try_from(record.duration_ms).unwrap_or(0));
    let judged = outcome == Outcome::Judged;
    if judged {
        if let Some(dir) = dir {
            files(&mut record, dir)?;
        }
        for stage in &record.stages {
            stage_rows::insert(write, number, &lease.token, stage, end).await?;
        }
        results::put(write, number, 1, &record, end).await?;
    }
    let ending = Ending {
        outcome,
        verdict: if judged { record.verdict } else { Verdict::Error },
        level: judged.then(|| i64::from(record.level)),
        why: match outcome {
            Outcome::Cancelled => "cancelled by ana".to_owned(),
            Outcome::Overdue => "not over after 1 hour".to_owned(),
            _ => record.stages.iter().find_map(|s| s.reason.as_ref()).map(|r| r.to_string()).unwrap_or_default(),
        },
        flaky: record.flaky,
    };
    attempts::finish(write, &lease.token, ended, &ending.why, end).await?;
    leases::end(write, number, Some(&lease.token), &ending, end).await?;
    triggers::answer(write, number, ending.verdict, ending.outcome, end).await?;
    Ok(())
}

/// One run that is half done, and three that wait.
async fn open(write: &mut Write, first: usize, now: Timestamp, dir: Option<&Path>) -> Result<i64, SeedError> {
    let began = now - SignedDuration::from_secs(48);
    let (number, lease) = begin(write, first, began, began).await?;
    take(write, number, &lease, began).await?;
    let done = stage(first, Stage::Install, began, 1_200, 14_300, StageStatus::Pass);
    stage_rows::insert(write, number, &lease.token, &done, now).await?;
    leases::extend(
        write,
        number,
        &lease.token,
        "upgrade: waiting for 2 of 3 services",
        now + SignedDuration::from_mins(5),
    )
    .await?;
    events::append(write, number, 1, "stage", r#"{"stage":"install","status":"pass"}"#, now).await?;
    if let Some(dir) = dir {
        let logs = dir.join(lease.run_id.as_str()).join("logs");
        let write_logs = || -> std::io::Result<()> {
            std::fs::create_dir_all(&logs)?;
            std::fs::write(logs.join("install.log"), log_text(Stage::Install))?;
            std::fs::write(
                logs.join("upgrade.log"),
                "08:12:20.104  deploy 3.4.0+1.24.5\n08:12:31.870  3 services, 2 to go\n",
            )
        };
        write_logs()?;
    }
    for at in first + 1..first + 4 {
        begin(write, at, now - SignedDuration::from_secs(30), now).await?;
    }
    Ok(number)
}

fn stage(at: usize, stage: Stage, start: Timestamp, from: i64, took: i64, status: StageStatus) -> StageResult {
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
        attempts: if good && chance(at, 9) < 4 { 2 } else { 1 },
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
fn record(at: usize, run: &RunId, began: Timestamp) -> Run {
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
        screenshot: Some(Screenshot { file: "summary.png".into(), url: "http://app.ccci.test/".into(), blank: false }),
        files: Stage::ALL
            .iter()
            .map(|stage| listed(&format!("logs/{stage}.log"), "log of a stage"))
            .chain([listed("compose.yml", "what was deployed")])
            .collect(),
        warnings: Vec::new(),
        stages,
    }
}

/// Writes what the record lists, with the card in the place of a screenshot.
fn files(record: &mut Run, dir: &Path) -> std::io::Result<()> {
    let folder = dir.join(record.run.as_str());
    std::fs::create_dir_all(folder.join("logs"))?;
    for stage in Stage::ALL {
        std::fs::write(folder.join(format!("logs/{stage}.log")), log_text(stage))?;
    }
    if let Ok(picture) = crate::results::to_png(&card::svg(record), 1.0) {
        std::fs::write(folder.join("summary.png"), &picture)?;
        let bytes = picture.len() as u64;
        record.files.push(FileRef { path: "summary.png".into(), bytes, about: "summary card".into() });
    }
    std::fs::write(folder.join("compose.yml"), "services:\n  app:\n    image: example\n")
}

fn log_text(stage: Stage) -> String {
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

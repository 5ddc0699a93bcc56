//! Every fixture on the real engine: the verdict, whose fault it is, and the lines of evidence that a person needs. `fixtures/README.md` is
//! the same table in words.

mod common;

use common::{fixture, test};

/// What is expected of a fixture.
struct Case {
    /// Its folder.
    name: &'static str,
    /// Arguments beside the recipe.
    args: &'static [&'static str],
    exit: i32,
    verdict: &'static str,
    level: u8,
    /// Stage, reason code and fault of what went wrong; none for GREEN.
    wrong: Option<(&'static str, &'static str, &'static str)>,
    /// What message and evidence of that stage must hold.
    evidence: &'static [&'static str],
    /// What files of the folder must hold.
    files: &'static [(&'static str, &'static str)],
    /// Status of each stage.
    stages: [&'static str; 5],
}

const GREEN: Case = Case {
    name: "",
    args: &[],
    exit: 0,
    verdict: "GREEN",
    level: 4,
    wrong: None,
    evidence: &[],
    files: &[("compose.yml", "services:"), ("junit.xml", "<testsuites"), ("logs/services/fresh-app.log", "fixture")],
    stages: ["pass", "pass", "pass", "pass", "not_applicable"],
};

/// The recipe's fault.
const fn red(stage: &'static str, code: &'static str, level: u8, stages: [&'static str; 5]) -> Case {
    Case { exit: 1, verdict: "RED", level, wrong: Some((stage, code, "recipe")), files: &[], stages, ..GREEN }
}

/// The host's fault.
const fn error(stage: &'static str, code: &'static str, stages: [&'static str; 5]) -> Case {
    Case {
        exit: 3,
        verdict: "ERROR",
        level: 0,
        wrong: Some((stage, code, "infrastructure")),
        files: &[],
        stages,
        ..GREEN
    }
}

/// Nothing was ever deployed.
const NOTHING: [&str; 5] = ["fail", "not_run", "not_run", "not_run", "not_run"];
/// There is one version and no data.
const PLAIN: [&str; 5] = ["fail", "not_applicable", "not_applicable", "not_applicable", "not_run"];
const UPGRADE: [&str; 5] = ["pass", "fail", "not_run", "not_run", "not_applicable"];
const UPGRADE_ALONE: [&str; 5] = ["not_run", "fail", "not_run", "not_run", "not_run"];
const BACKUP: [&str; 5] = ["pass", "pass", "fail", "not_run", "not_applicable"];
const STATELESS: [&str; 5] = ["pass", "not_applicable", "not_applicable", "not_applicable", "not_applicable"];
const SUITE: &[&str] = &["--tests", "fixtures/tests-repo"];
/// A fresh install of these fails as well, which is not what they are for.
const ONLY_UPGRADE: &[&str] = &["--stage", "upgrade"];
const ALLOW_MUCH: &[&str] = &["--policy", "fixtures/policy.toml"];

fn check(case: &Case) {
    if !common::docker() {
        return;
    }
    let ended = test(&fixture(case.name), case.args);
    let results = &ended.results;
    let shown = || format!("{results:#}\n{}", ended.err);
    assert_eq!(results["verdict"], case.verdict, "{}", shown());
    assert_eq!(ended.exit, case.exit, "{}", shown());
    assert_eq!(results["level"], case.level, "{}", shown());
    // A lane that was ended because the other one failed may have got any distance.
    let lane_was_cut = case.stages[0] == "fail" || case.stages[0] == "inconclusive";
    let upto = if lane_was_cut { 1 } else { 5 };
    assert_eq!(ended.statuses()[..upto], case.stages[..upto], "{}", shown());
    if lane_was_cut {
        assert!(
            ended.statuses()[1..].iter().all(|status| matches!(*status, "not_run" | "not_applicable")),
            "{}",
            shown()
        );
    }
    if let Some((stage, code, fault)) = case.wrong {
        let reason = &ended.stage(stage)["reason"];
        assert_eq!((reason["code"].as_str(), reason["fault"].as_str()), (Some(code), Some(fault)), "{}", shown());
        assert!(!reason["remedy"].as_str().unwrap_or_default().is_empty());
        // The line on standard error says it too.
        assert!(
            ended.err.lines().any(|line| line.starts_with(&format!("{stage}: ")) && line.contains(code)),
            "{}",
            ended.err
        );
    }
    let evidence = case.wrong.map(|(stage, ..)| ended.evidence(stage)).unwrap_or_default();
    for needle in case.evidence {
        assert!(evidence.contains(needle), "no `{needle}` in:\n{evidence}");
    }
    for (file, needle) in case.files {
        assert!(ended.file(file).contains(needle), "no `{needle}` in {file}:\n{}", ended.file(file));
    }
    assert_eq!(results["no_secret_leak"], true, "{}", shown());
}

macro_rules! fixtures {
    ($( $test:ident: $case:expr; )*) => {
        $( #[test] fn $test() { check(&$case); } )*

        /// Fixtures that are tried here.
        const TRIED: &[&str] = &[ $( $case.name, )* ];
    };
}

fixtures! {
    healthy: Case { name: "healthy", ..GREEN };
    slow: Case { name: "slow", args: &["--stage", "install"], level: 1, stages: ["pass", "not_run", "not_run", "not_run", "not_run"], ..GREEN };
    address_pool: Case { name: "address-pool", stages: STATELESS, ..GREEN };
    address_pool_upgrade: Case { name: "address-pool-upgrade", args: ALLOW_MUCH, ..GREEN };
    missing_image: Case {
        name: "missing-image",
        evidence: &["localhost:5055/fixture:nope", "manifest unknown"],
        ..red("install", "image-missing", 0, NOTHING)
    };
    crash_loop: Case {
        name: "crash-loop",
        evidence: &["exited 3 times, last with exit code 3", "task: non-zero exit (3)", "FATAL cannot open /etc/app.conf"],
        files: &[("logs/services/fresh-app.log", "FATAL cannot open /etc/app.conf"), ("logs/install.log", "crash-loop")],
        ..red("install", "crash-loop", 0, PLAIN)
    };
    never_healthy: Case {
        name: "never-healthy",
        evidence: &["unhealthy container", "waiting for a database that never comes"],
        ..red("install", "never-healthy", 0, PLAIN)
    };
    unhealthy_exits_clean: Case {
        name: "unhealthy-exits-clean",
        evidence: &["app.1 complete", "ended with exit code 0 and its restart policy starts no other task", "waiting for a database"],
        files: &[("events.jsonl", "health_status: unhealthy")],
        ..red("install", "crash-loop", 0, PLAIN)
    };
    wrong_port: Case {
        name: "wrong-port",
        evidence: &["nothing answered at port 8080", "Connection refused"],
        ..red("install", "http-unreachable", 0, PLAIN)
    };
    error_page: Case { name: "error-page", evidence: &["404", "404 Not Found"], ..red("install", "http-status", 0, PLAIN) };
    update_paused: Case {
        name: "update-paused",
        args: ONLY_UPGRADE,
        evidence: &["Swarm paused the update of app", "unhealthy container", "app: update paused due to failure"],
        ..red("upgrade", "update-paused", 0, UPGRADE_ALONE)
    };
    update_rolled_back: Case {
        name: "update-rolled-back",
        args: ONLY_UPGRADE,
        evidence: &["Swarm rolled back the update of app", "unhealthy container", "app: update rolled back due to failure"],
        ..red("upgrade", "update-rolled-back", 0, UPGRADE_ALONE)
    };
    update_continued: Case {
        name: "update-continued",
        args: ONLY_UPGRADE,
        evidence: &["the health check of app never passed", "app: update completed", "[old version]"],
        ..red("upgrade", "never-healthy", 0, UPGRADE_ALONE)
    };
    data_lost_upgrade: Case {
        name: "data-lost-upgrade",
        evidence: &["data before the upgrade is gone after it", "volume data: /data/.cc-ci-witness is gone"],
        ..red("upgrade", "data-lost-upgrade", 1, UPGRADE)
    };
    volume_moved: Case {
        name: "volume-moved",
        evidence: &["no service mounts data any more", "volumes mounted now: content"],
        ..red("upgrade", "volumes-changed", 1, UPGRADE)
    };
    config_not_bumped: Case {
        name: "config-not-bumped",
        evidence: &["only updates to Labels are allowed"],
        ..red("upgrade", "config-conflict", 1, UPGRADE)
    };
    base_broken: Case {
        name: "base-broken",
        exit: 3,
        verdict: "ERROR",
        level: 1,
        wrong: Some(("upgrade", "base-broken", "base")),
        evidence: &["the base 1.0.0+1 does not come up", "FATAL cannot open /etc/app.conf"],
        stages: ["pass", "inconclusive", "pass", "pass", "not_applicable"],
        ..GREEN
    };
    backup_without_content: Case {
        name: "backup-without-content",
        evidence: &["backupbot.backup.volumes.data.path: dump/backup.sql", "there is no `dump/backup.sql` in the volume"],
        ..red("backup", "backup-empty", 2, BACKUP)
    };
    backup_empty_dump: Case {
        name: "backup-empty-dump",
        evidence: &["`backup.sql` of volume data is in the snapshot without content", "backup.sql (0 bytes)"],
        ..red("backup", "backup-empty", 2, BACKUP)
    };
    backup_hook_fails: Case {
        name: "backup-hook-fails",
        evidence: &["exit code 7", "cannot connect to the database"],
        ..red("backup", "backup-hook-failed", 2, BACKUP)
    };
    no_backup_labels: Case {
        name: "no-backup-labels",
        evidence: &["the recipe keeps data in data and no service has `backupbot.backup=true`"],
        ..red("backup", "no-backup-labels", 2, BACKUP)
    };
    restore_brings_nothing: Case {
        name: "restore-brings-nothing",
        evidence: &["volume data: /data/.cc-ci-witness is gone"],
        ..red("restore", "restore-empty", 3, ["pass", "pass", "pass", "fail", "not_applicable"])
    };
    missing_secret: Case {
        name: "missing-secret",
        evidence: &["secrets.api_key", "SECRET_API_KEY_VERSION", "compose.yml:"],
        ..red("install", "secret-missing", 0, NOTHING)
    };
    secret_not_inserted: Case {
        name: "secret-not-inserted",
        evidence: &["secret `api_key` is marked `generate=false`", "[secrets] api_key"],
        ..red("install", "secret-missing", 0, NOTHING)
    };
    failing_test: Case {
        name: "failing-test",
        args: SUITE,
        wrong: Some(("custom", "test-failed", "test")),
        evidence: &["custom/01-greeting.hurl", "expected: contains string <Welcome to version 3>", "version 2"],
        ..red("custom", "test-failed", 4, ["pass", "pass", "pass", "pass", "fail"])
    };
    suite_overlay: Case {
        name: "suite-overlay",
        args: SUITE,
        wrong: Some(("install", "suite-invalid", "test")),
        evidence: &["compose.ccci.yml:1: error C004"],
        ..red("install", "suite-invalid", 0, NOTHING)
    };
    no_node_fits: Case {
        name: "no-node-fits",
        evidence: &["no suitable node (scheduling constraints not satisfied on 1 node)"],
        ..error("install", "no-node-fits", ["inconclusive", "", "", "", ""])
    };
    reservation_too_big: Case {
        name: "reservation-too-big",
        args: ALLOW_MUCH,
        evidence: &["no suitable node (insufficient resources on 1 node)"],
        ..error("install", "no-node-fits", ["inconclusive", "", "", "", ""])
    };
    reservation_beyond_the_policy: Case {
        name: "reservation-too-big",
        evidence: &["P039", "compose.yml:"],
        ..red("install", "policy-refused", 0, NOTHING)
    };
    registry_unreachable: Case {
        name: "registry-unreachable",
        evidence: &["localhost:5999", "connection refused"],
        ..error("install", "registry-unreachable", ["inconclusive", "", "", "", ""])
    };
}

#[test]
fn a_crash_loop_ends_long_before_the_time_limit() {
    if !common::docker() {
        return;
    }
    let ended = test(&fixture("crash-loop"), &["--stage", "install"]);
    // Its TIMEOUT is 30 s; three exits come within 10 s.
    let took = ended.stage("install")["duration_ms"].as_u64().expect("a time");
    assert!(took < 25_000, "{took} ms");
    assert_eq!(
        ended.evidence("install").matches("task: non-zero exit (3)").count(),
        3,
        "{}",
        ended.evidence("install")
    );
}

#[test]
fn zero_tests() {
    if !common::docker() {
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    let (recipe, out) = (fixture("zero-tests"), place.path().join("evidence"));
    let args = [
        "test",
        recipe.to_str().expect("UTF-8"),
        "--tests",
        "fixtures/tests-repo",
        "--out",
        out.to_str().expect("UTF-8"),
    ];
    let said = common::cc_ci(args);
    assert_eq!((said.exit, said.out.as_str()), (2, ""), "{}", said.err);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.starts_with("error: the suite of zero-tests cannot be used: it has no test"), "{}", said.err);
    assert!(!out.exists(), "nothing was run");
}

#[test]
fn secret_leak() {
    use base64::Engine as _;
    if !common::docker() {
        return;
    }
    let ended = common::Going::start(&fixture("secret-leak"), &["--keep", "--stage", "install"]).end_unchecked();
    let run = ended.results["run"].as_str().expect("an id").to_owned();
    let secret = secret_of(&run);
    assert!(secret.len() >= 16, "{} characters", secret.len());
    let reaped = common::cc_ci(["reap", "--run", &run]);
    assert_eq!(reaped.exit, 0, "{}", reaped.err);
    assert!(common::inventory(None, &run).is_empty());

    // The app wrote it plainly and in base64; both were masked while they were written, so nothing had to be withheld.
    let log = ended.file("logs/services/fresh-app.log");
    assert!(log.contains("connecting with password ***"), "{log}");
    assert!(log.contains("authorization: Basic ***"), "{log}");
    let scan = &ended.results["secret_scan"];
    assert!(
        scan["masked"].as_u64() >= Some(2) && scan["secrets"].as_u64() >= Some(1) && scan["files"].as_u64() > Some(3),
        "{scan}"
    );
    assert_eq!((&ended.results["no_secret_leak"], ended.exit), (&true.into(), 0));
    let warned = ended.results["warnings"].as_array().expect("warnings");
    assert!(warned.iter().any(|line| line.as_str().unwrap_or_default().contains("masked")), "{warned:?}");
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&secret);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (name, bytes) in ended.files() {
        let text = String::from_utf8_lossy(&bytes);
        for form in [&secret, &base64, &hex] {
            assert!(!text.contains(form.as_str()), "{name} holds the secret");
        }
    }
}

/// A form that the masking does not know is found by the search: the run is RED and the file withheld.
#[test]
fn a_secret_that_slips_through_is_withheld() {
    if !common::docker() {
        return;
    }
    let ended = test(&fixture("secret-leak-hidden"), &["--stage", "install"]);
    let results = &ended.results;
    assert_eq!((results["verdict"].as_str(), ended.exit), (Some("RED"), 1), "{results:#}");
    assert_eq!(results["no_secret_leak"], false);
    assert_eq!(ended.stage("install")["status"], "pass", "the stage itself holds");
    let file = "logs/services/fresh-app.log";
    assert_eq!(results["secret_scan"]["withheld"], serde_json::json!([file]), "{results:#}");
    let hit = results["secret_scan"]["hits"][0].as_str().expect("a hit");
    assert!(hit.contains("app_secret") && hit.contains(file), "{hit}");
    let note = ended.file(file);
    assert!(note.contains("withheld") && !note.contains("password"), "{note}");
}

/// Reads the secret where the app reads it.
fn secret_of(run: &str) -> String {
    let objects = common::inventory(None, run);
    let container = objects.iter().find(|object| object.kind == cc_ci::swarm::Kind::Container).expect("a container");
    let said = common::run(common::docker_cli().args(["exec", &container.id, "cat", "/run/secrets/app_secret"]));
    assert_eq!(said.exit, 0, "{}", said.err);
    said.out.trim().to_owned()
}

#[test]
fn every_fixture_is_tried_and_told() {
    let readme = std::fs::read_to_string(common::repo().join("fixtures/README.md")).expect("the table");
    let here =
        std::fs::read_dir(common::repo().join("fixtures")).expect("the fixtures").map(|entry| entry.expect("an entry"));
    for entry in here.filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().expect("UTF-8");
        if name == "tests-repo" {
            continue;
        }
        assert!(
            TRIED.contains(&name.as_str())
                || matches!(name.as_str(), "zero-tests" | "secret-leak" | "secret-leak-hidden"),
            "{name} is not tried"
        );
        assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in fixtures/README.md");
    }
}

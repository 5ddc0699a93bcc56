//! However a run ends, nothing of it is left, and nothing that is not its own was touched.

mod common;

use common::sentinel::Sentinel;
use common::{Going, cc_ci, fixture, inventory, test, wait_until};

/// The arguments with which the fixture that has a suite goes through all stages.
const SUITE: &[&str] = &["--tests", "fixtures/tests-repo"];

fn reason<'a>(ended: &'a common::Ended, stage: &str) -> (Option<&'a str>, Option<&'a str>) {
    let reason = &ended.stage(stage)["reason"];
    (reason["code"].as_str(), reason["fault"].as_str())
}

#[test]
fn success_and_failure() {
    if !common::docker() {
        return;
    }
    let sentinel = Sentinel::deploy();
    // `end` looks at the engine itself.
    assert_eq!(test(&fixture("healthy"), &["--stage", "install"]).exit, 0);
    let failed = test(&fixture("crash-loop"), &["--stage", "install"]);
    assert_eq!(failed.exit, 1);
    let teardown = &failed.results["teardown"];
    assert_eq!(teardown["looked_for"].as_array().map(Vec::len), Some(7), "{teardown}");
    assert!(teardown["removed"].as_u64() > Some(2), "{teardown}");
    sentinel.unchanged();
}

#[test]
fn the_time_limit() {
    if !common::docker() {
        return;
    }
    let sentinel = Sentinel::deploy();
    let ended = test(&fixture("slow"), &["--timeout", "6s"]);
    assert_eq!((ended.exit, &ended.results["verdict"]), (3, &"ERROR".into()), "{}", ended.err);
    assert_eq!(reason(&ended, "install"), (Some("timed-out"), Some("infrastructure")));
    assert_eq!(reason(&ended, "upgrade"), (Some("timed-out"), Some("infrastructure")));
    sentinel.unchanged();
}

/// Stops the run as soon as both lanes have something on the engine.
fn stopped_by(signal: &str) {
    if !common::docker() {
        return;
    }
    let sentinel = Sentinel::deploy();
    let going = Going::start(&fixture("slow"), &[]);
    let run = going.run();
    going.stage("install");
    going.stage("upgrade");
    wait_until("services of both lanes", || {
        inventory(None, &run).iter().filter(|object| object.kind == cc_ci::swarm::Kind::Service).count() == 2
    });
    going.signal(signal);
    going.line("it says that it cleans up", |line| line == "stopping: what was deployed is being removed");
    let ended = going.end();
    assert_eq!(ended.exit, 130, "{}", ended.err);
    assert_eq!(ended.results["verdict"], "ERROR", "a run that was stopped judges nobody");
    assert_eq!(reason(&ended, "install"), (Some("interrupted"), Some("interrupted")));
    assert_eq!(reason(&ended, "upgrade"), (Some("interrupted"), Some("interrupted")));
    assert!(ended.results["teardown"]["removed"].as_u64() > Some(4), "{}", ended.results["teardown"]);
    assert!(!lock_of(&run).exists());
    sentinel.unchanged();
}

#[test]
fn ctrl_c() {
    stopped_by("INT");
}

#[test]
fn sigterm() {
    stopped_by("TERM");
}

fn lock_of(run: &str) -> std::path::PathBuf {
    cc_ci::state::State::locate().root().join("locks").join(run)
}

/// Folders of a run below the state that are no evidence.
fn work_of(run: &str) -> Vec<String> {
    let entries = std::fs::read_dir(cc_ci::state::State::locate().root().join("work")).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(run))
        .collect()
}

/// SIGKILL at the very beginning of a stage, then `cc-ci reap`.
fn killed_in(stage: &str) {
    if !common::docker() {
        return;
    }
    let sentinel = Sentinel::deploy();
    // One lane, so that the stage is the only thing that goes on.
    let stages = if matches!(stage, "install" | "custom") { "install,custom" } else { "upgrade,backup,restore" };
    let going = Going::start(&fixture("failing-test"), &[SUITE, &["--stage", stages]].concat());
    let run = going.run();
    going.stage(stage);
    // What runs in the container is not of interest; that there is something to remove is.
    wait_until("something on the engine", || !inventory(None, &run).is_empty());
    going.kill();
    assert!(!inventory(None, &run).is_empty(), "nothing was left: the test shows nothing");
    assert!(lock_of(&run).exists() && !work_of(&run).is_empty());

    let said = cc_ci(["reap", "--run", &run, "--json"]);
    assert_eq!(said.exit, 0, "{} {}", said.out, said.err);
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&report["clean"], &report["live"]), (&true.into(), &serde_json::json!([])), "{report}");
    assert_eq!(report["reaped"][0]["run"], run.as_str(), "{report}");
    wait_until("its children have ended", || children_of(&run).is_empty());
    let left = inventory(None, &run);
    assert!(left.is_empty(), "left over: {left:#?}");
    assert!(!lock_of(&run).exists(), "the lock file");
    assert_eq!(work_of(&run), Vec::<String>::new(), "the work folder");
    assert_eq!(cc_ci(["reap", "--run", &run]).out, "nothing to remove\n");
    sentinel.unchanged();
}

/// Processes whose command line names the run: a `docker stack deploy` or a restic that outlived its parent.
fn children_of(run: &str) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|entry| entry.file_name().to_string_lossy() != std::process::id().to_string())
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .filter(|line| {
            line.contains(run) && (line.contains("docker") || line.contains("restic")) && !line.contains("dockerd")
        })
        .collect()
}

#[test]
fn kill_9_in_install() {
    killed_in("install");
}

#[test]
fn kill_9_in_upgrade() {
    killed_in("upgrade");
}

#[test]
fn kill_9_in_backup() {
    killed_in("backup");
}

#[test]
fn kill_9_in_restore() {
    killed_in("restore");
}

#[test]
fn kill_9_in_custom() {
    killed_in("custom");
}

#[test]
fn kill_9_while_the_stack_is_being_deployed() {
    if !common::docker() {
        return;
    }
    let going = Going::start(&fixture("healthy"), &["--stage", "install"]);
    let run = going.run();
    wait_until("docker stack deploy runs", || !children_of(&run).is_empty());
    going.kill();
    let said = cc_ci(["reap", "--run", &run]);
    assert_eq!(said.exit, 0, "{} {}", said.out, said.err);
    wait_until("its children have ended", || children_of(&run).is_empty());
    let left = inventory(None, &run);
    assert!(left.is_empty(), "what outlived the run went on deploying: {left:#?}");
}

#[test]
fn a_run_that_is_alive_is_spared() {
    if !common::docker() {
        return;
    }
    let going = Going::start(&fixture("slow"), &["--stage", "install"]);
    let run = going.run();
    going.stage("install");
    wait_until("something on the engine", || !inventory(None, &run).is_empty());
    let said = cc_ci(["reap", "--run", &run]);
    assert!(
        said.exit == 0 && said.out.starts_with(&format!("run {run}: is going on, left alone\n")),
        "{} {}",
        said.out,
        said.err
    );
    let ended = going.end();
    assert_eq!((ended.exit, &ended.results["verdict"]), (0, &"GREEN".into()), "{}", ended.err);
}

#[test]
fn a_label_alone_is_no_reason_to_remove() {
    if !common::docker() {
        return;
    }
    let sentinel = Sentinel::deploy();
    for args in [vec!["reap", "--run", &sentinel.claimed_by, "--dry-run"], vec!["reap", "--run", &sentinel.claimed_by]]
    {
        let said = cc_ci(args);
        assert_eq!((said.exit, said.out.as_str()), (0, "nothing to remove\n"), "{}", said.err);
    }
    sentinel.unchanged();
}

#[test]
fn what_is_kept_stays_until_it_is_reaped() {
    if !common::docker() {
        return;
    }
    let ended = Going::start(&fixture("healthy"), &["--stage", "install", "--keep"]).end_unchecked();
    let run = ended.results["run"].as_str().expect("an id").to_owned();
    assert_eq!(ended.exit, 0, "{}", ended.err);
    assert!(!inventory(None, &run).is_empty());
    let dry = cc_ci(["reap", "--run", &run, "--dry-run"]);
    assert!(dry.out.starts_with(&format!("run {run}: would remove ")), "{}", dry.out);
    assert!(!inventory(None, &run).is_empty(), "--dry-run removes nothing");
    let said = cc_ci(["reap", "--run", &run]);
    assert!(said.out.starts_with(&format!("run {run}: removed ")) && said.exit == 0, "{} {}", said.out, said.err);
    assert!(inventory(None, &run).is_empty());
}

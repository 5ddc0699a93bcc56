//! Engines that run out of addresses, restart or die in mid-run: the verdict is ERROR and never RED, and what is left can be removed.
//!
//! Each test has an engine of its own in a network namespace of its own (`scripts/private-engine`); the machine's engine sees nothing of it.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the tests are the user")]

mod common;

use std::process::Command;

use cc_ci::domain::RunId;
use cc_ci::swarm::{Kind, Scope};
use common::{CC_CI, Ended, Going, Said, fixture, look, repo, run, wait_until};

/// An engine that is stopped and removed at the end of the test.
struct PrivateEngine {
    name: String,
    state: tempfile::TempDir,
}

impl PrivateEngine {
    /// None where the machine has no network namespaces, or the tests are to do without Docker.
    fn start(what: &str, args: &[&str]) -> Option<Self> {
        if !common::docker() {
            return None;
        }
        let probe = format!("cc-ci-probe-{}", std::process::id());
        let made = run(Command::new("ip")
            .args(["netns", "add", &format!("{probe}-{what}")])
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"));
        if made.exit != 0 {
            eprintln!("skipped: this machine has no network namespaces for us: {}", made.err.trim());
            return None;
        }
        run(Command::new("ip")
            .args(["netns", "delete", &format!("{probe}-{what}")])
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin"));
        // `scripts/clean-leftovers` knows names of this form.
        let name = format!("test-{what}-{}", std::process::id());
        let engine = Self { name, state: tempfile::tempdir().expect("a folder") };
        engine.script("start", args);
        Some(engine)
    }

    fn script(&self, command: &str, args: &[&str]) {
        let said = run(Command::new(repo().join("scripts/private-engine")).arg(command).arg(&self.name).args(args));
        assert_eq!(said.exit, 0, "private-engine {command}: {}{}", said.out, said.err);
    }

    fn host(&self) -> String {
        format!("unix:///run/cc-ci-{}.sock", self.name)
    }

    /// `cc-ci` in the namespace of the engine, because it must reach the containers; with the locks of its own engine.
    fn command(&self) -> Command {
        let mut command = Command::new(repo().join("scripts/private-engine"));
        command.args(["run", &self.name, "--", CC_CI]).env("CC_CI_STATE", self.state.path());
        command
    }

    fn test(&self, recipe: &str, args: &[&str]) -> Going {
        let args = [&["--no-screenshot", "--ignore-load"], args].concat();
        Going::start_by(self.command(), Some(self.host()), &fixture(recipe), &args)
    }

    fn reap(&self) -> Said {
        run(self.command().arg("reap"))
    }

    fn inventory(&self) -> Vec<cc_ci::swarm::Object> {
        look(Some(&self.host()), |engine| async move { engine.inventory(&Scope::AllOfCcCi).await })
            .expect("the engine answers")
    }

    fn runs(&self, run: &str, kind: Kind) -> bool {
        let run: RunId = run.parse().expect("an id");
        self.inventory().iter().any(|object| object.run == run && object.kind == kind)
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        let said = run(Command::new(repo().join("scripts/private-engine")).args(["stop", &self.name]));
        if said.exit != 0 {
            eprintln!("private-engine stop {}: {}{}", self.name, said.out, said.err);
        }
    }
}

/// ERROR by the host's fault, with this code at that stage.
fn is_error(ended: &Ended, stage: &str, codes: &[&str]) {
    let results = &ended.results;
    assert_eq!((ended.exit, &results["verdict"]), (3, &"ERROR".into()), "{results:#}\n{}", ended.err);
    let reason = &ended.stage(stage)["reason"];
    assert!(codes.contains(&reason["code"].as_str().unwrap_or_default()), "{reason:#}");
    assert_eq!(reason["fault"], "infrastructure", "{reason:#}");
}

#[test]
fn no_address_is_left() {
    let Some(engine) = PrivateEngine::start("pool", &["--pool", "10.77.0.0/24", "--mask", "29"]) else { return };
    let ended = engine.test("address-pool", &["--stage", "install"]).end();
    is_error(&ended, "install", &["addresses-exhausted"]);
    let lines = ended.evidence("install");
    assert!(lines.contains("new") && lines.contains("address"), "{lines}");
    // An upgrade that needs more addresses than its base.
    let ended = engine.test("address-pool-upgrade", &["--stage", "upgrade", "--policy", "fixtures/policy.toml"]).end();
    is_error(&ended, "upgrade", &["addresses-exhausted"]);
    assert!(engine.inventory().is_empty());
}

#[test]
fn the_engine_restarts() {
    let Some(engine) = PrivateEngine::start("restart", &[]) else { return };
    let going = engine.test("slow", &["--stage", "install"]);
    let run = going.run();
    going.stage("install");
    wait_until("its container", || engine.runs(&run, Kind::Container));
    engine.script("restart", &[]);
    let ended = going.end();
    is_error(&ended, "install", &["engine-restarted"]);
    assert!(engine.inventory().is_empty());
    // The engine is as good as new.
    let after = engine.test("healthy", &["--stage", "install"]).end();
    assert_eq!(after.exit, 0, "{:#}", after.stage("install"));
}

#[test]
fn the_engine_dies() {
    let Some(engine) = PrivateEngine::start("kill", &[]) else { return };
    let going = engine.test("slow", &["--stage", "install"]);
    let run = going.run();
    going.stage("install");
    wait_until("its container", || engine.runs(&run, Kind::Container));
    engine.script("kill", &[]);
    let ended = going.end_unchecked();
    is_error(&ended, "install", &["engine-restarted", "engine-error"]);
    let results = &ended.results;
    assert_eq!(results["clean_teardown"], false, "nobody could look: {results:#}");
    assert!(!results["teardown"]["leftovers"].as_array().expect("a list").is_empty(), "{results:#}");
    assert!(
        ended.err.lines().any(|line| line.contains("cc-ci reap")) || ended.file("summary.txt").contains("cc-ci reap"),
        "{}",
        ended.err
    );
    engine.script("restart", &[]);
    let said = engine.reap();
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
    assert!(engine.inventory().is_empty(), "{}", said.out);
}

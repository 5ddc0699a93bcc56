//! The example recipes, as the user guide has them: all stages, the whole folder of evidence.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the tests are the user")]

mod common;

use std::process::Command;

use common::{CC_CI, Ended, Going, example, fixture};
use serde_json::Value;

const SUITES: &[&str] = &["--tests", "tests-repo"];

fn run(name: &str, args: &[&str]) -> Ended {
    Going::start_by(Command::new(CC_CI), None, &example(name), &[SUITES, args].concat()).end()
}

fn green(ended: &Ended, stages: [&str; 5]) {
    let results = &ended.results;
    assert_eq!(
        (ended.exit, &results["verdict"], &results["level"]),
        (0, &"GREEN".into(), &5.into()),
        "{results:#}\n{}",
        ended.err
    );
    assert_eq!(ended.statuses(), stages, "{results:#}");
    assert_eq!((&results["no_secret_leak"], &results["flaky"]), (&true.into(), &false.into()), "{results:#}");
}

/// Everything that belongs to the evidence is there, and is what its name says.
fn evidence_is_whole(ended: &Ended, services: &[&str]) {
    let results = &ended.results;
    for stage in ["install", "upgrade", "backup", "restore", "custom"] {
        assert!(!ended.file(&format!("logs/{stage}.log")).is_empty(), "{stage}");
    }
    for service in services {
        for lane in ["fresh", "data"] {
            assert!(
                ended.file(&format!("logs/services/{lane}-{service}.log")).contains("--- task "),
                "{lane} {service}"
            );
        }
        for role in ["head", "base"] {
            let images = results["images"].as_array().expect("images");
            let image = images.iter().find(|image| image["service"] == *service && image["role"] == role);
            let digest =
                image.unwrap_or_else(|| panic!("no {role} image of {service}: {images:#?}"))["digest"].as_str();
            assert!(digest.is_some_and(|digest| digest.starts_with("sha256:") && digest.len() == 71), "{images:#?}");
        }
    }
    assert!(ended.file("compose.yml").starts_with("version:"));
    let events = ended.file("events.jsonl");
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
    assert!(events.len() > 3, "{events:?}");
    assert!(ended.file("badge.svg").starts_with("<svg"));
    let card = std::fs::read(ended.folder.join("summary.png")).expect("the card");
    assert!(card.starts_with(b"\x89PNG\r\n\x1a\n") && card.len() > 10_000, "{} bytes", card.len());
    let table = ended.file("summary.txt");
    assert!(table.contains("GREEN") && table.contains("restore"), "{table}");
    junit(ended);
    // The list of files is true.
    for file in results["files"].as_array().expect("files") {
        let (path, bytes) = (file["path"].as_str().expect("a path"), file["bytes"].as_u64());
        assert_eq!(std::fs::metadata(ended.folder.join(path)).map(|meta| meta.len()).ok(), bytes, "{path}");
    }
    let listed = results["files"].as_array().map_or(0, Vec::len);
    assert_eq!(listed + 1, ended.files().len(), "all but results.json are listed");
}

/// JUnit: parses, counts agree, every test has a time within the run.
fn junit(ended: &Ended) {
    let text = ended.file("junit.xml");
    let document = roxmltree::Document::parse(&text).expect("XML");
    let cases: Vec<_> = document.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let tests: usize = ended.results["stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| stage["tests"].as_array().map_or(0, Vec::len))
        .sum();
    assert!(cases.len() >= tests && tests > 5, "{} of {tests}", cases.len());
    let started: jiff::Timestamp = ended.results["started"].as_str().expect("a time").parse().expect("a time");
    let ms = i64::try_from(ended.results["duration_ms"].as_u64().expect("a time")).expect("fits");
    for suite in document.descendants().filter(|node| node.has_tag_name("testsuite")) {
        let Some(at) = suite.attribute("timestamp") else { continue };
        let at: jiff::Timestamp = at.parse().expect("a time");
        let after = at.duration_since(started).as_millis();
        assert!((-1000..=i128::from(ms) + 1000).contains(&after), "{at} is not within the run");
        let time: f64 = suite.attribute("time").unwrap_or("0").parse().expect("seconds");
        assert!(time >= 0.0 && time <= ended.results["duration_ms"].as_f64().expect("ms") / 1000.0 + 1.0, "{time} s");
    }
    assert!(document.descendants().any(|node| node.attribute("timestamp").is_some()), "no timestamp at all");
    let failed =
        document.descendants().filter(|node| node.has_tag_name("failure") || node.has_tag_name("error")).count();
    assert_eq!(failed, 0, "{text}");
}

/// Chromium is not everywhere; where it is, there is a picture, and it is not blank.
fn screenshot(ended: &Ended) {
    if !["/usr/bin/chromium", "/usr/bin/chromium-browser"].iter().any(|path| std::path::Path::new(path).exists()) {
        eprintln!("chromium is not installed: no screenshot");
        return;
    }
    let picture = std::fs::read(ended.folder.join("screenshot.png"))
        .unwrap_or_else(|error| panic!("{error}: {:#}", ended.results["warnings"]));
    assert!(picture.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert_eq!(ended.results["screenshot"]["blank"], false, "{}", ended.results["screenshot"]);
}

#[test]
fn custom_html_tiny_is_stateless() {
    if !common::docker() {
        return;
    }
    let ended = run("custom-html-tiny", &[]);
    green(&ended, ["pass", "pass", "not_applicable", "not_applicable", "pass"]);
    assert_eq!(ended.stage("backup")["skip"], "stateless: no named volumes");
    assert_eq!(ended.stage("restore")["skip"], "nothing is backed up");
    screenshot(&ended);
}

#[test]
fn custom_html_in_two_lanes_and_in_one() {
    if !common::docker() {
        return;
    }
    let two = run("custom-html", &[]);
    green(&two, ["pass"; 5]);
    evidence_is_whole(&two, &["app"]);
    screenshot(&two);
    let one = run("custom-html", &["--sequential", "--no-screenshot"]);
    green(&one, ["pass"; 5]);
    assert_eq!(one.results["parallel_lanes"], false);
    // The same tests with the same outcomes.
    let outcome = |ended: &Ended| -> Vec<String> {
        let stages = ended.results["stages"].as_array().expect("stages");
        let tests = |stage: &Value| stage["tests"].as_array().cloned().unwrap_or_default();
        stages
            .iter()
            .flat_map(|stage| {
                tests(stage).into_iter().map(|test| format!("{} {} {}", stage["stage"], test["name"], test["status"]))
            })
            .collect()
    };
    assert_eq!(outcome(&two), outcome(&one));
    assert_eq!((&two.results["recipe"], &two.results["base"]), (&one.results["recipe"], &one.results["base"]));
}

#[test]
fn notes_has_a_database() {
    if !common::docker() {
        return;
    }
    let ended = run("notes", &[]);
    green(&ended, ["pass"; 5]);
    evidence_is_whole(&ended, &["app", "db"]);
    assert!(ended.results["secret_scan"]["secrets"].as_u64() >= Some(2), "{}", ended.results["secret_scan"]);
    assert!(ended.results["suite"]["custom_tests"].as_u64() >= Some(5), "{}", ended.results["suite"]);
    screenshot(&ended);
}

#[test]
fn without_a_suite_the_level_ends_at_four() {
    if !common::docker() {
        return;
    }
    let ended = common::test(&fixture("healthy"), &[]);
    assert_eq!(
        (ended.exit, &ended.results["verdict"], &ended.results["level"]),
        (0, &"GREEN".into(), &4.into()),
        "{}",
        ended.err
    );
    assert_eq!(ended.stage("custom")["skip"], "the recipe has no suite; the level ends at 4");
    assert!(ended.results.get("suite").is_none());
}

#[test]
fn a_recipe_is_found_by_name_and_ref() {
    if !common::docker() {
        return;
    }
    let catalogue = common::home().join("recipes");
    let args = ["--catalogue", catalogue.to_str().expect("UTF-8"), "--ref", "1.0.0+1.0.0", "--stage", "install"];
    let ended = common::test(std::path::Path::new("custom-html-tiny"), &args);
    assert_eq!(ended.exit, 0, "{}", ended.err);
    assert_eq!(ended.results["recipe"]["version"], "1.0.0+1.0.0");
    assert_eq!(ended.results["requested"], serde_json::json!(["install"]));
}

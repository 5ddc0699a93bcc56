//! What Chromium makes of the pages, with and without JavaScript, wide and narrow.
//!
//! Without Chromium these tests say so and check nothing. `CC_CI_SCREENSHOTS=<folder>` keeps pictures of every page.

use std::path::PathBuf;
use std::time::Duration;

use cc_ci::process::{self, Command, Output};

use super::support::{Served, served};

const TIME: Duration = Duration::from_secs(60);

pub(crate) fn chromium() -> Option<PathBuf> {
    let folders = process::path_folders();
    let folders = || folders.iter().map(PathBuf::as_path);
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(|name| process::look_up(name, folders()));
    if found.is_none() {
        println!("skipped: no chromium in PATH");
    }
    found
}

pub(crate) async fn browse(program: &PathBuf, url: &str, script: bool, more: &[String]) -> Output {
    let profile = tempfile::tempdir().unwrap();
    let defaults = profile.path().join("Default");
    std::fs::create_dir_all(&defaults).unwrap();
    // 1 allows and 2 blocks the scripts of pages; Blink's own switch would break `--dump-dom` too.
    let word = if script { 1 } else { 2 };
    let preferences = format!("{{\"profile\":{{\"default_content_setting_values\":{{\"javascript\":{word}}}}}}}");
    std::fs::write(defaults.join("Preferences"), preferences).unwrap();
    Command::new(program)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
        .args([
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-proxy-server",
            "--disable-extensions",
        ])
        .args(["--enable-logging=stderr", "--log-level=0"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(more.iter().cloned())
        .arg(url)
        .inherit("PATH")
        .env("HOME", profile.path())
        .capture_limit(4 << 20)
        .timeout(TIME)
        .run()
        .await
        .unwrap()
}

fn addresses(served: &Served, judged: i64, red: i64) -> Vec<(&'static str, String, String)> {
    let run = |name, sign, number: i64| (name, format!("/runs/{number}"), format!("{sign} Run {number}: "));
    vec![
        ("overview", "/".into(), "Recipes · cc-ci".into()),
        ("recipe", "/recipes/gitea".into(), "gitea · cc-ci".into()),
        ("runs", "/runs".into(), "Runs · cc-ci".into()),
        run("run-green", "✔", judged),
        run("run-red", "✘", red),
        run("run-live", "▶", served.running),
        ("queue", "/queue".into(), "Queue · cc-ci".into()),
        ("about", "/about".into(), "About and health · cc-ci".into()),
        ("login", "/login".into(), "Log in · cc-ci".into()),
        ("missing", "/nothing".into(), "Not Found · cc-ci".into()),
    ]
}

async fn find(served: &Served, verdict: &str) -> i64 {
    let list = served.get("/api/v1/runs?limit=200").await.json();
    let found =
        list["runs"].as_array().unwrap().iter().find(|run| run["outcome"] == "judged" && run["verdict"] == verdict);
    found.unwrap()["number"].as_i64().unwrap()
}

#[tokio::test]
async fn a_browser_shows_every_page_without_a_complaint() {
    let Some(program) = chromium() else { return };
    let served = served().await;
    let (green, red) = (find(&served, "GREEN").await, find(&served, "RED").await);
    for (name, path, title) in addresses(&served, green, red) {
        for script in [true, false] {
            let out = browse(&program, &served.url(&path), script, &["--dump-dom".to_owned()]).await;
            let dom = out.stdout.text();
            assert!(dom.contains(&format!("<title>{title}")), "{name}: {dom}");
            assert!(dom.contains("<main id=\"main\"") && dom.contains("</footer>"), "{name} is whole");
            let complaints: Vec<String> = out
                .stderr
                .text()
                .lines()
                .filter(|line| line.contains(":CONSOLE") || line.contains("Content Security Policy"))
                .filter(|line| !(name == "missing" && line.contains("404")))
                .map(str::to_owned)
                .collect();
            assert!(complaints.is_empty(), "{name}: {complaints:#?}");
        }
    }
}

#[tokio::test]
async fn pictures_of_every_page_can_be_kept() {
    let Some(folder) = cc_ci::env::var("CC_CI_SCREENSHOTS") else { return };
    let Some(program) = chromium() else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let served = served().await;
    let (green, red) = (find(&served, "GREEN").await, find(&served, "RED").await);
    for (name, path, _) in addresses(&served, green, red) {
        for (size, width, height) in [("wide", 1280, 1500), ("narrow", 390, 1700)] {
            let file = format!("{folder}/{name}-{size}.png");
            let more = [format!("--screenshot={file}"), format!("--window-size={width},{height}")];
            let out = browse(&program, &served.url(&path), false, &more).await;
            assert!(std::fs::metadata(&file).is_ok_and(|file| file.len() > 1000), "{}", out.stderr.text());
        }
    }
}

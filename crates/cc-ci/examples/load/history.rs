//! Pages over a long history: how long they take, and the memory they cost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cc_ci::clock::{Clock, SystemClock};

use super::report::{Report, Times};
use super::server::Server;
use super::{Wanted, client, floor, scratch};

/// Pages, one after the other, with the goal for 99 of 100 in milliseconds.
const PAGES: [(&str, &str, f64); 8] = [
    ("overview", "/", 100.0),
    ("recipe", "/recipes/nextcloud", 100.0),
    ("badge of the recipe", "/recipes/nextcloud/badge.svg", 20.0),
    ("run", "/runs/{run}", 100.0),
    ("runs", "/runs", 100.0),
    ("runs, in the middle of the history", "/runs?before={run}", 100.0),
    ("queue", "/queue", 100.0),
    ("runs as JSON", "/api/v1/runs", 100.0),
];

/// Goal for a start, until the server listens, in seconds.
const START: f64 = 3.0;

pub(crate) async fn measure(wanted: &Wanted, report: &Report) -> Result<()> {
    let (_folder, path) = scratch()?;
    let start = SystemClock.monotonic();
    Server::start(&path, Some(wanted.history), false).await?.stop()?;
    let made = SystemClock.since(start);
    let size = std::fs::metadata(path.join("state/cc-ci.db"))?.len() >> 20;
    report.heading(&format!("pages over {} runs ({size} MiB)", wanted.history));
    let client = client()?;
    let fixed = Server::floor()?;
    let (floor_times, _) = ask(&client, &format!("{}{}", fixed.base, floor::PAGE), wanted.requests).await?;
    report.floor("floor: 40 KB that are always the same", &floor_times);
    fixed.stop()?;

    // Another process than the one that made the history, so that neither memory nor caches are of that.
    let start = SystemClock.monotonic();
    let server = Server::start(&path, None, false).await?;
    let started = SystemClock.since(start);
    let before = server.memory()?;
    let middle = (wanted.history / 2).max(1).to_string();
    let mut first = Vec::new();
    for (name, page, goal) in PAGES {
        let (times, cold) =
            ask(&client, &format!("{}{}", server.base, page.replace("{run}", &middle)), wanted.requests).await?;
        report.times(name, &times, goal);
        first.push(format!("{name} {:.0}", cold.as_secs_f64() * 1e3));
    }
    println!("the very first of each, in ms: {}", first.join(", "));
    report.once("start until it listens", started, START);
    report.memory("before", before);
    report.memory("after the pages", server.memory()?);
    println!("making the history took {:.0} s", made.as_secs_f64());
    server.stop()
}

/// Asks for a page again and again. Gives all times, and the first.
async fn ask(client: &reqwest::Client, url: &str, requests: u32) -> Result<(Times, Duration)> {
    let mut times = Times::default();
    for _ in 0..requests.max(1) {
        let start = SystemClock.monotonic();
        let answer = client.get(url).send().await?;
        let status = answer.status();
        let bytes = answer.bytes().await.with_context(|| url.to_owned())?;
        ensure!(status.is_success() && !bytes.is_empty(), "{url} was answered {status}");
        times.0.push(SystemClock.since(start));
    }
    let first = times.0.first().copied().unwrap_or_default();
    Ok((times, first))
}

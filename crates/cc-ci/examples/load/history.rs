//! Pages over a long history: how long they take, and the memory they cost.

use anyhow::{Context, Result, ensure};
use cc_ci::clock::{Clock, SystemClock};

use super::server::Server;
use super::{Times, Wanted, client, heading, scratch};

/// Pages, one after the other.
const PAGES: [(&str, &str); 6] = [
    ("overview", "/"),
    ("recipe", "/recipes/nextcloud"),
    ("badge of the recipe", "/recipes/nextcloud/badge.svg"),
    ("runs", "/runs"),
    ("queue", "/queue"),
    ("runs as JSON", "/api/v1/runs"),
];

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let (_folder, path) = scratch()?;
    let start = SystemClock.monotonic();
    let server = Server::start(&path, Some(wanted.history), false).await?;
    let made = SystemClock.since(start);
    let size = std::fs::metadata(path.join("state/cc-ci.db"))?.len() >> 20;
    heading(&format!("pages over {} runs", wanted.history));
    let client = client()?;
    let mut first = Vec::new();
    for (name, page) in PAGES {
        let mut times = Times::default();
        for number in 0..wanted.requests.max(1) {
            let start = SystemClock.monotonic();
            let answer = client.get(format!("{}{page}", server.base)).send().await?;
            let status = answer.status();
            let bytes = answer.bytes().await.with_context(|| page.to_owned())?;
            ensure!(status.is_success() && !bytes.is_empty(), "{page} was answered {status}");
            let took = SystemClock.since(start);
            if number == 0 {
                first.push(format!("{name} {:.0}", took.as_secs_f64() * 1e3));
            }
            times.0.push(took);
        }
        println!("{name:<34} {}", times.row());
    }
    println!("the very first of each, in ms: {}", first.join(", "));
    let (now, most) = server.memory()?;
    println!("memory: {now} MiB ({most} at most); database: {size} MiB, made in {:.0} s", made.as_secs_f64());
    server.stop()
}

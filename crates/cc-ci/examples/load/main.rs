//! Measures `cc-ci serve` under load: signed deliveries, a long history, many viewers of a live log.
//!
//! The server is a process of its own, started by this one, with a real SQLite file, the whole wiring of `cc-ci serve` and an
//! executor that executes nothing; the forge is `forge-sim`. What is right (nothing lost, nothing doubled, no gaps) is asserted;
//! how long it takes is printed, beside a floor measured on the same machine a moment before: a handler that verifies
//! the signature and keeps nothing.
//!
//! The rule to know: requests leave by a schedule, and an acknowledgement is timed from when its request was due, not from when
//! it could be sent; else a server that stalls would look fast.

mod deliveries;
mod history;
mod server;
mod viewers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What is measured, and how much of it.
#[derive(Debug, Clone)]
struct Wanted {
    /// Deliveries a second.
    rate: u32,
    /// How long they go on.
    seconds: u32,
    /// Deliveries that come all at once.
    burst: u32,
    /// Runs of history.
    history: usize,
    /// Requests for each page.
    requests: u32,
    /// Viewers of one live log.
    viewers: u32,
    /// Lines that are written for them, twenty a second.
    lines: u32,
}

const HELP: &str =
    "usage: load [--quick] [--rate N] [--seconds N] [--burst N] [--history N] [--requests N] [--viewers N] [--lines N]
  defaults: 200 a second for 60 seconds, a burst of 2000, 100000 runs, 300 requests a page, 200 viewers, 300 lines
  --quick: 5 seconds, 2000 runs, 100 requests, 60 lines";

#[tokio::main]
async fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == server::MODE) {
        args.remove(0);
        return server::run(&args).await;
    }
    let wanted = wanted(&args)?;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let more = rustix::process::Rlimit { current: files.maximum, maximum: files.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, more).context("more open files are needed")?;
    println!(
        "{}",
        if cfg!(debug_assertions) {
            "a debug build: a release build is several times faster"
        } else {
            "a release build"
        }
    );
    deliveries::measure(&wanted).await?;
    history::measure(&wanted).await?;
    viewers::measure(&wanted).await
}

fn wanted(args: &[String]) -> Result<Wanted> {
    let mut wanted =
        Wanted { rate: 200, seconds: 60, burst: 2000, history: 100_000, requests: 300, viewers: 200, lines: 300 };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--quick" {
            wanted = Wanted { seconds: 5, history: 2000, requests: 100, lines: 60, ..wanted };
            continue;
        }
        if matches!(arg.as_str(), "-h" | "--help") {
            println!("{HELP}");
            std::process::exit(0);
        }
        let number: u32 = args
            .next()
            .and_then(|text| text.parse().ok())
            .with_context(|| format!("{arg}: a number is missing\n{HELP}"))?;
        match arg.as_str() {
            "--rate" => wanted.rate = number.max(1),
            "--seconds" => wanted.seconds = number,
            "--burst" => wanted.burst = number,
            "--history" => wanted.history = usize::try_from(number)?,
            "--requests" => wanted.requests = number,
            "--viewers" => wanted.viewers = number,
            "--lines" => wanted.lines = number,
            other => bail!("there is no {other}\n{HELP}"),
        }
    }
    Ok(wanted)
}

/// Times of many requests.
#[derive(Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    /// The time that `share` of all requests did not exceed.
    fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        // Rounded up: of a hundred, the 99th.
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    fn row(&self) -> String {
        let ms = |share| format!("{:>9.1}", self.quantile(share).as_secs_f64() * 1e3);
        format!("{:>8} {} {} {}", self.0.len(), ms(0.5), ms(0.99), ms(1.0))
    }
}

fn heading(title: &str) {
    println!("\n{title:<34} {:>8} {:>9} {:>9} {:>9}", "count", "p50 ms", "p99 ms", "max ms");
}

/// A client that keeps its connections and asks no proxy.
fn client() -> Result<reqwest::Client> {
    Ok(cc_ci::http::builder().no_proxy().timeout(Duration::from_secs(60)).build()?)
}

fn scratch() -> Result<(tempfile::TempDir, PathBuf)> {
    // Not below /tmp where that is memory: flushing to it would cost nothing.
    let folder =
        tempfile::Builder::new().prefix("cc-ci-load-").tempdir_in("/var/tmp").or_else(|_| tempfile::tempdir())?;
    let path = folder.path().to_owned();
    Ok((folder, path))
}

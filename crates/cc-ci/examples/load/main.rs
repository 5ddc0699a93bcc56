//! Measures `cc-ci serve` under load: signed deliveries, junk and idle sockets, a long history, many viewers of a live log.
//!
//! The server is a process of its own, started by this one, with a real SQLite file, the whole wiring of `cc-ci serve` and an
//! executor that executes nothing; the forge is `forge-sim`. What is right (nothing lost, nothing doubled, no gaps) is asserted;
//! how long it takes is printed, beside a goal, and beside a floor measured on the same machine a moment before: a handler
//! that verifies the signature and keeps nothing, and the commit of one row. With `--strict` a missed goal is an error too.
//!
//! The rule to know: requests leave by a schedule, and an acknowledgement is timed from when its request was due, not from when
//! it could be sent; else a server that stalls would look fast.

mod deliveries;
mod floor;
mod history;
mod hostile;
mod report;
mod server;
mod viewers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use report::Report;

/// What is measured, and how much of it.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Deliveries a second.
    rate: u32,
    /// How long they go on.
    seconds: u32,
    /// Deliveries that come all at once.
    burst: u32,
    /// Sockets that are opened and say nothing, or half a request.
    idle: u32,
    /// Deliveries a second that are not signed.
    junk: u32,
    /// How long junk goes on.
    junk_seconds: u32,
    /// Runs of history.
    history: usize,
    /// Requests for each page.
    requests: u32,
    /// Viewers of one live log.
    viewers: u32,
    /// Viewers besides them that do not read.
    stalled: u32,
    /// Lines that are written for them, twenty a second.
    lines: u32,
    /// Whether a missed goal is an error.
    strict: bool,
    /// The one part that is measured; all if there is none.
    only: Option<&'static str>,
}

/// What can be measured by itself.
const PARTS: [&str; 4] = ["deliveries", "hostile", "history", "viewers"];

const USUAL: Wanted = Wanted {
    rate: 200,
    seconds: 60,
    burst: 2000,
    idle: 5000,
    junk: 1000,
    junk_seconds: 20,
    history: 100_000,
    requests: 300,
    viewers: 200,
    stalled: 40,
    lines: 300,
    strict: false,
    only: None,
};

/// For a look whether everything still works.
const QUICK: Wanted = Wanted {
    rate: 100,
    seconds: 2,
    burst: 500,
    idle: 300,
    junk: 200,
    junk_seconds: 2,
    history: 500,
    requests: 40,
    viewers: 50,
    stalled: 5,
    lines: 40,
    ..USUAL
};

const HELP: &str = "usage: load [--quick] [--strict] [--only deliveries|hostile|history|viewers] [--rate N] [--seconds N] [--burst N]
            [--idle N] [--junk N] [--junk-seconds N] [--history N] [--requests N] [--viewers N] [--stalled N] [--lines N]
  defaults: 200 a second for 60 seconds, a burst of 2000; 5000 idle sockets with 1000 junk a second for 20 seconds;
            100000 runs, 300 requests a page; 200 viewers and 40 that do not read, 300 lines
  --quick:  everything in some seconds, much smaller; figures of it mean little
  --strict: a missed goal is an error";

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
    let build = if cfg!(debug_assertions) {
        "a debug build: a release build is several times faster"
    } else {
        "a release build"
    };
    println!("{build}");
    let report = Report::default();
    let part = |name: &str| wanted.only.is_none_or(|only| only == name);
    if part("deliveries") {
        deliveries::measure(&wanted, &report).await?;
    }
    if part("hostile") {
        hostile::measure(&wanted, &report).await?;
    }
    if part("history") {
        history::measure(&wanted, &report).await?;
    }
    if part("viewers") {
        viewers::measure(&wanted, &report).await?;
    }
    let missed = report.missed();
    println!("\ngoals missed: {missed}");
    ensure!(!wanted.strict || missed == 0, "{missed} goals were missed; see above");
    Ok(())
}

fn wanted(args: &[String]) -> Result<Wanted> {
    let mut wanted = if args.iter().any(|arg| arg == "--quick") { QUICK } else { USUAL };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => continue,
            "--strict" => {
                wanted.strict = true;
                continue;
            }
            "-h" | "--help" => {
                println!("{HELP}");
                std::process::exit(0);
            }
            _ => {}
        }
        let value = args.next().with_context(|| format!("{arg}: its value is missing\n{HELP}"))?;
        if arg == "--only" {
            let part = PARTS.into_iter().find(|part| part == value);
            wanted.only = Some(part.with_context(|| format!("{value}: no such part\n{HELP}"))?);
            continue;
        }
        let number: u32 = value.parse().with_context(|| format!("{arg} {value}: not a number\n{HELP}"))?;
        match arg.as_str() {
            "--rate" => wanted.rate = number.max(1),
            "--seconds" => wanted.seconds = number,
            "--burst" => wanted.burst = number,
            "--idle" => wanted.idle = number,
            "--junk" => wanted.junk = number,
            "--junk-seconds" => wanted.junk_seconds = number,
            "--history" => wanted.history = usize::try_from(number)?,
            "--requests" => wanted.requests = number,
            "--viewers" => wanted.viewers = number,
            "--stalled" => wanted.stalled = number,
            "--lines" => wanted.lines = number,
            other => bail!("there is no {other}\n{HELP}"),
        }
    }
    Ok(wanted)
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

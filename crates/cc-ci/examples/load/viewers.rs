//! Many viewers of one live log while lines are written: each must get every line once and in order, and soon.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cc_ci::clock::{Clock, SystemClock};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::server::Server;
use super::{Times, Wanted, client, heading, scratch};

/// Between two lines.
const APART: Duration = Duration::from_millis(50);

/// How much longer than the writing the last line may take before a viewer is told to have missed it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ours among the lines of the log.
const MARK: &str = "load-line ";

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let (_folder, path) = scratch()?;
    let server = Server::start(&path, Some(0), true).await?;
    ensure!(server.log.is_file(), "the made-up run has no log at {}", server.log.display());
    let url = format!("{}/runs/{}/events", server.base, server.running);
    let client = client()?;
    let count = wanted.lines;
    let limit = APART * count + PATIENCE;
    let together = Arc::new(Barrier::new(usize::try_from(wanted.viewers)? + 1));
    let mut watching: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    let epoch = SystemClock.monotonic();
    for viewer in 0..wanted.viewers {
        let (client, url, together) = (client.clone(), url.clone(), together.clone());
        watching.spawn(async move {
            let answer = client.get(&url).timeout(limit + PATIENCE).send().await?.error_for_status()?;
            together.wait().await;
            let times = tokio::time::timeout(limit, watch(answer, count, epoch)).await;
            times.with_context(|| format!("viewer {viewer} missed lines"))?.with_context(|| format!("viewer {viewer}"))
        });
    }
    tokio::time::timeout(PATIENCE, together.wait()).await.context("not all viewers were let in")?;
    let mut log = std::fs::File::options().append(true).open(&server.log)?;
    let mut ticks = tokio::time::interval(APART);
    for number in 0..count {
        ticks.tick().await;
        writeln!(log, "{MARK}{number} {}", SystemClock.since(epoch).as_micros())?;
    }
    let mut times = Times::default();
    while let Some(done) = watching.join_next().await {
        times.0.extend(done??);
    }
    heading("line written to line seen");
    println!("{:<34} {}", format!("{} viewers, {count} lines", wanted.viewers), times.row());
    let (now, most) = server.memory()?;
    println!("memory: {now} MiB ({most} at most); every viewer got every line once, in order");
    server.stop()
}

/// Reads one viewer's stream until the last line, and gives how late each was.
async fn watch(answer: reqwest::Response, count: u32, epoch: std::time::Instant) -> Result<Vec<Duration>> {
    let mut stream = answer.bytes_stream();
    let (mut rest, mut times, mut next) = (Vec::new(), Vec::new(), 0);
    while next < count {
        let chunk = stream.next().await.context("the stream ended early")??;
        let now = SystemClock.since(epoch);
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let Some((number, written)) = ours(&String::from_utf8_lossy(&line)) else { continue };
            ensure!(number == next, "got line {number} instead of {next}");
            next += 1;
            times.push(now.saturating_sub(written));
        }
    }
    Ok(times)
}

/// Number of one of our lines, and when it was written.
fn ours(line: &str) -> Option<(u32, Duration)> {
    let data: Value = serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()?;
    let text = data.get("text")?.as_str()?;
    let (number, micros) = text[text.find(MARK)? + MARK.len()..].split_once(' ')?;
    Some((number.parse().ok()?, Duration::from_micros(micros.trim().parse().ok()?)))
}

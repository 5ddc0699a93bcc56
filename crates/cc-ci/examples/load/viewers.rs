//! Many viewers of one live log while lines are written: each must get every line once and in order, and soon.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cc_ci::clock::{Clock, SystemClock};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::report::{Report, Times};
use super::server::Server;
use super::{Wanted, client, scratch};

/// Between two lines.
const APART: Duration = Duration::from_millis(50);

/// How much longer than the writing the last line may take before a viewer is told to have missed it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ours among the lines of the log.
const MARK: &str = "load-line ";

/// What makes lines long enough for viewers that do not read to be stuck, in characters.
const LENGTH: usize = 1000;

/// Goal from a line's writing to its being seen, in milliseconds.
const GOAL: f64 = 1000.0;

pub(crate) async fn measure(wanted: &Wanted, report: &Report) -> Result<()> {
    let (_folder, path) = scratch()?;
    let server = Server::start(&path, Some(0), true).await?;
    ensure!(server.log.is_file(), "the made-up run has no log at {}", server.log.display());
    report.heading("line written to line seen");
    let before = server.memory()?;
    let one = round(&server, &Wanted { viewers: 1, lines: wanted.lines.min(60), ..*wanted }, 0, None).await?;
    report.floor("floor: one viewer", &one.times);
    let lines = wanted.lines.min(60);
    let alone = round(&server, wanted, lines, Some(&one.last)).await?;
    report.times(&format!("{} viewers", wanted.viewers), &alone.times, GOAL);
    let after = server.memory()?;
    let mut stalled = Vec::new();
    for _ in 0..wanted.stalled {
        stalled.push(stall(&server).await?);
    }
    let among = round(&server, wanted, lines + wanted.lines, Some(&alone.last)).await?;
    report.times(&format!("{} viewers, {} more do not read", wanted.viewers, stalled.len()), &among.times, GOAL);
    println!(
        "p99 over one viewer: {:.2}; with stalled ones over without: {:.2}",
        alone.times.p99() / one.times.p99().max(1e-3),
        among.times.p99() / alone.times.p99().max(1e-3)
    );
    report.memory("before", before);
    report.memory("after the viewers", after);
    report.memory("with stalled ones", server.memory()?);
    println!("every viewer got every line once, in order, and went on where the one before had ended");
    server.stop()
}

/// What came of one round.
struct Seen {
    times: Times,
    /// The last id that a viewer was given.
    last: String,
}

/// Viewers from the id `after` on, for whom lines are written that are numbered from `first`.
async fn round(server: &Server, wanted: &Wanted, first: u32, after: Option<&str>) -> Result<Seen> {
    let query = after.map(|id| format!("?after={id}")).unwrap_or_default();
    let url = format!("{}/runs/{}/events{query}", server.base, server.running);
    let client = client()?;
    let (count, end) = (wanted.lines, first + wanted.lines);
    let limit = APART * count + PATIENCE;
    let together = Arc::new(Barrier::new(usize::try_from(wanted.viewers)? + 1));
    let mut watching: JoinSet<Result<(Vec<Duration>, String)>> = JoinSet::new();
    let epoch = SystemClock.monotonic();
    for viewer in 0..wanted.viewers {
        let (client, url, together) = (client.clone(), url.clone(), together.clone());
        watching.spawn(async move {
            let answer = client.get(&url).timeout(limit + PATIENCE).send().await?.error_for_status()?;
            together.wait().await;
            let seen = tokio::time::timeout(limit, watch(answer, first..end, epoch)).await;
            seen.with_context(|| format!("viewer {viewer} missed lines"))?.with_context(|| format!("viewer {viewer}"))
        });
    }
    tokio::time::timeout(PATIENCE, together.wait()).await.context("not all viewers were let in")?;
    let mut log = std::fs::File::options().append(true).open(&server.log)?;
    let mut ticks = tokio::time::interval(APART);
    let long = "x".repeat(LENGTH);
    for number in first..end {
        ticks.tick().await;
        writeln!(log, "{MARK}{number} {} {long}", SystemClock.since(epoch).as_micros())?;
    }
    let mut seen = Seen { times: Times::default(), last: String::new() };
    while let Some(done) = watching.join_next().await {
        let (times, last) = done??;
        seen.times.0.extend(times);
        seen.last = last;
    }
    Ok(seen)
}

/// A viewer that asks for everything and reads nothing. Small buffers: what is stuck is stuck in the server.
async fn stall(server: &Server) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(server.address.parse()?).await?;
    stream.write_all(format!("GET /runs/{}/events HTTP/1.1\r\nHost: x\r\n\r\n", server.running).as_bytes()).await?;
    Ok(stream)
}

/// Reads one viewer's stream until the last of these lines. Gives how late each was, and the last id.
async fn watch(
    answer: reqwest::Response,
    lines: Range<u32>,
    epoch: std::time::Instant,
) -> Result<(Vec<Duration>, String)> {
    let mut stream = answer.bytes_stream();
    let (mut rest, mut times, mut next) = (Vec::new(), Vec::new(), lines.start);
    let mut id = String::new();
    loop {
        let chunk = stream.next().await.context("the stream ended early")??;
        let now = SystemClock.since(epoch);
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(new) = line.strip_prefix("id:") {
                new.trim().clone_into(&mut id);
            }
            if let Some((number, written)) = ours(&line) {
                ensure!(number == next, "got line {number} instead of {next}");
                next += 1;
                times.push(now.saturating_sub(written));
            }
            if next >= lines.end {
                // An event's id stands before its data.
                return Ok((times, id));
            }
        }
    }
}

/// Number of one of our lines, and when it was written.
fn ours(line: &str) -> Option<(u32, Duration)> {
    let data: Value = serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()?;
    let text = data.get("text")?.as_str()?;
    let (number, micros) = text[text.find(MARK)? + MARK.len()..].split_once(' ')?;
    let micros = micros.split(' ').next()?;
    Some((number.parse().ok()?, Duration::from_micros(micros.trim().parse().ok()?)))
}

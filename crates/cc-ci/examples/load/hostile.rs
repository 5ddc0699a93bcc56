//! Sockets that sit there and junk that nobody signed: what becomes of genuine deliveries meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cc_ci::bridge::intake;
use cc_ci::clock::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::deliveries::{all_there, ids, make, send};
use super::report::Report;
use super::server::Server;
use super::{Wanted, client, scratch};

/// Genuine deliveries a second.
const GENUINE: u32 = 50;

/// Goal for their acknowledgement, in milliseconds.
const GOAL: f64 = 500.0;

/// What idle sockets say: nothing, half a head, a head and half a body.
const SAYINGS: [&str; 3] = [
    "",
    "POST /hooks/gitea HTTP/1.1\r\nHost: x\r\nX-Gitea-Signature: 00",
    "POST /hooks/gitea HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{\"action\":",
];

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    refused: AtomicU64,
    junk: AtomicU64,
}

pub(crate) async fn measure(wanted: &Wanted, report: &Report) -> Result<()> {
    let (_folder, path) = scratch()?;
    let server = Server::start(&path, None, false).await?;
    let count = GENUINE * wanted.junk_seconds;
    let genuine = make(0, count)?;
    report.heading("deliveries among idle sockets and junk");
    let alone = send(&server.base, &genuine, Some(GENUINE)).await?;
    report.floor(&format!("floor: {GENUINE} a second, alone"), &alone);

    let genuine = make(i64::from(count), count)?;
    let counts = Arc::new(Counts::default());
    let mut idle = JoinSet::new();
    for (number, saying) in (0..wanted.idle).zip(SAYINGS.iter().cycle()) {
        idle.spawn(sit(server.address.clone(), saying, counts.clone()));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while counts.opened.load(Ordering::Relaxed) < u64::from(wanted.idle) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let body = genuine.first().map(|signed| signed.body.clone()).unwrap_or_default();
    let mut junk = JoinSet::new();
    junk.spawn(throw(server.base.clone(), body, wanted.junk, counts.clone()));
    let start = SystemClock.monotonic();
    let times = send(&server.base, &genuine, Some(GENUINE)).await?;
    let took = SystemClock.since(start).as_secs_f64();
    if let Some(ended) = junk.try_join_next() {
        ended??;
    }
    junk.shutdown().await;
    report.times(&format!("{} idle sockets, {} junk a second", wanted.idle, wanted.junk), &times, GOAL);
    let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} junk refused in {took:.0} s ({} asked); idle sockets were opened {} times, {} times in vain",
        number(&counts.junk),
        f64::from(wanted.junk) * took,
        number(&counts.opened),
        number(&counts.refused)
    );
    println!("p99 over the same without them: {:.1}", times.p99() / alone.p99().max(1e-3));
    report.memory("after idle sockets and junk", server.memory()?);
    idle.shutdown().await;
    server.stop()?;
    all_there(&path, &ids(0, 2 * count).collect()).await
}

/// Opens a socket, says something, waits until it is closed, and a second later begins again.
async fn sit(address: String, saying: &'static str, counts: Arc<Counts>) {
    loop {
        let opened: std::io::Result<TcpStream> = async {
            let mut stream = TcpStream::connect(&address).await?;
            stream.write_all(saying.as_bytes()).await?;
            Ok(stream)
        }
        .await;
        match opened {
            Ok(mut stream) => {
                counts.opened.fetch_add(1, Ordering::Relaxed);
                // Whether it is closed in order or broken off does not matter.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            Err(_) => drop(counts.refused.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Sends what nobody signed, at a rate, until it is ended. Each must be refused.
async fn throw(base: String, body: bytes::Bytes, rate: u32, counts: Arc<Counts>) -> Result<()> {
    let client = client()?;
    let mut underway: JoinSet<Result<()>> = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    loop {
        ticks.tick().await;
        while let Some(done) = underway.try_join_next() {
            done??;
        }
        let request = client
            .post(format!("{base}{}", intake::PATH))
            .header("Content-Type", "application/json")
            .header("X-Gitea-Event", "issue_comment")
            .header("X-Gitea-Signature", "00".repeat(32))
            .body(body.clone());
        let counts = counts.clone();
        underway.spawn(async move {
            let status = request.send().await.context("junk got no answer")?.status();
            ensure!(status.as_u16() == 401, "junk was answered {status}");
            counts.junk.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
    }
}

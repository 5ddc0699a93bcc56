//! Signed deliveries at a steady rate and all at once: how long until they are acknowledged, and what is in the journal then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cc_ci::bridge::intake;
use cc_ci::clock::{Clock, SystemClock};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::Row;
use tokio::task::JoinSet;

use super::report::{Report, Times};
use super::server::{SECRET, Server};
use super::{Wanted, client, floor, scratch};

/// A delivery of a Gitea, of a comment that is no command.
const SAMPLE: &str = include_str!("../../tests/data/forge/issue_comment-pr-created.json");

/// Every so many deliveries one is delivered twice, as when a person presses the button.
const AGAIN: i64 = 20;

/// Signed requests, made beforehand so that making them is not measured.
pub(crate) struct Signed {
    pub(crate) body: bytes::Bytes,
    signature: String,
    delivery: String,
}

/// Where the ids of those that come all at once begin.
const BURST: i64 = 1_000_000;

/// Goals for the acknowledgement: at the steady rate and in the burst, in milliseconds. The forge waits five seconds.
const GOALS: (f64, f64) = (250.0, 4000.0);

pub(crate) async fn measure(wanted: &Wanted, report: &Report) -> Result<()> {
    let steady = make(0, wanted.rate * wanted.seconds)?;
    let burst = make(BURST, wanted.burst)?;
    report.heading("deliveries to acknowledgement");

    let floor = Server::floor()?;
    let floor_steady = send(&floor.base, &steady, Some(wanted.rate)).await?;
    let floor_burst = send(&floor.base, &burst, None).await?;
    floor.stop()?;
    let payload = steady.first().map(|signed| String::from_utf8_lossy(&signed.body).into_owned());
    let commits = floor::commits(&payload.unwrap_or_default()).await?;
    report.floor(&format!("floor: HTTP alone, {} a second", wanted.rate), &floor_steady);
    report.floor("floor: HTTP alone, all at once", &floor_burst);
    report.floor("floor: one commit after the other", &commits);

    let (_folder, path) = scratch()?;
    let server = Server::start(&path, None, false).await?;
    let before = server.memory()?;
    let times = send(&server.base, &steady, Some(wanted.rate)).await?;
    let after_steady = server.memory()?;
    report.times(&format!("cc-ci, {} a second", wanted.rate), &times, GOALS.0);
    let times_burst = send(&server.base, &burst, None).await?;
    report.times("cc-ci, all at once", &times_burst, GOALS.1);
    let after_burst = server.memory()?;
    server.stop()?;

    println!(
        "p99 over HTTP alone and one commit: {:.1} at the steady rate; over HTTP alone: {:.1} in the burst",
        times.p99() / (floor_steady.p99() + commits.p99()).max(1e-3),
        times_burst.p99() / floor_burst.p99().max(1e-3)
    );
    report.memory("before", before);
    report.memory("after the steady rate", after_steady);
    report.memory("after the burst", after_burst);
    let sent = ids(0, wanted.rate * wanted.seconds).chain(ids(BURST, wanted.burst)).collect();
    all_there(&path, &sent).await
}

/// Whether exactly these comments are in the journal, each once.
pub(crate) async fn all_there(folder: &Path, sent: &BTreeSet<i64>) -> Result<()> {
    let kept = journal(&folder.join("state/cc-ci.db")).await?;
    for id in sent {
        let count = kept.get(id).copied().unwrap_or(0);
        ensure!(count == 1, "comment {id} was acknowledged and is in the journal {count} times");
    }
    ensure!(kept.len() == sent.len(), "{} comments are in the journal, {} were delivered", kept.len(), sent.len());
    println!("journal: {} comments, each once; none lost, none doubled", kept.len());
    Ok(())
}

pub(crate) fn ids(first: i64, count: u32) -> impl Iterator<Item = i64> {
    (first + 1)..=(first + i64::from(count))
}

/// Deliveries of so many comments, some of them twice.
pub(crate) fn make(first: i64, count: u32) -> Result<Vec<Signed>> {
    let mut sample: Value = serde_json::from_str(SAMPLE)?;
    sample["comment"]["body"] = json!("Thanks, looks good to me.");
    let mut made = Vec::new();
    for id in ids(first, count) {
        sample["comment"]["id"] = json!(id);
        let body = bytes::Bytes::from(sample.to_string());
        let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?.chain_update(&body);
        let signature = hex::encode(mac.finalize().into_bytes());
        for again in 0..=usize::from(id % AGAIN == 0) {
            made.push(Signed { body: body.clone(), signature: signature.clone(), delivery: format!("{id}-{again}") });
        }
    }
    Ok(made)
}

/// Sends all of them, at a rate or at once. Each must be acknowledged.
pub(crate) async fn send(base: &str, all: &[Signed], rate: Option<u32>) -> Result<Times> {
    let client = Arc::new(client()?);
    let url = format!("{base}{}", intake::PATH);
    let start = SystemClock.monotonic() + Duration::from_millis(20);
    let apart = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
    let mut underway: JoinSet<Result<Duration>> = JoinSet::new();
    for (signed, number) in all.iter().zip(0_u32..) {
        let due: Instant = start + apart * number;
        tokio::time::sleep_until(due.into()).await;
        let request = client
            .post(&url)
            .header("Content-Type", "application/json")
            .header("X-Gitea-Event", "issue_comment")
            .header("X-Gitea-Event-Type", "pull_request_comment")
            .header("X-Gitea-Delivery", &signed.delivery)
            .header("X-Gitea-Signature", &signed.signature)
            .body(signed.body.clone());
        underway.spawn(async move {
            let status = request.send().await.context("a delivery got no answer")?.status();
            ensure!(status.as_u16() == 202, "a delivery was answered {status}");
            Ok(SystemClock.since(due))
        });
    }
    let mut times = Times::default();
    while let Some(done) = underway.join_next().await {
        times.0.push(done??);
    }
    Ok(times)
}

/// Rows of the journal by comment.
async fn journal(path: &Path) -> Result<BTreeMap<i64, i64>> {
    let store = cc_ci::store::Store::open(path).await?;
    let mut connection = store.read().await?;
    let rows = sqlx::query("SELECT comment_id, COUNT(*) AS rows FROM deliveries WHERE repo_id = 7 GROUP BY comment_id")
        .fetch_all(&mut *connection)
        .await?;
    let counted = rows.iter().map(|row| Ok((row.try_get("comment_id")?, row.try_get("rows")?))).collect();
    drop(connection);
    store.close().await;
    counted
}

//! The live log: whole, in order, and without gap or double after any break.

use std::io::Write;

use cc_ci::clock::{Clock, SystemClock};
use cc_ci::domain::{StageResult, Verdict};
use cc_ci::queue::cancel;
use cc_ci::store::leases::{self, Ending};
use cc_ci::store::runs::{self, Outcome};
use cc_ci::store::{attempts, stage_rows};
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::support::{Served, served};

/// One event as it came over the wire.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    id: String,
    kind: String,
    data: Value,
}

/// A viewer: reads events until told to stop.
struct Viewer {
    stream: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Viewer {
    async fn begin(served: &Served, last: Option<&str>) -> Self {
        let mut request = served.request(Method::GET, &format!("/runs/{}/events", served.running));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event; `None` when the server has ended the stream.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n").map(|(b, r)| (b.to_owned(), r.to_owned())) {
                self.text = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned())
                };
                let Some(data) = field("data:") else { continue };
                let data = serde_json::from_str(&data).unwrap();
                return Some(Told { id: field("id:").unwrap(), kind: field("event:").unwrap(), data });
            }
            let bytes = self.stream.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// Events up to and with the first that fits.
    async fn until(&mut self, fits: impl Fn(&Told) -> bool) -> Vec<Told> {
        let mut all = Vec::new();
        while let Some(told) = self.next().await {
            all.push(told);
            if fits(all.last().unwrap()) {
                return all;
            }
        }
        panic!("the stream ended: {all:#?}");
    }
}

fn is_line(told: &Told, text: &str) -> bool {
    told.kind == "line" && told.data["text"] == text
}

async fn append(served: &Served, text: &str) {
    let mut connection = served.store.read().await.unwrap();
    let attempt = attempts::of_run(&mut connection, served.running).await.unwrap().pop().unwrap();
    let path = served.runs_dir.join(attempt.run_id.as_str()).join("logs/upgrade.log");
    std::fs::File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

async fn finish(served: &Served) {
    let mut write = served.store.begin_immediate().await.unwrap();
    let run = runs::get(&mut write, served.running).await.unwrap().unwrap();
    let token = run.lease.unwrap().token;
    let ending =
        Ending { outcome: Outcome::Judged, verdict: Verdict::Green, level: Some(5), why: String::new(), flaky: false };
    assert!(leases::end(&mut write, served.running, Some(&token), &ending, SystemClock.now()).await.unwrap());
    write.commit().await.unwrap();
}

#[tokio::test]
async fn a_viewer_who_was_gone_misses_nothing_and_sees_nothing_twice() {
    let served = served().await;
    let mut first = Viewer::begin(&served, None).await;
    let mut seen = first.until(|told| is_line(told, "08:12:31.870  3 services, 2 to go")).await;
    drop(first);
    // While nobody looks: whole lines, and half of one.
    append(&served, "one\ntwo\nthr").await;
    for (round, more) in ["ee\nfour\n", "five\n", "six\n\u{1b}[31mseven\n"].into_iter().enumerate() {
        let mut viewer = Viewer::begin(&served, Some(&seen.last().unwrap().id)).await;
        append(&served, more).await;
        let last = ["four", "five", "seven"][round];
        seen.extend(viewer.until(|told| is_line(told, last)).await);
    }
    let mut write = served.store.begin_immediate().await.unwrap();
    let token = runs::get(&mut write, served.running).await.unwrap().unwrap().lease.unwrap().token;
    let stage = StageResult::not_run(cc_ci::domain::Stage::Upgrade, "x");
    stage_rows::insert(&mut write, served.running, &token, &stage, SystemClock.now()).await.unwrap();
    write.commit().await.unwrap();
    let mut viewer = Viewer::begin(&served, Some(&seen.last().unwrap().id)).await;
    append(&served, "no line end").await;
    finish(&served).await;
    seen.extend(viewer.until(|told| told.kind == "end").await);
    assert_eq!(viewer.next().await, None, "the server ends the stream of a run that is over");

    let lines = |stage: &str| -> Vec<String> {
        let of_stage = seen.iter().filter(|told| told.kind == "line" && told.data["stage"] == stage);
        of_stage.map(|told| told.data["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lines("install").len(), 42);
    let want = ["one", "two", "three", "four", "five", "six", "seven", "no line end"];
    assert_eq!(lines("upgrade")[2..], want);
    let stages: Vec<&str> =
        seen.iter().filter(|t| t.kind == "stage").map(|t| t.data["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["install", "upgrade"]);
    assert_eq!(seen.iter().filter(|told| told.kind == "told").count(), 1);
}

#[tokio::test]
async fn the_page_and_the_stream_join_without_a_gap() {
    let served = served().await;
    let page = served.get(&format!("/runs/{}", served.running)).await.text;
    let cursor = page.split("data-after=\"").nth(1).unwrap().split('"').next().unwrap();
    append(&served, "after the page\n").await;
    let mut viewer = Viewer::begin(&served, Some(cursor)).await;
    let told = viewer.until(|told| is_line(told, "after the page")).await;
    assert_eq!(
        told.iter().filter(|told| matches!(told.kind.as_str(), "line" | "stage" | "told")).count(),
        1,
        "{told:#?}"
    );
}

#[tokio::test]
async fn nonsense_begins_at_the_beginning_and_other_attempts_too() {
    let served = served().await;
    for last in ["nonsense", "7.0.9.1000.1000.0.0.0"] {
        let mut viewer = Viewer::begin(&served, Some(last)).await;
        let told = viewer.until(|told| is_line(told, "08:12:31.870  3 services, 2 to go")).await;
        assert_eq!(told.iter().filter(|told| told.kind == "line").count(), 44, "{last}");
    }
}

#[tokio::test]
async fn viewers_are_bounded_and_see_a_cancel() {
    let served = served().await;
    let mut viewers = Vec::new();
    for _ in 0..8 {
        viewers.push(Viewer::begin(&served, None).await);
    }
    let answer = served.get(&format!("/runs/{}/events", served.running)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let mut write = served.store.begin_immediate().await.unwrap();
    cancel::cancel_run(&mut write, served.running, "ana", SystemClock.now()).await.unwrap();
    leases::changed(&mut write, served.running, "seed-300").await.unwrap();
    write.commit().await.unwrap();
    append(&served, "stopping\n").await;
    for viewer in &mut viewers {
        viewer.until(|told| is_line(told, "stopping")).await;
    }
    served.state.stop.cancel();
    for mut viewer in viewers {
        while viewer.next().await.is_some() {}
    }
}

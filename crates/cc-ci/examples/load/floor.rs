//! What this machine does at best: an HTTP handler that keeps nothing, and SQLite by itself.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use cc_ci::bridge::{intake, webhook};
use cc_ci::clock::{Clock, SystemClock};
use cc_ci::redact::SecretValue;
use cc_ci::store::Store;
use cc_ci::store::deliveries::{self, Action, Arrival, NewDelivery};

use super::report::Times;
use super::scratch;
use super::server::{Ready, SECRET, ready, until_told};

/// Address of a page that is always the same.
pub(crate) const PAGE: &str = "/page";

/// About what a page of ours has, in bytes.
const PAGE_SIZE: usize = 40_000;

/// Commits that are timed.
const COMMITS: i64 = 400;

/// The process's own main: what any receiver has to do, and nothing else.
pub(crate) async fn run() -> Result<()> {
    let secrets = Arc::new(vec![SecretValue::new(SECRET)]);
    let receive = move |headers: HeaderMap, body: Bytes| {
        let secrets = secrets.clone();
        async move {
            match webhook::verify(&secrets, &headers, &body) {
                Ok(_) => StatusCode::ACCEPTED,
                Err(_) => StatusCode::UNAUTHORIZED,
            }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    ready(&Ready { address: listener.local_addr()?.to_string(), running: None, log: None })?;
    let page = Bytes::from(vec![b'x'; PAGE_SIZE]);
    let router = Router::new().route(intake::PATH, post(receive)).route(PAGE, get(async move || page));
    axum::serve(listener, router).with_graceful_shutdown(async { drop(until_told().await) }).await?;
    Ok(())
}

/// How long the commit of one delivery takes, one after the other.
pub(crate) async fn commits(payload: &str) -> Result<Times> {
    let (_folder, path) = scratch()?;
    let store = Store::open(&path.join("floor.db")).await?;
    let mut times = Times::default();
    for comment_id in 1..=COMMITS {
        let new = NewDelivery {
            repo_id: 1,
            pull: 1,
            comment_id,
            action: Action::Created,
            arrival: Arrival::Webhook,
            delivery: String::new(),
            payload: payload.to_owned(),
            received: SystemClock.now(),
        };
        let start = SystemClock.monotonic();
        let mut write = store.begin_immediate().await?;
        deliveries::append(&mut write, &new).await?;
        write.commit().await?;
        times.0.push(SystemClock.since(start));
    }
    store.close().await;
    Ok(times)
}

//! `POST /hooks/gitea`: the door for the forge's deliveries.
//!
//! The order is the whole point: verify over the raw bytes, put into the journal on the disk, then answer 202. The forge
//! waits five seconds, asks once and never again; whatever is refused here is found later by the poll. Nothing is decided
//! here, and nothing in an answer depends on what a delivery says.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

use super::context::Bridge;
use super::webhook::{self, CommentEvent, Delivery, MAX_BODY};
use crate::store::StoreError;
use crate::store::deliveries::{Appended, Arrival, NewDelivery};

/// Where deliveries come in.
pub const PATH: &str = "/hooks/gitea";

/// How long a body may take to arrive: the forge gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(4);

type Answer = (StatusCode, &'static str);

const ACCEPTED: Answer = (StatusCode::ACCEPTED, "accepted\n");

/// The route, to be merged into the server's.
pub fn router(bridge: Bridge) -> Router {
    Router::new().route(PATH, post(receive)).with_state(bridge)
}

async fn receive(State(bridge): State<Bridge>, headers: HeaderMap, body: Body) -> Answer {
    let bytes = match tokio::time::timeout(PATIENCE, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        // Either too long or broken off; who sends which needs no telling.
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "the delivery is too long\n"),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the delivery did not arrive in time\n"),
    };
    let verified = match webhook::verify(&bridge.config.forge.webhook_secrets, &headers, &bytes) {
        Ok(verified) => verified,
        Err(why) => {
            tracing::warn!("a delivery was turned away: {why}");
            return (StatusCode::UNAUTHORIZED, "not signed as agreed\n");
        }
    };
    let event = match webhook::parse(&verified.event_type, &verified.payload) {
        Ok(Delivery::Comment(event)) => event,
        Ok(Delivery::Pull(event)) => {
            bridge.signals.pulls.wake(event.repo_id);
            return ACCEPTED;
        }
        Ok(Delivery::Push(_) | Delivery::Ignored { .. }) => return ACCEPTED,
        Err(why) => {
            // Sending it again would not make it better, so it is not refused; the poll reads the comment itself.
            tracing::warn!("{why}");
            bridge.signals.poll.wake();
            return ACCEPTED;
        }
    };
    keep(&bridge, &event, verified).await
}

async fn keep(bridge: &Bridge, event: &CommentEvent, verified: webhook::Verified) -> Answer {
    const NO_ROOM: Answer = (StatusCode::SERVICE_UNAVAILABLE, "cannot be kept now; the comment will be found later\n");
    if !has_space(bridge) {
        tracing::warn!("deliveries are refused: less than runs.disk_floor_mb is free");
        return NO_ROOM;
    }
    let Ok(payload) = String::from_utf8(verified.payload) else { return ACCEPTED };
    let new = NewDelivery {
        repo_id: event.repo_id,
        pull: event.number,
        comment_id: event.comment_id,
        action: event.action,
        arrival: Arrival::Webhook,
        delivery: verified.delivery.chars().take(100).collect(),
        payload,
        received: bridge.clock.now(),
    };
    match bridge.journal.append(new).await {
        Ok(Appended::New(_) | Appended::Signed(_)) => {
            bridge.signals.deliveries.wake();
            bridge.news.tell();
            ACCEPTED
        }
        Ok(Appended::Known(_)) => ACCEPTED,
        Err(StoreError::Overloaded) => NO_ROOM,
        Err(error) => {
            tracing::warn!("a delivery could not be kept: {error}");
            NO_ROOM
        }
    }
}

/// Whether the disk has room beyond what is kept for teardown and the journal itself.
pub fn has_space(bridge: &Bridge) -> bool {
    match rustix::fs::statvfs(&bridge.config.runs.dir) {
        Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize) >= bridge.config.runs.disk_floor,
        // What cannot be asked is found out by the write.
        Err(_) => true,
    }
}

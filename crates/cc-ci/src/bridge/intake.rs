//! `POST /hooks/gitea`: the door for the forge's deliveries.
//!
//! The order is the whole point: verify over the raw bytes, put into the journal on the disk, then answer 202. The forge
//! waits five seconds, asks once and never again; whatever is refused here is found later by the poll. Nothing is decided
//! here, and nothing in an answer depends on what a delivery says.
//!
//! Anybody can send something here, so what is not yet verified must cost little: a small body is simply read, a large one
//! needs one of a few places. Floods of large ones can thus keep out large deliveries only, and those are rare.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::context::Bridge;
use super::webhook::{self, CommentEvent, Delivery, MAX_BODY};
use crate::store::StoreError;
use crate::store::deliveries::{Appended, Arrival, NewDelivery};

/// Where deliveries come in.
pub const PATH: &str = "/hooks/gitea";

/// How long a body may take to arrive: the forge gives up after five seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// Up to this length a body is small, in bytes. Most deliveries of a comment have 10 to 20 KB.
const SMALL: usize = 32 * 1024;

/// Bodies beyond [`SMALL`] that are held at the same time.
const LARGE_ONES: usize = 32;

/// Between two lines in the log about deliveries that were turned away.
const TOLD_EVERY: Duration = Duration::from_secs(10);

type Answer = (StatusCode, &'static str);

const ACCEPTED: Answer = (StatusCode::ACCEPTED, "accepted\n");

const TOO_LONG: Answer = (StatusCode::PAYLOAD_TOO_LARGE, "the delivery is too long\n");
const TOO_LATE: Answer = (StatusCode::REQUEST_TIMEOUT, "the delivery did not arrive in time\n");
const BROKEN_OFF: Answer = (StatusCode::BAD_REQUEST, "the delivery broke off\n");

#[derive(Debug, Clone)]
struct Door {
    bridge: Bridge,
    large: Arc<Semaphore>,
    refused: Arc<Mutex<Refused>>,
}

/// The route, to be merged into the server's.
pub fn router(bridge: Bridge) -> Router {
    let door = Door { bridge, large: Arc::new(Semaphore::new(LARGE_ONES)), refused: Arc::default() };
    Router::new().route(PATH, post(receive)).with_state(door)
}

async fn receive(State(door): State<Door>, headers: HeaderMap, body: Body) -> Answer {
    let (bytes, _place) = match tokio::time::timeout(PATIENCE, whole(body, &door.large)).await {
        Ok(Ok(read)) => read,
        Ok(Err(answer)) => return answer,
        Err(_) => return TOO_LATE,
    };
    let bridge = &door.bridge;
    let verified = match webhook::verify(&bridge.config.forge.webhook_secrets, &headers, &bytes) {
        Ok(verified) => verified,
        Err(why) => {
            let mut refused = door.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(untold) = refused.count(bridge.clock.monotonic()) {
                tracing::warn!("a delivery was turned away: {why} ({untold} more since this was last told)");
            }
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
    keep(bridge, &event, verified).await
}

/// All of a body, and its place if it is a large one.
async fn whole(mut body: Body, large: &Semaphore) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Answer> {
    let (mut bytes, mut place) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BROKEN_OFF)?.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(TOO_LONG);
        }
        if bytes.len() + data.len() > SMALL && place.is_none() {
            // Waits as long as a body may take; the semaphore is never closed.
            place = Some(large.acquire().await.map_err(|_| TOO_LATE)?);
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.into(), place))
}

/// Deliveries that were turned away, so that whoever sends thousands does not fill the log.
#[derive(Debug, Default)]
struct Refused {
    told: Option<Instant>,
    untold: u64,
}

impl Refused {
    /// Counts one. Gives how many were not told before it, if it is time to tell.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
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

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, stream};

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn body(pieces: &[usize]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|len| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; *len]))).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn only_large_bodies_wait_for_a_place() {
        let large = Semaphore::new(1);
        let (bytes, place) = whole(body(&[SMALL - 1, 2]), &large).await.unwrap();
        assert!(bytes.len() == SMALL + 1 && place.is_some());
        // All places are taken: a small one does not mind, another large one waits.
        let (bytes, none) = whole(body(&[1; 50]), &large).await.unwrap();
        assert!(bytes.len() == 50 && none.is_none());
        let waiting = whole(body(&[MAX_BODY]), &large);
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(place);
        assert_eq!(waiting.await.unwrap().0.len(), MAX_BODY);
        assert_eq!(whole(body(&[MAX_BODY, 1]), &large).await.unwrap_err(), TOO_LONG);
        assert_eq!(large.available_permits(), 1);
        let broken = stream::iter([Ok(Bytes::from("x")), Err(std::io::Error::other("gone"))]);
        assert_eq!(whole(Body::from_stream(broken), &large).await.unwrap_err(), BROKEN_OFF);
    }

    #[test]
    fn a_flood_is_told_of_now_and_then() {
        let (mut refused, start) = (Refused::default(), SystemClock.monotonic());
        let told: Vec<_> = [0, 1, 9, 10, 11, 25].map(|s| refused.count(start + Duration::from_secs(s))).into();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}

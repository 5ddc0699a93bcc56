//! What can be looked up afterwards: the requests that came and the deliveries that went.

use serde::Serialize;

use crate::world::{Delivery, Logged, time_text};

/// One request the simulator got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestLog {
    /// RFC 3339.
    pub at: String,
    /// In capitals.
    pub method: String,
    /// As sent, without the query.
    pub path: String,
    /// As sent, without `?`.
    pub query: String,
    /// Login of the acting user, `None` when anonymous or refused.
    pub actor: Option<String>,
    /// The body as text, up to 64 KiB.
    pub body: String,
    /// The status the handler answered, `None` if it was never asked or has not answered.
    pub status: Option<u16>,
    /// The fault that hit it.
    pub fault: Option<String>,
}

impl From<&Logged> for RequestLog {
    fn from(it: &Logged) -> Self {
        Self {
            at: time_text(it.at),
            method: it.method.clone(),
            path: it.path.clone(),
            query: it.query.clone(),
            actor: it.actor.clone(),
            body: it.body.clone(),
            status: it.status,
            fault: it.fault.clone(),
        }
    }
}

/// One webhook delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryLog {
    /// The task's id, also in the headers.
    pub uuid: String,
    /// The hook's number.
    pub hook: i64,
    /// Where it went.
    pub url: String,
    /// `X-Gitea-Event`.
    pub event: String,
    /// `X-Gitea-Event-Type`.
    pub event_type: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    /// The JSON that was signed.
    pub payload: String,
    /// RFC 3339.
    pub queued: String,
    /// How often the bytes were sent.
    pub sent: u32,
    /// Status of the receiver's answer.
    pub status: Option<u16>,
    /// The receiver's answer.
    pub response: String,
    /// Why there was none.
    pub error: Option<String>,
    /// The fault that hit it.
    pub fault: Option<String>,
}

impl From<&Delivery> for DeliveryLog {
    fn from(it: &Delivery) -> Self {
        let result = it.result.as_ref();
        Self {
            uuid: it.uuid.clone(),
            hook: it.hook,
            url: it.url.clone(),
            event: it.event.clone(),
            event_type: it.event_type.clone(),
            headers: it.headers.clone(),
            payload: it.payload.clone(),
            queued: time_text(it.queued),
            sent: it.sent,
            status: result.and_then(|r| r.status),
            response: result.map(|r| r.response.clone()).unwrap_or_default(),
            error: result.and_then(|r| r.error.clone()),
            fault: it.fault.clone(),
        }
    }
}

//! Faults on demand: what goes wrong next, and how often.
//!
//! A fault is taken when a request or delivery matches it and is gone after `times` uses. Faults
//! are tried in the order they were added; one request takes at most one.

use serde::{Deserialize, Serialize};

/// What happens to a matching request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ApiFault {
    /// Answer this status without doing anything.
    Status {
        /// The HTTP status.
        code: u16,
        /// `Retry-After` in seconds, as a proxy in front of the forge may send it.
        #[serde(default)]
        retry_after: Option<u32>,
    },
    /// Do what was asked, then answer this status: the client cannot know that it was done.
    CommitThenStatus {
        /// The HTTP status.
        code: u16,
    },
    /// Wait, then close the connection without an answer. Nothing is done.
    Hang {
        /// How long.
        millis: u64,
    },
    /// Do what was asked, wait, then close the connection without an answer.
    CommitThenHang {
        /// How long.
        millis: u64,
    },
    /// Do what was asked after this wait and answer properly.
    Slow {
        /// How long.
        millis: u64,
    },
    /// Do what was asked and cut the answer in the middle of its body.
    Truncate,
}

/// What happens to a matching webhook delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeliveryFault {
    /// Never sent. The forge believes it was.
    Lost,
    /// Sent twice with the same id and body.
    Doubled,
    /// Sent after the next delivery that is not itself held back.
    Reordered,
    /// Sent this much later; other deliveries overtake it.
    Late {
        /// How much later.
        millis: u64,
    },
}

/// A fault with the requests or deliveries it hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "on", rename_all = "snake_case")]
pub enum Fault {
    /// On HTTP requests, whether API, git or login; never on `/_sim/`.
    Request {
        /// Only this method, in capitals.
        #[serde(default)]
        method: Option<String>,
        /// Only paths that contain this text.
        #[serde(default)]
        path: Option<String>,
        /// Only requests of this login.
        #[serde(default)]
        actor: Option<String>,
        /// Only requests whose body contains this text.
        #[serde(default)]
        body: Option<String>,
        /// Let this many matching requests through first.
        #[serde(default)]
        skip: u32,
        /// Hit this many requests.
        #[serde(default = "one")]
        times: u32,
        /// What happens.
        fault: ApiFault,
    },
    /// On webhook deliveries.
    Delivery {
        /// Only this `X-Gitea-Event-Type`.
        #[serde(default)]
        event_type: Option<String>,
        /// Hit this many deliveries.
        #[serde(default = "one")]
        times: u32,
        /// What happens.
        fault: DeliveryFault,
    },
}

fn one() -> u32 {
    1
}

impl Fault {
    /// A fault on the next `times` requests with this method (`""` = any) whose path contains `path`.
    #[must_use]
    pub fn request(method: &str, path: &str, times: u32, fault: ApiFault) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self::Request { method: some(method), path: some(path), actor: None, body: None, skip: 0, times, fault }
    }

    /// The same fault, on requests only whose body contains this text. A fault on deliveries stays as it is.
    #[must_use]
    pub fn saying(mut self, text: &str) -> Self {
        if let Self::Request { body, .. } = &mut self {
            *body = Some(text.to_owned());
        }
        self
    }

    /// A fault on the next `times` deliveries of any kind.
    #[must_use]
    pub fn delivery(times: u32, fault: DeliveryFault) -> Self {
        Self::Delivery { event_type: None, times, fault }
    }
}

/// The faults still waiting.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub waiting: Vec<Fault>,
}

impl Faults {
    /// Takes the fault for a request, if any.
    pub(crate) fn take_request(
        &mut self,
        verb: &str,
        url_path: &str,
        login: Option<&str>,
        sent: &str,
    ) -> Option<ApiFault> {
        let mut taken = None;
        for waiting in &mut self.waiting {
            let Fault::Request { method, path, actor, body, skip, times, fault } = waiting else { continue };
            let hit = method.as_deref().is_none_or(|m| m.eq_ignore_ascii_case(verb))
                && path.as_deref().is_none_or(|p| url_path.contains(p))
                && actor.as_deref().is_none_or(|a| login == Some(a))
                && body.as_deref().is_none_or(|b| sent.contains(b));
            if !hit || *times == 0 {
                continue;
            }
            if *skip > 0 {
                *skip -= 1;
                continue;
            }
            *times -= 1;
            taken = Some(fault.clone());
            break;
        }
        self.drop_used();
        taken
    }

    /// Takes the fault for a delivery, if any.
    pub(crate) fn take_delivery(&mut self, fine_name: &str) -> Option<DeliveryFault> {
        let mut taken = None;
        for waiting in &mut self.waiting {
            let Fault::Delivery { event_type, times, fault } = waiting else { continue };
            if *times > 0 && event_type.as_deref().is_none_or(|e| e == fine_name) {
                *times -= 1;
                taken = Some(fault.clone());
                break;
            }
        }
        self.drop_used();
        taken
    }

    fn drop_used(&mut self) {
        self.waiting.retain(|f| match f {
            Fault::Request { times, .. } | Fault::Delivery { times, .. } => *times > 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_used_up_and_matches_narrowly() {
        let mut faults = Faults::default();
        let fault = ApiFault::Status { code: 502, retry_after: None };
        faults.waiting.push(Fault::request("POST", "/comments", 2, fault.clone()));
        assert_eq!(faults.take_request("GET", "/api/v1/x/comments", None, ""), None);
        assert_eq!(faults.take_request("POST", "/api/v1/x/statuses", None, ""), None);
        assert_eq!(faults.take_request("POST", "/api/v1/x/comments", None, ""), Some(fault.clone()));
        assert_eq!(faults.take_request("POST", "/api/v1/x/comments", None, ""), Some(fault));
        assert_eq!(faults.take_request("POST", "/api/v1/x/comments", None, ""), None);
        assert!(faults.waiting.is_empty());
    }

    #[test]
    fn skip_counts_matches_only() {
        let text = r#"{"on":"request","path":"/a","actor":"bot","skip":1,"fault":{"kind":"truncate"}}"#;
        let mut faults = Faults { waiting: vec![serde_json::from_str(text).unwrap()] };
        assert_eq!(faults.take_request("GET", "/a", Some("alice"), ""), None);
        assert_eq!(faults.take_request("GET", "/a", Some("bot"), ""), None);
        assert_eq!(faults.take_request("GET", "/a", Some("bot"), ""), Some(ApiFault::Truncate));
    }

    #[test]
    fn a_fault_may_wait_for_what_is_said() {
        let mut faults = Faults::default();
        faults.waiting.push(Fault::request("POST", "/statuses/", 1, ApiFault::Truncate).saying("\"success\""));
        assert_eq!(faults.take_request("POST", "/statuses/x", None, r#"{"state":"pending"}"#), None);
        let taken = faults.take_request("POST", "/statuses/x", None, r#"{"state":"success"}"#);
        assert_eq!(taken, Some(ApiFault::Truncate));
    }
}

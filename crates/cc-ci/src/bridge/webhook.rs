//! A delivery of the forge: whether it is genuine, and what it says. Pure: no network, no clock.
//!
//! The signature covers the body and nothing else, so no header may decide anything that the body does not bear out: a
//! replayed body under another event's name finds the wrong shape and is refused or passed over. Nothing is looked at in
//! the body before [`verify`] has said yes. Replays are told by what they say, never by delivery ids.

use std::fmt;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;

use super::facts::{Action, Arrival, Person, Trigger};
use crate::forge::wire::{self, Lax};
use crate::redact::SecretValue;

/// Largest body that is looked at, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Shortest secret that [`check_secrets`] lets pass, in bytes.
pub const MIN_SECRET: usize = 32;

/// Secrets that may be valid at the same time: the new one and the old one.
pub const MAX_SECRETS: usize = 2;

/// Headers that carry the signature, and what stands before the hex digits. All that are there must be right.
const SIGNATURES: [(&str, &str); 4] = [
    ("x-gitea-signature", ""),
    ("x-forgejo-signature", ""),
    ("x-gogs-signature", ""),
    ("x-hub-signature-256", "sha256="),
];

/// A delivery that the forge signed with one of our secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Fine name of the event, such as `pull_request_comment`. Not signed.
    pub event_type: String,
    /// The forge's id of the delivery, for people who look for it. Not signed.
    pub delivery: String,
    /// The signed JSON.
    pub payload: Vec<u8>,
    /// Which of the secrets signed it, from 0: tells when the old one is no longer needed.
    pub secret: usize,
}

/// Why a delivery is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no secret to check with, or one of them is empty: then anybody could sign. An operator's mistake.
    #[error("the webhook secret is missing or empty; set one of at least {MIN_SECRET} random bytes")]
    NoSecret,
    /// A secret shorter than [`MIN_SECRET`], which could be guessed from one delivery.
    #[error("the webhook secret is shorter than {MIN_SECRET} bytes; set a longer, random one")]
    ShortSecret,
    /// More than [`MAX_SECRETS`].
    #[error("more than {MAX_SECRETS} webhook secrets; remove the old ones")]
    TooManySecrets,
    /// Longer than [`MAX_BODY`].
    #[error("the delivery is too long")]
    TooLong,
    /// No signature, or an empty one: the hook has no secret.
    #[error("the delivery is not signed; set the hook's secret")]
    Unsigned,
    /// A header that must be there once is there twice, or cannot be read.
    #[error("the delivery's headers contradict each other")]
    BadHeaders,
    /// Signed with another secret, or changed on the way.
    #[error("the signature does not fit; is the hook's secret the right one?")]
    WrongSignature,
    /// Neither JSON nor a form with one payload.
    #[error("the delivery is neither JSON nor a form with one payload")]
    BadContent,
}

/// Whether secrets are good enough to start with.
///
/// # Errors
/// What is wrong with them.
pub fn check_secrets(secrets: &[SecretValue]) -> Result<(), Rejected> {
    usable(secrets)?;
    if secrets.iter().any(|secret| secret.expose().len() < MIN_SECRET) {
        return Err(Rejected::ShortSecret);
    }
    Ok(())
}

/// Checks that the forge signed a delivery with one of our secrets.
///
/// # Errors
/// Why it is turned away. Whoever sent it may be told nothing of it but that.
pub fn verify(secrets: &[SecretValue], headers: &HeaderMap, raw_body: &[u8]) -> Result<Verified, Rejected> {
    usable(secrets)?;
    if raw_body.len() > MAX_BODY {
        return Err(Rejected::TooLong);
    }
    let claimed = claimed(headers)?;
    let payload = payload(headers, raw_body)?;
    let mut found = None;
    // Every secret is tried, whichever fits.
    for (index, secret) in secrets.iter().enumerate() {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .map_err(|_| Rejected::NoSecret)?
            .chain_update(&payload);
        let mut fits = true;
        for signature in &claimed {
            fits &= mac.clone().verify_slice(signature).is_ok();
        }
        if fits {
            found = Some(index);
        }
    }
    let secret = found.ok_or(Rejected::WrongSignature)?;
    let fine = first(headers, &["x-gitea-event-type", "x-forgejo-event-type", "x-gogs-event-type"])?;
    let coarse = first(headers, &["x-gitea-event", "x-forgejo-event", "x-gogs-event"])?;
    let event_type = if fine.is_empty() { coarse } else { fine };
    let delivery = first(headers, &["x-gitea-delivery", "x-forgejo-delivery", "x-gogs-delivery"])?;
    Ok(Verified { event_type, delivery, payload, secret })
}

fn usable(secrets: &[SecretValue]) -> Result<(), Rejected> {
    if secrets.is_empty() || secrets.iter().any(|secret| secret.expose().is_empty()) {
        return Err(Rejected::NoSecret);
    }
    if secrets.len() > MAX_SECRETS {
        return Err(Rejected::TooManySecrets);
    }
    Ok(())
}

/// All signatures that the headers claim; at least one.
fn claimed(headers: &HeaderMap) -> Result<Vec<[u8; 32]>, Rejected> {
    let mut claimed = Vec::new();
    for (name, prefix) in SIGNATURES {
        let Some(text) = only(headers, name)? else { continue };
        let digits = text.strip_prefix(prefix).ok_or(Rejected::WrongSignature)?;
        if digits.is_empty() {
            return Err(Rejected::Unsigned);
        }
        let mut signature = [0; 32];
        hex::decode_to_slice(digits, &mut signature).map_err(|_| Rejected::WrongSignature)?;
        claimed.push(signature);
    }
    if claimed.is_empty() { Err(Rejected::Unsigned) } else { Ok(claimed) }
}

/// The signed JSON: the body itself, or the one field of a form, of which only the decoded content is signed.
fn payload(headers: &HeaderMap, raw_body: &[u8]) -> Result<Vec<u8>, Rejected> {
    let kind = only(headers, "content-type")?.unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" => Ok(raw_body.to_vec()),
        "application/x-www-form-urlencoded" => {
            let mut fields = url::form_urlencoded::parse(raw_body);
            match (fields.next(), fields.next()) {
                (Some((key, json)), None) if key == "payload" => Ok(json.into_owned().into_bytes()),
                _ => Err(Rejected::BadContent),
            }
        }
        _ => Err(Rejected::BadContent),
    }
}

/// A header that may be there once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Rejected> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Rejected::BadHeaders),
        (Some(_), Some(_)) => Err(Rejected::BadHeaders),
    }
}

/// The first of several headers that is there.
fn first(headers: &HeaderMap, names: &[&str]) -> Result<String, Rejected> {
    for name in names {
        if let Some(value) = only(headers, name)? {
            return Ok(value.to_owned());
        }
    }
    Ok(String::new())
}

/// What a genuine delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Something happened to a comment of an issue or pull request.
    Comment(CommentEvent),
    /// Something happened to a pull request.
    Pull(PullEvent),
    /// A branch or tag was pushed to.
    Push(PushEvent),
    /// Nothing that cc-ci looks at.
    Ignored {
        /// The event's name as it came.
        event: String,
    },
}

/// Something happened to a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentEvent {
    /// What.
    pub action: Action,
    /// The repository.
    pub repo_id: i64,
    /// Its name, for texts.
    pub repo_name: String,
    /// Number of the issue or pull request.
    pub number: i64,
    /// Whether it is a pull request.
    pub is_pull: bool,
    /// The comment.
    pub comment_id: i64,
    /// Its text; after an edit the new one.
    pub body: String,
    /// Who wrote it first.
    pub author: Person,
    /// Who caused the event; on an edit the editor.
    pub sender: Person,
    /// Written.
    pub created: Timestamp,
    /// Last changed.
    pub updated: Timestamp,
    /// The pull request's head when it was written, if the server told.
    pub signed_head: Option<String>,
    /// Whether the sender may write code, as the server saw it then; only comment events say this of their sender.
    pub sender_may_push: Option<bool>,
}

impl CommentEvent {
    /// The comment as the gate takes it.
    #[must_use]
    pub fn trigger(&self, received: Timestamp) -> Trigger {
        Trigger {
            arrival: Arrival::Webhook,
            action: self.action,
            repo_id: self.repo_id,
            number: self.number,
            is_pull: self.is_pull,
            comment_id: self.comment_id,
            body: self.body.clone(),
            author: self.author.clone(),
            sender: self.sender.clone(),
            created: self.created,
            updated: self.updated,
            received,
            signed_head: self.signed_head.clone(),
        }
    }
}

/// What happened to a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullAction {
    /// Opened.
    Opened,
    /// Opened again.
    Reopened,
    /// Closed or merged.
    Closed {
        /// Merged.
        merged: bool,
    },
    /// Its head was pushed to.
    Synchronized,
    /// Title, text or target changed.
    Edited,
    /// Anything else, by the forge's word.
    Other(String),
}

/// Something happened to a pull request. Rights in such a delivery are not the sender's and are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullEvent {
    /// What.
    pub action: PullAction,
    /// The repository.
    pub repo_id: i64,
    /// Its name, for texts.
    pub repo_name: String,
    /// Number.
    pub number: i64,
    /// Its head, if the server told.
    pub head: Option<String>,
    /// Who caused it.
    pub sender: Person,
}

/// A push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEvent {
    /// The repository.
    pub repo_id: i64,
    /// Its name, for texts.
    pub repo_name: String,
    /// Full name of what was pushed to: `refs/heads/main`.
    pub reference: String,
    /// Commit before; absent for a new branch or tag.
    pub before: Option<String>,
    /// Commit after; absent if it was deleted.
    pub after: Option<String>,
    /// Who pushed.
    pub sender: Person,
}

/// A genuine delivery that does not say what its event must say.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("a delivery of the event {event:?} cannot be read: {why}")]
pub struct Unreadable {
    /// The event's name as it came.
    pub event: String,
    /// What is wrong. Quotes nothing of the body.
    pub why: String,
}

impl fmt::Debug for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unreadable({self})")
    }
}

/// Reads a delivery. Missing and empty parts are taken as the forge means them; what cannot be done without must be there.
///
/// # Errors
/// If it is an event that cc-ci looks at but says too little.
pub fn parse(event_type: &str, body: &[u8]) -> Result<Delivery, Unreadable> {
    let unreadable = |why: &str| Unreadable { event: event_type.chars().take(60).collect(), why: why.to_owned() };
    let read: fn(Body) -> Result<Delivery, &'static str> = match event_type {
        "issue_comment" | "pull_request_comment" => comment,
        "pull_request" | "pull_request_sync" => pull,
        "push" => push,
        other => return Ok(Delivery::Ignored { event: other.chars().take(60).collect() }),
    };
    let wire: Body = serde_json::from_slice(body)
        .map_err(|error| unreadable(&format!("line {}, column {}", error.line(), error.column())))?;
    read(wire).map_err(unreadable)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    action: Lax<String>,
    number: Lax<i64>,
    issue: Option<Issue>,
    pull_request: Option<wire::Pull>,
    comment: Option<wire::Comment>,
    repository: Option<wire::Repo>,
    sender: Option<wire::User>,
    is_pull: Option<bool>,
    review: Option<serde::de::IgnoredAny>,
    #[serde(rename = "ref")]
    reference: Lax<String>,
    before: Lax<String>,
    after: Lax<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Issue {
    number: Lax<i64>,
    pull_request: Option<serde::de::IgnoredAny>,
}

fn repository(repo: Option<wire::Repo>) -> Result<wire::Repo, &'static str> {
    repo.filter(|repo| repo.id.0 > 0).ok_or("no repository")
}

fn comment(body: Body) -> Result<Delivery, &'static str> {
    let Some(comment) = body.comment else {
        // Old servers give reviews the same coarse name.
        if body.review.is_some() {
            return Ok(Delivery::Ignored { event: "review".to_owned() });
        }
        return Err("no comment");
    };
    let action = match body.action.0.as_str() {
        "created" => Action::Created,
        "edited" => Action::Edited,
        "deleted" => Action::Deleted,
        _ => return Err("an unknown action"),
    };
    let repo = repository(body.repository)?;
    let issue = body.issue.ok_or("no issue")?;
    let number = issue.number.0;
    if comment.id.0 <= 0 || number <= 0 {
        return Err("no comment id or number");
    }
    let is_pull = body.is_pull.unwrap_or(issue.pull_request.is_some());
    // A head of another pull request would be pinned for this one.
    let head = body.pull_request.filter(|pull| is_pull && pull.number.0 == number).and_then(|pull| pull.head);
    Ok(Delivery::Comment(CommentEvent {
        action,
        repo_id: repo.id.0,
        repo_name: repo.full_name.0,
        number,
        is_pull,
        comment_id: comment.id.0,
        body: comment.body.0,
        created: wire::time(&comment.created_at.0, "no time of writing")?,
        updated: wire::time(&comment.updated_at.0, "no time of change")?,
        author: wire::person(comment.user),
        sender: wire::person(body.sender),
        signed_head: head.and_then(|head| wire::commit(&head.sha.0)),
        sender_may_push: repo.permissions.map(|rights| rights.push.0),
    }))
}

fn pull(body: Body) -> Result<Delivery, &'static str> {
    let repo = repository(body.repository)?;
    let (number, merged, head) = match body.pull_request {
        Some(pull) => (pull.number.0, pull.merged.0, pull.head),
        None => (0, false, None),
    };
    let number = if number > 0 { number } else { body.number.0 };
    if number <= 0 {
        return Err("no number");
    }
    let action = match body.action.0.as_str() {
        "opened" => PullAction::Opened,
        "reopened" => PullAction::Reopened,
        "closed" => PullAction::Closed { merged },
        "synchronized" => PullAction::Synchronized,
        "edited" => PullAction::Edited,
        other => PullAction::Other(other.chars().take(60).collect()),
    };
    Ok(Delivery::Pull(PullEvent {
        action,
        repo_id: repo.id.0,
        repo_name: repo.full_name.0,
        number,
        head: head.and_then(|head| wire::commit(&head.sha.0)),
        sender: wire::person(body.sender),
    }))
}

fn push(body: Body) -> Result<Delivery, &'static str> {
    let repo = repository(body.repository)?;
    if !body.reference.0.starts_with("refs/") {
        return Err("no full name of a branch or tag");
    }
    Ok(Delivery::Push(PushEvent {
        repo_id: repo.id.0,
        repo_name: repo.full_name.0,
        reference: body.reference.0,
        before: existing(&body.before.0)?,
        after: existing(&body.after.0)?,
        sender: wire::person(body.sender),
    }))
}

/// A commit; zeros are none.
fn existing(hash: &str) -> Result<Option<String>, &'static str> {
    let hash = wire::commit(hash).ok_or("no commits before and after")?;
    Ok(hash.bytes().any(|b| b != b'0').then_some(hash))
}

#[cfg(test)]
mod tests;

//! The one door to the forge: what a run means becomes a commit status, a comment, a reaction.
//!
//! Two steps, each a reconciler that can be stopped anywhere. [`refresh`] turns runs that changed into *wanted* states in
//! the outbox; [`deliver`] compares what is wanted with what the forge shows and does the one thing that is missing.
//!
//! The race to know: a forge may carry out a request and then fail to say so. So nothing is sent before looking: a status
//! is posted only if the newest one of its context differs, a comment is created only if none of ours carries its marker.
//! That holds as long as one delivery runs at a time, which is why [`deliver::deliver`] takes its state by `&mut`.
//!
//! Never decided here: whether a run passed. Never sent from here: text that a renderer has not made safe.

use jiff::SignedDuration;

use crate::results::markdown;

pub mod answers;
pub mod backoff;
pub mod compare;
pub mod deliver;
pub mod forge;
pub mod refresh;
pub mod render;
pub mod status;

pub use crate::store::outbox::{StatusState, Version, Wanted};

/// Context of the commit status.
pub const CONTEXT: &str = "cc-ci/testme";

/// For how long something wanted is tried.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Hidden first line of the one comment about a pull request.
#[must_use]
pub fn pull_marker(repo_id: i64, pull: i64) -> String {
    format!("<!-- cc-ci:pull:{repo_id}:{pull} -->")
}

/// Hidden first line of the hint that answers a comment.
#[must_use]
pub fn hint_marker(comment_id: i64) -> String {
    format!("<!-- cc-ci:hint:{comment_id} -->")
}

/// The hint that answers a comment of this person. `text` is our own Markdown, the login is not.
#[must_use]
pub fn hint(comment_id: i64, login: &str, text: &str) -> String {
    format!("{}\n{}: {text}", hint_marker(comment_id), markdown::span(login))
}

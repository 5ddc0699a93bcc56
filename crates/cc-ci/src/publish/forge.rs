//! What publishing asks of a forge client, and how a client tells what went wrong.

use std::future::Future;

use jiff::SignedDuration;

use crate::store::outbox::StatusState;

/// A repository, as calls name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Numeric id: stays the same when it is renamed.
    pub id: i64,
    /// `owner/name` as last known.
    pub name: String,
}

/// A commit status, seen or to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// State.
    pub state: StatusState,
    /// One line.
    pub description: String,
    /// Link.
    pub target_url: String,
}

/// A commit status on the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenStatus {
    /// Rises with every post for the commit; times have only whole seconds.
    pub id: i64,
    /// What it says; `None` if its state is none that we would post.
    pub status: Option<Status>,
}

/// A comment on the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenComment {
    /// Its id.
    pub id: i64,
    /// Who wrote it.
    pub author_id: i64,
    /// Its text as stored.
    pub body: String,
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, a time-out, an answer that cannot be read, 502, 503, 504. The call may have taken effect.
    Unreachable,
    /// 429, with the time that the forge asks for.
    Throttled(Option<SignedDuration>),
    /// 401: the token is wrong.
    Unauthorized,
    /// 500: this very thing fails, such as a status for a commit that the forge does not have yet. May have taken effect.
    Internal,
    /// 403: locked, blocked, or a right is missing.
    Forbidden,
    /// 404 or 410.
    NotFound,
    /// Any other refusal; the same call will be refused again.
    Rejected,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ForgeError {
    /// The kind.
    pub failure: Failure,
    /// What and where, for the operator; no token in it.
    pub message: String,
}

/// The part of a forge client that publishing needs.
///
/// No call may repeat itself on failure: that is decided here, after looking at what the forge shows.
pub trait Forge {
    /// Numeric id of the account that writes.
    fn own_id(&self) -> i64;

    /// All statuses of a commit with this context, in any order, all pages.
    fn statuses(
        &self,
        repository: &Repository,
        commit: &str,
        context: &str,
    ) -> impl Future<Output = Result<Vec<SeenStatus>, ForgeError>> + Send;

    /// All comments of a pull request, in any order.
    fn comments(
        &self,
        repository: &Repository,
        pull: i64,
    ) -> impl Future<Output = Result<Vec<SeenComment>, ForgeError>> + Send;

    /// One comment; nothing if it is gone.
    fn comment(
        &self,
        repository: &Repository,
        comment_id: i64,
    ) -> impl Future<Output = Result<Option<SeenComment>, ForgeError>> + Send;

    /// Posts a status.
    fn post_status(
        &self,
        repository: &Repository,
        commit: &str,
        context: &str,
        status: &Status,
    ) -> impl Future<Output = Result<(), ForgeError>> + Send;

    /// Creates a comment and gives its id.
    fn create_comment(
        &self,
        repository: &Repository,
        pull: i64,
        body: &str,
    ) -> impl Future<Output = Result<i64, ForgeError>> + Send;

    /// Replaces the text of a comment.
    fn edit_comment(
        &self,
        repository: &Repository,
        comment_id: i64,
        body: &str,
    ) -> impl Future<Output = Result<(), ForgeError>> + Send;

    /// Adds a reaction; succeeds if it is there already.
    fn react(
        &self,
        repository: &Repository,
        comment_id: i64,
        content: &str,
    ) -> impl Future<Output = Result<(), ForgeError>> + Send;
}

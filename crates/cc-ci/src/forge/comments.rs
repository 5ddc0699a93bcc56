//! Comments, reactions and the timeline. Issues and pull requests share numbers and these calls.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::model::{Comment, Reacted, RepoId, TimelineEntry};
use super::transport::{Answer, Call};
use super::{Client, Error, ErrorKind, wire};

impl Client {
    /// All comments of an issue or pull request, oldest first.
    ///
    /// # Errors
    /// A plain 500 for an unknown number; else see [`Error`].
    pub async fn comments(&self, repo: RepoId, number: i64) -> Result<Vec<Comment>, Error> {
        // The one list that is not paged.
        let call = Call::get(&["issues", &number.to_string(), "comments"]);
        self.in_repo(repo, call).await?.list::<wire::Comment>()
    }

    /// All comments of a repository that were written or changed at this time or later.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn comments_since(&self, repo: RepoId, since: Timestamp) -> Result<Vec<Comment>, Error> {
        let call = Call::get(&["issues", "comments"]).query("since", since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        self.list_in_repo::<wire::Comment, _>(repo, call, |comment| comment.id).await
    }

    /// A comment.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] also if it is another repository's, or no comment; else see [`Error`].
    pub async fn comment(&self, repo: RepoId, comment: i64) -> Result<Comment, Error> {
        let call = Call::get(&["issues", "comments", &comment.to_string()]);
        there(self.in_repo(repo, call.clone()).await?, &call)?.read::<wire::Comment>()
    }

    /// Writes a comment.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] if the account is blocked or the conversation locked; a plain 500 for an unknown number;
    /// else see [`Error`].
    pub async fn create_comment(&self, repo: RepoId, number: i64, body: &str) -> Result<Comment, Error> {
        let call = Call::new(Method::POST, &["issues", &number.to_string(), "comments"]).body(json!({ "body": body }));
        self.in_repo(repo, call).await?.read::<wire::Comment>()
    }

    /// Replaces a comment's text.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] if it is somebody else's and this account may not write; else see [`Error`].
    pub async fn edit_comment(&self, repo: RepoId, comment: i64, body: &str) -> Result<Comment, Error> {
        let path = ["issues", "comments", &comment.to_string()];
        let call = Call::new(Method::PATCH, &path).body(json!({ "body": body }));
        there(self.in_repo(repo, call.clone()).await?, &call)?.read::<wire::Comment>()
    }

    /// Deletes a comment.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_comment(&self, repo: RepoId, comment: i64) -> Result<(), Error> {
        let call = Call::new(Method::DELETE, &["issues", "comments", &comment.to_string()]);
        self.in_repo(repo, call).await.map(drop)
    }

    /// All reactions to a comment.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn reactions(&self, repo: RepoId, comment: i64) -> Result<Vec<Reacted>, Error> {
        let call = Call::get(&["issues", "comments", &comment.to_string(), "reactions"]);
        self.list_in_repo::<wire::Reaction, _>(repo, call, |r| (r.person.id, r.content.clone())).await
    }

    /// Reacts to a comment. Well if the reaction is there already.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] also for a reaction that the forge does not have; else see [`Error`].
    pub async fn react(&self, repo: RepoId, comment: i64, content: &str) -> Result<(), Error> {
        self.reaction(Method::POST, repo, comment, content).await
    }

    /// Takes a reaction back. Well if there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unreact(&self, repo: RepoId, comment: i64, content: &str) -> Result<(), Error> {
        self.reaction(Method::DELETE, repo, comment, content).await
    }

    async fn reaction(&self, method: Method, repo: RepoId, comment: i64, content: &str) -> Result<(), Error> {
        let path = ["issues", "comments", &comment.to_string(), "reactions"];
        self.in_repo(repo, Call::new(method, &path).body(json!({ "content": content }))).await.map(drop)
    }

    /// All that happened in a conversation and that this account may see, oldest first. The opening of a pull request
    /// is its first push.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn timeline(&self, repo: RepoId, number: i64) -> Result<Vec<TimelineEntry>, Error> {
        let call = Call::get(&["issues", &number.to_string(), "timeline"]).with_gaps();
        self.list_in_repo::<wire::Entry, _>(repo, call, |entry| entry.id).await
    }
}

/// The forge answers 204 for entries of the timeline that are no comments.
fn there(answer: Answer, call: &Call) -> Result<Answer, Error> {
    if answer.status == StatusCode::NO_CONTENT {
        return Err(Error::new(ErrorKind::NotFound, &call.name(), "it is no comment"));
    }
    Ok(answer)
}

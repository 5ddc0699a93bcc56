//! The client as publishing needs it.

use super::model::{CommitState, NewStatus, RepoId};
use super::{Client, Error, ErrorKind, model};
use crate::publish::StatusState;
use crate::publish::forge::{Failure, Forge, ForgeError, Repository, SeenComment, SeenStatus, Status};

/// A client together with who it is: what [`crate::publish`] writes through.
#[derive(Debug)]
pub struct Publisher<'c> {
    client: &'c Client,
    own_id: i64,
}

impl<'c> Publisher<'c> {
    /// Asks the forge who we are.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn new(client: &'c Client) -> Result<Self, Error> {
        Ok(Self { client, own_id: client.whoami().await?.person.id })
    }
}

impl Forge for Publisher<'_> {
    fn own_id(&self) -> i64 {
        self.own_id
    }

    async fn statuses(
        &self,
        repository: &Repository,
        commit: &str,
        context: &str,
    ) -> Result<Vec<SeenStatus>, ForgeError> {
        let all = self.client.statuses(RepoId(repository.id), commit).await?;
        Ok(all.into_iter().filter(|status| status.context == context).map(seen_status).collect())
    }

    async fn comments(&self, repository: &Repository, pull: i64) -> Result<Vec<SeenComment>, ForgeError> {
        let all = self.client.comments(RepoId(repository.id), pull).await?;
        Ok(all.into_iter().map(seen_comment).collect())
    }

    async fn comment(&self, repository: &Repository, comment_id: i64) -> Result<Option<SeenComment>, ForgeError> {
        match self.client.comment(RepoId(repository.id), comment_id).await {
            Ok(found) => Ok(Some(seen_comment(found))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn post_status(
        &self,
        repository: &Repository,
        commit: &str,
        context: &str,
        status: &Status,
    ) -> Result<(), ForgeError> {
        let new = NewStatus {
            state: commit_state(status.state),
            context: context.to_owned(),
            description: status.description.clone(),
            target_url: status.target_url.clone(),
        };
        Ok(self.client.post_status(RepoId(repository.id), commit, &new).await.map(drop)?)
    }

    async fn create_comment(&self, repository: &Repository, pull: i64, body: &str) -> Result<i64, ForgeError> {
        Ok(self.client.create_comment(RepoId(repository.id), pull, body).await?.id)
    }

    async fn edit_comment(&self, repository: &Repository, comment_id: i64, body: &str) -> Result<(), ForgeError> {
        Ok(self.client.edit_comment(RepoId(repository.id), comment_id, body).await.map(drop)?)
    }

    async fn react(&self, repository: &Repository, comment_id: i64, content: &str) -> Result<(), ForgeError> {
        Ok(self.client.react(RepoId(repository.id), comment_id, content).await?)
    }
}

impl From<Error> for ForgeError {
    fn from(error: Error) -> Self {
        Self { failure: failure(&error.kind), message: error.to_string() }
    }
}

/// What publishing makes of an error.
fn failure(kind: &ErrorKind) -> Failure {
    match kind {
        ErrorKind::Unauthorised => Failure::Unauthorized,
        ErrorKind::Forbidden { .. } => Failure::Forbidden,
        ErrorKind::NotFound | ErrorKind::Gone => Failure::NotFound,
        ErrorKind::RateLimited { retry_after } => Failure::Throttled(*retry_after),
        ErrorKind::Server { status: 502..=504 }
        | ErrorKind::Timeout
        | ErrorKind::Connect
        | ErrorKind::Truncated
        // A page of a proxy, sent with status 200.
        | ErrorKind::Decode => Failure::Unreachable,
        ErrorKind::Server { .. } => Failure::Internal,
        ErrorKind::NotApplicable
        | ErrorKind::Conflict
        | ErrorKind::Validation
        | ErrorKind::Locked
        | ErrorKind::TooLarge
        | ErrorKind::Moved { .. }
        | ErrorKind::AnswerTooLarge
        | ErrorKind::Unexpected { .. }
        | ErrorKind::NotSent => Failure::Rejected,
    }
}

fn commit_state(state: StatusState) -> CommitState {
    match state {
        StatusState::Pending => CommitState::Pending,
        StatusState::Success => CommitState::Success,
        StatusState::Failure => CommitState::Failure,
        StatusState::Error => CommitState::Error,
    }
}

fn seen_comment(comment: model::Comment) -> SeenComment {
    SeenComment { id: comment.id, author_id: comment.author.id, body: comment.body }
}

fn seen_status(status: model::CommitStatus) -> SeenStatus {
    let state = match status.state {
        CommitState::Pending => Some(StatusState::Pending),
        CommitState::Success => Some(StatusState::Success),
        CommitState::Failure => Some(StatusState::Failure),
        CommitState::Error => Some(StatusState::Error),
        CommitState::Warning | CommitState::Skipped | CommitState::Other(_) => None,
    };
    let (description, target_url) = (status.description, status.target_url);
    SeenStatus { id: status.id, status: state.map(|state| Status { state, description, target_url }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_failure() {
        let server = |status| ErrorKind::Server { status };
        let table = [
            (ErrorKind::Unauthorised, Failure::Unauthorized),
            (ErrorKind::Forbidden { missing_scope: None }, Failure::Forbidden),
            (ErrorKind::NotFound, Failure::NotFound),
            (ErrorKind::Gone, Failure::NotFound),
            (ErrorKind::RateLimited { retry_after: None }, Failure::Throttled(None)),
            (server(500), Failure::Internal),
            (server(501), Failure::Internal),
            (server(502), Failure::Unreachable),
            (server(503), Failure::Unreachable),
            (server(504), Failure::Unreachable),
            (ErrorKind::Timeout, Failure::Unreachable),
            (ErrorKind::Connect, Failure::Unreachable),
            (ErrorKind::Truncated, Failure::Unreachable),
            (ErrorKind::Decode, Failure::Unreachable),
            (ErrorKind::Locked, Failure::Rejected),
            (ErrorKind::Validation, Failure::Rejected),
        ];
        for (kind, want) in table {
            assert_eq!(failure(&kind), want, "{kind}");
        }
    }
}

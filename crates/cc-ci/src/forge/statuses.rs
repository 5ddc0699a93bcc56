//! Commit statuses. Each post adds a row; the newest of a context is the one with the highest id, because times have only
//! whole seconds.

use reqwest::Method;
use serde_json::json;

use super::model::{CombinedStatus, CommitStatus, NewStatus, RepoId};
use super::transport::Call;
use super::{Client, Error, ErrorKind, wire};

impl Client {
    /// Posts a status on a commit, given in full: a branch name would mean whatever it points to by then.
    ///
    /// # Errors
    /// A plain 500 for a commit that the repository does not have yet; [`ErrorKind::NotSent`] if it is no full hash;
    /// else see [`Error`].
    pub async fn post_status(&self, repo: RepoId, commit: &str, new: &NewStatus) -> Result<CommitStatus, Error> {
        let body = json!({
            "state": wire::word(&new.state),
            "context": new.context,
            "description": new.description,
            "target_url": new.target_url,
        });
        let call = Call::new(Method::POST, &["statuses", &full(commit)?]).body(body);
        self.in_repo(repo, call).await?.read::<wire::Status>()
    }

    /// All statuses of a commit, newest first. Empty for a commit that is not there.
    ///
    /// # Errors
    /// [`ErrorKind::NotSent`] if it is no full hash; else see [`Error`].
    pub async fn statuses(&self, repo: RepoId, commit: &str) -> Result<Vec<CommitStatus>, Error> {
        let call = Call::get(&["statuses", &full(commit)?]);
        let mut found = self.list_in_repo::<wire::Status, _>(repo, call, |status| status.id).await?;
        found.sort_by_key(|status| std::cmp::Reverse(status.id));
        Ok(found)
    }

    /// The newest status of each context of a branch, tag or commit, and what the server makes of them. More contexts
    /// than a page holds (usually 50) are cut off, also in the state.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn combined_status(&self, repo: RepoId, reference: &str) -> Result<CombinedStatus, Error> {
        let call = Call::get(&["commits", reference, "status"]).query("limit", super::PAGE.to_string());
        let answer = self.in_repo(repo, call).await?;
        let read: wire::Combined = answer.json()?;
        let statuses = wire::all(read.statuses.0).map_err(|lacks| answer.lacking(lacks))?;
        let word = read.state.0;
        // Old servers say `pending` or nothing for a commit without any status.
        let state = (!word.is_empty() && !statuses.is_empty()).then(|| wire::state(&word));
        Ok(CombinedStatus { state, statuses })
    }
}

fn full(commit: &str) -> Result<String, Error> {
    wire::commit(commit)
        .ok_or_else(|| Error::new(ErrorKind::NotSent, "commit status", &format!("{commit:?} is no full commit hash")))
}

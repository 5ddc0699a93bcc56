//! Branches.

use reqwest::Method;
use serde_json::json;

use super::model::{Branch, RepoId};
use super::transport::Call;
use super::{Client, Error, wire};

impl Client {
    /// All branches.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn branches(&self, repo: RepoId) -> Result<Vec<Branch>, Error> {
        self.list_in_repo::<wire::Branch, _>(repo, Call::get(&["branches"]), |branch| branch.name.clone()).await
    }

    /// A branch.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn branch(&self, repo: RepoId, name: &str) -> Result<Branch, Error> {
        self.in_repo(repo, Call::get(&["branches", name])).await?.read::<wire::Branch>()
    }

    /// Makes a branch at a branch, tag or commit.
    ///
    /// # Errors
    /// [`super::ErrorKind::Conflict`] if it exists; a plain 500 if `from` does not; else see [`Error`].
    pub async fn create_branch(&self, repo: RepoId, name: &str, from: &str) -> Result<Branch, Error> {
        let body = json!({ "new_branch_name": name, "old_ref_name": from });
        let call = Call::new(Method::POST, &["branches"]).body(body);
        self.in_repo(repo, call).await?.read::<wire::Branch>()
    }

    /// Deletes a branch, which closes its open pull requests.
    ///
    /// # Errors
    /// [`super::ErrorKind::Forbidden`] for the default and for protected branches; else see [`Error`].
    pub async fn delete_branch(&self, repo: RepoId, name: &str) -> Result<(), Error> {
        self.in_repo(repo, Call::new(Method::DELETE, &["branches", name])).await.map(drop)
    }
}

//! Organisations.

use super::model::Repo;
use super::transport::Call;
use super::{Client, Error, PAGE, wire};

impl Client {
    /// All repositories of an organisation that this account can see.
    ///
    /// # Errors
    /// [`super::ErrorKind::NotFound`] also if this account may not see the organisation; else see [`Error`].
    pub async fn org_repos(&self, org: &str) -> Result<Vec<Repo>, Error> {
        self.transport.pages::<wire::Repo, _>(&Call::get(&["orgs", org, "repos"]), PAGE, &|repo: &Repo| repo.id).await
    }
}

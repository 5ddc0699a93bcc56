//! Pull requests.

use reqwest::Method;
use serde_json::{Map, json};

use super::model::{NewPull, Pull, PullChange, PullFilter, RepoId};
use super::transport::Call;
use super::{Client, Error, wire};

impl Client {
    /// A pull request. Its head is read live from the branch, wherever that is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pull(&self, repo: RepoId, number: i64) -> Result<Pull, Error> {
        self.in_repo(repo, Call::get(&["pulls", &number.to_string()])).await?.read::<wire::Pull>()
    }

    /// All pull requests of a kind. Their heads may lag, see [`super::model::Side::sha`].
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pulls(&self, repo: RepoId, filter: PullFilter) -> Result<Vec<Pull>, Error> {
        let state = match filter {
            PullFilter::Open => "open",
            PullFilter::Closed => "closed",
            PullFilter::All => "all",
        };
        let call = Call::get(&["pulls"]).query("state", state);
        self.list_in_repo::<wire::Pull, _>(repo, call, |pull| pull.number).await
    }

    /// Opens a pull request.
    ///
    /// # Errors
    /// [`super::ErrorKind::Conflict`] if an open one has the same branches; [`super::ErrorKind::NotFound`] for an unknown
    /// branch; else see [`Error`].
    pub async fn open_pull(&self, repo: RepoId, new: &NewPull) -> Result<Pull, Error> {
        let body = json!({ "head": new.head, "base": new.base, "title": new.title, "body": new.body });
        let call = Call::new(Method::POST, &["pulls"]).body(body);
        self.in_repo(repo, call).await?.read::<wire::Pull>()
    }

    /// Changes a pull request.
    ///
    /// # Errors
    /// [`super::ErrorKind::Validation`] to reopen a merged one; else see [`Error`].
    pub async fn change_pull(&self, repo: RepoId, number: i64, change: &PullChange) -> Result<Pull, Error> {
        let mut body = Map::new();
        if let Some(title) = &change.title {
            body.insert("title".to_owned(), json!(title));
        }
        if let Some(text) = &change.body {
            body.insert("body".to_owned(), json!(text));
        }
        if let Some(open) = change.open {
            body.insert("state".to_owned(), json!(if open { "open" } else { "closed" }));
        }
        let call = Call::new(Method::PATCH, &["pulls", &number.to_string()]).body(body.into());
        self.in_repo(repo, call).await?.read::<wire::Pull>()
    }

    /// Closes a pull request. Well if it is closed already.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn close_pull(&self, repo: RepoId, number: i64) -> Result<Pull, Error> {
        self.change_pull(repo, number, &PullChange { open: Some(false), ..PullChange::default() }).await
    }

    /// The commit that `refs/pull/N/head` of the base repository points to: what can be fetched. Seconds behind a push.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pull_ref(&self, repo: RepoId, number: i64) -> Result<Option<String>, Error> {
        let number = number.to_string();
        let wanted = format!("refs/pull/{number}/head");
        match self.in_repo(repo, Call::get(&["git", "refs", "pull", &number, "head"])).await {
            // All that begins so is listed.
            Ok(answer) => {
                let refs: Vec<wire::Reference> = answer.json()?;
                Ok(refs.iter().find(|found| found.name.0 == wanted).and_then(wire::Reference::hash))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

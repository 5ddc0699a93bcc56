//! The client of a Gitea or Forgejo: what cc-ci asks of it and does to it, in our own types.
//!
//! What it must never do: repeat a call by itself, follow a redirect, show the token, or decide anything; callers judge by
//! [`ErrorKind`]. The rule to know: repositories are named by id. Their current name is looked up, and believed for
//! [`NAME_HOLDS`]; so a renamed repository is still found, and a new one that took an old name is not taken for it.

mod branches;
mod comments;
mod error;
mod hooks;
pub mod model;
mod nouns;
mod orgs;
mod people;
mod publish;
mod pulls;
mod repos;
mod statuses;
mod token;
mod transport;
pub(crate) mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::SharedClock;

pub use error::{Error, ErrorKind};
pub use hooks::{HookPlan, HookRepair, HookWanted, REQUIRED_EVENTS, plan_hook};
pub use publish::Publisher;
pub use token::{Token, TokenError};

use model::RepoId;
use transport::{Answer, Call, Transport};
use wire::Wire;

/// Longest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// How long a call may take, all in all, if nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// How long the name of a repository is believed.
pub const NAME_HOLDS: Duration = Duration::from_secs(60);

/// Entries of a page that are asked for: what servers give at most, as they come.
const PAGE: u32 = 50;

/// How to reach a forge.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address, with the folder it lives in if there is one: `https://git.example.org`.
    pub base_url: String,
    /// Who we are there.
    pub token: Token,
    /// How long a call may take, all in all.
    pub timeout: Duration,
    /// For how long names are believed is measured by it.
    pub clock: SharedClock,
}

/// A forge, as one account. Cheap calls may run at the same time.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    clock: SharedClock,
    names: Mutex<HashMap<RepoId, Known>>,
}

/// The address is of no use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// A repository's name, and since when it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    owner: String,
    name: String,
    since: Instant,
}

impl Client {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let transport = Transport::new(&settings.base_url, settings.token, settings.timeout).map_err(SettingsError)?;
        Ok(Self { transport, clock: settings.clock, names: Mutex::new(HashMap::new()) })
    }

    /// The forge's address as we use it, with a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.transport.base().as_str()
    }

    async fn send(&self, call: Call) -> Result<Answer, Error> {
        self.transport.send(&call).await
    }

    /// Sends a call whose path is below a repository.
    async fn in_repo(&self, repo: RepoId, call: Call) -> Result<Answer, Error> {
        let known = self.name_of(repo).await?;
        match self.transport.send(&below(&known, &call)).await {
            Err(error) => {
                let now = self.renamed(repo, known, error).await?;
                self.transport.send(&below(&now, &call)).await
            }
            done => done,
        }
    }

    /// Reads all pages of a list below a repository, each entry once by its key.
    async fn list_in_repo<W: Wire, K: Ord + Clone>(
        &self,
        repo: RepoId,
        call: Call,
        key: impl Fn(&W::Model) -> K,
    ) -> Result<Vec<W::Model>, Error> {
        let known = self.name_of(repo).await?;
        match self.transport.pages::<W, K>(&below(&known, &call), PAGE, &key).await {
            Err(error) => {
                let now = self.renamed(repo, known, error).await?;
                self.transport.pages::<W, K>(&below(&now, &call), PAGE, &key).await
            }
            done => done,
        }
    }

    /// The repository's name, looked up if it was not lately.
    async fn name_of(&self, repo: RepoId) -> Result<Known, Error> {
        let now = self.clock.monotonic();
        let known = self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&repo).cloned();
        match known {
            Some(known) if now.saturating_duration_since(known.since) < NAME_HOLDS => Ok(known),
            Some(_) | None => self.look_up(repo).await,
        }
    }

    async fn look_up(&self, repo: RepoId) -> Result<Known, Error> {
        let found = self.repo(repo).await?;
        let (owner, name) = found.full_name.split_once('/').unwrap_or_default();
        let known = Known { owner: owner.to_owned(), name: name.to_owned(), since: self.clock.monotonic() };
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(repo, known.clone());
        Ok(known)
    }

    /// The new name, if the call failed because the old one no longer holds; else the call's error. Such a call was
    /// refused before anything was done, so it may be sent once more whatever it is.
    async fn renamed(&self, repo: RepoId, known: Known, error: Error) -> Result<Known, Error> {
        if !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Moved { .. }) {
            return Err(error);
        }
        let now = self.look_up(repo).await?;
        if (&now.owner, &now.name) == (&known.owner, &known.name) { Err(error) } else { Ok(now) }
    }
}

/// The call with the repository's name in front.
fn below(known: &Known, call: &Call) -> Call {
    let mut named = call.clone();
    named.path = ["repos".to_owned(), known.owner.clone(), known.name.clone()].into_iter().chain(named.path).collect();
    named
}

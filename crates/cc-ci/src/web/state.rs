//! What the pages are given: the database, the runs' folders, settings, and two seams that somebody else fills.
//!
//! The pages never touch Docker or the forge. Whoever starts the server hands in [`Actions`] (cancel, rerun, enqueue) and,
//! if people shall log in with their forge account, [`ForgeLogin`].

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::SharedClock;
use crate::store::Store;

use super::live::Hub;
use super::metrics::Metrics;
use super::pages::overview::Cache;
use super::session::Ended;

/// A future that can be kept in a trait object.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The forge's id of the account; 0 for the holder of a configured token.
    pub id: i64,
    /// Login name, or the token's name.
    pub login: String,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The run to look at now.
    pub run: Option<i64>,
    /// A sentence for the person who asked.
    pub message: String,
}

/// Why an action was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// There is no such run or recipe.
    #[error("{0} was not found")]
    NotFound(String),
    /// This person may not do it.
    #[error("{0}")]
    NotAllowed(String),
    /// It cannot be done as things are: the queue is full, the run is over.
    #[error("{0}")]
    Refused(String),
    /// It may work later: the forge or the database did not answer.
    #[error("{0}; try again in a moment")]
    Unavailable(String),
}

/// A wish for a run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub struct Enqueue {
    /// Recipe, or `owner/name` of its repository.
    pub recipe: String,
    /// Branch, tag or commit; the default branch if absent.
    #[serde(default)]
    pub reference: Option<String>,
    /// Pull request, if it is for one.
    #[serde(default)]
    pub pull: Option<i64>,
}

/// What people can ask for on the pages. Whether they may is decided behind it, because only the forge knows.
pub trait Actions: Send + Sync {
    /// Cancels a run that waits or runs.
    fn cancel<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>>;
    /// Asks for what a run tested once more.
    fn rerun<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>>;
    /// Asks for a run.
    fn enqueue<'a>(&'a self, what: &'a Enqueue, by: &'a Person) -> Later<'a, Result<Done, ActionError>>;
}

/// Login with the forge's accounts (OAuth2, authorisation code with PKCE).
pub trait ForgeLogin: Send + Sync {
    /// Where the browser is sent. `challenge` is the S256 code challenge.
    fn authorize_url(&self, state: &str, challenge: &str, callback: &Url) -> String;
    /// Exchanges the code for the account that it stands for; the error is a sentence for the person.
    fn exchange<'a>(&'a self, code: &'a str, verifier: &'a str, callback: &'a Url)
    -> Later<'a, Result<Person, String>>;
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Look.
    Read,
    /// Look, cancel, rerun, enqueue.
    Act,
}

/// A configured token. Only its hash is kept.
#[derive(Clone)]
pub struct AccessToken {
    name: String,
    digest: [u8; 32],
    right: Right,
}

impl AccessToken {
    /// A token with a name for logs and pages. Its text should be at least 32 random characters.
    #[must_use]
    pub fn new(name: impl Into<String>, token: &str, right: Right) -> Self {
        Self { name: name.into(), digest: Sha256::digest(token.as_bytes()).into(), right }
    }

    /// The person that the token stands for, and what he may, if `token` is it. Takes the same time either way.
    pub(super) fn matches(&self, token: &str) -> Option<(Person, Right)> {
        use subtle::ConstantTimeEq;
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        bool::from(digest.ct_eq(&self.digest)).then(|| (Person { id: 0, login: self.name.clone() }, self.right))
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessToken").field("name", &self.name).field("right", &self.right).finish_non_exhaustive()
    }
}

/// Settings of the pages.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the pages are reached from outside; decides on absolute links, the callback, and whether cookies are `Secure`.
    pub public_url: Url,
    /// Name of this instance, in every title.
    pub title: String,
    /// Whether everybody may look. Actions always need a login.
    pub public_reading: bool,
    /// The forge, for links to pull requests and commits.
    pub forge_url: Option<Url>,
    /// How many runs may run side by side, for expected waits.
    pub slots: usize,
    /// Configured tokens.
    pub tokens: Vec<AccessToken>,
    /// Key that signs sessions: 32 random bytes; sessions end when it changes.
    pub session_key: SessionKey,
    /// Most live logs that are watched at the same time.
    pub viewers: usize,
}

/// The key that signs sessions.
#[derive(Clone)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// Takes the key's bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

/// An open pull request of a recipe, as the forge was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct OpenPull {
    /// Its number.
    pub number: i64,
    /// Its title.
    pub title: String,
}

/// Open pull requests by repository name (`owner/name`). A repository that is missing has not been looked at yet.
pub type OpenPulls = Arc<BTreeMap<String, Vec<OpenPull>>>;

/// How one of the server's reconcilers is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciler {
    /// Its name.
    pub name: &'static str,
    /// Passes that ended well since the server began.
    pub passes: u64,
    /// When the last one did.
    pub last_well: Option<Timestamp>,
    /// Since when a pass has been going on.
    pub since: Option<Timestamp>,
    /// What went wrong in the last pass, if it did.
    pub error: Option<String>,
    /// Failed passes since the last good one.
    pub failures: u32,
}

/// Tells how the reconcilers are doing.
pub type Reconcilers = Arc<dyn Fn() -> Vec<Reconciler> + Send + Sync>;

/// Everything the handlers need. Cheap to clone.
#[derive(Clone)]
pub struct WebState(Arc<Parts>);

/// The parts of a [`WebState`].
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Folder with one folder for each attempt, named by its run id.
    pub runs_dir: PathBuf,
    /// Settings.
    pub settings: Settings,
    /// What people can ask for.
    pub actions: Arc<dyn Actions>,
    /// Login with the forge's accounts, if there is any.
    pub login: Option<Arc<dyn ForgeLogin>>,
    /// Open pull requests, kept up to date by whoever polls the forge.
    pub open_pulls: watch::Receiver<OpenPulls>,
    /// How the reconcilers are doing; none unless somebody says.
    pub reconcilers: Reconcilers,
    /// Time.
    pub clock: SharedClock,
    /// When this is cancelled, live logs end so that the server can stop.
    pub stop: CancellationToken,
    pub(super) ended: Ended,
    pub(super) hub: Hub,
    pub(super) metrics: Metrics,
    pub(super) overview: Cache,
}

impl WebState {
    /// Puts the parts together; without login by the forge and without known pull requests.
    #[must_use]
    pub fn new(
        store: Store,
        runs_dir: impl Into<PathBuf>,
        settings: Settings,
        actions: Arc<dyn Actions>,
        clock: SharedClock,
    ) -> Self {
        // Without a sender the value simply never changes.
        let (_, open_pulls) = watch::channel(OpenPulls::default());
        let hub = Hub::new(settings.viewers);
        Self(Arc::new(Parts {
            store,
            runs_dir: runs_dir.into(),
            settings,
            actions,
            login: None,
            open_pulls,
            reconcilers: Arc::new(Vec::new),
            clock,
            stop: CancellationToken::new(),
            ended: Ended::default(),
            hub,
            metrics: Metrics::new(),
            overview: Cache::default(),
        }))
    }

    /// Changes parts before the state is shared; does nothing once it is.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        if let Some(parts) = Arc::get_mut(&mut self.0) {
            change(parts);
        }
        self
    }
}

impl std::ops::Deref for WebState {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::fmt::Debug for WebState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebState").field("runs_dir", &self.runs_dir).finish_non_exhaustive()
    }
}

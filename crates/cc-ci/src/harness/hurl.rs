//! Runs Hurl files (H5, H6) with the `hurl` program.
use crate::git::Files;
use crate::redact::SecretValue;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The `hurl` program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hurl {
    /// Where it is.
    pub program: PathBuf,
    /// Its version, as `8.0.1`.
    pub version: String,
}

/// One run of one file.
#[derive(Debug, Clone)]
pub struct HurlJob<'a> {
    /// Name of the file, for messages.
    pub name: &'a str,
    /// Its text.
    pub content: &'a str,
    /// Files that it may send, by path.
    pub files: &'a Files,
    /// The app's domain; `base_url` is `http://<domain>`, `domain` the domain itself.
    pub domain: &'a str,
    /// Where each host of the app is reached. The first is also where every other host leads to, so that no request
    /// leaves the app.
    pub routes: Vec<(String, SocketAddr)>,
    /// Variables for `{{name}}`.
    pub variables: BTreeMap<String, String>,
    /// The same, masked by hurl in what it prints.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Most time for the file.
    pub timeout: Duration,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HurlOutcome {
    /// Every assertion held.
    pub passed: bool,
    /// How many assertions were checked.
    pub assertions: u32,
    /// How many requests were made.
    pub entries: u32,
    /// What did not hold, with line and found value.
    pub failures: Vec<String>,
    /// True if the app could not be asked (connection refused, time-out), rather than answered otherwise.
    pub unreachable: bool,
    /// How long it took.
    pub duration: Duration,
    /// What hurl printed.
    pub log: String,
}

/// Why a file could not be run.
#[derive(Debug, thiserror::Error)]
pub enum HurlError {
    /// There is no hurl, or an old one.
    #[error("{0}")]
    Missing(String),
    /// The file cannot be used: it does not parse, asserts nothing, or asks for what is not allowed.
    #[error("{name}: {why}")]
    Invalid {
        /// Which file.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The caller was cancelled.
    #[error("{0} was interrupted")]
    Cancelled(String),
    /// Hurl could not be run or its report not be read.
    #[error("hurl failed on {name}: {why}")]
    Failed {
        /// Which file.
        name: String,
        /// What happened.
        why: String,
    },
}

impl Hurl {
    /// Looks through `folders` and then `PATH`, and asks for the version.
    /// # Errors
    /// [`HurlError::Missing`] with a remedy.
    pub async fn find(folders: &[PathBuf]) -> Result<Self, HurlError> {
        let _ = folders;
        unimplemented!()
    }
    /// Runs one file.
    /// # Errors
    /// [`HurlError`]; an assertion that does not hold is an outcome.
    pub async fn run(&self, job: &HurlJob<'_>) -> Result<HurlOutcome, HurlError> {
        let _ = job;
        unimplemented!()
    }
}

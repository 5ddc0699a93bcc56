//! Fetching.
use super::{Checked, GitError, Source, Tag, Tree};
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Limits and places of a fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Folder under which the bare repository is kept until [`Repository`] is dropped.
    pub cache: PathBuf,
    /// Most time for one git command that talks to the network.
    pub timeout: Duration,
    /// Most bytes of the bare repository.
    pub max_repository: u64,
    /// Most files of a tree.
    pub max_files: usize,
    /// Most bytes of all files of a tree.
    pub max_tree: u64,
    /// Hosts that may be asked over plain http, besides loopback.
    pub http_hosts: Vec<String>,
    /// Ends the work.
    pub cancel: CancellationToken,
}

impl FetchOptions {
    /// 120 s, 64 MiB, 5,000 files, 32 MiB, no http but to loopback.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            timeout: Duration::from_secs(120),
            max_repository: 64 << 20,
            max_files: 5000,
            max_tree: 32 << 20,
            http_hosts: Vec::new(),
            cancel: CancellationToken::new(),
        }
    }
}

/// A fetched repository. Its copy is removed when this is dropped.
#[derive(Debug)]
pub struct Repository {}

/// A reference and its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit, in full.
    pub commit: String,
    /// Branch or tag by which it was found.
    pub reference: Option<String>,
}

impl Repository {
    /// Fetches all branches and tags, no files.
    /// # Errors
    /// All of [`GitError`] but those about one commit.
    pub async fn fetch(source: &Source, options: &FetchOptions) -> Result<Self, GitError> {
        let _ = (source, options);
        unimplemented!()
    }
    /// Branch, tag, full or shortened commit; nothing means `HEAD`.
    /// # Errors
    /// [`GitError::UnknownReference`] with near names; [`GitError::Empty`].
    pub async fn resolve(&self, reference: Option<&str>) -> Result<Resolved, GitError> {
        let _ = reference;
        unimplemented!()
    }
    /// The files of a commit.
    /// # Errors
    /// [`GitError::Hostile`], [`GitError::TooLarge`].
    pub async fn tree(&self, commit: &str) -> Result<Tree, GitError> {
        let _ = commit;
        unimplemented!()
    }
    /// All tags that stand on a commit.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        unimplemented!()
    }
    /// The branch that releases are made from, and its tip.
    #[must_use]
    pub fn default_branch(&self) -> Option<&Resolved> {
        unimplemented!()
    }
    /// Names of the tags that are reachable from `commit`.
    /// # Errors
    /// [`GitError::Failed`].
    pub async fn tags_merged(&self, commit: &str) -> Result<Vec<String>, GitError> {
        let _ = commit;
        unimplemented!()
    }
}

/// Fetches and reads one commit; a recipe's `compose.yml` is not asked for here (see [`Checked::require`]).
/// # Errors
/// All of [`GitError`].
pub async fn fetch(source: &Source, reference: Option<&str>, options: &FetchOptions) -> Result<Checked, GitError> {
    let _ = (source, reference, options);
    unimplemented!()
}

//! A restic repository for the backup of a run (H3, H4).
use crate::redact::SecretValue;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// A restic repository in a folder.
#[derive(Debug)]
pub struct Repo {}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Id, in full.
    pub id: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Dir,
    /// Symbolic link, socket, device …
    Other,
}

/// Something in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path, as it was saved.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; 0 for what is not a file.
    pub size: u64,
}

/// Why restic could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ResticError {
    /// restic is missing, or could not be run.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// restic failed.
    #[error("restic {action} failed: {message}")]
    Failed {
        /// Which command.
        action: String,
        /// Its own words.
        message: String,
    },
    /// A path is not in the snapshot.
    #[error("{path} is not in the snapshot")]
    NotInSnapshot {
        /// Path.
        path: String,
    },
    /// The caller was cancelled.
    #[error("restic {0} was interrupted")]
    Cancelled(String),
}

impl Repo {
    /// Makes a repository in `dir`, which must be empty or missing.
    /// # Errors
    /// [`ResticError`].
    pub async fn init(dir: &Path, password: SecretValue, cancel: &CancellationToken) -> Result<Self, ResticError> {
        let _ = (dir, password, cancel);
        unimplemented!()
    }
    /// Saves `paths`.
    /// # Errors
    /// [`ResticError`]; a path that cannot be read is one.
    pub async fn backup(&self, paths: &[PathBuf], tags: &[String]) -> Result<Snapshot, ResticError> {
        let _ = (paths, tags);
        unimplemented!()
    }
    /// What is in a snapshot.
    /// # Errors
    /// [`ResticError`].
    pub async fn ls(&self, snapshot: &str) -> Result<Vec<Entry>, ResticError> {
        let _ = snapshot;
        unimplemented!()
    }
    /// Writes a snapshot below `target` (paths stay absolute below it; `/` restores in place); only `includes` unless that is empty.
    /// # Errors
    /// [`ResticError`].
    pub async fn restore(&self, snapshot: &str, target: &Path, includes: &[PathBuf]) -> Result<(), ResticError> {
        let _ = (snapshot, target, includes);
        unimplemented!()
    }
    /// The content of one file.
    /// # Errors
    /// [`ResticError::NotInSnapshot`] and others.
    pub async fn dump(&self, snapshot: &str, path: &str) -> Result<Vec<u8>, ResticError> {
        let _ = (snapshot, path);
        unimplemented!()
    }
    /// restic's version.
    /// # Errors
    /// [`ResticError`].
    pub async fn version() -> Result<String, ResticError> {
        unimplemented!()
    }
}

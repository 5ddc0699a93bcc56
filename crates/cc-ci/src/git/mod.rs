//! Recipes and suites from git, at one commit, without a checkout.
//!
//! A repository is foreign data. It is fetched into a bare repository of its own with a git that reads no
//! configuration but ours and runs no hooks, filters, helpers or submodules; its files are then read from the object
//! store into memory. Nothing of it is ever written to a work tree.
//!
//! The rule to know: everything is read at a full commit id that was resolved once. A branch that moves meanwhile
//! changes nothing.

mod base;
mod fetch;
mod local;
mod source;
mod tree;

use std::collections::BTreeMap;

pub use base::{BaseChoice, BaseInputs, BaseWish, Release, choose_base};
pub use fetch::{FetchOptions, Repository, Resolved, fetch};
pub use source::Source;
pub use tree::{Skipped, Tree};

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Name, without `refs/tags/`.
    pub name: String,
    /// The commit it stands on, in full.
    pub commit: String,
    /// Annotated, as a release of a recipe should be; otherwise lightweight.
    pub annotated: bool,
}

/// A repository at one commit.
#[derive(Debug)]
pub struct Checked {
    /// The commit, in full.
    pub commit: String,
    /// The branch or tag that was asked for or found; none for a bare commit.
    pub reference: Option<String>,
    /// Its files and what was left out.
    pub tree: Tree,
    /// All tags.
    pub tags: Vec<Tag>,
    /// The branch that releases are made from.
    pub default_branch: Option<String>,
    /// A local path has changes that are not committed, so that they are not tested. Always false for a URL.
    pub dirty: bool,
    /// Where it came from, for messages.
    pub source_name: String,
    /// For more commits of the same repository, such as the base.
    pub repository: Repository,
}

/// Why a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The text is neither a path, nor a git URL, nor a recipe name.
    #[error(
        "`{0}` is neither a folder, nor a git URL, nor a recipe name: give a path such as ./my-recipe, a URL, or a name such as custom-html"
    )]
    BadSource(String),
    /// The URL's protocol is not allowed.
    #[error("{url}: {why}")]
    Protocol {
        /// Where, without credentials.
        url: String,
        /// What is wrong and what to use.
        why: String,
    },
    /// The path is no git repository.
    #[error("{0} is not a git repository: run `git init` and commit there, or give a git URL")]
    NotARepository(String),
    /// The path does not lead to a folder.
    #[error("{path} cannot be opened ({why}): give the folder of a recipe, a git URL, or a name from the catalogue")]
    NoFolder {
        /// What was given.
        path: String,
        /// The system's word.
        why: String,
    },
    /// The path lies within a repository.
    #[error("{path} is a folder inside the repository {root}: a recipe is a repository of its own; give its root")]
    NotTheRoot {
        /// What was given.
        path: String,
        /// Root of the repository.
        root: String,
    },
    /// There is no commit.
    #[error("{0} has no commit yet: commit the recipe first")]
    Empty(String),
    /// The branch, tag or commit is unknown.
    #[error("{source_name} has no branch, tag or commit `{reference}`{hint}")]
    UnknownReference {
        /// Where it was looked for.
        source_name: String,
        /// What was asked for.
        reference: String,
        /// Near names.
        hint: String,
    },
    /// A file that every recipe has is missing.
    #[error("{source_name} has no {file} at {commit}: is it a Co-op Cloud recipe?{hint}")]
    MissingFile {
        /// Where.
        source_name: String,
        /// Which file.
        file: String,
        /// At which commit, shortened.
        commit: String,
        /// Why, if that is known.
        hint: String,
    },
    /// The repository is larger than allowed.
    #[error("{source_name} is larger than allowed: {what}")]
    TooLarge {
        /// Where.
        source_name: String,
        /// Which limit.
        what: String,
    },
    /// The repository holds something that no honest one does.
    #[error("{source_name} is refused: {what}")]
    Hostile {
        /// Where.
        source_name: String,
        /// What.
        what: String,
    },
    /// The fetch took too long.
    #[error(
        "fetching {source_name} took longer than {seconds} s: check the network, or fetch it by hand and give the path"
    )]
    TimedOut {
        /// From where.
        source_name: String,
        /// The limit.
        seconds: u64,
    },
    /// The caller was cancelled.
    #[error("fetching {0} was interrupted")]
    Cancelled(String),
    /// The repository cannot be reached, or git failed.
    #[error("{source_name} cannot be read: {message}")]
    Failed {
        /// Where.
        source_name: String,
        /// Git's own words, without credentials.
        message: String,
    },
    /// There is no git.
    #[error(transparent)]
    Process(#[from] crate::process::ProcessError),
    /// The cache folder cannot be used.
    #[error("the git cache {path} cannot be used: {source}")]
    Cache {
        /// Where.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

impl Checked {
    /// The content of a file that must be there, such as `compose.yml`.
    ///
    /// # Errors
    /// [`GitError::MissingFile`], with the reason if it was left out.
    pub fn require(&self, file: &str) -> Result<&[u8], GitError> {
        self.tree.files.get(file).map(Vec::as_slice).ok_or_else(|| {
            let left_out = self.tree.skipped.iter().find(|skipped| skipped.path == file);
            GitError::MissingFile {
                source_name: self.source_name.clone(),
                file: file.to_owned(),
                commit: self.commit.chars().take(10).collect(),
                hint: match left_out {
                    Some(skipped) => {
                        format!(" It is a {}, which is not read: put the file itself there.", skipped.what)
                    }
                    None => crate::suggest::hint(file, self.tree.files.keys().map(String::as_str)),
                },
            }
        })
    }
}

#[cfg(test)]
mod tests;

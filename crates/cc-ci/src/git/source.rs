//! What a user may name as a recipe or tests repository.
use super::GitError;
use std::path::PathBuf;

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder on this machine.
    Local(PathBuf),
    /// A git URL, possibly with credentials, which are never shown.
    Remote(String),
    /// A recipe name, to be looked up in the catalogue.
    Name(String),
}

impl Source {
    /// A folder if there is one of that name or the text looks like a path; else a URL; else a name.
    /// # Errors
    /// [`GitError::BadSource`], [`GitError::Protocol`].
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let _ = text;
        unimplemented!()
    }
    /// For people: without credentials.
    #[must_use]
    pub fn display(&self) -> String {
        unimplemented!()
    }
    /// The recipe's name: the last part of path or URL, without `.git`.
    #[must_use]
    pub fn recipe_name(&self) -> String {
        unimplemented!()
    }
    /// A [`Source::Name`] under `base_url` (such as `https://git.coopcloud.tech/coop-cloud`); others stay as they are.
    #[must_use]
    pub fn in_catalogue(self, base_url: &str) -> Self {
        let _ = base_url;
        self
    }
}

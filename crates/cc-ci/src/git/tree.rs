//! The files of one commit.
use super::Files;

/// The files of a commit, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Content by path.
    pub files: Files,
    /// What was left out: symbolic links and submodules.
    pub skipped: Vec<Skipped>,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// What it is: `symbolic link` or `submodule`.
    pub what: &'static str,
}

impl Tree {
    /// A file as text; none if it is missing or not UTF-8.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.files.get(path)?).ok()
    }
}

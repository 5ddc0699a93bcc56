//! The files of a recipe at one commit, in memory.
//!
//! The one rule to know: a symbolic link is kept as a link and never followed, so nothing outside the tree can be read through it.

use std::collections::BTreeMap;

use thiserror::Error;

/// What one path of a recipe holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A regular file with its bytes.
    File(Vec<u8>),
    /// A symbolic link (git mode 120000) with its target as written. Never followed.
    Link(String),
}

/// A whole recipe at one commit: relative path → entry, sorted by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Entry>);

/// Why a file of the recipe could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TreeError {
    /// The path leaves the recipe, is absolute or is empty.
    #[error("{0:?} does not name a file inside the recipe: use a relative path without `..`")]
    Outside(String),
    /// The path, or a folder on the way to it, is a symbolic link.
    #[error("{0:?} goes through a symbolic link, which is never followed: commit the file itself")]
    Link(String),
    /// There is no such file.
    #[error("{0:?} is not in the recipe: is it committed?")]
    Missing(String),
    /// The file is not UTF-8 text.
    #[error("{0:?} is not UTF-8 text")]
    NotText(String),
}

impl Tree {
    /// An empty recipe.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a regular file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.insert(path.into(), Entry::File(bytes.into()));
    }

    /// Puts a symbolic link.
    pub fn insert_link(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.0.insert(path.into(), Entry::Link(target.into()));
    }

    /// All entries, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.0.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// True if a regular file of exactly this (normal) path is there.
    pub fn contains(&self, path: &str) -> bool {
        matches!(self.0.get(path), Some(Entry::File(_)))
    }

    /// The bytes of a file; the path may have `./` and inner `..` as long as it stays inside.
    ///
    /// # Errors
    /// The path leaves the recipe, goes through a link, or names nothing.
    pub fn get(&self, path: &str) -> Result<&[u8], TreeError> {
        let normal = normalise(path).ok_or_else(|| TreeError::Outside(path.to_owned()))?;
        for (at, _) in normal.match_indices('/') {
            if let Some(Entry::Link(_)) = self.0.get(&normal[..at]) {
                return Err(TreeError::Link(path.to_owned()));
            }
        }
        match self.0.get(&normal) {
            Some(Entry::File(bytes)) => Ok(bytes),
            Some(Entry::Link(_)) => Err(TreeError::Link(path.to_owned())),
            None => Err(TreeError::Missing(path.to_owned())),
        }
    }

    /// The text of a file, as [`Tree::get`].
    ///
    /// # Errors
    /// As [`Tree::get`], and when the bytes are not UTF-8.
    pub fn text(&self, path: &str) -> Result<&str, TreeError> {
        std::str::from_utf8(self.get(path)?).map_err(|_| TreeError::NotText(path.to_owned()))
    }
}

impl<P: Into<String>, B: Into<Vec<u8>>> FromIterator<(P, B)> for Tree {
    fn from_iter<I: IntoIterator<Item = (P, B)>>(files: I) -> Self {
        let mut tree = Self::new();
        for (path, bytes) in files {
            tree.insert(path, bytes);
        }
        tree
    }
}

/// The path without `.`, `..` and doubled slashes, or `None` when it is empty, absolute, leaves the root, or holds a NUL or backslash.
pub fn normalise(path: &str) -> Option<String> {
    if path.is_empty() || path.starts_with(['/', '~']) || path.contains(['\0', '\\']) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { None } else { Some(parts.join("/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, expected) in [
            ("a", Some("a")),
            ("./a/b", Some("a/b")),
            ("a/../b", Some("b")),
            ("a//b", Some("a/b")),
            ("..", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("~/x", None),
            ("", None),
            (".", None),
            ("a\0b", None),
            ("..\\x", None),
        ] {
            assert_eq!(normalise(path).as_deref(), expected, "{path:?}");
        }
    }

    #[test]
    fn links_are_never_followed() {
        let mut tree: Tree = [("real/x", "1")].into_iter().collect();
        tree.insert_link("link", "/etc/passwd");
        tree.insert_link("folder", "real");
        assert_eq!(tree.get("real/./x"), Ok(&b"1"[..]));
        assert_eq!(tree.get("link"), Err(TreeError::Link("link".into())));
        assert_eq!(tree.get("folder/x"), Err(TreeError::Link("folder/x".into())));
        assert_eq!(tree.get("gone"), Err(TreeError::Missing("gone".into())));
    }
}

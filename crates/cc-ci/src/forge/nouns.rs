//! Nouns of the forge that are written down as well, in the journal of what was decided.

use serde::{Deserialize, Serialize};

/// A person on the forge. Decisions use the id: login names are given away again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Numeric id; zero or less is nobody (ghosts are -1, the forge's own actions -2).
    pub id: i64,
    /// Login name, for texts only.
    pub login: String,
}

/// State of the pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullState {
    /// Open, drafts too.
    Open,
    /// Closed without a merge.
    Closed,
    /// Merged.
    Merged,
}

/// The flat access mode that the permission call gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// No access, as far as this call knows.
    None,
    /// May read, as far as this call knows.
    Read,
    /// May write.
    Write,
    /// Repository administrator.
    Admin,
    /// Owner, member of the owning team, or site administrator.
    Owner,
}

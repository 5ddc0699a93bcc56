//! Which version an upgrade starts from (H2).
use super::Resolved;

/// What the profile says about the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseWish {
    /// This branch, tag or commit.
    Commit(Resolved),
    /// There is none, for this reason.
    None(String),
}

/// A release tag with the order of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Tag name.
    pub name: String,
    /// Its commit, in full.
    pub commit: String,
    /// Recipe part of the version: major, minor, patch. None if the tag is no version.
    pub version: Option<(u64, u64, u64)>,
}

/// Everything the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseInputs {
    /// The commit under test, in full.
    pub head: String,
    /// `--base`.
    pub argument: Option<BaseWish>,
    /// The profile's `[upgrade] base`.
    pub profile: Option<BaseWish>,
    /// The last version known green.
    pub last_green: Option<Resolved>,
    /// Release tags that are reachable from the target branch.
    pub releases: Vec<Release>,
    /// The target branch and its tip.
    pub target: Option<Resolved>,
}

/// What the upgrade starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseChoice {
    /// This commit.
    Commit {
        /// In full.
        commit: String,
        /// Tag or branch.
        reference: Option<String>,
        /// Why this one, as `newest release tag`.
        chosen: String,
    },
    /// The upgrade does not apply.
    Skip {
        /// Why.
        why: String,
    },
}

/// Chooses. Never the commit under test.
#[must_use]
pub fn choose_base(inputs: &BaseInputs) -> BaseChoice {
    let _ = inputs;
    unimplemented!()
}

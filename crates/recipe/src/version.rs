//! Version strings of Co-op Cloud: `<recipe semver>+<app version>`, for example `1.2.0+1.27.2`.
//!
//! The one rule to know: only the recipe's semver part has an order. The part behind `+` is a label (the image tag of `app`).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A recipe version with the app's version behind `+`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecipeVersion {
    /// Major: operators must act, or it may break.
    pub major: u64,
    /// Minor: the image moved, nothing breaks.
    pub minor: u64,
    /// Patch: the recipe alone changed.
    pub patch: u64,
    /// Version of the app as its image tag says, literally.
    pub app: String,
}

/// Which part of a recipe version a change raises, from small to large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bump {
    /// The recipe alone changed.
    Patch,
    /// The image moved, nothing breaks.
    Minor,
    /// Operators must act, or it may break.
    Major,
}

/// Why a text is no recipe version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a recipe version: write <major>.<minor>.<patch>+<app version>, for example 1.2.0+1.27.2")]
pub struct VersionError(pub String);

impl RecipeVersion {
    /// Compares the recipe's semver part only.
    pub fn cmp_recipe(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch))
    }

    /// The next version for a bump, with the app version given.
    pub fn bumped(&self, bump: Bump, app: impl Into<String>) -> Self {
        let (major, minor, patch) = match bump {
            Bump::Major => (self.major.saturating_add(1), 0, 0),
            Bump::Minor => (self.major, self.minor.saturating_add(1), 0),
            Bump::Patch => (self.major, self.minor, self.patch.saturating_add(1)),
        };
        Self { major, minor, patch, app: app.into() }
    }
}

impl FromStr for RecipeVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned());
        let (recipe, app) = text.split_once('+').ok_or_else(error)?;
        // The app part becomes a git tag and a file name, so it must hold nothing that either refuses.
        let app_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
        if app.is_empty()
            || app.contains("..")
            || app.ends_with('.')
            || app.ends_with(".lock")
            || !app.bytes().all(app_ok)
        {
            return Err(error());
        }
        let mut parts = recipe.split('.').map(|part| {
            let plain = !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_digit())
                && (part.len() == 1 || !part.starts_with('0'));
            if plain { part.parse::<u64>().ok() } else { None }
        });
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch, app: app.to_owned() }),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for RecipeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}+{}", self.major, self.minor, self.patch, self.app)
    }
}

impl TryFrom<String> for RecipeVersion {
    type Error = VersionError;
    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<RecipeVersion> for String {
    fn from(version: RecipeVersion) -> Self {
        version.to_string()
    }
}

/// The release tags among `tags`, oldest first by the recipe's semver; anything else (legacy tags, branches) is left out.
/// Tags with the same recipe part keep the order in which they were given.
pub fn release_tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Vec<RecipeVersion> {
    let mut versions: Vec<RecipeVersion> = tags.into_iter().filter_map(|tag| tag.parse().ok()).collect();
    versions.sort_by(RecipeVersion::cmp_recipe);
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for text in [
            "1.2.0+1.27.2",
            "1.0.0+v1.6.870-0",
            "1.3.0+6.42.0-alpine",
            "2.0.1+1.0.6-social-amd64",
            "0.1.0+latest",
            "10.0.0+1+2",
        ] {
            assert_eq!(text.parse::<RecipeVersion>().map(|v| v.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "1.2.0",
            "1.2+3",
            "1.13.4_1",
            "v1.0.0+1",
            "1.0.0+",
            "01.0.0+1",
            "1.0.0.0+1",
            "1.0.0+a b",
            "1.0.0+../x",
            "+1",
            "1..0+1",
            "1.0.0+x.lock",
        ] {
            assert!(text.parse::<RecipeVersion>().is_err(), "{text:?} must be no version");
        }
    }

    #[test]
    fn order_ignores_the_app() {
        let tags = ["1.10.0+1", "1.9.0+99", "junk", "2.0.0+0.1", "1.10.0+0", "v3"];
        let sorted: Vec<String> = release_tags(tags).iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["1.9.0+99", "1.10.0+1", "1.10.0+0", "2.0.0+0.1"]);
    }

    #[test]
    fn bumps() {
        let version: RecipeVersion = "1.2.3+4".parse().expect("version");
        for (bump, expected) in [(Bump::Patch, "1.2.4+5"), (Bump::Minor, "1.3.0+5"), (Bump::Major, "2.0.0+5")] {
            assert_eq!(version.bumped(bump, "5").to_string(), expected);
        }
    }
}

//! Image references: registry, repository, tag, digest.
//!
//! Follows the reference grammar of the distribution project; never resolves anything over a network.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A parsed image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Registry host with port, `docker.io` when none was written.
    pub registry: String,
    /// Repository inside the registry; Docker Hub's official images have `library/` in front.
    pub repository: String,
    /// Tag, if one was written.
    pub tag: Option<String>,
    /// Digest (`sha256:…`), if one was written.
    pub digest: Option<String>,
    /// Registry and repository exactly as written, for writing the reference back.
    name: String,
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not an image reference: {reason}")]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

impl Reference {
    /// True when the reference names no fixed release: no tag, or a tag of letters only (`latest`, `stable`, `main`), and no digest.
    pub fn is_floating(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref().is_none_or(|tag| !tag.bytes().any(|b| b.is_ascii_digit()))
    }

    /// Registry and repository as written, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same image with another tag and without a digest.
    #[must_use]
    pub fn with_tag(&self, tag: impl Into<String>) -> Self {
        Self { tag: Some(tag.into()), digest: None, ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |reason| ReferenceError { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(error("the digest must be sha256: and 64 hex digits"));
        }
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error("a tag has up to 128 of A-Z a-z 0-9 _ . - and starts with none of . -"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            _ => ("docker.io", name.to_owned()),
        };
        if !is_host(registry) {
            return Err(error("the registry must be a host name with an optional port"));
        }
        if path.is_empty() || path.len() > 255 || !path.split('/').all(is_component) {
            return Err(error("repository parts are a-z 0-9 with single . _ - between"));
        }
        let repository = if registry == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let port_ok = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    port_ok
        && !host.is_empty()
        && host.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

fn is_component(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = text.bytes().next().is_some_and(inner) && text.bytes().last().is_some_and(inner);
    ends && text.bytes().all(|b| inner(b) || matches!(b, b'.' | b'_' | b'-'))
        && !text.contains("..")
        && !text.contains("___")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, registry, repository, tag, digested, floating) in [
            ("nginx", "docker.io", "library/nginx", None, false, true),
            ("nginx:1.27.2", "docker.io", "library/nginx", Some("1.27.2"), false, false),
            ("nginx:latest", "docker.io", "library/nginx", Some("latest"), false, true),
            ("gitea/gitea:1.24-rootless", "docker.io", "gitea/gitea", Some("1.24-rootless"), false, false),
            ("localhost:5000/a/b:1", "localhost:5000", "a/b", Some("1"), false, false),
            ("localhost:5000/a", "localhost:5000", "a", None, false, true),
            ("ghcr.io/x/y_z:v1", "ghcr.io", "x/y_z", Some("v1"), false, false),
            (&format!("a/b:stable@{digest}"), "docker.io", "a/b", Some("stable"), true, false),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!((reference.registry.as_str(), reference.repository.as_str()), (registry, repository), "{text}");
            assert_eq!((reference.tag.as_deref(), reference.digest.is_some()), (tag, digested), "{text}");
            assert_eq!(reference.is_floating(), floating, "{text}");
            assert_eq!(reference.to_string(), text);
        }
        for text in [
            "",
            ":1",
            "A/b",
            "a b",
            "a:",
            "a:-x",
            "a@sha256:12",
            "http://x/y",
            "a//b",
            "x.y:99999999/z",
            "a/../b",
            "${X}:1",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?} must be no reference");
        }
    }
}

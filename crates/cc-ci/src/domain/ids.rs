//! Names that identify a run and what belongs to it on the swarm.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Domain suffix of every app under test. `.test` is reserved (RFC 6761), so it never resolves by accident.
const DOMAIN_SUFFIX: &str = "ccci.test";

/// A text that is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a run id: expected 12 lower-case letters and digits, as in `k3x9p0q2m4aa`")]
pub struct InvalidId {
    text: String,
}

/// One execution of the harness: 12 characters `[a-z0-9]`, beginning with a letter.
///
/// The first seven are the time in seconds (base 36), the others random, so that ids sort by time and never meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z][a-z0-9]{11}$"))]
pub struct RunId(String);

impl RunId {
    /// Makes the id from seconds since the epoch and a random number.
    #[must_use]
    pub fn new(epoch_seconds: u64, random: u32) -> Self {
        let time = base36(epoch_seconds, 7);
        let tail = base36(u64::from(random), 5);
        // The stack name begins with a letter anyway; a leading letter keeps the id usable alone.
        let time = format!("r{}", &time[time.len() - 6..]);
        Self(format!("{time}{}", &tail[tail.len() - 5..]))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let ok = text.len() == 12
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if ok { Ok(Self(text.to_owned())) } else { Err(InvalidId { text: text.chars().take(40).collect() }) }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// One of the independent deployments of a run. Lanes run side by side when the host has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Fresh deploy of the commit under test: install and custom.
    Fresh,
    /// Base, upgrade, backup, restore.
    Data,
}

impl Lane {
    /// The letter that tells the lane in stack names and log files.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Lane::Fresh => 'f',
            Lane::Data => 'd',
        }
    }

    /// `fresh` or `data`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Fresh => "fresh",
            Lane::Data => "data",
        }
    }
}

/// A Swarm stack that belongs to a run. It can only be made from a run id, so no other stack can be named by mistake.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct StackName {
    name: String,
    domain: String,
}

impl StackName {
    /// `<recipe[:6]>-<run id><lane>.ccci.test` is the app's domain; the stack name is the domain with dots as underscores,
    /// as abra makes it. 31 characters at the most, which leaves 33 of Swarm's 64 for secret names and versions.
    #[must_use]
    pub fn of(run: &RunId, lane: Lane, recipe: &str) -> Self {
        let mut short: String =
            recipe.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(6).collect();
        if !short.starts_with(|c: char| c.is_ascii_lowercase()) {
            short.insert(0, 'x');
            short.truncate(6);
        }
        let domain = format!("{short}-{run}{}.{DOMAIN_SUFFIX}", lane.letter());
        Self { name: domain.replace('.', "_"), domain }
    }

    /// The name Swarm knows the stack by.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The app's domain: what `DOMAIN` is set to.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn base36(mut n: u64, width: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut out = Vec::new();
    while n > 0 || out.len() < width {
        out.push(DIGITS[(n % 36) as usize]);
        n /= 36;
    }
    out.reverse();
    out.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_parse_back() {
        let a = RunId::new(1_795_000_000, 7);
        let b = RunId::new(1_795_000_001, 3);
        assert!(a < b, "{a} {b}");
        assert_eq!(a.as_str().parse::<RunId>().as_ref(), Ok(&a));
        assert_eq!(RunId::new(u64::MAX, u32::MAX).as_str().len(), 12);
    }

    #[test]
    fn nonsense_is_not_a_run_id() {
        for text in ["", "R00000000000", "r0000000000", "r000000000000", "r0000000/../", "0rrrrrrrrrrr", "r0000000000é"]
        {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }

    #[test]
    fn stack_names_are_short_and_plain() {
        let run = RunId::new(1_795_000_000, 7);
        for (recipe, start) in [("custom-html-tiny", "custom-"), ("9p", "x9p-"), ("É", "x-"), ("n8n", "n8n-")] {
            let stack = StackName::of(&run, Lane::Fresh, recipe);
            assert!(stack.as_str().starts_with(start), "{stack}");
            assert!(stack.as_str().len() <= 31, "{stack}");
            assert!(stack.domain().ends_with(".ccci.test"));
            assert_ne!(stack, StackName::of(&run, Lane::Data, recipe));
        }
    }
}

//! `profile.toml`: what a suite says about how its recipe is to be tested (H6).
//!
//! Strict: an unknown key, a wrong type or a missing reason is an error with its line. A profile may describe and
//! narrow; it can never turn a failing stage into a passing one.
use crate::domain::Stage;
use crate::redact::SecretValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// A profile as it applies: defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// `[app] env`: variables of the app, over those of `.env.sample`.
    pub env: BTreeMap<String, String>,
    /// `[app] timeout`: how long the services may take to converge; none means the recipe's own `TIMEOUT`.
    pub timeout: Option<Duration>,
    /// `[http]`.
    pub http: Http,
    /// `[upgrade]`.
    pub upgrade: Upgrade,
    /// `[stages]`: stages that do not apply, with the reason.
    pub not_applicable: BTreeMap<Stage, String>,
    /// `[settle] seconds`: how long converged services must stay so.
    pub settle: Duration,
    /// `[resources]`.
    pub resources: Resources,
    /// `[screenshot] path`: page to open.
    pub screenshot_path: String,
    /// `[secrets]`: values for secrets that abra would not generate.
    pub secrets: BTreeMap<String, SecretRule>,
    /// `[tests]`.
    pub tests: Tests,
}

/// The built-in look at the app over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Path to ask for.
    pub path: String,
    /// Statuses that count as an answer; empty means any from 200 to 399, and 401 or 403.
    pub status: Vec<u16>,
    /// How long the app may take to answer after it converged.
    pub timeout: Duration,
}

/// What an upgrade starts from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Upgrade {
    /// Branch, tag or commit; `none` if no version can be upgraded from (then `reason` says why).
    pub base: Option<String>,
    /// Variables for the base only.
    pub env: BTreeMap<String, String>,
    /// Why there is no base.
    pub reason: Option<String>,
}

/// What the app needs of the host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// Memory in MiB.
    pub memory_mb: Option<u64>,
    /// CPUs.
    pub cpus: Option<f64>,
}

/// How to make a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum SecretRule {
    /// Random, of this length, from these characters.
    Random {
        /// Number of characters.
        length: usize,
        /// Characters to choose from; none means letters and digits.
        charset: Option<String>,
    },
    /// This test value. It is public: it stands in the tests repository.
    Fixed(SecretValue),
}

/// How the suite's tests run.
#[derive(Debug, Clone, PartialEq)]
pub struct Tests {
    /// Most time for one test.
    pub timeout: Duration,
    /// How often a red test is run again, alone: 0 or 1.
    pub retries: u32,
}

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ProfileError {
    /// Which file.
    pub file: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// What is wrong and what to write.
    pub message: String,
}

impl Profile {
    /// Reads a profile. `file` is for messages.
    /// # Errors
    /// [`ProfileError`] with the line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ProfileError> {
        let _ = (file, text);
        unimplemented!()
    }
}

impl Default for Profile {
    fn default() -> Self {
        unimplemented!()
    }
}

/// The reference page of the profile, in Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    unimplemented!()
}

//! The one place that reads the process environment. Nothing else may, so that what cc-ci depends on can be listed.

/// A variable that is set and not empty.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the wrapper that the lint names")]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

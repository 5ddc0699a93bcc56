//! Secrets: kept out of everything that is written, and searched for at the end.
//!
//! [`Redactor`] knows the secrets of a run in many encodings, masks them in text as it streams by, and scans a folder
//! for them afterwards. It never shows a value: [`SecretValue`] has no `Display`, and its `Debug` is a fixed text.
//!
//! The rule to know: a secret is only masked in what is written after it was added. Add it before the app can see it.

mod encode;
mod mask;
mod scan;

use std::fmt;

use zeroize::Zeroizing;

pub use mask::{MaskingWriter, Redactor};
pub use scan::{ScanHit, ScanReport};

/// Secrets and encodings shorter than this many bytes are not masked: they would match by chance.
pub const MIN_NEEDLE: usize = 6;

/// The value of a secret. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Takes the value over.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The value itself. Every use of this is a place to look at.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(***)")
    }
}

//! Secrets that a stack needs before it can be deployed.
//!
//! Matched by the variables inside the compose `name:`, never by a naming convention, since recipes do not keep to one.

use serde::{Deserialize, Serialize};

/// One secret that must exist, and how to make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSpec {
    /// Compose key, and the file name under `/run/secrets` unless a service says otherwise.
    pub key: String,
    /// Name in the engine.
    pub name: String,
    /// Text behind the last `_` of the name, for example `v1`.
    pub version: String,
    /// Length to generate; `None` means a passphrase of words.
    pub length: Option<usize>,
    /// Which characters to generate.
    pub charset: Charset,
    /// False when somebody must insert the value by hand.
    pub generate: bool,
}

/// Which characters a generated secret has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Charset {
    /// Letters, digits, and no signs that need quoting.
    Default,
    /// Letters and digits.
    Alnum,
    /// `0-9a-f`.
    Hex,
    /// Letters, digits and signs.
    Special,
    /// Letters, digits and the signs that no shell or URL minds.
    SafeSpecial,
}

impl Charset {
    /// The characters to draw from.
    pub fn alphabet(self) -> &'static str {
        match self {
            Charset::Hex => "0123456789abcdef",
            Charset::Default | Charset::Alnum => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Charset::Special => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#%&*+-./:=?@^_~",
            Charset::SafeSpecial => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-._~",
        }
    }
}

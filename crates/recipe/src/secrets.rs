//! Secrets that a stack needs before it can be deployed.
//!
//! Matched by the variables inside the compose `name:`, never by a naming convention, since recipes do not keep to one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::compose::{Compose, FileObject};
use crate::env::EnvSample;
use crate::finding::{Finding, Place};
use crate::interpolate::{self, Env};

/// Longest name of a secret or config in Swarm.
pub(crate) const MAX_NAME: usize = 64;
/// Longest secret that is generated.
const MAX_LENGTH: usize = 4096;

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

/// The external secrets that some service uses, sorted by key. `sample` gives lengths and character sets.
pub(crate) fn specs(compose: &Compose, env: &Env, sample: &EnvSample, findings: &mut Vec<Finding>) -> Vec<SecretSpec> {
    let used: BTreeSet<&str> = compose
        .services
        .values()
        .flat_map(|service| service.secrets.iter().map(|reference| reference.source.as_str()))
        .collect();
    let external = compose.secrets.iter().filter(|(key, object)| object.external && used.contains(key.as_str()));
    external.filter_map(|(key, object)| spec(key, object, env, sample, findings)).collect()
}

fn spec(
    key: &str,
    object: &FileObject,
    env: &Env,
    sample: &EnvSample,
    findings: &mut Vec<Finding>,
) -> Option<SecretSpec> {
    let place = object.name_place.as_ref().unwrap_or(&object.place);
    let name = object.name.clone().unwrap_or_default();
    let uses = object.name_raw.as_deref().map(interpolate::uses).unwrap_or_default();
    let variable =
        uses.iter().rev().map(|used| used.name.as_str()).find(|name| *name != "STACK_NAME" && *name != "DOMAIN");
    if name.is_empty() || name.ends_with('_') {
        let (message, remedy) = match variable {
            Some(variable) if env.contains_key(variable) => (
                format!("secrets.{key}: missing version, {variable} is empty"),
                format!("set {variable}=v1 in .env.sample"),
            ),
            Some(variable) => (
                format!("secrets.{key}: missing version, {variable} is not set"),
                format!("add {variable}=v1 to .env.sample"),
            ),
            None => (
                format!("secrets.{key}: missing version at the end of its name"),
                "end the name with _${SECRET_…_VERSION}".to_owned(),
            ),
        };
        findings.push(Finding::error("S001", place, message, remedy));
        return None;
    }
    if !name_is_good(&name, place, &format!("secrets.{key}"), findings) {
        return None;
    }
    let version = name.rsplit_once('_').map(|(_, version)| version.to_owned()).unwrap_or_default();
    let mut spec =
        SecretSpec { key: key.to_owned(), name, version, length: None, charset: Charset::Default, generate: true };
    if let Some(setting) = variable.and_then(|variable| sample.setting(variable)) {
        let place = Place::new(".env.sample", setting.line);
        let modifier = |name: &str| setting.modifiers.get(name).map(String::as_str);
        if let Some(text) = modifier("length") {
            spec.length = text.parse().ok().filter(|length| (1..=MAX_LENGTH).contains(length));
            if spec.length.is_none() {
                findings.push(Finding::warning(
                    "S005",
                    &place,
                    format!("length={text} is no length from 1 to {MAX_LENGTH}; a passphrase is made instead"),
                    "write for example length=32",
                ));
            }
        }
        if let Some(text) = modifier("charset") {
            spec.charset = match text.trim_matches(['"', '\'']).to_ascii_lowercase().as_str() {
                "default" => Charset::Default,
                "alnum" => Charset::Alnum,
                "hex" => Charset::Hex,
                "special" => Charset::Special,
                "safespecial" => Charset::SafeSpecial,
                _ => {
                    findings.push(Finding::warning(
                        "S004",
                        &place,
                        format!("charset={text} is not known; the default characters are used"),
                        "use hex, alnum, special or safespecial",
                    ));
                    Charset::Default
                }
            };
        }
        spec.generate = !modifier("generate")
            .is_some_and(|text| ["false", "no", "0"].contains(&text.to_ascii_lowercase().as_str()));
    }
    Some(spec)
}

/// Checks a name of a secret or config against Swarm's rules.
pub(crate) fn name_is_good(name: &str, place: &Place, what: &str, findings: &mut Vec<Finding>) -> bool {
    let known = findings.len();
    if name.len() > MAX_NAME {
        let message = format!("{what}: the name {name:?} has {} characters, Swarm takes {MAX_NAME}", name.len());
        findings.push(Finding::error(
            "S002",
            place,
            message,
            "shorten the name of the secret or config, or the domain",
        ));
    }
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !inner || !ends(name.chars().next()) || !ends(name.chars().last()) {
        let message = format!(
            "{what}: the name {name:?} may only have letters, digits, - _ . and must begin and end with a letter or digit"
        );
        findings.push(Finding::error("S003", place, message, "is a variable in it empty?"));
    }
    findings.len() == known
}

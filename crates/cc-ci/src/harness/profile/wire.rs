//! The shape of `profile.toml` on disk, and the checks that a shape cannot express.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Profile, ProfileError, SecretRule, Upgrade};
use crate::domain::Stage;
use crate::redact::SecretValue;
use crate::suggest::hint;

/// Variables that cc-ci sets itself.
const RESERVED: [&str; 4] = ["DOMAIN", "STACK_NAME", "TYPE", "RECIPE"];
/// A day, in seconds: no time-out is longer.
const DAY: u64 = 86_400;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct File {
    app: App,
    http: Http,
    upgrade: WireUpgrade,
    stages: Stages,
    settle: Settle,
    resources: Resources,
    screenshot: Screenshot,
    secrets: BTreeMap<String, Spanned<Secret>>,
    tests: Tests,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct App {
    env: Option<Spanned<BTreeMap<String, String>>>,
    timeout: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Http {
    path: Option<Spanned<String>>,
    status: Option<Spanned<OneOrMany>>,
    timeout: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a status such as 200, or a list such as [200, 302]")]
enum OneOrMany {
    One(u16),
    Many(Vec<u16>),
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct WireUpgrade {
    base: Option<Spanned<String>>,
    env: Option<Spanned<BTreeMap<String, String>>>,
    reason: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Stages {
    upgrade: Option<Spanned<String>>,
    backup: Option<Spanned<String>>,
    restore: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Settle {
    seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Resources {
    memory_mb: Option<Spanned<u64>>,
    cpus: Option<Spanned<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Screenshot {
    path: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Secret {
    value: Option<String>,
    length: Option<u64>,
    charset: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Tests {
    timeout: Option<Spanned<u64>>,
    retries: Option<Spanned<u64>>,
}

pub(super) fn parse(file: &str, text: &str) -> Result<Profile, ProfileError> {
    let reader = Reader { file, text };
    let wire: File = toml::from_str(text).map_err(|error| reader.syntax(&error))?;
    let mut profile = Profile { env: reader.env("app.env", wire.app.env)?, ..Profile::default() };
    profile.timeout = reader.seconds("app.timeout", wire.app.timeout, 1..=DAY)?;
    if let Some(path) = reader.path("http.path", wire.http.path)? {
        profile.http.path = path;
    }
    profile.http.status = reader.statuses(wire.http.status)?;
    if let Some(timeout) = reader.seconds("http.timeout", wire.http.timeout, 1..=DAY)? {
        profile.http.timeout = Some(timeout);
    }
    profile.upgrade = reader.upgrade(wire.upgrade)?;
    for (stage, text) in [
        (Stage::Upgrade, wire.stages.upgrade),
        (Stage::Backup, wire.stages.backup),
        (Stage::Restore, wire.stages.restore),
    ] {
        if let Some(text) = text {
            profile.not_applicable.insert(stage, reader.not_applicable(stage, &text)?);
        }
    }
    if let Some(settle) = reader.seconds("settle.seconds", wire.settle.seconds, 0..=300)? {
        profile.settle = settle;
    }
    if let Some(memory) = wire.resources.memory_mb {
        reader.within("resources.memory_mb", &memory, &(1..=16 << 20), "")?;
        profile.resources.memory_mb = Some(memory.into_inner());
    }
    if let Some(cpus) = wire.resources.cpus {
        if !(*cpus.get_ref() > 0.0 && cpus.get_ref().is_finite()) {
            return Err(reader.at(&cpus, "`resources.cpus` must be above 0".to_owned()));
        }
        profile.resources.cpus = Some(cpus.into_inner());
    }
    if let Some(path) = reader.path("screenshot.path", wire.screenshot.path)? {
        profile.screenshot_path = path;
    }
    for (name, secret) in wire.secrets {
        let rule = reader.secret(&name, &secret)?;
        profile.secrets.insert(name, rule);
    }
    if let Some(timeout) = reader.seconds("tests.timeout", wire.tests.timeout, 1..=DAY)? {
        profile.tests.timeout = timeout;
    }
    if let Some(retries) = wire.tests.retries {
        profile.tests.retries = match retries.get_ref() {
            0 => 0,
            1 => 1,
            other => return Err(reader.at(&retries, format!("`tests.retries` must be 0 or 1, not {other}"))),
        };
    }
    Ok(profile)
}

/// Knows the text, for line numbers.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, offset: Option<usize>, message: String) -> ProfileError {
        let line = offset.map(|at| {
            let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
            1 + before.iter().filter(|byte| **byte == b'\n').count()
        });
        ProfileError { file: self.file.to_owned(), line, message }
    }

    fn at<T>(&self, value: &Spanned<T>, message: String) -> ProfileError {
        self.error(Some(value.span().start), message)
    }

    /// The parser's error in our words where it is about an unknown key, else in its own.
    fn syntax(&self, error: &toml::de::Error) -> ProfileError {
        let message = error.message();
        let message = match message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')) {
            Some((key, rest)) => {
                let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
                format!("unknown key `{key}`{}; known here: {}", hint(key, known.iter().copied()), known.join(", "))
            }
            None => message.replace('\n', ", "),
        };
        self.error(error.span().map(|span| span.start), message)
    }

    fn within(
        &self,
        key: &str,
        value: &Spanned<u64>,
        range: &RangeInclusive<u64>,
        unit: &str,
    ) -> Result<(), ProfileError> {
        if range.contains(value.get_ref()) {
            return Ok(());
        }
        let (low, high, got) = (range.start(), range.end(), value.get_ref());
        Err(self.at(value, format!("`{key}` must be between {low} and {high}{unit}, not {got}")))
    }

    fn seconds(
        &self,
        key: &str,
        value: Option<Spanned<u64>>,
        range: RangeInclusive<u64>,
    ) -> Result<Option<Duration>, ProfileError> {
        let Some(value) = value else { return Ok(None) };
        self.within(key, &value, &range, " seconds")?;
        Ok(Some(Duration::from_secs(value.into_inner())))
    }

    fn path(&self, key: &str, value: Option<Spanned<String>>) -> Result<Option<String>, ProfileError> {
        let Some(value) = value else { return Ok(None) };
        if !value.get_ref().starts_with('/') {
            return Err(self.at(&value, format!("`{key}` must begin with `/`, as in \"/login\"")));
        }
        if value.get_ref().contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(self.at(&value, format!("`{key}` must not hold blanks; write them as %20")));
        }
        Ok(Some(value.into_inner()))
    }

    fn statuses(&self, value: Option<Spanned<OneOrMany>>) -> Result<Vec<u16>, ProfileError> {
        let Some(value) = value else { return Ok(Vec::new()) };
        let statuses = match value.get_ref() {
            OneOrMany::One(status) => vec![*status],
            OneOrMany::Many(statuses) => statuses.clone(),
        };
        if statuses.is_empty() {
            return Err(self.at(&value, "`http.status` must name at least one status".to_owned()));
        }
        match statuses.iter().find(|status| !(100..=599).contains(*status)) {
            Some(bad) => Err(self.at(&value, format!("`http.status` must be between 100 and 599, not {bad}"))),
            None => Ok(statuses),
        }
    }

    fn env(
        &self,
        key: &str,
        value: Option<Spanned<BTreeMap<String, String>>>,
    ) -> Result<BTreeMap<String, String>, ProfileError> {
        let Some(value) = value else { return Ok(BTreeMap::new()) };
        for name in value.get_ref().keys() {
            let mut letters = name.chars();
            let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            if !first || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(self.at(&value, format!("`{key}`: `{name}` is not a variable name")));
            }
            if RESERVED.contains(&name.as_str()) {
                return Err(self.at(&value, format!("`{key}` must not set {name}: cc-ci sets it")));
            }
        }
        Ok(value.into_inner())
    }

    fn upgrade(&self, wire: WireUpgrade) -> Result<Upgrade, ProfileError> {
        let env = self.env("upgrade.env", wire.env)?;
        let none = wire.base.as_ref().is_some_and(|base| base.get_ref() == "none");
        match (&wire.base, &wire.reason) {
            (Some(base), None) if none => {
                return Err(self.at(base, "`base = \"none\"` needs a `reason`".to_owned()));
            }
            (_, Some(reason)) if !none => {
                return Err(self.at(reason, "`reason` only goes with `base = \"none\"`".to_owned()));
            }
            (_, Some(reason)) if reason.get_ref().trim().is_empty() => {
                return Err(self.at(reason, "`upgrade.reason` must not be empty".to_owned()));
            }
            (Some(base), _) if !is_reference(base.get_ref()) => {
                let text = base.get_ref();
                return Err(self.at(base, format!("`upgrade.base` is not a branch, tag or commit: {text}")));
            }
            _ => {}
        }
        let base = wire.base.map(Spanned::into_inner);
        Ok(Upgrade { base, env, reason: wire.reason.map(|reason| reason.into_inner().trim().to_owned()) })
    }

    fn not_applicable(&self, stage: Stage, text: &Spanned<String>) -> Result<String, ProfileError> {
        let Some(reason) = text.get_ref().strip_prefix("not-applicable:") else {
            return Err(self.at(text, format!("`stages.{stage}` can only be \"not-applicable: <reason>\"")));
        };
        match reason.trim() {
            "" => Err(self.at(text, format!("`stages.{stage}` needs a reason after \"not-applicable:\""))),
            reason => Ok(reason.to_owned()),
        }
    }

    fn secret(&self, name: &str, secret: &Spanned<Secret>) -> Result<SecretRule, ProfileError> {
        let say = |message: String| self.error(Some(secret.span().start), message);
        let Secret { value, length, charset } = secret.get_ref();
        match (value, length) {
            (Some(value), None) if charset.is_none() && !value.is_empty() => {
                Ok(SecretRule::Fixed(SecretValue::new(value.clone())))
            }
            (Some(value), None) if value.is_empty() => Err(say(format!("`secrets.{name}.value` must not be empty"))),
            (None, Some(length)) if (1..=4096).contains(length) => {
                let length = usize::try_from(*length).unwrap_or(4096);
                let charset = charset.as_deref().map(charset_of);
                if charset.as_ref().is_some_and(String::is_empty) {
                    return Err(say(format!("`secrets.{name}.charset` must not be empty")));
                }
                Ok(SecretRule::Random { length, charset })
            }
            (None, Some(length)) => {
                Err(say(format!("`secrets.{name}.length` must be between 1 and 4096, not {length}")))
            }
            (Some(_), None) => Err(say(format!("`secrets.{name}.charset` goes with `length`, not with `value`"))),
            (Some(_), Some(_)) | (None, None) => Err(say(format!("`secrets.{name}` needs either `value` or `length`"))),
        }
    }
}

/// The named sets of abra's `charset=` modifier and two more; anything else is the characters themselves.
fn charset_of(name: &str) -> String {
    const PLAIN: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    match name {
        "default" | "alnum" => PLAIN.to_owned(),
        "special" => format!("{PLAIN}!@#$%^&*_-+="),
        "safespecial" => format!("{PLAIN}!@#%^&*_-+="),
        "hex" => "0123456789abcdef".to_owned(),
        "digits" => "0123456789".to_owned(),
        characters => characters.to_owned(),
    }
}

/// A name that git can be asked for: no option, no range, no blank.
fn is_reference(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['-', '.'])
        && !text.contains("..")
        && text.chars().all(|c| c.is_ascii_graphic() && !"~^:?*[\\@{".contains(c))
}

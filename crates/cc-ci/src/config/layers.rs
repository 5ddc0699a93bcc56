//! Which text stands for a key, and where it came from.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::{ConfigError, DEFAULTS, USUAL_FILE};
use crate::suggest::hint;

/// The value of each key, `section.key`.
#[derive(Debug, Clone)]
pub struct Layers {
    values: BTreeMap<String, (Value, String)>,
}

/// A value as TOML has it, in the few shapes that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    Texts(Vec<String>),
}

impl Layers {
    /// Defaults, the file (that must be there if it is named), the environment.
    ///
    /// # Errors
    /// If the file cannot be read, or says something unknown or of the wrong kind.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let usual = Path::new(USUAL_FILE);
        let path = file.or_else(|| usual.exists().then_some(usual));
        let text = match path {
            None => None,
            Some(path) => Some((
                path.display().to_string(),
                std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::File { path: PathBuf::from(path), source })?,
            )),
        };
        Self::of(text.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), crate::env::var)
    }

    /// Layers out of a file's name and text and a look at the environment.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn of(file: Option<(&str, &str)>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut values = parse("defaults.toml", DEFAULTS)?;
        if let Some((name, text)) = file {
            for (key, (value, place)) in parse(name, text)? {
                let Some((default, _)) = values.get(&key) else {
                    let near = hint(&key, values.keys().map(String::as_str));
                    let message = format!("there is no setting `{key}`{near}; see `cc-ci serve --print-config`");
                    return Err(ConfigError::Bad { place, message });
                };
                let value = same_kind(&key, default, value)
                    .map_err(|message| ConfigError::Bad { place: place.clone(), message })?;
                values.insert(key, (value, place));
            }
        }
        for (key, (value, place)) in &mut values {
            let name = env_name(key);
            if let Some(text) = env(&name) {
                *value = from_env(value, &text).map_err(|message| ConfigError::Bad {
                    place: format!("${name}"),
                    message: format!("{key}: {message}"),
                })?;
                *place = format!("${name}");
            }
        }
        Ok(Self { values })
    }

    /// The manual with the values that are in force.
    #[must_use]
    pub fn manual(&self) -> String {
        let mut section = "";
        let mut out = String::new();
        for line in DEFAULTS.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            }
            match line.split_once(" = ").and_then(|(key, _)| Some((key, self.values.get(&format!("{section}.{key}"))?)))
            {
                Some((key, (value, place))) => {
                    let from = if place.starts_with("defaults.toml") { String::new() } else { format!("  # {place}") };
                    out.push_str(&format!("{key} = {}{from}\n", shown(value)));
                }
                None => {
                    out.push_str(line);
                    out.push('\n');
                }
            }
        }
        out
    }

    /// An error at the place where the key was set.
    pub(super) fn bad(&self, key: &str, message: &str) -> ConfigError {
        let place = match self.values.get(key) {
            Some((_, place)) if !place.starts_with("defaults.toml") => place.clone(),
            Some(_) | None => key.to_owned(),
        };
        ConfigError::Bad { place, message: message.to_owned() }
    }

    pub(super) fn text(&self, key: &str) -> Result<String, ConfigError> {
        match self.get(key)? {
            Value::Text(text) => Ok(text.trim().to_owned()),
            Value::Number(_) | Value::Flag(_) | Value::Texts(_) => Err(self.bad(key, "expected a text")),
        }
    }

    /// A text, or nothing if it is empty.
    pub(super) fn maybe(&self, key: &str) -> Result<Option<String>, ConfigError> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    /// A text that must be set.
    pub(super) fn needed(&self, key: &str) -> Result<String, ConfigError> {
        let missing = format!("is not set; set it in {USUAL_FILE} or as ${}", env_name(key));
        self.maybe(key)?.ok_or_else(|| self.bad(key, &missing))
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        match self.get(key)? {
            Value::Texts(texts) => {
                Ok(texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect())
            }
            Value::Text(_) | Value::Number(_) | Value::Flag(_) => Err(self.bad(key, "expected a list of texts")),
        }
    }

    pub(super) fn numbers(&self, key: &str) -> Result<Vec<i64>, ConfigError> {
        let number = |text: &String| {
            text.parse().map_err(|_| self.bad(key, &format!("{text:?} is no account id; ids are numbers")))
        };
        self.texts(key)?.iter().map(number).collect()
    }

    pub(super) fn number(&self, key: &str, within: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        match self.get(key)? {
            Value::Number(number) if within.contains(number) => Ok(*number),
            Value::Number(number) => {
                let message = format!("`{key}` is {number}; it must be from {} to {}", within.start(), within.end());
                Err(self.bad(key, &message))
            }
            Value::Text(_) | Value::Flag(_) | Value::Texts(_) => Err(self.bad(key, "expected a number")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        match self.get(key)? {
            Value::Flag(flag) => Ok(*flag),
            Value::Text(_) | Value::Number(_) | Value::Texts(_) => Err(self.bad(key, "expected true or false")),
        }
    }

    /// A duration within bounds, in seconds.
    pub(super) fn time(&self, key: &str, within: RangeInclusive<u64>) -> Result<Duration, ConfigError> {
        let text = self.text(key)?;
        let time = recipe::duration::parse(&text)
            .map_err(|_| self.bad(key, &format!("{text:?} is no time; write it as in \"90s\", \"15m\", \"1h30m\"")))?;
        let (least, most) = (Duration::from_secs(*within.start()), Duration::from_secs(*within.end()));
        if time < least || time > most {
            let message = format!("`{key}` is {text}; it must be from {} s to {} s", within.start(), within.end());
            return Err(self.bad(key, &message));
        }
        Ok(time)
    }

    fn get(&self, key: &str) -> Result<&Value, ConfigError> {
        self.values.get(key).map(|(value, _)| value).ok_or_else(|| self.bad(key, "is no setting"))
    }
}

/// `forge.url` → `CC_CI_FORGE_URL`.
fn env_name(key: &str) -> String {
    format!("CC_CI_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// All keys of a text with value and place.
fn parse(name: &str, text: &str) -> Result<BTreeMap<String, (Value, String)>, ConfigError> {
    let place = |at: usize| format!("{name}:{}", text.get(..at).unwrap_or(text).matches('\n').count() + 1);
    let bad = |at: usize, message: String| ConfigError::Bad { place: place(at), message };
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        bad(at, error.message().to_owned())
    })?;
    let mut out = BTreeMap::new();
    // In the order of the file, so that the first mistake is told.
    let mut sections: Vec<_> = root.get_ref().iter().collect();
    sections.sort_by_key(|(section, _)| section.span().start);
    for (section, table) in sections {
        let at = section.span().start;
        let DeValue::Table(table) = table.get_ref() else {
            return Err(bad(at, format!("`{}` stands outside of a section such as [forge]", section.get_ref())));
        };
        for (key, value) in table {
            let full = format!("{}.{}", section.get_ref(), key.get_ref());
            let at = key.span().start;
            let value = plain(value.get_ref())
                .ok_or_else(|| bad(at, format!("`{full}` has a value of a kind that no setting has")))?;
            out.insert(full, (value, place(at)));
        }
    }
    Ok(out)
}

fn plain(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::Text(text.to_string())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Number),
        DeValue::Boolean(flag) => Some(Value::Flag(*flag)),
        DeValue::Array(entries) => entries
            .iter()
            .map(|entry| match entry.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Integer(number) => Some(number.as_str().to_owned()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Value::Texts),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn same_kind(key: &str, default: &Value, value: Value) -> Result<Value, String> {
    match (default, &value) {
        (Value::Text(_), Value::Text(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Flag(_), Value::Flag(_))
        | (Value::Texts(_), Value::Texts(_)) => Ok(value),
        (wanted, _) => Err(format!("`{key}` must be {}, as in `{}`", kind(wanted), shown(wanted))),
    }
}

fn from_env(default: &Value, text: &str) -> Result<Value, String> {
    let wrong = || format!("{text:?} is not {}", kind(default));
    match default {
        Value::Text(_) => Ok(Value::Text(text.to_owned())),
        Value::Number(_) => text.trim().parse().map(Value::Number).map_err(|_| wrong()),
        Value::Flag(_) => match text.trim() {
            "true" | "1" => Ok(Value::Flag(true)),
            "false" | "0" => Ok(Value::Flag(false)),
            _ => Err(wrong()),
        },
        Value::Texts(_) => Ok(Value::Texts(text.split(',').map(|part| part.trim().to_owned()).collect())),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "a text",
        Value::Number(_) => "a number",
        Value::Flag(_) => "true or false",
        Value::Texts(_) => "a list of texts",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::String(text.clone()).to_string(),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Texts(texts) => toml::Value::Array(texts.iter().cloned().map(toml::Value::String).collect()).to_string(),
    }
}

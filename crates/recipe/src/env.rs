//! `.env.sample`: the settings of a recipe, as text with comments, options and modifiers.
//!
//! Never fails as a whole: a line that cannot be read becomes a finding with its number. The one rule to know: values are expanded in
//! file order and the last one wins, which is how `COMPOSE_FILE="$COMPOSE_FILE:compose.x.yml"` collects overlays.

use std::collections::BTreeMap;

use crate::finding::{Finding, Place};
use crate::interpolate::Env;

/// One setting, in use or commented out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name of the variable.
    pub name: String,
    /// The value without quotes, before expansion.
    pub value: String,
    /// How the value was quoted.
    pub quote: Quote,
    /// False for an option that is commented out (`#NAME=value`).
    pub active: bool,
    /// The comment behind the value, without `#`.
    pub comment: String,
    /// `key=value` words of that comment, for example `length` → `32`.
    pub modifiers: BTreeMap<String, String>,
    /// Line, from 1.
    pub line: usize,
}

/// How a value was quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// No quotes: expanded, trimmed, ends before ` #`.
    None,
    /// `"…"`: expanded, with backslash escapes.
    Double,
    /// `'…'`: taken literally.
    Single,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Nothing.
    Blank,
    /// A comment that is no commented-out option, without `#`.
    Comment(String),
    /// A setting.
    Setting(Setting),
}

/// A parsed `.env.sample`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvSample {
    /// All lines in order.
    pub lines: Vec<Line>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

impl EnvSample {
    /// Reads the text; `file` names it in findings.
    pub fn parse(file: &str, text: &str) -> Self {
        let mut sample = Self::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, raw) in text.lines().enumerate() {
            let number = index + 1;
            let place = Place::new(file, number);
            let line = raw.trim();
            if line.is_empty() {
                sample.lines.push(Line::Blank);
            } else if let Some(comment) = line.strip_prefix('#') {
                match setting(comment.trim_start(), false, number) {
                    Ok(option) if comment_is_option(comment) => sample.lines.push(Line::Setting(option)),
                    _ => sample.lines.push(Line::Comment(comment.trim().to_owned())),
                }
            } else {
                let (body, exported) = match line.strip_prefix("export ") {
                    Some(body) => (body.trim_start(), true),
                    None => (line, false),
                };
                if exported {
                    sample.findings.push(Finding::warning(
                        "E002",
                        &place,
                        "`export` in an env file",
                        "write NAME=value only",
                    ));
                }
                match setting(body, true, number) {
                    Ok(setting) => sample.lines.push(Line::Setting(setting)),
                    Err(reason) => {
                        sample.findings.push(Finding::error(
                            "E001",
                            &place,
                            format!("cannot read this line: {reason}"),
                            "write NAME=value, or # in front of a comment",
                        ));
                        sample.lines.push(Line::Comment(raw.to_owned()));
                    }
                }
            }
        }
        sample
    }

    /// The settings in use, in order.
    pub fn active(&self) -> impl Iterator<Item = &Setting> {
        self.settings().filter(|setting| setting.active)
    }

    /// The options that are commented out, in order.
    pub fn options(&self) -> impl Iterator<Item = &Setting> {
        self.settings().filter(|setting| !setting.active)
    }

    /// All settings, in use or not, in order.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.lines.iter().filter_map(|line| match line {
            Line::Setting(setting) => Some(setting),
            Line::Blank | Line::Comment(_) => None,
        })
    }

    /// The last setting of that name; one in use is preferred to a commented-out one.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        let named = |active: bool| self.settings().filter(move |s| s.name == name && s.active == active).last();
        named(true).or_else(|| named(false))
    }

    /// The values in use, expanded in file order: `$NAME` and `${NAME}` take what earlier lines set, or nothing. A name in `overrides` has the
    /// value given there from its first line on, and names that the sample lacks are added at the end.
    pub fn expand(&self, overrides: &Env) -> Env {
        let mut env = Env::new();
        for setting in self.active() {
            let value = match overrides.get(&setting.name) {
                Some(value) => value.clone(),
                None => expanded(setting, &env),
            };
            env.insert(setting.name.clone(), value);
        }
        env.extend(overrides.iter().map(|(name, value)| (name.clone(), value.clone())));
        env
    }
}

/// `# length=32` behind a value and prose like `# see FOO=bar` both hold `=`; an option starts with its name right away.
fn comment_is_option(comment: &str) -> bool {
    let name: &str = comment.trim_start().split('=').next().unwrap_or_default();
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn setting(text: &str, active: bool, line: usize) -> Result<Setting, String> {
    let (name, rest) = text.split_once('=').ok_or_else(|| "there is no `=`".to_owned())?;
    let name = name.trim();
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Err(format!("{name:?} is no variable name"));
    }
    let rest = rest.trim_start();
    let (quote, value, tail) = match rest.chars().next() {
        Some('"') => {
            let (value, tail) =
                double_quoted(&rest[1..]).ok_or_else(|| format!("the double quote after {name}= is not closed"))?;
            (Quote::Double, value, tail)
        }
        Some('\'') => {
            let (value, tail) =
                rest[1..].split_once('\'').ok_or_else(|| format!("the single quote after {name}= is not closed"))?;
            (Quote::Single, value.to_owned(), tail)
        }
        Some('#') => (Quote::None, String::new(), rest),
        _ => {
            let end = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
            (Quote::None, rest[..end].trim_end().to_owned(), &rest[end..])
        }
    };
    let tail = tail.trim();
    if !tail.is_empty() && !tail.starts_with('#') {
        return Err(format!("text behind the closing quote of {name}"));
    }
    let comment = tail.trim_start_matches('#').trim().to_owned();
    let modifiers = comment
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    Ok(Setting { name: name.to_owned(), value, quote, active, comment, modifiers, line })
}

/// The text up to the closing quote, escapes kept for `expanded`, and what follows.
fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some((text[..at].to_owned(), &text[at + 1..])),
            '\\' if !escaped => escaped = true,
            _ => escaped = false,
        }
    }
    None
}

fn expanded(setting: &Setting, env: &Env) -> String {
    if setting.quote == Quote::Single {
        return setting.value.clone();
    }
    let mut result = String::new();
    let mut rest = setting.value.as_str();
    while let Some(at) = rest.find(['$', '\\']) {
        result.push_str(&rest[..at]);
        let (sign, after) = rest[at..].split_at(1);
        rest =
            if sign == "\\" { unescape(after, setting.quote, &mut result) } else { variable(after, env, &mut result) };
    }
    result.push_str(rest);
    result
}

fn unescape<'a>(after: &'a str, quote: Quote, result: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        result.push('\\');
        return after;
    };
    match (c, quote) {
        ('$', _) => result.push('$'),
        ('n', Quote::Double) => result.push('\n'),
        ('r', Quote::Double) => result.push('\r'),
        ('"' | '\\' | '`' | '!', Quote::Double) => result.push(c),
        _ => {
            result.push('\\');
            result.push(c);
        }
    }
    &after[c.len_utf8()..]
}

fn variable<'a>(after: &'a str, env: &Env, result: &mut String) -> &'a str {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let (name, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        Some((name, tail)) if !name.is_empty() && name.bytes().all(|b| is_name(&b)) => (name, tail),
        _ => after.split_at(after.bytes().take_while(is_name).count()),
    };
    if name.is_empty() {
        result.push('$');
        return after;
    }
    result.push_str(env.get(name).map_or("", String::as_str));
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "TYPE=bonfire\n\n# Domain of the app\nDOMAIN=blog.example.com\n## Extra domains\n#EXTRA_DOMAINS=', `www.blog.example.com`'\nLETS_ENCRYPT_ENV=production\n\nCOMPOSE_FILE=\"compose.yml\"\nCOMPOSE_FILE=\"$COMPOSE_FILE:compose.postgres.yml\"\n# COMPOSE_FILE=\"${COMPOSE_FILE}:compose.smtp.yml\"\n\nSECRET_DB_PASSWORD_VERSION=v1 # length=32 charset=hex\nSECRET_KEY_VERSION=v1  # generate=false\nA='$DOMAIN \\n'\nB=\"x\\n\\\"$DOMAIN\\\" \\$DOMAIN\"\nC=a b # c\nD=a#b\nE=\nF=$NOPE/x\nG=\"${DOMAIN}\" # see F=1 now\n";

    fn sample() -> EnvSample {
        EnvSample::parse(".env.sample", SAMPLE)
    }

    #[test]
    fn values_expand_in_order() {
        let env = sample().expand(&Env::new());
        for (name, expected) in [
            ("COMPOSE_FILE", "compose.yml:compose.postgres.yml"),
            ("A", "$DOMAIN \\n"),
            ("B", "x\n\"blog.example.com\" $DOMAIN"),
            ("C", "a b"),
            ("D", "a#b"),
            ("E", ""),
            ("F", "/x"),
            ("G", "blog.example.com"),
            ("SECRET_DB_PASSWORD_VERSION", "v1"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(expected), "{name}");
        }
        assert!(!env.contains_key("EXTRA_DOMAINS"));
    }

    #[test]
    fn overrides_win_and_feed_later_lines() {
        let overrides: Env =
            [("DOMAIN", "x.ci"), ("NEW", "1")].into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let env = sample().expand(&overrides);
        assert_eq!((env["DOMAIN"].as_str(), env["G"].as_str(), env["NEW"].as_str()), ("x.ci", "x.ci", "1"));
    }

    #[test]
    fn options_comments_and_modifiers() {
        let sample = sample();
        let options: Vec<&str> = sample.options().map(|s| s.name.as_str()).collect();
        assert_eq!(options, ["EXTRA_DOMAINS", "COMPOSE_FILE"]);
        let secret = sample.setting("SECRET_DB_PASSWORD_VERSION").expect("secret");
        assert_eq!(secret.modifiers.get("length").map(String::as_str), Some("32"));
        assert_eq!(secret.modifiers.get("charset").map(String::as_str), Some("hex"));
        assert_eq!(secret.line, 13);
        assert_eq!(
            sample.setting("SECRET_KEY_VERSION").and_then(|s| s.modifiers.get("generate")).map(String::as_str),
            Some("false")
        );
        assert!(sample.lines.contains(&Line::Comment("Domain of the app".into())));
        assert!(sample.findings.is_empty(), "{:?}", sample.findings);
    }

    #[test]
    fn broken_lines_are_findings_with_numbers() {
        let sample = EnvSample::parse(".env.sample", "A=1\nnonsense\nB=\"open\nexport C=3\n1D=4\nE='x' y\nF=6\n");
        let seen: Vec<(String, usize)> = sample.findings.iter().map(|f| (f.code.to_string(), f.line)).collect();
        assert_eq!(
            seen,
            [("E001".into(), 2), ("E001".into(), 3), ("E002".into(), 4), ("E001".into(), 5), ("E001".into(), 6)]
        );
        let env = sample.expand(&Env::new());
        assert_eq!(env.keys().map(String::as_str).collect::<Vec<_>>(), ["A", "C", "F"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[A-C=\"'$#{}\\\\ \\n é]{0,60}") {
            let sample = EnvSample::parse("f", &text);
            let _ = sample.expand(&Env::new());
            proptest::prop_assert_eq!(sample.lines.len(), text.strip_prefix('\u{feff}').unwrap_or(&text).lines().count());
        }
    }
}

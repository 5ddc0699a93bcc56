//! Typed reading of YAML nodes with findings instead of failures, so that one run tells everything that is wrong.

use std::time::Duration;

use crate::duration;
use crate::finding::{Finding, Place, Severity};
use crate::policy::Rule;
use crate::yaml::{Key, Node, Pos, Typed, Value};

/// Whether docker/cli turns an interpolated text into the type that a key needs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Cast {
    Yes,
    No,
}

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    pub(super) fn place(&self, pos: Pos) -> Place {
        Place::new(self.file, pos.line)
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        pos: Pos,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = self.place(pos);
        self.findings.push(Finding::error(code, &place, message, remedy));
    }

    pub(super) fn note(&mut self, code: &'static str, pos: Pos, message: impl Into<String>, remedy: impl Into<String>) {
        let place = self.place(pos);
        self.findings.push(Finding::new(code, Severity::Note, &place, message, remedy));
    }

    pub(super) fn refuse(&mut self, rule: Rule, pos: Pos, what: impl AsRef<str>) {
        let place = self.place(pos);
        self.findings.push(rule.refuse(&place, what.as_ref()));
    }

    pub(super) fn unknown(&mut self, key: &Key, parent: &str) {
        self.refuse(Rule::UnknownKey, key.pos, format!("{:?} in {parent}", key.text));
    }

    fn wrong(&mut self, node: &Node, what: &str, expected: &str) {
        self.error("C002", node.pos, format!("{what} must be {expected}, but is {}", node.kind()), "");
    }

    /// The entries of a mapping; nothing, with a finding, for anything else. `null` is an empty mapping.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        match node.map() {
            Some(entries) => entries,
            None if node.is_null() => &[],
            None => {
                self.wrong(node, what, "a mapping");
                &[]
            }
        }
    }

    pub(super) fn seq<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match node.seq() {
            Some(items) => items,
            None => {
                self.wrong(node, what, "a list");
                &[]
            }
        }
    }

    pub(super) fn string(&mut self, node: &Node, what: &str) -> Option<String> {
        match node.scalar().map(|scalar| (scalar.typed(), scalar)) {
            Some((Typed::Str(text), _)) => Some(text.to_owned()),
            _ => {
                self.wrong(node, what, "a string (put it in quotes)");
                None
            }
        }
    }

    pub(super) fn bool(&mut self, node: &Node, what: &str, cast: Cast) -> bool {
        let result = match node.scalar().map(|scalar| (scalar.typed(), scalar.raw.is_some(), scalar.plain)) {
            Some((Typed::Bool(value), ..)) => Some(value),
            // Interpolated texts are cast where docker/cli does so; older releases take the words of YAML 1.1 for booleans.
            Some((Typed::Str(text), interpolated, plain))
                if (interpolated && cast == Cast::Yes) || (plain && !interpolated) =>
            {
                match text.to_ascii_lowercase().as_str() {
                    "y" | "yes" | "on" | "true" => Some(true),
                    "n" | "no" | "off" | "false" => Some(false),
                    _ => None,
                }
            }
            _ => None,
        };
        result.unwrap_or_else(|| {
            self.wrong(node, what, "true or false");
            false
        })
    }

    pub(super) fn int(&mut self, node: &Node, what: &str, cast: Cast) -> Option<i64> {
        let result = match node.scalar().map(|scalar| (scalar.typed(), scalar.raw.is_some())) {
            Some((Typed::Int(value), _)) => Some(value),
            Some((Typed::Str(text), true)) if cast == Cast::Yes => text.parse().ok(),
            _ => None,
        };
        if result.is_none() {
            self.wrong(node, what, "a whole number");
        }
        result
    }

    pub(super) fn unsigned(&mut self, node: &Node, what: &str, cast: Cast) -> Option<u64> {
        let value = self.int(node, what, cast)?;
        let result = u64::try_from(value).ok();
        if result.is_none() {
            self.error("C003", node.pos, format!("{what} must not be negative"), "");
        }
        result
    }

    pub(super) fn float(&mut self, node: &Node, what: &str, cast: Cast) -> Option<f64> {
        let result = match node.scalar().map(|scalar| (scalar.typed(), scalar.raw.is_some())) {
            #[allow(clippy::cast_precision_loss, reason = "ratios and core counts are small")]
            Some((Typed::Int(value), _)) => Some(value as f64),
            Some((Typed::Float(value), _)) => Some(value),
            Some((Typed::Str(text), true)) if cast == Cast::Yes => text.parse().ok(),
            _ => None,
        };
        let result = result.filter(|value: &f64| value.is_finite());
        if result.is_none() {
            self.wrong(node, what, "a number");
        }
        result
    }

    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let text = self.string(node, what)?;
        let result = duration::parse(&text);
        if let Err(error) = &result {
            self.error("C003", node.pos, format!("{what}: {error}"), "");
        }
        result.ok()
    }

    /// A size: a number of bytes or a text with a unit.
    pub(super) fn size(&mut self, node: &Node, what: &str) -> Option<u64> {
        let text = self.scalar_text(node, what)?;
        let result = duration::parse_size(&text);
        if let Err(error) = &result {
            self.error("C003", node.pos, format!("{what}: {error}"), "");
        }
        result.ok()
    }

    /// A string or a number, as text.
    pub(super) fn scalar_text(&mut self, node: &Node, what: &str) -> Option<String> {
        match node.scalar().map(|scalar| scalar.typed()) {
            Some(Typed::Str(text)) => Some(text.to_owned()),
            Some(Typed::Int(number)) => Some(number.to_string()),
            Some(Typed::Float(number)) => Some(number.to_string()),
            _ => {
                self.wrong(node, what, "a string or a number (put it in quotes)");
                None
            }
        }
    }

    /// A list of distinct strings.
    pub(super) fn strings(&mut self, node: &Node, what: &str) -> Vec<String> {
        let mut result: Vec<String> = Vec::new();
        for item in self.seq(node, what) {
            let Some(text) = self.string(item, what) else { continue };
            if result.contains(&text) {
                self.error("C003", item.pos, format!("{what} has {text:?} twice"), "keep one");
            } else {
                result.push(text);
            }
        }
        result
    }

    pub(super) fn string_or_strings(&mut self, node: &Node, what: &str) -> Vec<String> {
        match &node.value {
            Value::Scalar(_) => self.string(node, what).into_iter().collect(),
            Value::Seq(_) | Value::Map(_) => self.strings(node, what),
        }
    }

    /// A list of `key=value` or a mapping; an entry without a value is `None`.
    pub(super) fn pairs(&mut self, node: &Node, what: &str) -> Vec<(String, Option<String>, Pos)> {
        let mut result: Vec<(String, Option<String>, Pos)> = Vec::new();
        match &node.value {
            Value::Map(entries) => {
                for (key, value) in entries {
                    if key.text.contains("${") {
                        let place = self.place(key.pos);
                        self.findings.push(Finding::warning(
                            "C013",
                            &place,
                            format!(
                                "the key {:?} of {what} keeps its `${{…}}`: variables are replaced in values only",
                                key.text
                            ),
                            "write the entries as a list of \"key=value\"",
                        ));
                    }
                    let text =
                        if value.is_null() { None } else { self.scalar_text(value, &format!("{what}.{}", key.text)) };
                    result.push((key.text.clone(), text, key.pos));
                }
            }
            Value::Seq(items) => {
                for item in items {
                    let Some(text) = self.string(item, what) else { continue };
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    };
                    // The later of two entries wins, as in docker/cli.
                    result.retain(|(have, ..)| *have != key);
                    result.push((key, value, item.pos));
                }
            }
            Value::Scalar(_) if node.is_null() => {}
            Value::Scalar(_) => self.wrong(node, what, "a list of \"key=value\" or a mapping"),
        }
        result
    }
}

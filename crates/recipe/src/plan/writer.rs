//! Writes a tree of values as YAML that every release of Docker reads in the same way.
//!
//! The one rule to know: every text is in double quotes and every `$` is doubled, so neither YAML's types nor Docker's interpolation can
//! change what we wrote.

use std::fmt::Write as _;

use crate::interpolate;

/// A value to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Out {
    Null,
    Bool(bool),
    Int(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
}

impl From<&str> for Out {
    fn from(text: &str) -> Self {
        Out::Text(text.to_owned())
    }
}

impl From<&String> for Out {
    fn from(text: &String) -> Self {
        Out::Text(text.clone())
    }
}

/// A mapping under construction that leaves out what is not set.
#[derive(Default)]
pub(super) struct MapOut(Vec<(String, Out)>);

impl MapOut {
    pub(super) fn put(&mut self, key: &str, value: Out) {
        self.0.push((key.to_owned(), value));
    }

    pub(super) fn text(&mut self, key: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.put(key, Out::from(value.as_ref()));
        }
    }

    pub(super) fn int(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.put(key, Out::Int(value));
        }
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.put(key, Out::Bool(true));
        }
    }

    pub(super) fn texts<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a String>) {
        let values: Vec<Out> = values.into_iter().map(Out::from).collect();
        if !values.is_empty() {
            self.put(key, Out::List(values));
        }
    }

    pub(super) fn pairs<'a>(&mut self, key: &str, values: impl IntoIterator<Item = (&'a String, &'a String)>) {
        let values: Vec<(String, Out)> =
            values.into_iter().map(|(key, value)| (key.clone(), Out::from(value))).collect();
        if !values.is_empty() {
            self.put(key, Out::Map(values));
        }
    }

    /// Puts a mapping unless it is empty.
    pub(super) fn map(&mut self, key: &str, value: MapOut) {
        if !value.0.is_empty() {
            self.put(key, value.done());
        }
    }

    pub(super) fn done(self) -> Out {
        Out::Map(self.0)
    }
}

/// The value as a YAML document.
pub(super) fn write(value: &Out) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Out, indent: usize, text: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Out::Map(entries) => {
            for (key, value) in entries {
                let _ = write!(text, "{pad}{}:", key_text(key));
                inline_or_block(value, indent + 1, text);
            }
        }
        Out::List(items) => {
            for item in items {
                let _ = write!(text, "{pad}-");
                match item {
                    Out::Map(entries) if !entries.is_empty() => {
                        // The first key follows the dash, the others line up with it.
                        let mut inner = String::new();
                        block(item, indent + 1, &mut inner);
                        let _ = write!(text, " {}", inner.trim_start());
                    }
                    other => inline_or_block(other, indent + 1, text),
                }
            }
        }
        Out::Null | Out::Bool(_) | Out::Int(_) | Out::Signed(_) | Out::Float(_) | Out::Text(_) => {
            inline_or_block(value, indent, text);
        }
    }
}

fn inline_or_block(value: &Out, indent: usize, text: &mut String) {
    let _ = match value {
        Out::Null => writeln!(text, " null"),
        Out::Bool(value) => writeln!(text, " {value}"),
        Out::Int(value) => writeln!(text, " {value}"),
        Out::Signed(value) => writeln!(text, " {value}"),
        Out::Float(value) => writeln!(text, " {value:?}"),
        Out::Text(value) => writeln!(text, " {}", quoted(&interpolate::escape(value))),
        Out::Map(entries) if entries.is_empty() => writeln!(text, " {{}}"),
        Out::List(items) if items.is_empty() => writeln!(text, " []"),
        Out::Map(_) | Out::List(_) => {
            text.push('\n');
            block(value, indent, text);
            Ok(())
        }
    };
}

/// Plain if no YAML could take it for anything but a text; keys are not interpolated.
fn key_text(key: &str) -> String {
    let plain = key.len() > 1
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !["yes", "no", "on", "off", "true", "false", "null"].contains(&key.to_ascii_lowercase().as_str());
    if plain { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let code = u32::from(c);
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\t' => out.write_str("\\t"),
            '\r' => out.write_str("\\r"),
            // Control characters, and what some YAML releases take for a line break or refuse.
            _ if c.is_control() || matches!(code, 0x2028 | 0x2029 | 0xFEFF | 0xFFFE | 0xFFFF) => {
                if code > 0xFF {
                    write!(out, "\\u{code:04x}")
                } else {
                    write!(out, "\\x{code:02x}")
                }
            }
            _ => out.write_char(c),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn shape() {
        let mut inner = MapOut::default();
        inner.text("image", Some("a:1"));
        inner.put(
            "on",
            Out::List(vec![
                Out::Map(vec![("x".into(), Out::Int(1)), ("yy".into(), Out::Null)]),
                Out::from("$A"),
                Out::List(vec![]),
            ]),
        );
        inner.put("empty", Out::Map(vec![]));
        inner.put("ratio", Out::Float(1.0));
        let out = Out::Map(vec![("services".into(), Out::Map(vec![("app".into(), inner.done())]))]);
        assert_eq!(
            write(&out),
            "services:\n  app:\n    image: \"a:1\"\n    \"on\":\n      - \"x\": 1\n        yy: null\n      - \"$$A\"\n      - []\n    empty: {}\n    ratio: 1.0\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back(key in "\\PC{1,8}|[a-z]{1,5}", value in "(?s).{0,40}") {
            let text = write(&Out::Map(vec![(key.clone(), Out::from(&value))]));
            let node = yaml::load("f", &text).map_err(|error| proptest::test_runner::TestCaseError::fail(format!("{error}: {text}")))?;
            let got = node.get(&key).and_then(yaml::Node::scalar).map(|scalar| scalar.text.clone());
            proptest::prop_assert_eq!(got, Some(interpolate::escape(&value)), "{}", text);
        }
    }
}

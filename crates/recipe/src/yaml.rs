//! One YAML document as a tree of nodes that know their place.
//!
//! Scalars keep their text and style, so that each reader decides on the type it needs, as docker/cli's YAML library would
//! (`0444` is octal, `yes` is a string). The one rule to know: aliases and `<<` are expanded under a budget, so a small file
//! can never grow into a large tree.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use thiserror::Error;

/// Most nodes a document may have once aliases are expanded.
const MAX_NODES: usize = 50_000;
/// Deepest nesting of a document.
const MAX_DEPTH: usize = 40;
/// Longest document in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Line and column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pos {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub col: usize,
}

/// A value and where it was written. What came through an alias has the place of the anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it starts.
    pub pos: Pos,
}

/// A YAML value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A scalar of any type.
    Scalar(Scalar),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping with distinct keys, in file order (keys that came in through `<<` first).
    Map(Vec<(Key, Node)>),
}

/// A mapping key and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it starts.
    pub pos: Pos,
}

/// A scalar as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text after YAML's own escapes, and after interpolation where that was done.
    pub text: String,
    /// True when written without quotes and not as a block: then it may be a number, a boolean or null.
    pub plain: bool,
    /// The text before interpolation, if interpolation changed it. Such a scalar is a string, whatever it looks like.
    pub raw: Option<String>,
}

/// What a scalar is to docker/cli.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed<'a> {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false` in one of three spellings.
    Bool(bool),
    /// An integer: decimal, `0x`, `0o`, `0b`, or octal with a leading `0`.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Everything else.
    Str(&'a str),
}

/// Why a text is not one YAML document that we read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}:{}:{}: {message}", pos.line, pos.col)]
pub struct YamlError {
    /// Name of the file, as given.
    pub file: String,
    /// Where.
    pub pos: Pos,
    /// What is wrong.
    pub message: String,
}

/// Reads one document. An empty one is an empty mapping.
///
/// # Errors
/// Broken YAML, more than one document, a duplicate or non-text key, an unusual tag, a recursive alias, or a document that is too large once expanded.
pub fn load(file: &str, text: &str) -> Result<Node, YamlError> {
    let fail = |pos, message: String| YamlError { file: file.to_owned(), pos, message };
    if text.len() > MAX_BYTES {
        return Err(fail(Pos { line: 1, col: 1 }, format!("the file is larger than {MAX_BYTES} bytes")));
    }
    Builder::default().run(text).map_err(|(pos, message)| fail(pos, message))
}

impl Node {
    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            Value::Seq(_) | Value::Map(_) => None,
        }
    }

    /// The entries, if it is a mapping.
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            Value::Scalar(_) | Value::Seq(_) => None,
        }
    }

    /// The items, if it is a sequence.
    pub fn seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(items) => Some(items),
            Value::Scalar(_) | Value::Map(_) => None,
        }
    }

    /// The value of a key, if it is a mapping with that key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    /// True for an empty value, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.typed() == Typed::Null)
    }

    /// A word for what it is, for error messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.typed() {
                Typed::Null => "nothing",
                Typed::Bool(_) => "a boolean",
                Typed::Int(_) | Typed::Float(_) => "a number",
                Typed::Str(_) => "a string",
            },
        }
    }
}

impl Scalar {
    /// What docker/cli takes the scalar for.
    pub fn typed(&self) -> Typed<'_> {
        let text = self.text.as_str();
        if !self.plain || self.raw.is_some() {
            return Typed::Str(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Typed::Null,
            "true" | "True" | "TRUE" => return Typed::Bool(true),
            "false" | "False" | "FALSE" => return Typed::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Typed::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => return Typed::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => return Typed::Float(f64::NAN),
            _ => {}
        }
        if let Some(number) = int(text) {
            return Typed::Int(number);
        }
        match float(text) {
            Some(number) => Typed::Float(number),
            None => Typed::Str(text),
        }
    }
}

fn int(text: &str) -> Option<i64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || text.starts_with('_') {
        return None;
    }
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn float(text: &str) -> Option<f64> {
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let shape = body.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && body.bytes().any(|b| b.is_ascii_digit())
        && body.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-' | b'_'));
    if !shape {
        return None;
    }
    text.replace('_', "").parse().ok()
}

type Failure = (Pos, String);

/// A node under construction.
enum Open {
    Seq { items: Vec<Rc<Node>>, pos: Pos, anchor: usize },
    Map { entries: Vec<(Key, Rc<Node>)>, key: Option<Key>, merges: Vec<(Rc<Node>, Pos)>, pos: Pos, anchor: usize },
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    anchors: HashMap<usize, (Rc<Node>, usize)>,
    spent: usize,
    documents: usize,
    root: Option<Rc<Node>>,
}

impl Builder {
    fn run(mut self, text: &str) -> Result<Node, Failure> {
        // A byte order mark is legal in front of a document.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for event in Parser::new_from_str(text) {
            let (event, span) = event
                .map_err(|error| (Pos { line: error.marker().line(), col: error.marker().col() + 1 }, error.info()))?;
            self.event(event, &span)?;
        }
        match self.root {
            Some(root) => Ok(Rc::try_unwrap(root).unwrap_or_else(|shared| (*shared).clone())),
            None => Ok(Node { value: Value::Map(Vec::new()), pos: Pos { line: 1, col: 1 } }),
        }
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Failure> {
        let pos = Pos { line: span.start.line(), col: span.start.col() + 1 };
        if let Some(tag) = event.tag() {
            let name = tag.to_string();
            let usual = ["!!str", "!!int", "!!bool", "!!float", "!!null", "!!map", "!!seq", "!"]
                .contains(&name.as_str())
                || name
                    .strip_prefix("tag:yaml.org,2002:")
                    .is_some_and(|t| ["str", "int", "bool", "float", "null", "map", "seq"].contains(&t));
            if !usual {
                return Err((pos, format!("the tag {name} is not allowed: write the plain value")));
            }
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((pos, "more than one document in the file: keep one, without a second `---`".into()));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain
                    && !tag.is_some_and(|tag| tag.to_string().ends_with("str") || tag.to_string() == "!");
                let node = Node { value: Value::Scalar(Scalar { text: text.into_owned(), plain, raw: None }), pos };
                self.finish(Rc::new(node), anchor, 1)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open(Open::Seq { items: Vec::new(), pos, anchor }, pos)?,
            Event::MappingStart(_, anchor, _) => {
                self.open(Open::Map { entries: Vec::new(), key: None, merges: Vec::new(), pos, anchor }, pos)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(id) => match self.anchors.get(&id) {
                Some((node, size)) => {
                    let (node, size) = (Rc::clone(node), *size);
                    self.finish(node, 0, size)?;
                }
                None => return Err((pos, "an alias that contains itself".into())),
            },
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, open: Open, pos: Pos) -> Result<(), Failure> {
        if self.stack.len() >= MAX_DEPTH {
            return Err((pos, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            return Err((pos, "a key must be a plain text".into()));
        }
        self.stack.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let (node, anchor) = match self.stack.pop() {
            Some(Open::Seq { items, pos, anchor }) => {
                (Node { value: Value::Seq(items.into_iter().map(unshare).collect()), pos }, anchor)
            }
            Some(Open::Map { entries, merges, pos, anchor, .. }) => {
                (Node { value: Value::Map(merged(entries, merges)?), pos }, anchor)
            }
            None => return Ok(()),
        };
        let size = if anchor == 0 { 0 } else { size(&node) };
        // The parts were counted when they were finished; only the container itself is new.
        self.finish_sized(Rc::new(node), anchor, 1, size)
    }

    fn finish(&mut self, node: Rc<Node>, anchor: usize, size: usize) -> Result<(), Failure> {
        self.finish_sized(node, anchor, size, size)
    }

    fn finish_sized(&mut self, node: Rc<Node>, anchor: usize, cost: usize, size: usize) -> Result<(), Failure> {
        self.spent += cost;
        if self.spent > MAX_NODES {
            return Err((node.pos, format!("more than {MAX_NODES} values once aliases are expanded")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (Rc::clone(&node), size));
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, merges, .. }) => match key.take() {
                None => *key = Some(as_key(&node)?),
                Some(key) if key.text == "<<" => merges.push((node, key.pos)),
                Some(key) => {
                    if let Some((first, _)) = entries.iter().find(|(other, _)| other.text == key.text) {
                        return Err((
                            key.pos,
                            format!("the key {:?} is already there on line {}: keep one", key.text, first.pos.line),
                        ));
                    }
                    entries.push((key, node));
                }
            },
        }
        Ok(())
    }
}

fn as_key(node: &Node) -> Result<Key, Failure> {
    match &node.value {
        Value::Scalar(scalar) => match scalar.typed() {
            Typed::Str(text) => Ok(Key { text: text.to_owned(), pos: node.pos }),
            _ => Err((node.pos, format!("the key {} is not a text: put it in quotes", scalar.text))),
        },
        Value::Seq(_) | Value::Map(_) => Err((node.pos, "a key must be a plain text".into())),
    }
}

/// Entries with what `<<` brings in: an explicit key wins, then the earlier of several merged mappings.
fn merged(entries: Vec<(Key, Rc<Node>)>, merges: Vec<(Rc<Node>, Pos)>) -> Result<Vec<(Key, Node)>, Failure> {
    let mut result: Vec<(Key, Node)> = Vec::new();
    let explicit: std::collections::HashSet<String> = entries.iter().map(|(key, _)| key.text.clone()).collect();
    let mut take = |node: &Node, pos: Pos| match &node.value {
        Value::Map(more) => {
            for (key, value) in more {
                if !explicit.contains(&key.text) && !result.iter().any(|(have, _)| have.text == key.text) {
                    result.push((key.clone(), value.clone()));
                }
            }
            Ok(())
        }
        Value::Scalar(_) | Value::Seq(_) => Err((pos, "`<<` needs a mapping or a list of mappings".to_owned())),
    };
    for (node, pos) in merges {
        match &node.value {
            Value::Seq(items) => items.iter().try_for_each(|item| take(item, pos))?,
            Value::Scalar(_) | Value::Map(_) => take(&node, pos)?,
        }
    }
    result.extend(entries.into_iter().map(|(key, node)| (key, unshare(node))));
    Ok(result)
}

fn unshare(node: Rc<Node>) -> Node {
    Rc::try_unwrap(node).unwrap_or_else(|shared| (*shared).clone())
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::Seq(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + size(node)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), plain: true, raw: None }
    }

    #[test]
    fn plain_scalars_have_the_types_of_docker() {
        for (text, expected) in [
            ("0444", Typed::Int(0o444)),
            ("0o17", Typed::Int(15)),
            ("0x1F", Typed::Int(31)),
            ("0b11", Typed::Int(3)),
            ("1_000", Typed::Int(1000)),
            ("-7", Typed::Int(-7)),
            ("0", Typed::Int(0)),
            ("0999", Typed::Float(999.0)),
            ("1.5", Typed::Float(1.5)),
            ("1e3", Typed::Float(1000.0)),
            ("true", Typed::Bool(true)),
            ("False", Typed::Bool(false)),
            ("~", Typed::Null),
            ("", Typed::Null),
            ("yes", Typed::Str("yes")),
            ("on", Typed::Str("on")),
            ("no", Typed::Str("no")),
            ("22:22", Typed::Str("22:22")),
            ("1.2.3", Typed::Str("1.2.3")),
            ("inf", Typed::Str("inf")),
            ("0x", Typed::Str("0x")),
            ("64M", Typed::Str("64M")),
        ] {
            assert_eq!(scalar(text).typed(), expected, "{text:?}");
        }
        let quoted = Scalar { plain: false, ..scalar("0444") };
        assert_eq!(quoted.typed(), Typed::Str("0444"));
    }

    #[test]
    fn merge_keys_and_aliases() {
        let node = load("f", "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 9\n").expect("yaml");
        let c = node.get("c").and_then(Node::map).expect("c");
        let seen: Vec<String> =
            c.iter().map(|(k, v)| format!("{}={}", k.text, v.scalar().map_or("", |s| &s.text))).collect();
        assert_eq!(seen, ["y=2", "z=4", "x=9"]);
    }

    #[test]
    fn refusals_name_the_place() {
        for (text, line, col, part) in [
            ("a: 1\nb: 2\na: 3\n", 3, 1, "already there on line 1"),
            ("a: 1\n---\nb: 2\n", 2, 1, "more than one document"),
            ("a: [1, 2\nb: 3\n", 2, 2, ""),
            ("a:\n  1: x\n", 2, 3, "not a text"),
            ("a: !!binary aGk=\n", 1, 13, "tag"),
            ("a: &x [*x]\n", 1, 8, "contains itself"),
            ("a:\n  <<: 3\n", 2, 3, "`<<` needs"),
            ("? [a]\n: b\n", 1, 3, "a key must be"),
            ("a: *nope\n", 1, 4, ""),
        ] {
            let error = load("compose.yml", text).expect_err(text);
            assert_eq!(error.pos.line, line, "{text:?}: {error}");
            assert!(part.is_empty() || error.pos.col == col, "{text:?}: {error}");
            assert!(error.message.contains(part), "{text:?}: {error}");
            assert!(error.to_string().starts_with(&format!("compose.yml:{line}:")), "{error}");
        }
    }

    #[test]
    fn alias_bombs_and_depth_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 9].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(load("f", &bomb).expect_err("bomb").message.contains("aliases are expanded"));
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        assert!(load("f", &deep).is_err());
    }
}

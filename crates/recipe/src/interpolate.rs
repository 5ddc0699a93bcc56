//! Variable substitution in compose files, as docker/cli does it.
//!
//! The one rule to know: an unset variable without a default becomes the empty text. Docker only warns; we report its name.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// Variables by name.
pub type Env = BTreeMap<String, String>;

/// What a substitution did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Substituted {
    /// The text with every variable replaced.
    pub text: String,
    /// Names that were used without a default and are not set; each became the empty text.
    pub unset: BTreeSet<String>,
}

/// Why a text could not be substituted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InterpolateError {
    /// A `$` that starts neither a variable nor `$$`.
    #[error(
        "invalid use of `$` at {0:?}: write `$$` for a literal dollar sign, or ${{NAME}}; a default may not contain a closing brace"
    )]
    Invalid(String),
    /// `${X:?message}` or `${X?message}` and X has no value.
    #[error("the variable {name} is required and has no value: {message}")]
    Required {
        /// Name of the variable.
        name: String,
        /// What the recipe says about it.
        message: String,
    },
}

/// A variable as it is used in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Name of the variable.
    pub name: String,
    /// True for `:-` and `-`.
    pub has_default: bool,
}

/// Replaces `$$`, `$X`, `${X}`, `${X:-d}`, `${X-d}`, `${X:?e}` and `${X?e}`. A default is literal text, without nesting.
///
/// # Errors
/// A `$` that starts nothing, or a required variable without a value.
pub fn substitute(text: &str, env: &Env) -> Result<Substituted, InterpolateError> {
    let mut result = Substituted::default();
    for piece in pieces(text) {
        match piece? {
            Piece::Text(literal) => result.text.push_str(literal),
            Piece::Dollar => result.text.push('$'),
            Piece::Variable { name, rule } => {
                let value = env.get(name).map(String::as_str);
                let filled = value.filter(|value| !value.is_empty());
                let required =
                    |message: &str| InterpolateError::Required { name: name.to_owned(), message: message.to_owned() };
                result.text.push_str(match rule {
                    Rule::Plain => value.unwrap_or_else(|| {
                        result.unset.insert(name.to_owned());
                        ""
                    }),
                    Rule::IfEmpty(default) => filled.unwrap_or(default),
                    Rule::IfUnset(default) => value.unwrap_or(default),
                    Rule::NeedFilled(message) => filled.ok_or_else(|| required(message))?,
                    Rule::NeedSet(message) => value.ok_or_else(|| required(message))?,
                });
            }
        }
    }
    Ok(result)
}

/// The variables a text uses, in order; broken parts are skipped.
pub fn uses(text: &str) -> Vec<Use> {
    pieces(text)
        .filter_map(|piece| match piece {
            Ok(Piece::Variable { name, rule }) => {
                Some(Use { name: name.to_owned(), has_default: matches!(rule, Rule::IfEmpty(_) | Rule::IfUnset(_)) })
            }
            Ok(Piece::Text(_) | Piece::Dollar) | Err(_) => None,
        })
        .collect()
}

/// Doubles every `$`, so that substituting the result gives the text back.
pub fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

enum Piece<'a> {
    Text(&'a str),
    Dollar,
    Variable { name: &'a str, rule: Rule<'a> },
}

#[derive(Clone, Copy)]
enum Rule<'a> {
    Plain,
    IfEmpty(&'a str),
    IfUnset(&'a str),
    NeedFilled(&'a str),
    NeedSet(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, InterpolateError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, tail) = match rest.find('$') {
            None => (Ok(Piece::Text(rest)), ""),
            Some(0) => variable(rest),
            Some(at) => (Ok(Piece::Text(&rest[..at])), &rest[at..]),
        };
        rest = tail;
        Some(piece)
    })
}

/// The piece at the `$` that `text` starts with, and what follows it.
fn variable(text: &str) -> (Result<Piece<'_>, InterpolateError>, &str) {
    let after = &text[1..];
    if let Some(tail) = after.strip_prefix('$') {
        return (Ok(Piece::Dollar), tail);
    }
    let invalid = || {
        let shown: String = text.chars().take(30).collect();
        (Err(InterpolateError::Invalid(shown)), after)
    };
    if let Some(inner) = after.strip_prefix('{') {
        let Some(end) = inner.find('}') else { return invalid() };
        let (body, tail) = (&inner[..end], &inner[end + 1..]);
        let (name, operator) = body.split_at(name_len(body));
        return match rule(operator) {
            Some(rule) if !name.is_empty() => (Ok(Piece::Variable { name, rule }), tail),
            _ => invalid(),
        };
    }
    let len = name_len(after);
    if len == 0 {
        return invalid();
    }
    // docker/cli lets an operator follow a bare `$X` as well; it then reaches to the end of the text or to the next `}`.
    let (name, tail) = after.split_at(len);
    let reach = tail.find('}').unwrap_or(tail.len());
    match rule(&tail[..reach]) {
        Some(rule) if reach > 0 => (Ok(Piece::Variable { name, rule }), &tail[reach..]),
        _ => (Ok(Piece::Variable { name, rule: Rule::Plain }), tail),
    }
}

fn rule(operator: &str) -> Option<Rule<'_>> {
    if operator.is_empty() {
        return Some(Rule::Plain);
    }
    if let Some(default) = operator.strip_prefix(":-") {
        Some(Rule::IfEmpty(default))
    } else if let Some(default) = operator.strip_prefix('-') {
        Some(Rule::IfUnset(default))
    } else if let Some(message) = operator.strip_prefix(":?") {
        Some(Rule::NeedFilled(message))
    } else {
        operator.strip_prefix('?').map(Rule::NeedSet)
    }
}

fn name_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        [("X", "1"), ("EMPTY", ""), ("lower", "l"), ("STACK_NAME", "blog")]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    #[test]
    fn substitutions() {
        for (text, expected, unset) in [
            ("", "", ""),
            ("plain", "plain", ""),
            ("$X-", "1", ""),
            ("$X ", "1 ", ""),
            ("${X}", "1", ""),
            ("a${X}b$${X}c", "a1b${X}c", ""),
            ("$$$X", "$1", ""),
            ("$$$$", "$$", ""),
            ("${EMPTY}", "", ""),
            ("${EMPTY:-d}", "d", ""),
            ("${EMPTY-d}", "", ""),
            ("${NO:-d}", "d", ""),
            ("${NO-d}", "d", ""),
            ("${NO:-}", "", ""),
            ("${NO:-a:b/c-d?e}", "a:b/c-d?e", ""),
            ("${X:?need}", "1", ""),
            ("${EMPTY?need}", "", ""),
            ("${NO}", "", "NO"),
            ("$NO/$lower", "/l", "NO"),
            ("${STACK_NAME}_db", "blog_db", ""),
            ("${X:-${Y}}", "1}", ""),
            ("Host(`${X}`)", "Host(`1`)", ""),
        ] {
            let result = substitute(text, &env()).expect(text);
            assert_eq!(result.text, expected, "{text:?}");
            assert_eq!(result.unset.into_iter().collect::<Vec<_>>().join(","), unset, "{text:?}");
        }
    }

    #[test]
    fn refusals() {
        for text in ["$", "a$ b", "${", "${X", "${}", "${1X}", "$1", "${X:+y}", "${X:}", "${X Y}"] {
            assert!(matches!(substitute(text, &env()), Err(InterpolateError::Invalid(_))), "{text:?}");
        }
        for text in ["${NO:?say why}", "${NO?say why}", "${EMPTY:?say why}"] {
            let error = substitute(text, &env()).expect_err(text).to_string();
            assert!(error.contains("say why"), "{text:?}: {error}");
        }
    }

    #[test]
    fn names_in_use() {
        let names: Vec<String> = uses("${A}_$B ${C:-x} $$D")
            .into_iter()
            .map(|u| format!("{}{}", u.name, if u.has_default { "*" } else { "" }))
            .collect();
        assert_eq!(names, ["A", "B", "C*"]);
    }

    proptest::proptest! {
        #[test]
        fn escaping_is_undone(text in "\\PC{0,40}") {
            proptest::prop_assert_eq!(substitute(&escape(&text), &env()).map(|s| s.text), Ok(text));
        }

        #[test]
        fn never_panics(text in "[$${}:?a-zA-Z_0-9é-]{0,30}") {
            let _ = substitute(&text, &env());
            let _ = uses(&text);
        }
    }
}

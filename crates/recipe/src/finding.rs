//! Findings: what a recipe says that somebody should know about, always with a place.
//!
//! A finding never stands for a failure of ours. Only [`Severity::Error`] stops a recipe from being planned.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest message or remedy, in characters.
const MAX_TEXT: usize = 400;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing has to change.
    Note,
    /// Should be changed; the recipe still works, perhaps with a value that was replaced.
    Warning,
    /// The recipe cannot be deployed as it is, or is refused by the policy.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// A place in a recipe: a file of its tree and a line in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Place {
    /// Path inside the recipe, or the name of an overlay that is laid over it.
    pub file: String,
    /// Line, counted from 1; 0 when the finding is about the file as a whole.
    pub line: usize,
}

impl Place {
    /// A place from a file name and a line (from 1).
    pub fn new(file: impl Into<String>, line: usize) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

/// One finding: stable code, severity, place, what is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// Stable code: `P…` policy, `C…` compose, `E…` env, `S…` secrets. Never reused for something else.
    pub code: Cow<'static, str>,
    /// How much it matters.
    pub severity: Severity,
    /// File inside the recipe; empty when it is about the recipe as a whole.
    pub file: String,
    /// Line in that file, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong, and why it matters.
    pub message: String,
    /// What to try; empty when the message says it already.
    pub remedy: String,
}

impl Finding {
    /// A finding at a place.
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        severity: Severity,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (message, remedy) = (shortened(message.into()), shortened(remedy.into()));
        Self { code: code.into(), severity, file: place.file.clone(), line: place.line, message, remedy }
    }

    /// An error at a place.
    pub fn error(
        code: impl Into<Cow<'static, str>>,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Error, place, message, remedy)
    }

    /// A warning at a place.
    pub fn warning(
        code: impl Into<Cow<'static, str>>,
        place: &Place,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Warning, place, message, remedy)
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        Place::new(self.file.clone(), self.line)
    }

    /// True when it stops the recipe from being planned.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Recipes can put anything into a message, so none may grow without end.
fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}: ", self.place())?;
        }
        write!(f, "{} {}: {}", self.severity, self.code, self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

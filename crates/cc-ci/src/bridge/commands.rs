//! What a comment asks for.
//!
//! A command is a whole line of a top-level paragraph and nothing else on it: `!testme`, `!testme <commit>`, `!retest`,
//! `!cancel`, in plain ASCII; exactly one per comment. Quotes, code, HTML (comments too), lists, links, headings and
//! images never hold one. The rule to know: a line counts only if its *source* and its *rendering* are both the plain
//! command, so that nobody can be made to start what he does not see.

use std::fmt;

use serde::Serialize;

use super::lookalike;
use super::markdown::{self, Place};

/// The hidden first line of everything cc-ci writes begins with this.
pub const OWN_MARKER: &str = "<!-- cc-ci:";

/// Longer comments, in bytes, are not read: no command needs that, and parsing costs time.
pub const LONGEST_BODY: usize = 64 * 1024;

/// Fewest characters of a commit id that name a commit well enough.
pub const SHORTEST_COMMIT: usize = 10;

/// Most lines that an explanation lists, and most characters it shows of each.
const MOST_NOTES: usize = 20;
const LONGEST_EXCERPT: usize = 120;

/// A command, as understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub enum Command {
    /// Test the pull request's commit.
    Test {
        /// The commit the author means; without it, the head as the author saw it.
        commit: Option<CommitPrefix>,
    },
    /// Test the same commit as last time once more.
    Retest,
    /// Stop what is queued or running for the pull request.
    Cancel,
}

/// The first word of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandWord {
    /// `!testme`
    Test,
    /// `!retest`
    Retest,
    /// `!cancel`
    Cancel,
}

impl CommandWord {
    /// All of them.
    pub const ALL: [CommandWord; 3] = [CommandWord::Test, CommandWord::Retest, CommandWord::Cancel];

    /// The word without its exclamation mark.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CommandWord::Test => "testme",
            CommandWord::Retest => "retest",
            CommandWord::Cancel => "cancel",
        }
    }
}

/// The beginning of a commit id: 10 to 64 hexadecimal digits, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CommitPrefix(String);

impl CommitPrefix {
    /// Reads 10 to 64 hexadecimal digits of either case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ok = (SHORTEST_COMMIT..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        ok.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the full commit id `commit` begins so.
    #[must_use]
    pub fn names(&self, commit: &str) -> bool {
        commit.len() >= self.0.len() && commit.as_bytes()[..self.0.len()].eq_ignore_ascii_case(self.0.as_bytes())
    }
}

/// What came of reading a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "understood", rename_all = "snake_case")]
pub enum Understood {
    /// One command.
    Command(Command),
    /// Nothing for cc-ci.
    None,
    /// No command, but a line that was probably meant as one. `hint` is for people who may give commands.
    NearMiss {
        /// One sentence: what to write instead.
        hint: String,
    },
    /// Commands that cannot be obeyed together.
    Refused {
        /// One sentence.
        why: String,
    },
}

/// What was understood, and which line led to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The result.
    #[serde(flatten)]
    pub result: Understood,
    /// The lines that look like commands, in order; at most twenty.
    pub lines: Vec<LineNote>,
    /// Something about the whole comment, if it was not read line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// One line that looks like a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineNote {
    /// Line number, from 1, after line ends were normalised.
    pub line: usize,
    /// The line, with invisible and control characters written as escapes, cut after 120 characters.
    pub text: String,
    /// Where it stands in the rendered comment.
    pub place: Place,
    /// Whether it counts as a command.
    pub is_command: bool,
    /// Why it counts, or why not.
    pub why: String,
}

/// What a comment asks for.
#[must_use]
pub fn understand(body: &str) -> Understood {
    explain(body).result
}

/// Whether a comment is one command and nothing else at all, as only a program or somebody in a hurry writes it.
#[must_use]
pub fn is_plain_command(body: &str) -> bool {
    let line = body.trim_matches([' ', '\t', '\r', '\n']);
    parse_line(line).is_some() && matches!(understand(body), Understood::Command(_))
}

/// What a comment asks for, and why it was read so.
#[must_use]
pub fn explain(body: &str) -> Explanation {
    let remark = if body.len() > LONGEST_BODY {
        Some(format!("the comment has {} bytes; only comments up to {LONGEST_BODY} are read", body.len()))
    } else if body.trim_start().starts_with(OWN_MARKER) {
        Some("the comment carries cc-ci's own marker".to_owned())
    } else {
        None
    };
    if remark.is_some() {
        return Explanation { result: Understood::None, lines: Vec::new(), remark };
    }
    let text = markdown::normalise(body);
    let mut commands = Vec::new();
    let mut first_hint = None;
    let mut lines = Vec::new();
    for ((at, line), place) in text.split('\n').enumerate().zip(markdown::places(&text)) {
        let Some(reading) = Reading::of(line, place) else { continue };
        let (is_command, why) = match reading {
            Reading::Command(command) => {
                commands.push((at + 1, command));
                (true, "the whole line is a command".to_owned())
            }
            Reading::NearMiss(hint) => {
                first_hint.get_or_insert_with(|| hint.clone());
                (false, hint)
            }
            Reading::Mention(why) => (false, why),
        };
        if lines.len() < MOST_NOTES {
            lines.push(LineNote { line: at + 1, text: excerpt(line), place, is_command, why });
        }
    }
    let result = match (commands.as_slice(), first_hint) {
        ([(_, command)], _) => Understood::Command(command.clone()),
        ([], Some(hint)) => Understood::NearMiss { hint },
        ([], None) => Understood::None,
        (several, _) => {
            let at: Vec<String> = several.iter().take(5).map(|(line, _)| line.to_string()).collect();
            Understood::Refused {
                why: format!(
                    "the comment has {} commands (lines {}); write one command per comment",
                    several.len(),
                    at.join(", ")
                ),
            }
        }
    };
    Explanation { result, lines, remark: None }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Test { commit: None } => f.write_str("!testme"),
            Command::Test { commit: Some(commit) } => write!(f, "!testme {}", commit.0),
            Command::Retest => f.write_str("!retest"),
            Command::Cancel => f.write_str("!cancel"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Understood::Command(command) => writeln!(f, "command: {command}")?,
            Understood::None => writeln!(f, "no command")?,
            Understood::NearMiss { hint } => writeln!(f, "no command, but nearly: {hint}")?,
            Understood::Refused { why } => writeln!(f, "refused: {why}")?,
        }
        if let Some(remark) = &self.remark {
            writeln!(f, "  {remark}")?;
        }
        for note in &self.lines {
            writeln!(f, "  line {} ({}): {}", note.line, note.place.words(), note.text)?;
            writeln!(f, "    {} because {}", if note.is_command { "counts" } else { "does not count" }, note.why)?;
        }
        Ok(())
    }
}

/// What one line is to us; lines that have nothing to do with commands are no reading at all.
enum Reading {
    Command(Command),
    NearMiss(String),
    Mention(String),
}

impl Reading {
    fn of(line: &str, place: Place) -> Option<Self> {
        let trimmed = line.trim_matches([' ', '\t']);
        if place == Place::Paragraph {
            if let Some(command) = parse_line(trimmed) {
                return Some(Reading::Command(command));
            }
            if let Some(word) = lookalike::meant(trimmed) {
                return Some(Reading::NearMiss(how_to_write(trimmed, word)));
            }
            return mentions(trimmed).then(|| Reading::Mention("the command is not the whole line".to_owned()));
        }
        if place.may_be_meant() && parse_line(without_markup(trimmed)).is_some() {
            return Some(Reading::NearMiss(format!(
                "a command {} is not read; write it alone on a line of plain text",
                place.words()
            )));
        }
        mentions(trimmed).then(|| Reading::Mention(format!("the line is {}", place.words())))
    }
}

/// The grammar: the only place that makes a [`Command`].
fn parse_line(trimmed: &str) -> Option<Command> {
    match trimmed {
        "!testme" => Some(Command::Test { commit: None }),
        "!retest" => Some(Command::Retest),
        "!cancel" => Some(Command::Cancel),
        _ => {
            let rest = trimmed.strip_prefix("!testme")?;
            let commit = rest.trim_start_matches([' ', '\t']);
            if commit.len() == rest.len() {
                return None;
            }
            Some(Command::Test { commit: Some(CommitPrefix::parse(commit)?) })
        }
    }
}

/// Cheap test whether a line has to do with us at all.
fn mentions(line: &str) -> bool {
    let folded = lookalike::fold(line);
    CommandWord::ALL.iter().any(|word| folded.match_indices(word.name()).any(|(at, _)| folded[..at].ends_with('!')))
}

/// Takes list bullets, heading marks, emphasis and cell borders off both ends.
fn without_markup(line: &str) -> &str {
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.trim_matches(['-', '*', '+', '#', '_', '~', '.', ')', '|', ' ', '\t'])
}

fn how_to_write(line: &str, word: CommandWord) -> String {
    let name = word.name();
    let folded = lookalike::fold(line);
    if !line.is_ascii() || line.contains(|c: char| c.is_ascii_control() && c != '\t') {
        let odd = line.chars().find(|c| !c.is_ascii() || c.is_ascii_control()).map_or(0, u32::from);
        return format!("the line has a character that is not plain ASCII (U+{odd:04X}); type `!{name}` by hand");
    }
    if parse_line(&folded).is_some() {
        return format!("commands are written in lower case: `!{name}`");
    }
    match line.strip_prefix('!').and_then(|rest| rest.strip_prefix(name)) {
        Some(rest) if word == CommandWord::Test && rest.trim().bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("the commit after `!{name}` needs {SHORTEST_COMMIT} to 64 hexadecimal digits")
        }
        Some(rest) if word == CommandWord::Test && rest.starts_with([' ', '\t']) => {
            format!("only a commit may follow `!{name}` on its line")
        }
        Some(rest) if rest.starts_with([' ', '\t']) => format!("nothing may follow `!{name}` on its line"),
        Some(_) | None => format!("if a command was meant, write `!{name}` alone on a line"),
    }
}

fn excerpt(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars().take(LONGEST_EXCERPT) {
        if c.is_control() || lookalike::is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if line.chars().nth(LONGEST_EXCERPT).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_never_hold_a_live_command() {
        for line in [
            "!TESTME",
            "!testme abc",
            "!testmexyz",
            "! testme",
            "！testme",
            "!cancel now",
            "- !testme",
            "!testme please",
        ] {
            let Understood::NearMiss { hint } = understand(line) else { panic!("{line}: {:?}", understand(line)) };
            assert!(!matches!(understand(&hint), Understood::Command(_)), "{hint}");
            assert!(!hint.ends_with('.'), "{hint}");
        }
    }

    #[test]
    fn an_explanation_names_line_and_place() {
        let text = explain("> !testme\n\nno\n\n!testme 0123456789AB").to_string();
        assert_eq!(
            text,
            "command: !testme 0123456789ab\n  line 1 (quoted): > !testme\n    does not count because the line is quoted\n  \
             line 5 (plain text): !testme 0123456789AB\n    counts because the whole line is a command\n"
        );
    }

    #[test]
    fn a_prefix_names_its_commit_only() {
        let prefix = CommitPrefix::parse("0123456789").unwrap();
        assert!(prefix.names("0123456789abcdef"));
        assert!(!prefix.names("01234567"));
        assert!(!prefix.names("1123456789abcdef"));
        assert_eq!(CommitPrefix::parse("012345678"), None);
        assert_eq!(CommitPrefix::parse(&"a".repeat(65)), None);
    }
}

//! Hidden lines of the comment that say which verdict answers which trigger, for programs that read the pull request.
//!
//! People read the table; `cc-ci testme` reads these. A verdict belongs to the comment that asked for it, so the line
//! names that comment and the commit that was pinned for it. Anybody can write such a line: a reader must know whose
//! comment it stands in.

use std::fmt;

use crate::domain::Verdict;

/// How such a line begins.
const START: &str = "<!-- cc-ci:answer ";
const END: &str = " -->";

/// The verdict that answers one comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The comment that asked.
    pub comment: i64,
    /// The commit that was pinned for it, in full.
    pub commit: String,
    /// The run.
    pub run: i64,
    /// The verdict so far.
    pub verdict: Verdict,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answer { comment, commit, run, verdict } = self;
        write!(f, "{START}comment={comment} commit={commit} run={run} verdict={verdict}{END}")
    }
}

impl Answer {
    /// The answers in a comment's text, in its order. Lines that are not exactly as we write them are none.
    #[must_use]
    pub fn read_all(body: &str) -> Vec<Self> {
        body.lines().filter_map(Self::read).collect()
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.trim_end().strip_prefix(START)?.strip_suffix(END)?.split(' ');
        let mut value = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        let comment = value("comment")?.parse().ok()?;
        let commit = value("commit").filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?.to_owned();
        let run = value("run")?.parse().ok()?;
        let verdict = match value("verdict")? {
            "GREEN" => Verdict::Green,
            "RED" => Verdict::Red,
            "PENDING" => Verdict::Pending,
            "ERROR" => Verdict::Error,
            _ => return None,
        };
        words.next().is_none().then_some(Self { comment, commit, run, verdict })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for verdict in [Verdict::Green, Verdict::Red, Verdict::Pending, Verdict::Error] {
            let answer = Answer { comment: 17, commit: "ab12".into(), run: 3, verdict };
            assert_eq!(Answer::read_all(&format!("x\r\n{answer}\r\ny")), [answer]);
        }
        for line in [
            "<!-- cc-ci:answer comment=1 commit=ab run=3 verdict=GREEN -->x",
            " <!-- cc-ci:answer comment=1 commit=ab run=3 verdict=GREEN -->",
            "<!-- cc-ci:answer comment=1 commit=ab run=3 verdict=green -->",
            "<!-- cc-ci:answer comment=1 commit=xy run=3 verdict=GREEN -->",
            "<!-- cc-ci:answer comment=1 run=3 commit=ab verdict=GREEN -->",
            "<!-- cc-ci:answer comment=1 commit=ab run=3 verdict=GREEN more=1 -->",
            "> <!-- cc-ci:answer comment=1 commit=ab run=3 verdict=GREEN -->",
        ] {
            assert_eq!(Answer::read_all(line), [], "{line}");
        }
    }
}

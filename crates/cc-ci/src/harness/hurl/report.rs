//! Reads what hurl leaves behind: its JSON report, tolerantly, and the errors it prints.

use std::collections::BTreeSet;

use serde::Deserialize;

/// Longest failure that is kept, in characters; hurl prints whole pages.
const MAX_FAILURE: usize = 1200;

/// Counts of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Requests that were made.
    pub(super) entries: u32,
    /// Assertions that were checked.
    pub(super) assertions: u32,
    /// Assertions that did not hold.
    pub(super) failed: u32,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    asserts: Vec<Assert>,
}

#[derive(Deserialize)]
struct Assert {
    #[serde(default)]
    line: usize,
    #[serde(default)]
    success: bool,
}

/// Counts what was checked. None if the report cannot be read.
///
/// Hurl reports a status line twice, once for the version and once for the status, so assertions are counted by line;
/// the line of `HTTP *` asserts only that there was an answer and does not count.
pub(super) fn read(report: &str, content: &str) -> Option<Counts> {
    let files: Vec<File> = serde_json::from_str(report).ok()?;
    let lines: Vec<&str> = content.lines().collect();
    let mut counts = Counts::default();
    for entry in files.iter().flat_map(|file| &file.entries) {
        counts.entries += 1;
        let held = |good: bool| -> BTreeSet<usize> {
            entry.asserts.iter().filter(|assert| assert.success == good).map(|assert| assert.line).collect()
        };
        let (good, bad) = (held(true), held(false));
        let any_answer =
            |line: &usize| line.checked_sub(1).and_then(|at| lines.get(at)).is_some_and(|text| is_any_answer(text));
        let checked = good.union(&bad).filter(|line| !any_answer(line)).count();
        counts.assertions += u32::try_from(checked).unwrap_or(u32::MAX);
        counts.failed += u32::try_from(bad.len()).unwrap_or(u32::MAX);
    }
    Some(counts)
}

/// `HTTP *`, also with a version.
fn is_any_answer(line: &str) -> bool {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    words.next().is_some_and(|word| word.starts_with("HTTP")) && words.next() == Some("*") && words.next().is_none()
}

/// The errors that hurl printed: title, place and values, without the answer's text around them.
pub(super) fn errors(stderr: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in stderr.lines() {
        if let Some(title) = line.strip_prefix("error: ") {
            found.push(title.to_owned());
            open = true;
        } else if line.starts_with("warning: ") {
            open = false;
        } else if let Some(last) = found.last_mut().filter(|_| open) {
            if line.trim() == "|" || line.is_empty() {
                continue;
            }
            if last.chars().count() < MAX_FAILURE {
                last.push('\n');
                last.push_str(line);
            }
        }
    }
    found.iter().map(|text| shorten(text)).collect()
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_FAILURE {
        return text.to_owned();
    }
    text.chars().take(MAX_FAILURE).chain(" …".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assertions_are_counted_by_line_and_any_answer_is_none() {
        let content = "GET x\nHTTP 200\n[Asserts]\nbody contains \"a\"\n\nGET y\nHTTP *\n";
        let report = r#"[{"entries":[
            {"asserts":[{"line":2,"success":true},{"line":2,"success":false},{"line":4,"success":true}],"new":1},
            {"asserts":[{"line":7,"success":true}]}
        ],"filename":"x","success":false}]"#;
        assert_eq!(read(report, content), Some(Counts { entries: 2, assertions: 2, failed: 1 }));
        assert_eq!(read("[{}]", ""), Some(Counts::default()));
        assert_eq!(read("", ""), None);
        for (line, any) in [("HTTP *", true), ("HTTP/1.1 * # x", true), ("HTTP 200", false), ("x: *", false)] {
            assert_eq!(is_any_answer(line), any, "{line}");
        }
    }

    #[test]
    fn errors_keep_place_and_values() {
        let stderr = "* verbose\n\nerror: Assert failure\n  --> a.hurl:6:0\n   |\n 6 | body == \"x\"\n   |   actual:   string <y>\n   |\n\nwarning: w\nnoise\nerror: HTTP connection\n  --> a.hurl:1:5\n";
        assert_eq!(
            errors(stderr),
            [
                "Assert failure\n  --> a.hurl:6:0\n 6 | body == \"x\"\n   |   actual:   string <y>",
                "HTTP connection\n  --> a.hurl:1:5"
            ]
        );
        let long = format!("error: x\n{}", "é".repeat(5000));
        assert!(errors(&long)[0].chars().count() < 1300);
    }
}

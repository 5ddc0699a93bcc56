//! The reference of results.json for people, made from the schema and the list of reasons.
//!
//! `docs/reference-results.md` is a copy of it; a test compares the two.

use serde_json::{Map, Value};

use super::schema;
use crate::domain::{Fault, ReasonCode};

const HEAD: &str = "\
# results.json

Every run writes this file into its folder. It is the record of the run: the tables, the badge, the card, `junit.xml`
and the comment on a pull request are made from it. Its JSON Schema is [results.schema.json](results.schema.json).

Times are RFC 3339 in UTC, durations are milliseconds, paths are relative to the run's folder. A field that is not
required is left out where there is nothing to say. Fields may be added without notice; `schema` is raised when a reader
would have to change.

This page is made by `cc-ci dev reference-results`; edit the types instead.
";

/// The reference as Markdown.
#[must_use]
pub fn markdown() -> String {
    let schema = schema::json_schema();
    let mut out = String::from(HEAD);
    section(&mut out, "The run", &schema);
    if let Some(definitions) = schema.get("$defs").and_then(Value::as_object) {
        for (name, definition) in definitions {
            section(&mut out, name, definition);
        }
    }
    reasons(&mut out);
    out
}

fn section(out: &mut String, title: &str, schema: &Value) {
    if title == "ReasonCode" {
        return;
    }
    out.push_str(&format!("\n## {title}\n"));
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        out.push_str(&format!("\n{}\n", paragraph(text)));
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        let required = schema.get("required").and_then(Value::as_array);
        table_of_fields(out, fields, |name| required.is_some_and(|r| r.iter().any(|v| v == name)));
    } else if let Some(values) = schema.get("oneOf").and_then(Value::as_array) {
        out.push_str("\n| Value | Meaning |\n|---|---|\n");
        for value in values {
            let meaning = value.get("description").and_then(Value::as_str).unwrap_or_default();
            let word = value.get("const").and_then(Value::as_str).unwrap_or_default();
            out.push_str(&format!("| `{word}` | {} |\n", cell(meaning)));
        }
    } else {
        out.push_str(&format!("\nType: {}.\n", type_of(schema)));
    }
}

fn table_of_fields(out: &mut String, fields: &Map<String, Value>, required: impl Fn(&str) -> bool) {
    out.push_str("\n| Field | Type | Always there | Meaning |\n|---|---|---|---|\n");
    for (name, field) in fields {
        let meaning = field.get("description").and_then(Value::as_str).unwrap_or_default();
        let always = if required(name) { "yes" } else { "no" };
        out.push_str(&format!("| `{name}` | {} | {always} | {} |\n", type_of(field), cell(meaning)));
    }
}

/// The type in words, with links to the sections of named types.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/")) {
        let anchor = if name == "ReasonCode" { "reasons".to_owned() } else { name.to_lowercase() };
        return format!("[{name}](#{anchor})");
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let named = choices.iter().filter(|c| c.get("type").is_none_or(|t| t != "null"));
        return named.map(type_of).collect::<Vec<_>>().join(" or ");
    }
    let word = match schema.get("type") {
        Some(Value::String(word)) => word.clone(),
        Some(Value::Array(words)) => {
            words.iter().filter_map(Value::as_str).filter(|w| *w != "null").collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    };
    match (word.as_str(), schema.get("format").and_then(Value::as_str)) {
        ("array", _) => format!("list of {}", schema.get("items").map_or_else(|| "any".to_owned(), type_of)),
        ("string", Some("date-time")) => "time".to_owned(),
        _ => word,
    }
}

fn reasons(out: &mut String) {
    out.push_str(
        "\n## Reasons\n\nThe closed list of codes in a reason. Only faults of the recipe or of a test make a run RED; \
         the others make it ERROR.\n",
    );
    for fault in [Fault::Recipe, Fault::Test, Fault::Base, Fault::Infrastructure, Fault::Interrupted, Fault::Bug] {
        let verdict = if fault.blames_commit() { "RED" } else { "ERROR" };
        out.push_str(&format!(
            "\n### Fault: {} ({verdict})\n\n| Code | Meaning | What to try |\n|---|---|---|\n",
            fault.as_str()
        ));
        for code in ReasonCode::ALL.iter().filter(|code| code.fault() == fault) {
            out.push_str(&format!("| `{code}` | {} | {} |\n", cell(code.summary()), cell(code.remedy())));
        }
    }
}

fn paragraph(text: &str) -> String {
    text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n\n")
}

/// Text for a table cell: one line, no bar.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser};

    use super::*;

    #[test]
    fn the_committed_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference-results.md");
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == markdown(),
            "docs/reference-results.md differs from the types. If that is meant:\n  \
             cargo run -p cc-ci -- dev reference-results > docs/reference-results.md"
        );
    }

    #[test]
    fn every_field_type_and_reason_is_told() {
        let page = markdown();
        let (_, reasons) = page.split_once("## Reasons").unwrap();
        for code in ReasonCode::ALL {
            assert_eq!(reasons.matches(&format!("| `{code}` |")).count(), 1, "{code}");
        }
        for line in page.lines().filter(|line| line.starts_with('|')) {
            assert!(!line.contains("|  |") && !line.contains("| any") && !line.contains("of any"), "not told: {line}");
        }
        let anchors: Vec<String> = page.lines().filter_map(|l| l.strip_prefix("## ")).map(str::to_lowercase).collect();
        for link in page.split("](#").skip(1) {
            let anchor = link.split(')').next().unwrap();
            assert!(anchors.iter().any(|a| a == anchor), "no section {anchor}");
        }
        let raw = |e: &Event<'_>| matches!(e, Event::Html(_) | Event::InlineHtml(_));
        assert!(!Parser::new_ext(&page, Options::ENABLE_TABLES).any(|e| raw(&e)));
    }
}

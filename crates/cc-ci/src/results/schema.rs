//! The published JSON Schema of results.json, made from the types themselves.
//!
//! `docs/results.schema.json` is a copy of it; a test compares the two. The schema is that of what cc-ci writes.
//! Readers should take unknown fields in their stride: a new field does not raise the version, a changed one does.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::domain::{Run, SCHEMA_VERSION};

/// JSON Schema (draft 2020-12) of results.json.
#[must_use]
pub fn json_schema() -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Run>();
    let mut value = schema.to_value();
    if let Some(root) = value.as_object_mut() {
        root.insert("title".into(), "cc-ci results.json".into());
        root.insert("$comment".into(), format!("format version {SCHEMA_VERSION}").into());
    }
    value
}

/// The schema as it is committed: pretty, with a final line feed.
#[must_use]
pub fn json_schema_text() -> String {
    format!("{:#}\n", json_schema())
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use crate::domain::{Reason, ReasonCode, StageStatus, TestStatus, Verdict};

    fn validator() -> jsonschema::Validator {
        jsonschema::options().should_validate_formats(true).build(&json_schema()).unwrap()
    }

    fn problems(document: &Value) -> Vec<String> {
        validator().iter_errors(document).map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    #[test]
    fn the_committed_schema_is_the_types_schema() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/results.schema.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == json_schema_text(),
            "docs/results.schema.json differs from the types. If that is meant:\n  \
             cargo run -p cc-ci -- dev schema > docs/results.schema.json"
        );
    }

    #[test]
    fn every_sample_is_valid() {
        let mut runs: Vec<Run> = sample::all().into_iter().map(|(_, run)| run).collect();
        for status in [
            StageStatus::Pass,
            StageStatus::Fail,
            StageStatus::NotApplicable,
            StageStatus::Inconclusive,
            StageStatus::NotRun,
        ] {
            for code in ReasonCode::ALL {
                let mut run = sample::red();
                run.stages[1].status = status;
                run.stages[1].reason = Some(Reason::new(*code, "m").service("s").evidence(["e"]));
                runs.push(run);
            }
        }
        for verdict in [Verdict::Green, Verdict::Red, Verdict::Pending, Verdict::Error] {
            runs.push(Run { verdict, ..sample::green() });
        }
        for status in [TestStatus::Pass, TestStatus::Fail, TestStatus::Error, TestStatus::Skipped] {
            let mut run = sample::green();
            run.stages[0].tests[0].status = status;
            runs.push(run);
        }
        runs.push(sample::hostile("\u{1b}[31m\u{0}<&>\"\u{202e}"));
        let validator = validator();
        for run in runs {
            let document = serde_json::to_value(&run).unwrap();
            let found: Vec<String> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
            assert!(found.is_empty(), "{found:?}");
            assert_eq!(serde_json::from_value::<Run>(document).unwrap(), run);
        }
    }

    #[test]
    fn broken_documents_are_refused() {
        let good = serde_json::to_value(sample::red()).unwrap();
        assert_eq!(problems(&good), Vec::<String>::new());
        for (pointer, value) in [
            ("/schema", serde_json::json!(2)),
            ("/run", serde_json::json!("../../etc")),
            ("/level", serde_json::json!(6)),
            ("/level", serde_json::json!("5")),
            ("/verdict", serde_json::json!("green")),
            ("/started", serde_json::json!("yesterday")),
            ("/duration_ms", serde_json::json!(-1)),
            ("/clean_teardown", Value::Null),
            ("/stages", serde_json::json!([])),
            ("/stages/0/stage", serde_json::json!("deploy")),
            ("/stages/0/status", serde_json::json!("ok")),
            ("/stages/0/started", serde_json::json!("2026-11-21")),
            ("/stages/0/tests/0/status", serde_json::json!("passed")),
            ("/stages/1/reason/code", serde_json::json!("bad-luck")),
            ("/stages/1/reason/evidence", serde_json::json!("one line")),
            ("/recipe", serde_json::json!({"name": "x"})),
        ] {
            let mut document = good.clone();
            *document.pointer_mut(pointer).unwrap() = value.clone();
            assert!(!problems(&document).is_empty(), "{pointer} = {value} was accepted");
        }
        for field in ["schema", "run", "recipe", "verdict", "level", "stages", "clean_teardown", "no_secret_leak"] {
            let mut document = good.clone();
            document.as_object_mut().unwrap().shift_remove(field);
            assert!(!problems(&document).is_empty(), "without {field} it was accepted");
        }
    }
}

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

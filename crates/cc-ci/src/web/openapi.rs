//! `/api/v1/openapi.json`: the description of the JSON, made of the route table and the types that are sent.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::domain::Run;

use super::api::{DoneJson, ErrorJson, HealthJson, QueueJson, RecipeJson, RunDetail, RunsJson};
use super::state::Enqueue;
use super::{Access, Route, routes};

static TEXT: LazyLock<String> = LazyLock::new(|| description().to_string());

/// `/api/v1/openapi.json`
pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// The OpenAPI 3.1 document.
pub(super) fn description() -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into()).into_generator();
    let error = reference::<ErrorJson>(&mut generator);
    let mut paths = Map::new();
    for route in routes() {
        let Some((summary, answer)) = answer(&route, &mut generator) else { continue };
        let operation = operation(&route, summary, &answer, &error, &mut generator);
        let place = paths.entry(route.path.replace("{*path}", "{path}")).or_insert_with(|| json!({}));
        place[route.method.to_lowercase()] = operation;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cc-ci",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything on the results pages. Fields may be added; none is renamed within v1.",
            "license": { "name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// What a route does and what it answers with; `None` for pages and other routes that are for people.
fn answer(route: &Route, generator: &mut SchemaGenerator) -> Option<(&'static str, Value)> {
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let text = |kind: &str| json!({ kind: { "schema": { "type": "string" } } });
    Some(match (route.method, route.path) {
        ("GET", "/api/v1/recipes") => {
            let recipe = reference::<RecipeJson>(generator);
            ("All recipes", json(json!({ "type": "array", "items": recipe })))
        }
        ("GET", "/api/v1/recipes/{name}") => ("One recipe", json(reference::<RecipeJson>(generator))),
        ("GET", "/api/v1/runs") => ("Runs, newest first", json(reference::<RunsJson>(generator))),
        ("POST", "/api/v1/runs") => ("Asks for a run", json(reference::<DoneJson>(generator))),
        ("GET", "/api/v1/runs/{id}") => ("One run, by number or run id", json(reference::<RunDetail>(generator))),
        ("GET", "/api/v1/runs/{id}/results") => {
            ("The record of a run: results.json", json(reference::<Run>(generator)))
        }
        ("POST", "/api/v1/runs/{id}/cancel") => ("Cancels a run", json(reference::<DoneJson>(generator))),
        ("POST", "/api/v1/runs/{id}/rerun") => ("Tests the same again", json(reference::<DoneJson>(generator))),
        ("GET", "/api/v1/queue") => ("What runs and what waits", json(reference::<QueueJson>(generator))),
        ("GET", "/api/v1/health") => ("How the server is doing", json(reference::<HealthJson>(generator))),
        ("GET", "/api/v1/openapi.json") => ("This description", json(json!({ "type": "object" }))),
        ("GET", "/runs/{id}/events") => (
            "What a run does, as it does it. Events: `line`, `stage`, `progress`, `told`, `attempt`, `end`; each has an id \
             that `Last-Event-ID` takes to go on without a gap",
            text("text/event-stream"),
        ),
        ("GET", "/runs/{id}/badge.svg") => ("Badge of a run", text("image/svg+xml")),
        ("GET", "/recipes/{name}/badge.svg") => ("Badge of a recipe", text("image/svg+xml")),
        ("GET", "/runs/{id}/logs/{stage}") => ("Log of a stage", text("text/plain")),
        ("GET", "/runs/{id}/files/{*path}") => ("A file that the record lists", text("*/*")),
        ("GET", "/metrics") => ("Metrics for Prometheus", text("application/openmetrics-text")),
        ("GET", "/healthz") => ("Whether the process answers", text("text/plain")),
        ("GET", "/readyz") => ("Whether the database answers too", text("text/plain")),
        _ => return None,
    })
}

fn operation(route: &Route, summary: &str, content: &Value, error: &Value, generator: &mut SchemaGenerator) -> Value {
    let in_path = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": { "type": "string" } }));
    let mut parameters: Vec<Value> = in_path.collect();
    if (route.method, route.path) == ("GET", "/api/v1/runs") {
        for (name, kind, about) in [
            ("before", "integer", "only runs with lower numbers"),
            ("limit", "integer", "at most so many, 1 to 200; 50 if absent"),
            ("recipe", "string", "only runs of this recipe"),
        ] {
            parameters.push(json!({ "name": name, "in": "query", "description": about, "schema": { "type": kind } }));
        }
    }
    let ok = if (route.method, route.path) == ("POST", "/api/v1/runs") { "202" } else { "200" };
    let problem = |about: &str| json!({ "description": about, "content": { "application/json": { "schema": error } } });
    let mut operation = json!({
        "summary": summary,
        "parameters": parameters,
        "responses": { ok: { "description": summary, "content": content }, "default": problem("what went wrong") },
    });
    match route.access {
        Access::Open => {}
        Access::Read => operation["security"] = json!([{}, { "token": [] }]),
        Access::Act => {
            operation["security"] = json!([{ "token": [] }]);
            operation["responses"]["401"] = problem("no token");
            operation["responses"]["403"] = problem("the token may not do this");
        }
    }
    if (route.method, route.path) == ("POST", "/api/v1/runs") {
        let what = reference::<Enqueue>(generator);
        operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": what } } });
    }
    operation
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_of_the_api_is_described_and_every_reference_leads_somewhere() {
        let description = description();
        for route in routes().iter().filter(|route| route.path.starts_with("/api/")) {
            let operation = &description["paths"][route.path][route.method.to_lowercase()];
            assert!(operation["responses"].is_object(), "{route:?} is not described");
        }
        let text = description.to_string();
        let mut seen = 0;
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(description.pointer(pointer).is_some(), "{pointer}");
            seen += 1;
        }
        assert!(seen > 10);
    }
}

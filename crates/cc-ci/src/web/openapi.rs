//! `/api/v1/openapi.json`: the description of the JSON, made of the route table and the types that are sent.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::domain::{Run, Stage};

use super::api::{DoneJson, ErrorJson, HealthJson, PAGE_MAX, QueueJson, RecipeJson, RunDetail, RunsJson};
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
    let mut paths = Map::new();
    for route in routes() {
        let Some(about) = About::of(&route, &mut generator) else { continue };
        let operation = about.operation(&route, &mut generator);
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
        "tags": [
            { "name": "api", "description": "JSON, for programs" },
            { "name": "machines", "description": "Badges, files, live logs, health and metrics" },
            { "name": "pages", "description": "HTML, for people. Buttons are forms with the session's cookie and form token" },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// What a route does and what it answers with.
struct About {
    tag: &'static str,
    summary: &'static str,
    /// Status of success.
    ok: &'static str,
    content: Value,
}

impl About {
    /// `None` for a route that nobody has described; a test sees to it that there is none.
    fn of(route: &Route, generator: &mut SchemaGenerator) -> Option<Self> {
        let text = |kind: &str| json!({ kind: { "schema": { "type": "string" } } });
        let api = |summary, schema: Value| About {
            tag: "api",
            summary,
            ok: "200",
            content: json!({ "application/json": { "schema": schema } }),
        };
        let machine = |summary, kind| About { tag: "machines", summary, ok: "200", content: text(kind) };
        let page = |summary| About { tag: "pages", summary, ok: "200", content: text("text/html; charset=utf-8") };
        let on = |summary| About { tag: "pages", summary, ok: "303", content: json!({}) };
        Some(match (route.method, route.path) {
            ("GET", "/api/v1/recipes") => {
                let recipe = reference::<RecipeJson>(generator);
                api("All recipes", json!({ "type": "array", "items": recipe }))
            }
            ("GET", "/api/v1/recipes/{name}") => api("One recipe", reference::<RecipeJson>(generator)),
            ("GET", "/api/v1/runs") => api("Runs, newest first", reference::<RunsJson>(generator)),
            ("POST", "/api/v1/runs") => About { ok: "202", ..api("Asks for a run", reference::<DoneJson>(generator)) },
            ("GET", "/api/v1/runs/{id}") => api("One run", reference::<RunDetail>(generator)),
            ("GET", "/api/v1/runs/{id}/results") => {
                api("The record of a run: results.json", reference::<Run>(generator))
            }
            ("POST", "/api/v1/runs/{id}/cancel") => api("Cancels a run", reference::<DoneJson>(generator)),
            ("POST", "/api/v1/runs/{id}/rerun") => api("Tests the same again", reference::<DoneJson>(generator)),
            ("GET", "/api/v1/queue") => api("What runs and what waits", reference::<QueueJson>(generator)),
            ("GET", "/api/v1/health") => api("How the server is doing", reference::<HealthJson>(generator)),
            ("GET", "/api/v1/openapi.json") => api("This description", json!({ "type": "object" })),
            ("GET", "/runs/{id}/events") => machine(
                "What a run does, as it does it. Events: `line`, `stage`, `progress`, `told`, `attempt`, `end`; each has \
                 an id that `Last-Event-ID` takes to go on without a gap",
                "text/event-stream",
            ),
            ("GET", "/runs/{id}/badge.svg") => machine("Badge of a run", "image/svg+xml"),
            ("GET", "/recipes/{name}/badge.svg") => machine("Badge of a recipe", "image/svg+xml"),
            ("GET", "/runs/{id}/logs/{stage}") => machine("Log of a stage", "text/plain; charset=utf-8"),
            ("GET", "/runs/{id}/files/{*path}") => machine("A file that the record lists", "*/*"),
            ("GET", "/assets/{name}") => machine("Style sheet, script and icons of the pages", "*/*"),
            ("GET", "/metrics") => machine("Metrics for Prometheus", "application/openmetrics-text"),
            ("GET", "/healthz") => machine("Whether the process answers", "text/plain; charset=utf-8"),
            ("GET", "/readyz") => {
                machine("Whether the database answers too, and it is not about to stop", "text/plain; charset=utf-8")
            }
            ("GET", "/") => page("The recipes; filters and order are part of the address"),
            ("GET", "/recipes/{name}") => page("A recipe's history"),
            ("GET", "/runs") => page("Runs, newest first"),
            ("GET", "/runs/{id}") => page("A run; by the id of an attempt, the way to it"),
            ("GET", "/queue") => page("What runs and what waits"),
            ("GET", "/about") => page("What the words mean, and how the server is doing"),
            ("GET", "/login") => page("The ways to log in"),
            ("POST", "/login") => on("Logs in with a token"),
            ("GET", "/login/forge") => on("Begins a login with the forge's account"),
            ("GET", "/login/callback") => on("Ends a login with the forge's account"),
            ("POST", "/logout") => on("Logs out"),
            ("POST", "/runs") => on("Asks for a run"),
            ("POST", "/runs/{id}/cancel") => on("Cancels a run"),
            ("POST", "/runs/{id}/rerun") => on("Tests the same again"),
            _ => return None,
        })
    }

    fn operation(&self, route: &Route, generator: &mut SchemaGenerator) -> Value {
        let error = reference::<ErrorJson>(generator);
        let problem = |about: &str| {
            let mut content = json!({ "application/json": { "schema": error } });
            if self.tag != "api" {
                // Whoever accepts JSON alone gets it here too.
                content["text/html; charset=utf-8"] = json!({ "schema": { "type": "string" } });
            }
            if route.path == "/readyz" {
                content["text/plain; charset=utf-8"] = json!({ "schema": { "type": "string" } });
            }
            if route.path.ends_with("badge.svg") {
                content["image/svg+xml"] = json!({ "schema": { "type": "string" } });
            }
            json!({ "description": about, "content": content })
        };
        let mut operation = json!({
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": parameters(route),
            "responses": {
                self.ok: { "description": self.summary, "content": self.content },
                "default": problem("what went wrong"),
            },
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
        if let Some(body) = body(route, generator) {
            operation["requestBody"] = body;
        }
        operation
    }
}

/// What stands in the address.
fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).map(|name| {
        let name = name.trim_start_matches('*');
        let (about, schema) = match name {
            "id" => ("number of the run, or id of one of its attempts", json!({ "type": "string", "minLength": 1 })),
            "stage" => ("stage", json!({ "enum": Stage::ALL.map(Stage::as_str) })),
            "path" => ("path as the record has it", json!({ "type": "string", "minLength": 1 })),
            _ => ("name", json!({ "type": "string", "minLength": 1 })),
        };
        json!({ "name": name, "in": "path", "required": true, "description": about, "schema": schema })
    });
    let number = |most: Option<i64>| match most {
        Some(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
        None => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
    };
    let words = |words: &[&str]| json!({ "enum": words });
    let text = || json!({ "type": "string" });
    let in_query: Vec<(&str, &str, Value)> = match (route.method, route.path) {
        ("GET", "/api/v1/runs") => vec![
            ("before", "only runs with lower numbers", number(None)),
            ("limit", "at most so many; 50 if absent", number(Some(PAGE_MAX))),
            ("recipe", "only runs of this recipe", text()),
        ],
        ("GET", "/runs") => vec![
            ("before", "only runs with lower numbers", number(None)),
            ("show", "only runs with this verdict", words(&["", "green", "red", "error"])),
        ],
        ("GET", "/recipes/{name}") => vec![("before", "only runs with lower numbers", number(None))],
        ("GET", "/") => vec![
            ("q", "part of the name", text()),
            ("show", "only those whose newest judged run is so", words(&["", "green", "red", "error", "active"])),
            ("pulls", "only those with open pull requests, if not empty", text()),
            ("sort", "order", words(&["", "level", "verdict", "recent", "pulls"])),
        ],
        ("GET", "/login" | "/login/forge") => vec![("next", "where to go afterwards, on these pages", text())],
        ("GET", "/login/callback") => vec![
            ("code", "what the forge's account stands for", text()),
            ("state", "what the login began with", text()),
            ("error", "why the forge did not agree", text()),
        ],
        ("GET", "/runs/{id}/events") => vec![("after", "as `Last-Event-ID`", text())],
        _ => Vec::new(),
    };
    let in_query = in_query
        .into_iter()
        .map(|(name, about, schema)| json!({ "name": name, "in": "query", "description": about, "schema": schema }));
    in_path.chain(in_query).collect()
}

/// What is sent along. Whoever has a bearer token needs no form token, so nothing is left to send to some.
fn body(route: &Route, generator: &mut SchemaGenerator) -> Option<Value> {
    let form = |fields: &[&str], needed: &[&str]| {
        let fields: Map<String, Value> =
            fields.iter().map(|name| ((*name).to_owned(), json!({ "type": "string" }))).collect();
        let schema = json!({ "type": "object", "properties": fields, "required": needed });
        let content = json!({ "application/x-www-form-urlencoded": { "schema": schema } });
        json!({ "required": !needed.is_empty(), "content": content })
    };
    match (route.method, route.path) {
        ("POST", "/api/v1/runs") => {
            let content = json!({ "application/json": { "schema": reference::<Enqueue>(generator) } });
            Some(json!({ "required": true, "content": content }))
        }
        ("POST", "/runs") => Some(form(&["form", "recipe", "reference"], &["recipe"])),
        ("POST", "/runs/{id}/cancel" | "/runs/{id}/rerun") => Some(form(&["form"], &[])),
        ("POST", "/login") => Some(form(&["token", "next"], &["token"])),
        _ => None,
    }
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else_and_every_reference_leads_somewhere() {
        let description = description();
        let mut described: Vec<String> = Vec::new();
        for (path, operations) in description["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                assert!(operation["responses"].is_object() && operation["summary"].is_string(), "{method} {path}");
                described.push(format!("{} {path}", method.to_uppercase()));
            }
        }
        let mut served: Vec<String> =
            routes().iter().map(|route| format!("{} {}", route.method, route.path.replace("{*", "{"))).collect();
        described.sort();
        served.sort();
        assert_eq!(described, served);
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

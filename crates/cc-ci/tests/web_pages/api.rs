//! The JSON agrees with its description, and the metrics can be read.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::support::{ACT, read, served};

#[tokio::test]
async fn answers_fit_their_schemas() {
    let served = served().await;
    let description = served.get("/api/v1/openapi.json").await.json();
    let newest = served.newest_judged().await;
    let mut checked = 0;
    for (path, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let Some(schema) = operation["responses"].as_object().unwrap().iter().find_map(|(status, answer)| {
                status.starts_with('2').then(|| answer["content"]["application/json"]["schema"].clone())
            }) else {
                continue;
            };
            if schema.is_null() || !path.starts_with("/api/") {
                continue;
            }
            let id = if method == "post" { served.running } else { newest };
            let address = path.replace("{id}", &id.to_string()).replace("{name}", "gitea");
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = served
                .request(method, &address)
                .header("authorization", format!("Bearer {ACT}"))
                .header("content-type", "application/json")
                .body(r#"{"recipe":"gitea"}"#);
            let answer = read(request).await;
            assert!(answer.status.is_success(), "{address}: {answer:?}");
            let whole =
                serde_json::json!({ "$ref": "#/whole", "whole": schema, "components": description["components"] });
            let validator = jsonschema::validator_for(&whole).unwrap();
            let body = answer.json();
            let wrong: Vec<String> =
                validator.iter_errors(&body).map(|e| format!("{}: {e}", e.instance_path())).collect();
            assert!(wrong.is_empty(), "{address}: {wrong:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 11, "every route below /api/v1");
}

#[tokio::test]
async fn no_answer_tells_a_lease() {
    let served = served().await;
    for path in ["/api/v1/queue", "/api/v1/runs", &format!("/api/v1/runs/{}", served.running), "/queue"] {
        assert!(!served.get(path).await.text.contains("seed-300"), "{path}");
    }
}

#[tokio::test]
async fn lists_go_on_where_they_ended() {
    let served = served().await;
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let part = served.get(&format!("/api/v1/runs?recipe=gitea&limit=7{before}")).await.json();
        seen.extend(part["runs"].as_array().unwrap().iter().map(|run| run["number"].as_i64().unwrap()));
        let Some(next) = part["next_before"].as_i64() else { break };
        before = format!("&before={next}");
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!(seen, sorted);
    assert!(seen.len() >= 25, "{}", seen.len());
    assert_eq!(served.get("/api/v1/runs?limit=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn metrics_are_the_database_and_the_requests() {
    let served = served().await;
    served.get("/runs/1").await;
    served.get("/runs/2").await;
    served.get("/wp-login.php").await;
    let text = served.get("/metrics").await.text;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(value("ccci_runs_running "), 1.0);
    assert_eq!(value("ccci_runs_queued "), 3.0);
    let ends: f64 = text
        .lines()
        .filter(|l| l.starts_with("ccci_runs_finished_total"))
        .map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(ends, 300.0);
    assert_eq!(value("ccci_http_requests_total{method=\"GET\",route=\"/runs/{id}\",status=\"200\"}"), 2.0);
    assert!(!text.contains("wp-login") && text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn badges_are_cached_by_their_content() {
    let served = served().await;
    let first = served.get("/recipes/gitea/badge.svg").await;
    assert_eq!((first.status, first.header("content-type")), (StatusCode::OK, "image/svg+xml"));
    assert!(first.text.contains("level"), "{}", first.text);
    let again =
        read(served.request(Method::GET, "/recipes/gitea/badge.svg").header("if-none-match", first.header("etag")))
            .await;
    assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    let other = read(served.request(Method::GET, "/recipes/gitea/badge.svg").header("if-none-match", "\"x\"")).await;
    assert_eq!(other.status, StatusCode::OK);
    let running = served.get(&format!("/runs/{}/badge.svg?label=%3Cscript%3E", served.running)).await;
    assert!(running.text.contains("running") && !running.text.contains("script"));
    assert_eq!(served.get("/recipes/none/badge.svg").await.status, StatusCode::NOT_FOUND);
    let health: Value = served.get("/api/v1/health").await.json();
    assert_eq!(health["queued"], 3);
    for (path, want) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        assert_eq!(served.get(path).await.text, want);
    }
}

//! What goes wrong on demand, and the controls for use from other processes.

use forge_sim::{ApiFault, Fault};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{client, get, post, stage, token, try_call};

const COMMENTS: &str = "repos/recipes/app/issues/1/comments";

#[tokio::test]
async fn refused_requests_do_nothing() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    for code in [401, 429, 500, 502] {
        let retry_after = (code == 429).then_some(3);
        sim.fault(Fault::request("POST", "/comments", 1, ApiFault::Status { code, retry_after }));
        let got = post(&sim, &alice, COMMENTS, json!({ "body": "x" })).await;
        assert_eq!(got.status, code);
        assert_eq!(got.header("retry-after"), if code == 429 { "3" } else { "" });
    }
    assert_eq!(sim.comments(&pr), []);
    assert_eq!(post(&sim, &alice, COMMENTS, json!({ "body": "x" })).await.status, 201);
    assert!(sim.faults().is_empty());
    let log = sim.requests();
    assert_eq!(log.iter().filter(|r| r.method == "POST").count(), 5);
    assert_eq!(
        (log[4].actor.as_deref(), log[4].body.as_str(), log[4].status),
        (Some("alice"), "{\"body\":\"x\"}", Some(201))
    );
}

#[tokio::test]
async fn done_and_then_answered_502() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    sim.fault(Fault::request("POST", "/comments", 1, ApiFault::CommitThenStatus { code: 502 }));
    assert_eq!(post(&sim, &alice, COMMENTS, json!({ "body": "once" })).await.status, 502);
    assert_eq!(sim.comments(&pr), [("alice".to_owned(), "once".to_owned())]);
    assert_eq!(sim.requests()[0].status, Some(201), "the log knows what was done");
}

#[tokio::test]
async fn hung_and_truncated() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    let body = || json!({ "body": "x" });
    sim.fault(Fault::request("POST", "/comments", 1, ApiFault::Hang { millis: 20 }));
    assert!(try_call(&sim, &alice, Method::POST, COMMENTS, body()).await.is_err());
    assert_eq!(sim.comments(&pr).len(), 0);
    sim.fault(Fault::request("POST", "/comments", 1, ApiFault::CommitThenHang { millis: 20 }));
    assert!(try_call(&sim, &alice, Method::POST, COMMENTS, body()).await.is_err());
    assert_eq!(sim.comments(&pr).len(), 1);
    sim.fault(Fault::request("GET", "/comments", 1, ApiFault::Truncate));
    assert!(try_call(&sim, &alice, Method::GET, COMMENTS, Value::Null).await.is_err());
    sim.fault(Fault::request("GET", "/comments", 1, ApiFault::Slow { millis: 50 }));
    let start = std::time::Instant::now();
    assert_eq!(get(&sim, &alice, COMMENTS).await.status, 200);
    assert!(start.elapsed().as_millis() >= 50);
}

#[tokio::test]
async fn git_can_be_hit_too() {
    let (sim, _) = stage().await;
    sim.fault(Fault::request("", "git-upload-pack", 1, ApiFault::Status { code: 500, retry_after: None }));
    let dir = tempfile::tempdir().unwrap();
    let url = format!("{}/recipes/app.git", sim.url());
    let (ok, _) = crate::support::try_git(dir.path(), &["clone", "-q", &url, "a"]).await;
    assert!(!ok);
    crate::support::git(dir.path(), &["clone", "-q", &url, "b"]).await;
}

#[tokio::test]
async fn the_controls_from_outside() {
    let (sim, pr) = stage().await;
    let control = async |method: Method, path: &str, body: Value| {
        let request = client().request(method, format!("{}/_sim/{path}", sim.url())).json(&body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str::<Value>(&text).unwrap_or(Value::Null))
    };
    let fault = json!({ "on": "request", "path": "/version", "fault": { "kind": "status", "code": 503 } });
    assert_eq!(control(Method::POST, "faults", fault.clone()).await.0, 204);
    assert_eq!(control(Method::GET, "faults", Value::Null).await.1[0]["path"], "/version");
    assert_eq!(get(&sim, "", "version").await.status, 503);
    assert_eq!(control(Method::POST, "faults", json!({ "on": "nothing" })).await.0, 400);
    let log = control(Method::GET, "requests", Value::Null).await.1;
    assert_eq!(log.as_array().unwrap().len(), 1, "controls are not logged");
    assert_eq!(control(Method::PATCH, "switches", json!({ "max_items": 7 })).await.0, 204);
    assert_eq!(get(&sim, "", "settings/api").await.json()["max_response_items"], 7);
    assert_eq!(control(Method::POST, "clock", json!({ "advance": 5 })).await.0, 200);
    assert_eq!(control(Method::POST, "pull-refs/release", json!({})).await.1["released"], 0);
    let app = control(Method::POST, "oauth-apps", json!({ "redirect_uris": ["http://127.0.0.1:9/"] })).await;
    assert_eq!(app.0, 201);
    assert_eq!(control(Method::POST, "blocks", json!({ "by": "alice", "blocked": "bob" })).await.0, 204);
    assert!(sim.comment_as("bob", &pr, "x").is_err(), "blocked by the poster");
    assert_eq!(control(Method::POST, "settle", json!({})).await.1["settled"], true);
    assert_eq!(control(Method::GET, "nothing", Value::Null).await.0, 404);
}

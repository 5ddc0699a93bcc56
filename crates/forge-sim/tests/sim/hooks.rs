//! The traps of the hooks API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Receiver, add_hook, call, get, patch, post, stage, token};

#[tokio::test]
async fn defaults_and_resets() {
    let (sim, _) = stage().await;
    let admin = token(&sim, sim.admin());
    let hooks = "repos/recipes/app/hooks";
    let config = json!({ "url": "http://127.0.0.1:9/", "content_type": "json", "secret": "s" });
    let made = post(&sim, &admin, hooks, json!({ "type": "gitea", "config": config })).await.json();
    assert_eq!(made["active"], false, "inactive unless said otherwise");
    assert_eq!(made["events"], json!(["push"]));
    assert!(made["config"].get("secret").is_none());
    let body = json!({
        "type": "gitea", "active": true, "config": config, "branch_filter": "main",
        "authorization_header": "Bearer x", "events": ["issue_comment", "pull_request_only"],
    });
    let made = post(&sim, &admin, hooks, body).await.json();
    assert_eq!(made["events"], json!(["issue_comment", "pull_request"]), "comments on issues only");
    assert_eq!(made["authorization_header"], "Bearer x", "in clear");
    let one = format!("{hooks}/{}", made["id"]);
    let after = patch(&sim, &admin, &one, json!({ "config": { "secret": "new" } })).await.json();
    assert_eq!(after["events"], json!(["push"]), "reset");
    assert_eq!((after["branch_filter"].as_str(), after["authorization_header"].as_str()), (Some(""), Some("")));
    assert_eq!(after["active"], true, "kept");
    assert_eq!(call(&sim, &admin, Method::DELETE, &one, Value::Null).await.status, 204);
    assert_eq!(get(&sim, &admin, &one).await.status, 404);
    for (body, text) in [
        (json!({ "config": config }), "[Type]: Required"),
        (json!({ "type": "gitea" }), "[Config]: Required"),
        (json!({ "type": "nonsense", "config": config }), "Invalid hook type"),
        (json!({ "type": "forgejo", "config": config }), "Invalid hook type"),
        (json!({ "type": "gitea", "config": { "content_type": "json" } }), "Missing config option: url"),
        (json!({ "type": "gitea", "config": { "url": "http://x/" } }), "Missing config option: content_type"),
        (json!({ "type": "gitea", "config": { "url": "nonsense", "content_type": "json" } }), "Invalid url"),
        (json!({ "type": "gitea", "config": { "url": "http://x/", "content_type": "xml" } }), "Invalid content type"),
    ] {
        let got = post(&sim, &admin, hooks, body).await;
        assert_eq!(got.status, 422);
        assert!(got.text.contains(text), "{}", got.text);
    }
    sim.switch(|s| s.webhooks_disabled = true);
    assert!(get(&sim, &admin, hooks).await.text.contains("webhooks disabled by administrator"));
}

#[tokio::test]
async fn what_is_delivered_depends_on_the_events() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    let issues_only = Receiver::start().await;
    add_hook(&sim, &issues_only.url, &["issue_comment"]).await;
    let group = Receiver::start().await;
    add_hook(&sim, &group.url, &["pull_request"]).await;
    let idle = Receiver::start().await;
    let admin = token(&sim, sim.admin());
    let body = json!({ "type": "gitea", "events": ["pull_request_comment"], "config": { "url": idle.url, "content_type": "json" } });
    assert_eq!(post(&sim, &admin, "repos/recipes/app/hooks", body).await.status, 201);
    sim.comment_as("alice", &pr, "on the pull request").unwrap();
    let issue = post(&sim, &alice, "repos/recipes/app/issues", json!({ "title": "i" })).await.json();
    let path = format!("repos/recipes/app/issues/{}/comments", issue["number"]);
    post(&sim, &alice, &path, json!({ "body": "on the issue" })).await;
    sim.settle().await;
    let texts = |r: &Receiver| -> Vec<String> {
        r.all().iter().map(|d| d.json()["comment"]["body"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&issues_only), ["on the issue"]);
    assert_eq!(texts(&group), ["on the pull request"]);
    assert!(idle.all().is_empty(), "an inactive hook is silent");
    assert_eq!(issues_only.all()[0].json()["is_pull"], false);
}

#[tokio::test]
async fn branch_filters_organisation_hooks_tests_and_the_host_filter() {
    let (sim, pr) = stage().await;
    let admin = token(&sim, sim.admin());
    let receiver = Receiver::start().await;
    let body = |url: &str| {
        json!({ "type": "gitea", "active": true, "events": ["push", "pull_request_comment"], "branch_filter": "main",
            "config": { "url": url, "content_type": "json" } })
    };
    let org = post(&sim, &admin, "orgs/recipes/hooks", body(&receiver.url)).await;
    assert_eq!(org.status, 201);
    sim.push_as("alice", "recipes/app", "upgrade", &[("x", "1")]).unwrap();
    sim.comment_as("alice", &pr, "x").unwrap();
    sim.settle().await;
    let got = receiver.all();
    assert_eq!(got.len(), 1, "the filter is for pushes only");
    assert_eq!(got[0].header("x-gitea-hook-installation-target-type"), "organization");
    let hook = add_hook(&sim, &receiver.url, &["push"]).await;
    let test = format!("repos/recipes/app/hooks/{}/tests", hook["id"]);
    assert_eq!(post(&sim, &admin, &test, json!({})).await.status, 204);
    sim.settle().await;
    assert_eq!(receiver.all().len(), 2);
    sim.switch(|s| s.local_hooks = false);
    assert_eq!(post(&sim, &admin, &test, json!({})).await.status, 204);
    sim.settle().await;
    assert_eq!(receiver.all().len(), 2);
    assert!(sim.deliveries().last().unwrap().error.as_ref().unwrap().contains("allowed HTTP servers"));
}

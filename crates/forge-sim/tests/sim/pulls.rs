//! Pull requests, comments and reactions as a robot meets them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{call, get, patch, post, stage, token};

#[tokio::test]
async fn opening_and_editing() {
    let (sim, _) = stage().await;
    let (alice, bob) = (token(&sim, "alice"), token(&sim, "bob"));
    let pulls = "repos/recipes/app/pulls";
    sim.push_as("alice", "recipes/app", "other", &[("other", "1")]).unwrap();
    let wish = |head: &str, base: &str| json!({ "head": head, "base": base, "title": "t" });
    for (token, body, status) in [
        (&alice, wish("upgrade", "main"), 409),
        (&alice, wish("main", "main"), 422),
        (&alice, wish("nope", "main"), 404),
        (&alice, wish("upgrade", "nope"), 404),
        (&alice, wish("bob:main", "main"), 400),
        (&alice, wish("nobody:main", "main"), 404),
        (&bob, wish("upgrade", "main"), 409),
        (&bob, wish("other", "main"), 403),
    ] {
        assert_eq!(post(&sim, token, pulls, body.clone()).await.status, status, "{body}");
    }
    for (token, body, status) in [
        (&alice, json!({ "title": "WIP: x" }), 201),
        (&alice, json!({ "title": "" }), 201),
        (&alice, json!({ "state": "strange" }), 412),
        (&bob, json!({ "title": "mine" }), 403),
        (&alice, json!({ "state": "closed" }), 201),
        (&alice, json!({ "state": "closed" }), 201),
    ] {
        assert_eq!(patch(&sim, token, &format!("{pulls}/1"), body.clone()).await.status, status, "{body}");
    }
    let shown = get(&sim, &alice, &format!("{pulls}/1")).await.json();
    assert_eq!(
        (shown["title"].as_str(), shown["draft"].as_bool(), shown["mergeable"].as_bool()),
        (Some("WIP: x"), Some(true), Some(false))
    );
    assert_eq!(get(&sim, &alice, pulls).await.json().as_array().unwrap().len(), 1, "all states by default");
    assert_eq!(get(&sim, &alice, &format!("{pulls}?state=open")).await.json(), json!([]));
    assert_eq!(
        get(&sim, &alice, "repos/recipes/app/issues?type=pulls").await.json(),
        json!([]),
        "issues default to open"
    );
    assert!(shown.get("additions").is_some());
    assert!(get(&sim, &alice, pulls).await.json()[0].get("additions").is_none(), "no counts in lists");
    sim.repo("recipes/app").unwrap().edit(json!({ "has_pull_requests": false })).unwrap();
    assert_eq!(get(&sim, &alice, pulls).await.status, 404);
}

#[tokio::test]
async fn merging_has_its_conditions() {
    let (sim, _) = stage().await;
    let (alice, bob, admin) = (token(&sim, "alice"), token(&sim, "bob"), token(&sim, sim.admin()));
    let merge = "repos/recipes/app/pulls/1/merge";
    let wish = json!({ "Do": "merge" });
    assert_eq!(get(&sim, &alice, merge).await.status, 404);
    assert_eq!(post(&sim, &bob, merge, wish.clone()).await.status, 405);
    assert_eq!(post(&sim, &alice, merge, json!({})).await.status, 422);
    assert_eq!(post(&sim, &alice, merge, json!({ "Do": "merge", "head_commit_id": "1".repeat(40) })).await.status, 409);
    let rule = json!({ "rule_name": "main", "enable_push": true, "enable_status_check": true, "status_check_contexts": ["cc-ci/*"] });
    assert_eq!(post(&sim, &admin, "repos/recipes/app/branch_protections", rule).await.status, 201);
    assert_eq!(post(&sim, &alice, merge, wish.clone()).await.status, 405, "checks are missing");
    let status = json!({ "state": "success", "context": "cc-ci/testme" });
    assert_eq!(post(&sim, &alice, "repos/recipes/app/statuses/upgrade", status).await.status, 201);
    sim.switch(|s| s.mergeable_checking = true);
    assert_eq!(post(&sim, &alice, merge, wish.clone()).await.status, 405, "try again later");
    sim.switch(|s| s.mergeable_checking = false);
    let done = post(&sim, &alice, merge, wish.clone()).await;
    assert_eq!((done.status, done.text.as_str()), (200, ""));
    assert_eq!(get(&sim, &alice, merge).await.status, 204);
    assert_eq!(post(&sim, &alice, merge, wish).await.status, 405);
    assert_eq!(patch(&sim, &alice, "repos/recipes/app/pulls/1", json!({ "state": "open" })).await.status, 412);
    let shown = get(&sim, &alice, "repos/recipes/app/pulls/1").await.json();
    assert_eq!(
        (shown["merged"].as_bool(), shown["state"].as_str(), shown["changed_files"].as_i64()),
        (Some(true), Some("closed"), Some(1))
    );
    assert!(get(&sim, &alice, "repos/recipes/app/contents/compose.yml").await.status == 200);
}

#[tokio::test]
async fn a_conflict_is_seen_and_not_merged() {
    let (sim, _) = stage().await;
    sim.push_as("alice", "recipes/app", "main", &[("compose.yml", "services: {b: {}}\n")]).unwrap();
    let alice = token(&sim, "alice");
    assert_eq!(get(&sim, &alice, "repos/recipes/app/pulls/1").await.json()["mergeable"], false);
    let got = post(&sim, &alice, "repos/recipes/app/pulls/1/merge", json!({ "Do": "squash" })).await;
    assert_eq!(got.status, 409);
    let got = post(&sim, &alice, "repos/recipes/app/pulls/1/update", json!({})).await;
    assert_eq!(got.status, 409);
}

#[tokio::test]
async fn comments_and_reactions() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    let id = sim.comment_as("alice", &pr, "  !testme\r\n").unwrap();
    assert_eq!(sim.comments(&pr), [("alice".to_owned(), "  !testme\r\n".to_owned())]);
    let reactions = format!("repos/recipes/app/issues/comments/{id}/reactions");
    for (method, content, status) in [
        ("POST", "eyes", 201),
        ("POST", "eyes", 200),
        ("POST", "tada", 403),
        ("DELETE", "rocket", 204),
        ("DELETE", "eyes", 204),
    ] {
        let got = call(&sim, &alice, method.parse().unwrap(), &reactions, json!({ "content": content })).await;
        assert_eq!(got.status, status, "{method} {content}");
    }
    assert_eq!(get(&sim, &alice, &reactions).await.json(), Value::Null);
    patch(&sim, &alice, "repos/recipes/app/pulls/1", json!({ "title": "Other" })).await;
    let timeline = get(&sim, &alice, "repos/recipes/app/issues/1/timeline").await.json();
    let entry = &timeline[2];
    assert_eq!((entry["type"].as_str(), entry["new_title"].as_str()), (Some("change_title"), Some("Other")));
    let path = format!("repos/recipes/app/issues/comments/{}", entry["id"]);
    assert_eq!(get(&sim, &alice, &path).await.status, 204, "not a comment");
    assert_eq!(
        call(&sim, &alice, Method::DELETE, &format!("repos/recipes/app/issues/comments/{id}"), Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(get(&sim, &alice, &format!("repos/recipes/app/issues/comments/{id}")).await.status, 404);
}

#[tokio::test]
async fn contents_are_committed_and_checked() {
    let (sim, _) = stage().await;
    let alice = token(&sim, "alice");
    let file = "repos/recipes/app/contents/dir/a.txt";
    let body = |more: Value| {
        let mut body = json!({ "content": "b25l", "branch": "main", "message": "m" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let made = post(&sim, &alice, file, body(json!({}))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let sha = made.json()["content"]["sha"].as_str().unwrap().to_owned();
    for (method, path, body, status) in [
        ("POST", file, body(json!({})), 422),
        ("PUT", file, body(json!({ "sha": "0".repeat(40) })), 422),
        ("PUT", file, body(json!({ "sha": sha, "content": "dHdv" })), 200),
        ("PUT", "repos/recipes/app/contents/new.txt", body(json!({})), 201),
        ("DELETE", file, body(json!({})), 422),
        (
            "POST",
            "repos/recipes/app/contents",
            body(json!({ "files": [{ "operation": "create", "path": "../x" }] })),
            422,
        ),
        ("POST", "repos/recipes/app/contents/.git/x", body(json!({})), 422),
        ("POST", "repos/recipes/app/contents/y", body(json!({ "branch": "nope" })), 404),
        ("POST", "repos/recipes/app/contents/y", body(json!({ "new_branch": "upgrade" })), 422),
        ("POST", "repos/recipes/app/contents/y", body(json!({ "content": "%%" })), 422),
        ("POST", "repos/recipes/app/contents/y", body(json!({ "new_branch": "topic" })), 201),
    ] {
        let got = call(&sim, &alice, method.parse().unwrap(), path, body.clone()).await;
        assert_eq!(got.status, status, "{method} {path} {body}: {}", got.text);
    }
    let shown = get(&sim, &alice, file).await.json();
    assert_eq!((shown["content"].as_str(), shown["encoding"].as_str()), (Some("dHdv"), Some("base64")));
    assert_eq!(get(&sim, &alice, "repos/recipes/app/raw/dir/a.txt").await.text, "two");
    let listed = get(&sim, &alice, "repos/recipes/app/contents/dir").await.json();
    assert_eq!((listed[0]["path"].as_str(), &listed[0]["content"]), (Some("dir/a.txt"), &Value::Null));
    assert_eq!(get(&sim, &alice, "repos/recipes/app/contents/none").await.status, 404);
    assert_eq!(get(&sim, &alice, "repos/recipes/app/branches/topic").await.status, 200);
}

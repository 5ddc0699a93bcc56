//! The traps of commit statuses.

use forge_sim::{Config, Flavour};
use serde_json::{Value, json};

use crate::support::{furnish, get, post, stage, token};

#[tokio::test]
async fn rows_ids_and_look_ups() {
    let (sim, _) = stage().await;
    let (alice, bob) = (token(&sim, "alice"), token(&sim, "bob"));
    let repo = "repos/recipes/app";
    let sha = get(&sim, &alice, &format!("{repo}/pulls/1")).await.json()["head"]["sha"].as_str().unwrap().to_owned();
    let state = |state: &str, context: &str| json!({ "state": state, "context": context, "description": " padded " });
    for (token, at, body, status) in [
        (&bob, "upgrade", state("success", "a"), 403),
        (&alice, "1111111111111111111111111111111111111111", state("success", "a"), 500),
        (&alice, "upgrade", state("pending", "a"), 201),
        (&alice, &sha[..10], state("success", "a"), 201),
        (&alice, sha.as_str(), state("nonsense", "b"), 201),
    ] {
        assert_eq!(post(&sim, token, &format!("{repo}/statuses/{at}"), body).await.status, status, "{at}");
    }
    let ids = async |path: String| -> Vec<i64> {
        let got = get(&sim, &alice, &path).await.json();
        got.as_array().unwrap().iter().map(|s| s["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids(format!("{repo}/statuses/{sha}?sort=leastindex")).await, [3, 2, 1], "the names say the opposite");
    assert_eq!(ids(format!("{repo}/statuses/{sha}?sort=highestindex")).await, [1, 2, 3]);
    assert_eq!(ids(format!("{repo}/statuses/upgrade")).await, [0_i64; 0], "the full sha, literally");
    assert_eq!(ids(format!("{repo}/commits/upgrade/statuses")).await.len(), 3);
    let combined = get(&sim, &alice, &format!("{repo}/commits/{}/status", &sha[..10])).await.json();
    assert_eq!(combined["sha"], sha.as_str());
    assert_eq!(combined["total_count"], 2, "the newest of each context");
    assert_eq!(combined["statuses"][0]["status"], "success");
    assert_eq!(combined["statuses"][0]["description"], "padded");
    assert!(combined["statuses"][0].get("state").is_none());
    assert_eq!(sim.statuses(&sha).len(), 3);
    assert_eq!(get(&sim, &alice, &format!("{repo}/commits/nope/status")).await.status, 404);
}

#[tokio::test]
async fn without_a_status_the_answer_depends_on_age() {
    for (flavour, state, empty_sha) in
        [(Flavour::Gitea, "pending", false), (Flavour::OldGitea, "", true), (Flavour::Forgejo, "", true)]
    {
        let sim = forge_sim::serve(Config { flavour, ..Config::default() }).await.unwrap();
        furnish(&sim);
        let combined = get(&sim, "", "repos/recipes/app/commits/main/status").await.json();
        assert_eq!((combined["state"].as_str(), &combined["statuses"]), (Some(state), &Value::Null));
        assert_eq!(combined["sha"] == "", empty_sha);
    }
}

#[tokio::test]
async fn a_branch_with_a_slash_is_encoded() {
    let (sim, _) = stage().await;
    sim.push_as("alice", "recipes/app", "cc-ci/x", &[("a", "1")]).unwrap();
    assert_eq!(get(&sim, "", "repos/recipes/app/commits/cc-ci%2Fx/status").await.status, 200);
    assert_eq!(get(&sim, "", "repos/recipes/app/branches/cc-ci/x").await.status, 200);
}

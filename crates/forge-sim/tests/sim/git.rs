//! A real git against the simulator.

use forge_sim::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Receiver, add_hook, call, client, get, git, git_url, post, stage, token, try_git};

#[tokio::test]
async fn clone_push_and_what_follows() {
    let (sim, _) = stage().await;
    let receiver = Receiver::start().await;
    add_hook(&sim, &receiver.url, &["push", "create", "pull_request_sync"]).await;
    let alice = token(&sim, "alice");
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["clone", "-q", &git_url(&sim, &alice, "recipes/app"), "w"]).await;
    let w = dir.path().join("w");
    git(&w, &["checkout", "-q", "upgrade"]).await;
    std::fs::write(w.join("compose.yml"), "services: {a: {image: x}}\n").unwrap();
    git(&w, &["commit", "-qam", "Use x"]).await;
    git(&w, &["push", "-q", "origin", "upgrade", "upgrade:refs/heads/other"]).await;
    let head = git(&w, &["rev-parse", "HEAD"]).await;
    sim.settle().await;
    let mut kinds: Vec<String> = receiver.all().iter().map(|d| d.header("x-gitea-event-type").to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["create", "pull_request_sync", "push", "push"]);
    let push = receiver.all().into_iter().find(|d| d.json()["ref"] == "refs/heads/upgrade").unwrap().json();
    assert_eq!(push["after"], head.as_str());
    assert_eq!(push["total_commits"], 1);
    assert_eq!(push["commits"][0]["modified"], json!(["compose.yml"]));
    let sync = receiver.all().into_iter().find(|d| d.header("x-gitea-event-type") == "pull_request_sync").unwrap();
    assert_eq!(sync.json()["pull_request"]["head"]["sha"], head.as_str());
    assert_eq!(sync.json()["commit_id"], "", "the server leaves it empty");
    // The head can be fetched from the base repository, by its ref and by its id.
    git(&w, &["fetch", "-q", "origin", "refs/pull/1/head"]).await;
    assert_eq!(git(&w, &["rev-parse", "FETCH_HEAD"]).await, head);
    let empty = dir.path().join("empty");
    git(dir.path(), &["init", "-q", "empty"]).await;
    git(&empty, &["fetch", "-q", "--depth=1", &git_url(&sim, &alice, "recipes/app"), &head]).await;
    // The push is in the timeline with the server's time.
    let timeline = get(&sim, &alice, "repos/recipes/app/issues/1/timeline").await.json();
    let entry = timeline.as_array().unwrap().iter().rfind(|e| e["type"] == "pull_push").unwrap();
    let body: Value = serde_json::from_str(entry["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({ "is_force_push": false, "commit_ids": [head] }));
}

#[tokio::test]
async fn a_pull_request_from_a_private_fork() {
    let (sim, _) = stage().await;
    let fork = sim.repo("recipes/app").unwrap().fork_as("bob").unwrap();
    sim.repo(&fork).unwrap().edit(json!({ "private": true })).unwrap();
    let sha = sim.push_as("bob", &fork, "fix", &[("fix.txt", "1\n")]).unwrap();
    let pr = sim.open_pr("bob", "recipes/app", "bob:fix", "Fix").unwrap();
    let alice = token(&sim, "alice");
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "."]).await;
    let name = format!("refs/pull/{}/head", pr.number);
    git(dir.path(), &["fetch", "-q", &git_url(&sim, &alice, "recipes/app"), &name]).await;
    assert_eq!(git(dir.path(), &["rev-parse", "FETCH_HEAD"]).await, sha);
    let (ok, _) = try_git(dir.path(), &["ls-remote", &git_url(&sim, &alice, &fork)]).await;
    assert!(!ok, "the fork itself stays private");
    // The fork goes; the request stays.
    let bob = token(&sim, "bob");
    assert_eq!(call(&sim, &bob, Method::DELETE, &format!("repos/{fork}"), Value::Null).await.status, 204);
    let shown = get(&sim, &alice, &format!("repos/recipes/app/pulls/{}", pr.number)).await.json();
    assert_eq!(shown["head"]["repo"], Value::Null);
    assert_eq!(shown["head"]["repo_id"], -1);
    assert_eq!(shown["head"]["ref"], name);
    assert_eq!(shown["head"]["sha"], sha.as_str());
}

#[tokio::test]
async fn who_may_fetch_and_push() {
    let (sim, _) = stage().await;
    sim.repo("recipes/secret").unwrap().edit(json!({ "private": true })).unwrap();
    sim.repo("recipes/old").unwrap().collaborator("alice", "write").unwrap().edit(json!({ "archived": true })).unwrap();
    let all = token(&sim, "alice");
    let reader = sim.token("alice", &["read:repository"]).unwrap();
    let wrong = sim.token("alice", &["write:issue"]).unwrap();
    let public = sim.token(sim.admin(), &["all", "public-only"]).unwrap();
    let bob = token(&sim, "bob");
    for (repo, service, token, status) in [
        ("recipes/app", "git-upload-pack", "", 200),
        ("recipes/app", "git-receive-pack", "", 401),
        ("recipes/app", "git-receive-pack", all.as_str(), 200),
        ("recipes/app", "git-upload-pack", reader.as_str(), 200),
        ("recipes/app", "git-receive-pack", reader.as_str(), 403),
        ("recipes/app", "git-upload-pack", wrong.as_str(), 403),
        ("recipes/app", "git-receive-pack", bob.as_str(), 404),
        ("recipes/app", "git-upload-pack", "not-a-token", 401),
        ("recipes/secret", "git-upload-pack", "", 401),
        ("recipes/secret", "git-upload-pack", all.as_str(), 404),
        ("recipes/secret", "git-upload-pack", public.as_str(), 403),
        ("recipes/none", "git-upload-pack", "", 401),
        ("recipes/none", "git-upload-pack", all.as_str(), 404),
        ("recipes/old", "git-upload-pack", all.as_str(), 200),
        ("recipes/old", "git-receive-pack", all.as_str(), 403),
        ("recipes/app", "git-other", all.as_str(), 404),
    ] {
        let mut request = client().get(format!("{}/{repo}.git/info/refs?service={service}", sim.url()));
        if !token.is_empty() {
            request = request.basic_auth("x", Some(token));
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{service} of {repo}");
        if status == 401 {
            assert_eq!(answer.headers()["www-authenticate"], "Basic realm=\"Gitea\"");
        }
    }
}

#[tokio::test]
async fn protected_branches_and_pull_refs_cannot_be_pushed() {
    let (sim, _) = stage().await;
    let (alice, admin) = (token(&sim, "alice"), token(&sim, sim.admin()));
    let rule = json!({ "rule_name": "main", "enable_push": false });
    assert_eq!(post(&sim, &admin, "repos/recipes/app/branch_protections", rule).await.status, 201);
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["clone", "-q", &git_url(&sim, &alice, "recipes/app"), "w"]).await;
    let w = dir.path().join("w");
    git(&w, &["commit", "-q", "--allow-empty", "-m", "x"]).await;
    let before = sim.deliveries().len();
    for target in ["main", "refs/pull/1/head", "refs/pull/9/head"] {
        let (ok, text) = try_git(&w, &["push", "-f", "origin", &format!("HEAD:{target}")]).await;
        assert!(!ok, "{target}");
        assert!(text.contains("remote rejected"), "{text}");
    }
    git(&w, &["push", "-q", "origin", "HEAD:free"]).await;
    assert_eq!(sim.deliveries().len(), before, "no hook, no delivery");
    let (ok, text) = try_git(&w, &["push", "origin", ":main"]).await;
    assert!(!ok, "{text}");
}

#[tokio::test]
async fn a_force_push_is_told_apart() {
    let (sim, _) = stage().await;
    let main =
        get(&sim, "", "repos/recipes/app/branches/main").await.json()["commit"]["id"].as_str().unwrap().to_owned();
    let old =
        get(&sim, "", "repos/recipes/app/branches/upgrade").await.json()["commit"]["id"].as_str().unwrap().to_owned();
    sim.repo("recipes/app").unwrap().force_branch("alice", "upgrade", &main).unwrap();
    let timeline = get(&sim, "", "repos/recipes/app/issues/1/timeline").await.json();
    let body: Value = serde_json::from_str(timeline[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({ "is_force_push": true, "commit_ids": [old, main] }));
}

#[tokio::test]
async fn renamed_repositories_redirect_git_and_api() {
    let (sim, _) = stage().await;
    sim.repo("recipes/app").unwrap().edit(json!({ "name": "new" })).unwrap();
    let got = get(&sim, "", "repos/recipes/app/pulls/1").await;
    assert_eq!(got.status, 301);
    assert!(got.header("location").ends_with("/api/v1/repos/recipes/new/pulls/1"));
    let url = format!("{}/recipes/app.git/info/refs?service=git-upload-pack", sim.url());
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 301);
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["clone", "-q", &format!("{}/recipes/app.git", sim.url()), "w"]).await;
}

#[tokio::test]
async fn migrate_clones_and_refuses() {
    let (sim, _) = stage().await;
    let admin = token(&sim, sim.admin());
    let source = format!("{}/recipes/app.git", sim.url());
    let wish = |name: &str, addr: &str| json!({ "clone_addr": addr, "repo_name": name, "repo_owner": "recipes" });
    assert_eq!(post(&sim, &admin, "repos/migrate", wish("self", &source)).await.status, 201, "from itself");
    let other = forge_sim::serve(Config::default()).await.unwrap();
    other.org("recipes").unwrap();
    let there = token(&other, other.admin());
    let made = post(&other, &there, "repos/migrate", wish("copy", &source)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json()["default_branch"], "main");
    assert_eq!(made.json()["original_url"], source.as_str());
    assert_eq!(get(&other, "", "repos/recipes/copy/branches").await.json().as_array().unwrap().len(), 2);
    assert_eq!(post(&other, &there, "repos/migrate", wish("copy", &source)).await.status, 409);
    assert_eq!(post(&sim, &admin, "repos/migrate", wish("x", "/etc")).await.status, 422);
    assert_eq!(post(&other, &there, "repos/migrate", wish("y", &format!("{source}x"))).await.status, 422);
    let mut mirror = wish("mirror", &source);
    mirror["mirror"] = json!(true);
    assert_eq!(post(&other, &there, "repos/migrate", mirror).await.json()["mirror"], true);
    sim.push_as("alice", "recipes/app", "later", &[("l", "1")]).unwrap();
    assert_eq!(post(&other, &there, "repos/recipes/mirror/mirror-sync", json!({})).await.status, 200);
    assert_eq!(get(&other, "", "repos/recipes/mirror/branches/later").await.status, 200);
    assert_eq!(get(&other, "", "repos/recipes/mirror/pulls").await.status, 404, "no pull requests on a mirror");
    let branch = json!({ "new_branch_name": "n" });
    assert_eq!(post(&other, &there, "repos/recipes/mirror/branches", branch).await.status, 403);
    assert_eq!(post(&other, &there, "repos/recipes/copy/mirror-sync", json!({})).await.status, 400);
    other.switch(|s| s.local_migrations = false);
    let refused = post(&other, &there, "repos/migrate", wish("z", &source)).await;
    assert!(refused.text.contains("disallowed hosts"));
}

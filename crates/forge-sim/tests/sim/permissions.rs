//! Who may do what, and what the permission endpoint says about it.

use forge_sim::{Config, Flavour, Sim};
use serde_json::{Value, json};

use crate::support::{get, post, token};

const PEOPLE: [&str; 9] =
    ["reader", "writer", "chief", "teamwriter", "teamadmin", "owner", "stranger", "limited", "root1"];

fn furnish(sim: &Sim) {
    for login in PEOPLE.iter().filter(|l| **l != "root1") {
        sim.user(login).unwrap();
    }
    sim.org("recipes").unwrap();
    for name in ["recipes/open", "recipes/closed"] {
        let repo = sim.repo(name).unwrap();
        repo.collaborator("reader", "read")
            .unwrap()
            .collaborator("writer", "write")
            .unwrap()
            .collaborator("chief", "admin")
            .unwrap();
    }
    sim.repo("recipes/closed").unwrap().edit(json!({ "private": true })).unwrap();
    sim.team(
        "recipes",
        "coders",
        &[("repo.code", "write"), ("repo.pulls", "write"), ("repo.wiki", "read")],
        &["teamwriter"],
    )
    .unwrap();
    sim.edit_user("limited", json!({ "restricted": true })).unwrap();
    let call = |path: &str, body| assert!(sim.call("root1", "POST", path, body).unwrap().0 < 300);
    call("orgs/recipes/teams", json!({ "name": "bosses", "permission": "admin", "includes_all_repositories": true }));
    let (_, teams) = sim.call("root1", "GET", "orgs/recipes/teams", json!({})).unwrap();
    for (team, login) in [("bosses", "teamadmin"), ("Owners", "owner")] {
        let id = teams.as_array().unwrap().iter().find(|t| t["name"] == team).unwrap()["id"].clone();
        assert_eq!(sim.call("root1", "PUT", &format!("teams/{id}/members/{login}"), json!({})).unwrap().0, 204);
    }
}

#[tokio::test]
async fn the_permission_endpoint_reports_the_flat_mode() {
    // What is reported for the public and the private repository, and whether a push is allowed.
    let modern = [
        ("reader", "read", "read", false),
        ("writer", "write", "write", true),
        ("chief", "admin", "admin", true),
        ("teamwriter", "read", "none", true),
        ("teamadmin", "owner", "owner", true),
        ("owner", "owner", "owner", true),
        ("stranger", "read", "none", false),
        ("limited", "read", "none", false),
        ("root1", "owner", "owner", true),
    ];
    for (flavour, team_private) in [(Flavour::Gitea, "none"), (Flavour::OldGitea, "read"), (Flavour::Forgejo, "read")] {
        let sim = forge_sim::serve(Config { flavour, ..Config::default() }).await.unwrap();
        furnish(&sim);
        let admin = token(&sim, "root1");
        for (login, open, closed, push) in modern {
            let closed = if login == "teamwriter" { team_private } else { closed };
            for (repo, wanted) in [("open", open), ("closed", closed)] {
                let got = get(&sim, &admin, &format!("repos/recipes/{repo}/collaborators/{login}/permission")).await;
                assert_eq!(got.json()["permission"], wanted, "{flavour:?} {login} {repo}");
                assert_eq!(got.json()["role_name"], wanted);
            }
            let (status, shown) = sim.call(login, "GET", "repos/recipes/closed", json!({})).unwrap();
            assert_eq!(status == 200 && shown["permissions"]["push"] == true, push, "{flavour:?} {login}");
        }
    }
}

#[tokio::test]
async fn who_may_ask_about_whom() {
    let sim = Sim::start().await.unwrap();
    furnish(&sim);
    for (asker, about, repo, status) in [
        ("writer", "writer", "open", 200),
        ("writer", "reader", "open", 403),
        ("stranger", "stranger", "open", 200),
        ("chief", "stranger", "open", 200),
        ("chief", "nobody", "open", 404),
        ("stranger", "stranger", "closed", 404),
        ("teamadmin", "stranger", "closed", 200),
    ] {
        let path = format!("repos/recipes/{repo}/collaborators/{about}/permission");
        assert_eq!(sim.call(asker, "GET", &path, json!({})).unwrap().0, status, "{asker} about {about} on {repo}");
    }
    let old = forge_sim::serve(Config { flavour: Flavour::OldGitea, ..Config::default() }).await.unwrap();
    furnish(&old);
    let path = "repos/recipes/open/collaborators/writer/permission";
    assert_eq!(old.call("writer", "GET", path, json!({})).unwrap().0, 403, "nobody is himself there");
}

#[tokio::test]
async fn collaborators_and_teams() {
    let sim = Sim::start().await.unwrap();
    furnish(&sim);
    sim.user("inactive").unwrap();
    sim.edit_user("inactive", json!({ "active": false })).unwrap();
    let (_, teams) = sim.call("root1", "GET", "repos/recipes/open/teams", json!({})).unwrap();
    let coders = teams.as_array().unwrap().iter().find(|t| t["name"] == "coders").unwrap().clone();
    assert_eq!(coders["permission"], "none", "whatever it was created with");
    assert_eq!(coders["units_map"]["repo.code"], "write");
    assert_eq!(coders["units_map"]["repo.actions"], Value::Null, "never set");
    let id = &coders["id"];
    sim.repo("stranger/own").unwrap();
    for (login, method, path, status) in [
        ("stranger", "GET", "repos/recipes/open/collaborators/reader".to_owned(), 204),
        ("stranger", "GET", "repos/recipes/open/collaborators/owner".to_owned(), 404),
        ("stranger", "GET", "repos/recipes/open/collaborators/teamwriter".to_owned(), 404),
        ("stranger", "GET", "repos/recipes/open/collaborators/nobody".to_owned(), 422),
        ("chief", "PUT", "repos/recipes/open/collaborators/inactive".to_owned(), 500),
        ("stranger", "GET", "repos/stranger/own/teams".to_owned(), 405),
        ("owner", "GET", format!("teams/{id}/members/teamwriter"), 200),
        ("owner", "GET", format!("teams/{id}/members/stranger"), 404),
        ("teamwriter", "GET", format!("teams/{id}/members/teamwriter"), 200),
        ("teamadmin", "GET", format!("teams/{id}/members/teamwriter"), 403),
        ("owner", "GET", "orgs/recipes/members/teamwriter".to_owned(), 204),
        ("stranger", "GET", "orgs/recipes/members/teamwriter".to_owned(), 303),
        ("stranger", "GET", "orgs/recipes/teams".to_owned(), 403),
    ] {
        let got = sim.call(login, method, &path, json!({})).unwrap();
        assert_eq!(got.0, status, "{login} {method} {path}: {}", got.1);
    }
}

#[tokio::test]
async fn blocked_people_and_locked_conversations() {
    let sim = Sim::start().await.unwrap();
    furnish(&sim);
    sim.push_as("writer", "recipes/open", "up", &[("a", "1")]).unwrap();
    let pr = sim.open_pr("writer", "recipes/open", "up", "Up").unwrap();
    let comment = sim.comment_as("stranger", &pr, "hello").unwrap();
    sim.block("writer", "stranger").unwrap();
    assert!(sim.comment_as("stranger", &pr, "again").is_err());
    let stranger = token(&sim, "stranger");
    let path = format!("repos/recipes/open/issues/comments/{comment}/reactions");
    assert_eq!(post(&sim, &stranger, &path, json!({ "content": "eyes" })).await.status, 403);
    sim.block("writer", "chief").unwrap();
    assert!(sim.comment_as("chief", &pr, "administrators may").is_ok());
    assert_eq!(sim.call("stranger", "PUT", "repos/recipes/open/issues/1/lock", json!({})).unwrap().0, 403);
    assert_eq!(sim.call("writer", "PUT", "repos/recipes/open/issues/1/lock", json!({})).unwrap().0, 204);
    assert!(sim.comment_as("reader", &pr, "locked out").is_err());
    assert!(sim.comment_as("teamwriter", &pr, "writers may").is_ok());
}

#[tokio::test]
async fn the_sender_rights_in_a_comment_payload_are_real() {
    let sim = Sim::start().await.unwrap();
    furnish(&sim);
    sim.push_as("writer", "recipes/open", "up", &[("a", "1")]).unwrap();
    let pr = sim.open_pr("writer", "recipes/open", "up", "Up").unwrap();
    sim.hook("recipes/open", "http://127.0.0.1:9/", "s", &["pull_request_comment"]).unwrap();
    for login in ["teamwriter", "stranger", "chief"] {
        sim.comment_as(login, &pr, "!testme").unwrap();
    }
    let push: Vec<(bool, bool)> = sim
        .deliveries()
        .iter()
        .map(|d| serde_json::from_str::<serde_json::Value>(&d.payload).unwrap()["repository"]["permissions"].clone())
        .map(|p| (p["push"] == true, p["admin"] == true))
        .collect();
    assert_eq!(push, [(true, false), (false, false), (true, true)]);
}

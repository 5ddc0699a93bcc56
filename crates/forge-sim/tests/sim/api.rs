//! Credentials, scopes, error shapes, paging, redirects.

use forge_sim::{Config, Flavour, Sim, SimError};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{call, client, get, post, stage, token};

#[tokio::test]
async fn a_wrong_token_is_401_everywhere_and_scopes_are_checked() {
    let (sim, _) = stage().await;
    let issue = sim.token("alice", &["write:issue"]).unwrap();
    let reader = sim.token("alice", &["read:repository", "read:issue"]).unwrap();
    let all = token(&sim, "alice");
    for (token, method, path, status, text) in [
        ("0000", "GET", "version", 401, "invalid username, password or token"),
        ("0000", "GET", "repos/recipes/app", 401, "invalid username, password or token"),
        ("", "GET", "version", 200, "1.26.0"),
        ("", "GET", "user", 401, "token is required"),
        ("", "GET", "repos/recipes/app", 200, "app"),
        (&issue, "GET", "version", 200, "version"),
        (&issue, "GET", "repos/recipes/app", 403, "required=[read:repository]"),
        (&issue, "GET", "repos/recipes/app/issues/1", 200, "Upgrade app"),
        (&issue, "GET", "repos/recipes/app/pulls/1", 403, "required=[read:repository], token scope=write:issue"),
        (&reader, "POST", "repos/recipes/app/issues/1/comments", 403, "required=[write:issue]"),
        (&reader, "GET", "user/repos", 403, "required=[read:user]"),
        (&all, "GET", "user", 200, "alice"),
        (&all, "GET", "admin/users", 403, "site admin"),
        (&all, "GET", "repos/recipes/none", 404, "not found"),
        (&all, "GET", "no/such/thing", 501, "does not simulate"),
    ] {
        let got = call(&sim, token, method.parse().unwrap(), path, Value::Null).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.text);
        assert!(got.text.contains(text), "{method} {path}: {}", got.text);
        assert_eq!(got.header("content-type"), "application/json;charset=utf-8");
    }
}

#[tokio::test]
async fn credentials_in_all_their_forms() {
    let (sim, _) = stage().await;
    let all = token(&sim, "alice");
    use base64::Engine;
    let basic = |text: String| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
    for (header, who) in [
        (format!("token {all}"), Some("alice")),
        (format!("BEARER {all}"), Some("alice")),
        (format!("token  {all}"), None),
        (basic(format!("anyone:{all}")), Some("alice")),
        (basic(format!("{all}:")), Some("alice")),
        (basic(format!("{all}:x-oauth-basic")), Some("alice")),
        (basic("alice:alice-password".to_owned()), Some("alice")),
        (basic("alice:wrong".to_owned()), None),
        (basic("nocolon".to_owned()), None),
    ] {
        assert_eq!(sim.whoami(&header).as_deref(), who, "{header}");
    }
    let asked = client().get(format!("{}/api/v1/user?token={all}", sim.url())).send().await.unwrap();
    assert!(asked.headers().contains_key("x-gitea-warning"));
    let sudo = async |token: &str, login: &str| {
        let request = client().get(format!("{}/api/v1/user", sim.url())).header("Sudo", login);
        let answer = request.header("Authorization", format!("token {token}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let admin = token(&sim, sim.admin());
    assert!(sudo(&admin, "bob").await.1.contains("\"login\":\"bob\""));
    assert_eq!(sudo(&admin, "nobody").await.0, 404);
    assert_eq!(sudo(&all, "bob").await.0, 403);
}

#[tokio::test]
async fn tokens_are_made_with_a_password_only() {
    let (sim, _) = stage().await;
    let url = format!("{}/api/v1/users/alice/tokens", sim.url());
    let make = async |password: &str, body: Value| {
        let answer = client().post(&url).basic_auth("alice", Some(password)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    let all = token(&sim, "alice");
    let body = json!({ "name": "ci", "scopes": ["write:repository"] });
    assert_eq!(make(&all, body.clone()).await.0, 401, "a token cannot make tokens");
    let (status, made) = make("alice-password", body.clone()).await;
    assert_eq!(status, 201);
    assert_eq!(made["sha1"].as_str().unwrap().len(), 40);
    assert_eq!(make("alice-password", body).await.0, 400, "the name is taken");
    let (status, text) = make("alice-password", json!({ "name": "x" })).await;
    assert_eq!((status, text["message"].as_str().unwrap()), (400, "access token must have a scope"));
    assert_eq!(make("alice-password", json!({ "name": "x", "scopes": ["repo"] })).await.0, 400);
}

#[tokio::test]
async fn accounts_that_may_not_act() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    sim.edit_user("alice", json!({ "prohibit_login": true })).unwrap();
    let got = get(&sim, &alice, "version").await;
    assert_eq!(got.status, 403);
    assert!(got.json().get("url").is_none(), "message only");
    assert!(matches!(sim.comment_as("alice", &pr, "x"), Err(SimError::Refused { status: 403, .. })));
    assert!(matches!(sim.comment_as("nobody", &pr, "x"), Err(SimError::NoAccount(_))));
}

#[tokio::test]
async fn error_shapes() {
    let (sim, _) = stage().await;
    let (alice, bob, admin) = (token(&sim, "alice"), token(&sim, "bob"), token(&sim, sim.admin()));
    let repo = "repos/recipes/app";
    let comment = post(&sim, &alice, &format!("{repo}/issues/1/comments"), json!({ "body": "x" })).await.json();
    let other = sim.repo("recipes/other").unwrap().full_name().to_owned();
    for (token, method, path, body, status, text) in [
        (&bob, "PATCH", format!("{repo}/issues/comments/{}", comment["id"]), json!({ "body": "y" }), 403, ""),
        (&bob, "PATCH", format!("{repo}/pulls/1"), json!({ "state": "closed" }), 403, ""),
        (&bob, "PATCH", format!("{repo}/issues/1"), json!({ "state": "closed" }), 403, ""),
        (&alice, "GET", format!("repos/{other}/issues/comments/{}", comment["id"]), Value::Null, 404, ""),
        (&alice, "GET", format!("{repo}/issues/99/comments"), Value::Null, 500, "\"message\":\"\""),
        (&admin, "GET", format!("{repo}/issues/99/comments"), Value::Null, 500, "issue does not exist"),
        (&alice, "POST", format!("{repo}/issues/99/comments"), json!({ "body": "x" }), 500, ""),
        (&alice, "POST", format!("{repo}/issues/1/comments"), json!({ "body": "" }), 422, "[Body]: Required"),
        (&alice, "POST", format!("{repo}/issues/1/comments"), json!({ "body": 7 }), 422, "cannot unmarshal"),
        (&alice, "POST", format!("{repo}/branches"), json!({ "new_branch_name": "n", "old_ref_name": "zzz" }), 500, ""),
        (
            &alice,
            "POST",
            format!("{repo}/branches"),
            json!({ "new_branch_name": "n", "old_branch_name": "zzz" }),
            404,
            "old branch",
        ),
        (&alice, "POST", format!("{repo}/branches"), json!({ "new_branch_name": "upgrade" }), 409, "already exists"),
        (&alice, "DELETE", format!("{repo}/branches/main"), Value::Null, 403, "default"),
        (&alice, "GET", format!("{repo}/hooks"), Value::Null, 403, "admin"),
        (&alice, "DELETE", repo.to_owned(), Value::Null, 403, "owner"),
        (&admin, "POST", "orgs/recipes/teams".to_owned(), json!({ "name": "t" }), 500, "units"),
    ] {
        let got = call(&sim, token, method.parse().unwrap(), &path, body).await;
        assert_eq!(got.status, status, "{method} {path}: {}", got.text);
        if text.is_empty() && status != 500 {
            assert_eq!(got.text, "", "{method} {path} has no body");
        }
        assert!(got.text.contains(text), "{method} {path}: {}", got.text);
    }
    let bad = client()
        .post(format!("{}/api/v1/{repo}/issues/1/comments", sim.url()))
        .header("Authorization", format!("token {alice}"))
        .header("Content-Type", "application/json")
        .body("{");
    assert_eq!(bad.send().await.unwrap().status().as_u16(), 422);
    let form = client()
        .post(format!("{}/api/v1/{repo}/issues/1/comments", sim.url()))
        .header("Authorization", format!("token {alice}"))
        .form(&[("body", "by form")]);
    assert_eq!(form.send().await.unwrap().status().as_u16(), 201);
}

#[tokio::test]
async fn archived_repositories_take_statuses_and_nothing_else() {
    let (sim, _) = stage().await;
    sim.repo("recipes/app").unwrap().edit(json!({ "archived": true })).unwrap();
    let alice = token(&sim, "alice");
    for (path, body, status) in [
        ("issues/1/comments", json!({ "body": "x" }), 423),
        ("pulls", json!({ "head": "a", "base": "b", "title": "t" }), 423),
        ("branches", json!({ "new_branch_name": "n" }), 423),
        ("contents/x", json!({ "content": "" }), 423),
        ("statuses/upgrade", json!({ "state": "success" }), 201),
    ] {
        let got = post(&sim, &alice, &format!("repos/recipes/app/{path}"), body).await;
        assert_eq!(got.status, status, "{path}: {}", got.text);
    }
}

#[tokio::test]
async fn pages_are_clamped_without_a_word() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    for n in 0..55 {
        sim.comment_as("alice", &pr, &format!("c{n}")).unwrap();
        let body = json!({ "state": "pending", "context": format!("c{n}") });
        assert_eq!(post(&sim, &alice, "repos/recipes/app/statuses/upgrade", body).await.status, 201);
    }
    for (path, length, total, link) in [
        ("issues/comments", 30, "55", false),
        ("issues/comments?limit=1000", 50, "55", false),
        ("issues/comments?limit=50&page=2", 5, "55", false),
        ("issues/comments?limit=50&page=9", 0, "55", false),
        ("issues/1/comments?limit=5", 55, "55", false),
        ("commits/upgrade/statuses?limit=100", 50, "55", true),
        ("commits/upgrade/statuses?limit=10&page=2", 10, "55", true),
        ("branches?limit=1", 1, "2", true),
    ] {
        let got = get(&sim, &alice, &format!("repos/recipes/app/{path}")).await;
        assert_eq!(got.json().as_array().unwrap().len(), length, "{path}");
        assert_eq!(got.header("x-total-count"), total, "{path}");
        assert_eq!(!got.header("link").is_empty(), link, "{path}");
    }
    let combined = get(&sim, &alice, "repos/recipes/app/commits/upgrade/status?limit=100").await.json();
    assert_eq!(combined["total_count"], 50, "only the page counts");
    let second = get(&sim, &alice, "repos/recipes/app/commits/upgrade/statuses?limit=10&page=2").await;
    let link = second.header("link");
    for rel in ["next", "last", "first", "prev"] {
        assert!(link.contains(&format!("rel=\"{rel}\"")), "{link}");
    }
}

#[tokio::test]
async fn repo_wide_comments_by_time() {
    let (sim, pr) = stage().await;
    let first = sim.comment_as("alice", &pr, "first").unwrap();
    sim.advance_clock(60);
    let later = sim.comment_as("alice", &pr, "second").unwrap();
    let alice = token(&sim, "alice");
    let at = get(&sim, &alice, &format!("repos/recipes/app/issues/comments/{later}")).await.json();
    let since = at["updated_at"].as_str().unwrap().to_owned();
    let ids = async || -> Vec<i64> {
        let got = get(&sim, &alice, &format!("repos/recipes/app/issues/comments?since={since}")).await;
        got.json().as_array().unwrap().iter().map(|c| c["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids().await, [later], "inclusive");
    sim.edit_comment_as("alice", "recipes/app", first, "edited").unwrap();
    assert_eq!(ids().await, [first, later], "an edit counts");
    let bad = get(&sim, &alice, "repos/recipes/app/issues/comments?since=yesterday").await;
    assert_eq!(bad.status, 422);
}

#[tokio::test]
async fn flavours_and_anonymous_views() {
    for (flavour, version, missing) in [
        (Flavour::Gitea, "1.26.0", "not found"),
        (Flavour::OldGitea, "1.22.6", "The target couldn't be found."),
        (Flavour::Forgejo, "11.0.3+gitea-1.22.0", "The target couldn't be found."),
    ] {
        let sim = forge_sim::serve(Config { flavour, ..Config::default() }).await.unwrap();
        assert_eq!(get(&sim, "", "version").await.json()["version"], version);
        assert_eq!(get(&sim, "", "repos/a/b").await.json()["message"], missing);
        sim.switch(|s| s.require_signin = true);
        let refused = get(&sim, "", "version").await;
        assert_eq!(
            (refused.status, refused.json()["message"].as_str().unwrap().to_owned()),
            (403, "Only signed in user is allowed to call APIs.".to_owned())
        );
    }
    assert!(matches!(
        forge_sim::serve(Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() }).await,
        Err(SimError::NotLoopback(_))
    ));
}

#[tokio::test]
async fn users_look_different_to_different_people() {
    let (sim, pr) = stage().await;
    let (alice, bob, admin) = (token(&sim, "alice"), token(&sim, "bob"), token(&sim, sim.admin()));
    let seen = async |token: &str| get(&sim, token, "users/alice").await.json();
    assert_eq!(seen("").await["email"], "alice@noreply.127.0.0.1");
    assert_eq!(seen(&bob).await["email"], "alice@example.test");
    for (token, active) in [("", false), (bob.as_str(), false), (alice.as_str(), true), (admin.as_str(), true)] {
        assert_eq!(seen(token).await["active"], active);
    }
    sim.edit_user("alice", json!({ "visibility": "private" })).unwrap();
    assert_eq!(get(&sim, &bob, "users/alice").await.status, 404);
    assert_eq!(sim.comments(&pr), []);
    sim.comment_as("bob", &pr, "hi").unwrap();
    assert_eq!(call(&sim, &admin, Method::DELETE, "admin/users/bob", Value::Null).await.status, 204);
    let ghost = get(&sim, &alice, "repos/recipes/app/issues/1/comments").await.json()[0]["user"].clone();
    assert_eq!((ghost["id"].as_i64(), ghost["login"].as_str()), (Some(-1), Some("Ghost")));
}

#[tokio::test]
async fn it_ends_with_its_handle() {
    let sim = Sim::start().await.unwrap();
    let url = format!("{}/api/v1/version", sim.url());
    let dir = sim.repo(&format!("{}/x", sim.admin())).unwrap().git_dir().unwrap();
    assert!(dir.exists());
    drop(sim);
    tokio::task::yield_now().await;
    assert!(client().get(url).send().await.is_err());
    assert!(!dir.exists());
}

//! What the API answers, errors too, and what each scope of the token is needed for.

use cc_ci::forge::model::{Happened, Membership, Person, RepoId};
use cc_ci::forge::{Error, ErrorKind, HookWanted};
use cc_ci::redact::SecretValue;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{SCOPES, Stage};

const UNKNOWN: &str = "1234567890123456789012345678901234567890";

/// Who asks.
#[derive(Debug, Clone, Copy)]
enum Who {
    /// Administers the repository.
    Robot,
    /// Has only what everybody has.
    Stranger,
    /// The site's administrator.
    Site,
}
use Who::{Robot, Site, Stranger};

/// One call and its status, once for Gitea 1.26 and later, once for older ones and Forgejo.
type Row = (Who, &'static str, &'static str, Value, (u16, u16));

fn same(status: u16) -> (u16, u16) {
    (status, status)
}

/// `{repo}`, `{pull}`, `{comment}`, `{push}`, `{sha}`, `{file}` and `{stranger}` stand for what is on the stage.
fn rows() -> Vec<Row> {
    let text = |body: &str| json!({ "body": body });
    let status = |state: &str| json!({ "state": state, "context": "table" });
    let branch = |name: &str, from: &str| json!({ "new_branch_name": name, "old_ref_name": from });
    let pull = |head: &str, base: &str| json!({ "head": head, "base": base, "title": "t" });
    let file = |content: &str, branch: &str| json!({ "content": content, "branch": branch, "message": "m" });
    let hook = |kind: &str, content: &str, url: &str| json!({ "type": kind, "config": { "url": url, "content_type": content } });
    let url = "https://ci.example.test/table";
    let none = || Value::Null;
    vec![
        (Robot, "GET", "repos/{repo}/pulls/999", none(), same(404)),
        (Robot, "GET", "repos/{repo}/pulls/x", none(), same(404)),
        (Robot, "GET", "repos/{repo}/issues/999/comments", none(), same(500)),
        (Robot, "GET", "repos/{repo}/issues/{pull}/comments", none(), same(200)),
        (Robot, "GET", "repos/{repo}/issues/comments?since=yesterday", none(), same(422)),
        (Robot, "GET", "repos/{repo}/issues/comments?page=99&limit=-1", none(), same(200)),
        (Robot, "GET", "repos/{repo}/issues/comments/99999999", none(), same(404)),
        (Robot, "GET", "repos/{repo}/issues/comments/{push}", none(), same(204)),
        (Robot, "PATCH", "repos/{repo}/issues/comments/{push}", text("x"), same(204)),
        (Robot, "POST", "repos/{repo}/issues/{pull}/comments", text(""), same(422)),
        (Robot, "POST", "repos/{repo}/issues/{pull}/comments", json!({ "body": 3 }), same(422)),
        (Robot, "POST", "repos/{repo}/issues/{pull}/comments", json!([]), same(422)),
        (Robot, "POST", "repos/{repo}/issues/999/comments", text("x"), same(500)),
        (Robot, "PATCH", "repos/{repo}/issues/comments/{comment}", text(""), same(422)),
        (Stranger, "PATCH", "repos/{repo}/issues/comments/{comment}", text("x"), same(403)),
        (Stranger, "DELETE", "repos/{repo}/issues/comments/{comment}", none(), same(403)),
        (Robot, "POST", "repos/{repo}/issues/comments/{comment}/reactions", json!({ "content": "eyes" }), same(201)),
        (Robot, "POST", "repos/{repo}/issues/comments/{comment}/reactions", json!({ "content": "eyes" }), same(200)),
        (Robot, "POST", "repos/{repo}/issues/comments/{comment}/reactions", json!({ "content": "owl" }), same(403)),
        (Robot, "POST", "repos/{repo}/issues/comments/99999999/reactions", json!({ "content": "eyes" }), same(404)),
        (Robot, "DELETE", "repos/{repo}/issues/comments/{comment}/reactions", json!({ "content": "eyes" }), (204, 200)),
        (Robot, "DELETE", "repos/{repo}/issues/comments/{comment}/reactions", json!({ "content": "eyes" }), (204, 200)),
        (Robot, "POST", "repos/{repo}/statuses/{sha}", status("pending"), same(201)),
        (Robot, "POST", "repos/{repo}/statuses/{sha}", status("any word"), same(201)),
        (Robot, "POST", "repos/{repo}/statuses/main", status("success"), same(201)),
        (Robot, "POST", "repos/{repo}/statuses/{unknown}", status("success"), same(500)),
        (Stranger, "POST", "repos/{repo}/statuses/{sha}", status("success"), same(403)),
        (Robot, "GET", "repos/{repo}/statuses/{unknown}", none(), same(200)),
        (Robot, "GET", "repos/{repo}/commits/{unknown}/statuses", none(), same(404)),
        (Robot, "GET", "repos/{repo}/commits/{unknown}/status", none(), same(404)),
        (Robot, "POST", "repos/{repo}/branches", branch("made", "main"), same(201)),
        (Robot, "POST", "repos/{repo}/branches", branch("made", "main"), same(409)),
        (Robot, "POST", "repos/{repo}/branches", branch("made/below", "main"), same(409)),
        (Robot, "POST", "repos/{repo}/branches", branch("lost", "nowhere"), same(500)),
        (Robot, "POST", "repos/{repo}/branches", branch("a b..c", "main"), same(422)),
        (Stranger, "POST", "repos/{repo}/branches", branch("theirs", "main"), same(403)),
        (Robot, "GET", "repos/{repo}/branches/nowhere", none(), same(404)),
        (Robot, "DELETE", "repos/{repo}/branches/made", none(), same(204)),
        (Robot, "DELETE", "repos/{repo}/branches/made", none(), same(404)),
        (Robot, "DELETE", "repos/{repo}/branches/main", none(), same(403)),
        (Robot, "POST", "repos/{repo}/pulls", pull("upgrade", "main"), same(409)),
        (Stranger, "POST", "repos/{repo}/pulls", pull("upgrade", "main"), same(409)),
        (Robot, "POST", "repos/{repo}/pulls", pull("nowhere", "main"), same(404)),
        (Robot, "POST", "repos/{repo}/pulls", pull("upgrade", "nowhere"), same(404)),
        (Robot, "POST", "repos/{repo}/pulls", pull("main", "main"), same(422)),
        (Stranger, "POST", "repos/{repo}/pulls", pull("{stranger}:main", "main"), (400, 404)),
        (Stranger, "PATCH", "repos/{repo}/pulls/{pull}", json!({ "title": "mine" }), same(403)),
        (Robot, "PATCH", "repos/{repo}/pulls/{pull}", json!({ "title": "" }), same(201)),
        (Robot, "PATCH", "repos/{repo}/pulls/{pull}", json!({ "state": "ajar" }), same(412)),
        (Robot, "POST", "repos/{repo}/contents/new.yml", file("YQ==", "main"), same(201)),
        (Robot, "POST", "repos/{repo}/contents/new.yml", file("YQ==", "main"), same(422)),
        (Robot, "POST", "repos/{repo}/contents/odd.yml", file("%%%", "main"), same(422)),
        (Robot, "POST", "repos/{repo}/contents/lost.yml", file("YQ==", "nowhere"), same(404)),
        (Robot, "POST", "repos/{repo}/contents/.git/config", file("YQ==", "main"), same(422)),
        (Stranger, "POST", "repos/{repo}/contents/theirs.yml", file("YQ==", "main"), same(403)),
        (Robot, "GET", "repos/{repo}/contents/nowhere.yml", none(), same(404)),
        (Robot, "GET", "repos/{repo}/git/refs/pull/{pull}/head", none(), same(200)),
        (Robot, "GET", "repos/{repo}/git/refs/pull/999/head", none(), same(404)),
        (Robot, "GET", "repos/{repo}/hooks/999999", none(), same(404)),
        (Robot, "DELETE", "repos/{repo}/hooks/999999", none(), same(404)),
        (Robot, "POST", "repos/{repo}/hooks", hook("nonsense", "json", url), same(422)),
        (Robot, "POST", "repos/{repo}/hooks", hook("gitea", "xml", url), same(422)),
        (Robot, "POST", "repos/{repo}/hooks", hook("gitea", "json", "nowhere"), same(422)),
        (Stranger, "POST", "repos/{repo}/hooks", hook("gitea", "json", url), same(403)),
        (Stranger, "GET", "repos/{repo}/collaborators/{stranger}", none(), same(404)),
        (Robot, "GET", "repos/{repo}/collaborators/nobody-at-all", none(), same(422)),
        (Robot, "GET", "repos/{repo}/collaborators/nobody-at-all/permission", none(), same(404)),
        (Robot, "GET", "repos/{repo}/collaborators/{stranger}/permission", none(), same(200)),
        (Robot, "GET", "teams/999999", none(), same(404)),
        (Robot, "GET", "orgs/nobody-at-all/repos", none(), same(404)),
        (Stranger, "GET", "repositories/99999999", none(), same(404)),
        (Stranger, "GET", "admin/users", none(), same(403)),
        (Robot, "PUT", "repos/{repo}/issues/{pull}/lock", json!({}), same(204)),
        (Stranger, "POST", "repos/{repo}/issues/{pull}/comments", text("x"), same(403)),
        (Robot, "DELETE", "repos/{repo}/issues/{pull}/lock", none(), same(204)),
        (Site, "PATCH", "repos/{repo}", json!({ "archived": true }), same(200)),
        (Robot, "POST", "repos/{repo}/issues/{pull}/comments", text("x"), same(423)),
        (Robot, "POST", "repos/{repo}/branches", branch("late", "main"), same(423)),
        (Robot, "POST", "repos/{repo}/pulls", pull("upgrade", "other"), same(423)),
        (Robot, "POST", "repos/{repo}/contents/late.yml", file("YQ==", "main"), same(423)),
        (Robot, "PATCH", "repos/{repo}/pulls/{pull}", json!({ "title": "late" }), same(201)),
        (Robot, "POST", "repos/{repo}/statuses/{sha}", status("success"), same(201)),
        (Robot, "POST", "repos/{repo}/issues/comments/{comment}/reactions", json!({ "content": "eyes" }), same(201)),
    ]
}

pub(crate) async fn every_answer_has_its_status(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "admin").await;
    let stranger = stage.user("stranger").await;
    let sha = stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    stage.agreed(&client, repo.id, number, &sha).await;
    let comment = stage.comment(&robot, &repo, number, "hello").await;
    let timeline = client.timeline(repo.id, number).await.unwrap();
    let push = timeline.iter().find(|entry| matches!(entry.happened, Happened::Push { .. })).unwrap().id;
    let current = client.version().await.unwrap().gitea >= Some((1, 26));
    let fill = |text: &str| {
        text.replace("{repo}", &repo.full_name)
            .replace("{pull}", &number.to_string())
            .replace("{comment}", &comment.to_string())
            .replace("{push}", &push.to_string())
            .replace("{sha}", &sha)
            .replace("{unknown}", UNKNOWN)
            .replace("{stranger}", &stranger.login)
    };
    let mut wrong = Vec::new();
    for (who, method, path, body, (new, old)) in rows() {
        let token = match who {
            Robot => robot.token.as_str(),
            Stranger => stranger.token.as_str(),
            Site => stage.world.token(),
        };
        let body = if body.is_null() { body } else { serde_json::from_str(&fill(&body.to_string())).unwrap() };
        let method: Method = method.parse().unwrap();
        let (status, answer) = stage.call(token, method.clone(), &fill(path), body).await;
        let want = if current { new } else { old };
        if status != want {
            wrong.push(format!("{who:?} {method} {path}: {status} instead of {want}: {answer:.200}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for path in ["version", "user", "settings/api", &format!("repos/{}", repo.full_name)] {
        let (status, _) = stage.call(UNKNOWN, Method::GET, path, Value::Null).await;
        assert_eq!(status, 401, "a wrong token, {path}");
    }
}

/// The scope that a call was refused for.
fn lacks<T>(answer: &Result<T, Error>) -> Option<String> {
    match answer.as_ref().err().map(|error| &error.kind) {
        Some(ErrorKind::Forbidden { missing_scope }) => missing_scope.clone(),
        _ => None,
    }
}

pub(crate) async fn scopes_are_enough_and_no_fewer_are(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, _) = stage.robot(&repo, "admin").await;
    let team = stage.team("coders", json!({ "repo.code": "write", "repo.pulls": "write" }), &[&robot]).await;
    let sha = stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    let comment = stage.comment(&robot, &repo, number, "hello").await;
    let me = Person { id: robot.id, login: robot.login.clone() };
    let status = cc_ci::forge::model::NewStatus {
        state: cc_ci::forge::model::CommitState::Pending,
        context: "scopes".to_owned(),
        description: String::new(),
        target_url: String::new(),
    };
    let refused = async |scopes: &[&str]| -> std::collections::BTreeSet<String> {
        let client = stage.client(&stage.token(&robot, scopes).await);
        let wanted =
            HookWanted { url: "https://ci.example.test/s".to_owned(), secret: SecretValue::new("x".repeat(32)) };
        let answers = [
            lacks(&client.version().await),
            lacks(&client.whoami().await),
            lacks(&client.user(&robot.login).await),
            lacks(&client.repo(repo.id).await),
            lacks(&client.branches(repo.id).await),
            lacks(&client.pulls(repo.id, cc_ci::forge::model::PullFilter::Open).await),
            lacks(&client.pull_ref(repo.id, number).await),
            lacks(&client.permission(repo.id, &robot.login).await),
            lacks(&client.is_collaborator(repo.id, &robot.login).await),
            lacks(&client.teams(repo.id).await),
            lacks(&client.assignees(repo.id).await),
            lacks(&client.post_status(repo.id, &sha, &status).await),
            lacks(&client.repair_hook(repo.id, &wanted).await),
            lacks(&client.comments(repo.id, number).await),
            lacks(&client.timeline(repo.id, number).await),
            lacks(&client.create_comment(repo.id, number, "x").await),
            lacks(&client.react(repo.id, comment, "eyes").await),
            lacks(&client.team_membership(team, &me).await),
            lacks(&client.org_membership(&stage.org, &robot.login).await),
            lacks(&client.org_repos(&stage.org).await),
        ];
        answers.into_iter().flatten().collect()
    };
    assert!(refused(SCOPES).await.is_empty(), "what we ask for is enough");
    for (place, scope) in SCOPES.iter().enumerate() {
        let mut fewer: Vec<&str> = SCOPES.to_vec();
        fewer.remove(place);
        let seen = refused(&fewer).await;
        let group = scope.split_once(':').unwrap().1;
        assert!(seen.iter().any(|s| s.ends_with(group)), "without {scope}: {seen:?}");
        assert!(seen.iter().all(|s| s.ends_with(group)), "and nothing else is lacking without {scope}: {seen:?}");
        let client = stage.client(&stage.token(&robot, &fewer).await);
        assert_eq!(client.scopes().await.unwrap().missing(), [*scope]);
        if scope.starts_with("write:") {
            let read = scope.replace("write:", "read:");
            fewer.push(&read);
            assert_eq!(refused(&fewer).await.into_iter().collect::<Vec<_>>(), [*scope], "reading is not enough");
        }
    }
}

/// What only appears here of the client: lists of people and of an organisation, the clock, hooks one by one.
pub(crate) async fn lists_of_people_and_single_hooks(stage: &Stage<'_>) {
    let (repo, other) = (stage.repo("app").await, stage.repo("other").await);
    let (robot, client) = stage.robot(&repo, "admin").await;
    let reader = stage.user("reader").await;
    stage.collaborator(&repo, &reader, "read").await;
    let mut names: Vec<String> = client.org_repos(&stage.org).await.unwrap().into_iter().map(|r| r.name).collect();
    names.sort();
    assert_eq!(names, ["app", "other"]);
    let people: Vec<i64> = client.assignees(repo.id).await.unwrap().iter().map(|person| person.id).collect();
    assert!(people.contains(&robot.id) && !people.contains(&reader.id), "{people:?}");
    let outside = client.org_membership(&stage.org, &reader.login).await.unwrap();
    assert_eq!(outside, Membership::Withheld, "only members are told");
    let (shown, ours) = (client.date().await.unwrap().unwrap(), cc_ci::clock::now());
    assert!(ours.duration_since(shown).abs() < jiff::SignedDuration::from_mins(10), "{shown} is the forge's own clock");

    let wanted = HookWanted { url: "https://ci.example.test/h".to_owned(), secret: SecretValue::new("x".repeat(32)) };
    let hook = client.create_hook(repo.id, &wanted).await.unwrap();
    let moved = client.update_hook(repo.id, hook.id, "https://ci.example.test/moved").await.unwrap();
    assert_eq!((moved.id, moved.url.as_str(), moved.active), (hook.id, "https://ci.example.test/moved", true));
    assert_eq!(moved.events, hook.events);
    assert_eq!(client.delete_hook(other.id, hook.id).await.unwrap_err().kind, no_admin(), "another repository's");
    client.delete_hook(repo.id, hook.id).await.unwrap();
    assert_eq!(client.delete_hook(repo.id, hook.id).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(client.org_repos("nobody-at-all").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(client.assignees(RepoId(i64::from(i32::MAX))).await.unwrap_err().kind, ErrorKind::NotFound);
}

fn no_admin() -> ErrorKind {
    ErrorKind::Forbidden { missing_scope: None }
}

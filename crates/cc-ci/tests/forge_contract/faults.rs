//! What only a simulator does on demand: outages, and deliveries to us.

use std::time::Duration;

use axum::http::HeaderMap;
use cc_ci::bridge::facts::LastPush;
use cc_ci::bridge::webhook::{Delivery, PullAction, parse, verify};
use cc_ci::forge::model::RepoId;
use cc_ci::forge::{Client, ErrorKind, HookWanted, Settings, Token};
use cc_ci::redact::SecretValue;
use forge_sim::{ApiFault, Fault, Flavour, Sim};
use jiff::SignedDuration;

use super::people::{facts, polled};

fn client_with(base: &str, token: &str, timeout: Duration) -> Client {
    let clock = cc_ci::clock::SystemClock::shared();
    let token = Token::new(&SecretValue::new(token)).unwrap();
    Client::new(Settings { base_url: base.to_owned(), token, timeout, clock }).unwrap()
}

fn client(sim: &Sim) -> Client {
    client_with(sim.url(), &sim.token(sim.admin(), &["all"]).unwrap(), Duration::from_secs(20))
}

/// `recipes/app` with an open pull request.
fn furnish(sim: &Sim) -> forge_sim::PrRef {
    sim.org("recipes").unwrap();
    sim.user("alice").unwrap();
    sim.repo("recipes/app").unwrap().collaborator("alice", "write").unwrap();
    sim.push_as("alice", "recipes/app", "upgrade", &[("a", "b")]).unwrap();
    sim.open_pr("alice", "recipes/app", "upgrade", "Upgrade").unwrap()
}

#[tokio::test]
async fn each_fault_is_told_apart_and_nothing_is_repeated() {
    let sim = Sim::start().await.unwrap();
    let pr = furnish(&sim);
    let usual = client(&sim);
    let repo = usual.repo_by_name("recipes", "app").await.unwrap().id;
    usual.comments(repo, pr.number).await.unwrap();
    let status = |code, retry_after| ApiFault::Status { code, retry_after };
    let minute = Some(SignedDuration::from_secs(60));
    let table = [
        (status(401, None), ErrorKind::Unauthorised, 0),
        (status(429, Some(60)), ErrorKind::RateLimited { retry_after: minute }, 0),
        (status(500, None), ErrorKind::Server { status: 500 }, 0),
        (status(502, None), ErrorKind::Server { status: 502 }, 0),
        (ApiFault::CommitThenStatus { code: 502 }, ErrorKind::Server { status: 502 }, 1),
        (ApiFault::Hang { millis: 1 }, ErrorKind::Connect, 0),
        (ApiFault::CommitThenHang { millis: 1 }, ErrorKind::Connect, 1),
    ];
    let sent = || sim.requests().iter().filter(|r| r.method == "POST").count();
    for (fault, want, done) in table {
        let (before, posts) = (sim.comments(&pr).len(), sent());
        sim.fault(Fault::request("POST", "/comments", 1, fault.clone()));
        let error = usual.create_comment(repo, pr.number, "hello").await.unwrap_err();
        assert_eq!(error.kind, want, "{fault:?}: {error}");
        assert_eq!(error.is_transient(), want != ErrorKind::Unauthorised, "{fault:?}");
        assert_eq!(sim.comments(&pr).len() - before, done, "{fault:?}");
        assert_eq!(sent() - posts, 1, "{fault:?}: sent once");
    }
    // How much of a cut answer arrives is up to the network.
    let before = sim.comments(&pr).len();
    sim.fault(Fault::request("POST", "/comments", 1, ApiFault::Truncate));
    let cut = usual.create_comment(repo, pr.number, "hello").await.unwrap_err();
    assert!(matches!(cut.kind, ErrorKind::Truncated | ErrorKind::Connect) && cut.is_transient(), "{cut}");
    assert_eq!(sim.comments(&pr).len() - before, 1);
    assert!(sim.faults().is_empty());

    let token = sim.token(sim.admin(), &["all"]).unwrap();
    let hasty = client_with(sim.url(), &token, Duration::from_millis(300));
    sim.fault(Fault::request("GET", "/version", 1, ApiFault::Hang { millis: 60_000 }));
    assert_eq!(hasty.version().await.unwrap_err().kind, ErrorKind::Timeout);
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let alone = client_with(&format!("http://{nobody}"), &token, Duration::from_secs(5));
    let error = alone.version().await.unwrap_err();
    assert_eq!((error.is_transient(), &error.kind), (true, &ErrorKind::Connect));
    assert!(!error.to_string().contains(&token) && !format!("{alone:?}").contains(&token));
}

/// A server of odd answers: one without an end, one that is no JSON, one that sends elsewhere, a list with gaps.
async fn odd_server() -> String {
    use axum::response::{IntoResponse as _, Redirect};
    let huge = || async { format!("{{\"version\": \"{}\"}}", "x".repeat(cc_ci::forge::MAX_ANSWER)) };
    let page = || async { axum::response::Html("<h1>Back soon</h1>").into_response() };
    let away = || async { Redirect::permanent("https://elsewhere.example.test/steal") };
    let same = || async { axum::Json(serde_json::json!([{ "name": "a", "commit": { "sha": "a".repeat(40) } }])) };
    let repo = || async {
        axum::Json(serde_json::json!({ "id": 1, "full_name": "a/b", "name": "b", "owner": { "id": 1, "login": "a" } }))
    };
    // Pages 2 and 3 held nothing but what we may not see; the totals are those of the page.
    let holed = |axum::extract::Query(asked): axum::extract::Query<std::collections::BTreeMap<String, String>>| async move {
        let entry =
            |id: i64| serde_json::json!([{ "id": id, "type": "pull_push", "created_at": "2026-01-02T03:04:05Z" }]);
        match asked.get("page").map(String::as_str) {
            Some("1") => ([("X-Total-Count", "1")], axum::Json(entry(1))),
            Some("4") => ([("X-Total-Count", "1")], axum::Json(entry(2))),
            _ => ([("X-Total-Count", "0")], axum::Json(serde_json::Value::Null)),
        }
    };
    let app = axum::Router::new()
        .route("/git/api/v1/version", axum::routing::get(huge))
        .route("/git/api/v1/settings/api", axum::routing::get(page))
        .route("/git/api/v1/repositories/{id}", axum::routing::get(repo))
        .route("/git/api/v1/repos/a/b/tags", axum::routing::get(same))
        .route("/git/api/v1/repos/a/b/issues/1/timeline", axum::routing::get(holed))
        .route("/git/api/v1/repos/a/b/branches", axum::routing::any(away));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/git", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    base
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_from_none() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let half =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"version\": \"1";
            let _ = socket.write_all(half.as_bytes()).await;
        }
    });
    let half = client_with(&base, "token", Duration::from_secs(20)).version().await.unwrap_err();
    assert_eq!((half.is_transient(), half.kind), (true, ErrorKind::Truncated));
}

#[tokio::test]
async fn odd_answers_do_no_harm() {
    let odd = client_with(&odd_server().await, "token", Duration::from_secs(20));
    assert_eq!(odd.version().await.unwrap_err().kind, ErrorKind::AnswerTooLarge);
    let page = odd.limits().await.unwrap_err();
    assert_eq!(page.kind, ErrorKind::Decode);
    assert!(!page.to_string().contains("Back soon"), "foreign text stays out: {page}");
    assert_eq!(odd.tags(RepoId(1)).await.unwrap().len(), 1, "a list that repeats itself for ever has an end");
    assert_eq!(odd.timeline(RepoId(1), 1).await.unwrap().len(), 2, "an empty page in the middle is no end");
    assert_eq!(odd.tags(RepoId(2)).await.unwrap_err().kind, ErrorKind::Decode, "another repository than asked for");
    let sent_away = odd.create_branch(RepoId(1), "x", "main").await.unwrap_err();
    assert!(matches!(sent_away.kind, ErrorKind::Moved { .. }), "a POST is never redirected: {sent_away}");
}

#[tokio::test]
async fn pages_are_cut_without_a_word() {
    let sim = Sim::start().await.unwrap();
    let pr = furnish(&sim);
    for n in 0..12 {
        sim.comment_as("alice", &pr, &format!("comment {n}")).unwrap();
    }
    sim.switch(|switches| switches.max_items = 5);
    let client = client(&sim);
    let repo = client.repo_by_name("recipes", "app").await.unwrap().id;
    let all = client.comments_since(repo, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    let texts: Vec<String> = (0..12).map(|n| format!("comment {n}")).collect();
    assert_eq!(all.into_iter().map(|c| c.body).collect::<Vec<_>>(), texts);
}

#[tokio::test]
async fn deliveries_are_genuine_and_read_alike_in_all_guises() {
    for flavour in [Flavour::Gitea, Flavour::OldGitea, Flavour::Forgejo] {
        let sim = forge_sim::serve(forge_sim::Config { flavour, ..forge_sim::Config::default() }).await.unwrap();
        let pr = furnish(&sim);
        let client = client(&sim);
        let repo = client.repo_by_name("recipes", "app").await.unwrap();
        let secret = SecretValue::new("0123456789abcdef0123456789abcdef");
        // Nobody listens there: what was sent is in the simulator's log.
        let wanted = HookWanted { url: format!("{}/nobody", sim.url()), secret: secret.clone() };
        client.repair_hook(repo.id, &wanted).await.unwrap();
        let comment = sim.comment_as("alice", &pr, "!testme\r\n").unwrap();
        let head = sim.push_as("alice", "recipes/app", "upgrade", &[("a", "c")]).unwrap();
        sim.settle().await;
        let mut kinds = Vec::new();
        for log in sim.deliveries() {
            let headers: HeaderMap = log
                .headers
                .iter()
                .map(|(n, v)| (n.parse::<axum::http::HeaderName>().unwrap(), v.parse().unwrap()))
                .collect();
            let genuine =
                verify(&[SecretValue::new("new one"), secret.clone()], &headers, log.payload.as_bytes()).unwrap();
            assert_eq!((genuine.secret, genuine.delivery.as_str()), (1, log.uuid.as_str()));
            let wrong = verify(&[SecretValue::new("another")], &headers, log.payload.as_bytes());
            assert!(wrong.is_err(), "{flavour:?}");
            match parse(&genuine.event_type, &genuine.payload).unwrap() {
                Delivery::Comment(event) => {
                    assert_eq!((event.comment_id, event.body.as_str(), event.is_pull), (comment, "!testme\r\n", true));
                    assert_eq!(
                        (event.repo_id, event.number, event.author == event.sender),
                        (repo.id.0, pr.number, true)
                    );
                    assert_eq!(event.sender_may_push, Some(true), "{flavour:?}");
                    assert_eq!(
                        event.signed_head.is_some(),
                        flavour == Flavour::Gitea || flavour == Flavour::Forgejo,
                        "{flavour:?}"
                    );
                    kinds.push("comment");
                }
                Delivery::Pull(event) => {
                    assert_eq!((event.action, event.head.as_deref()), (PullAction::Synchronized, Some(head.as_str())));
                    kinds.push("pull");
                }
                Delivery::Push(event) => {
                    assert_eq!(
                        (event.reference.as_str(), event.after.as_deref()),
                        ("refs/heads/upgrade", Some(head.as_str()))
                    );
                    kinds.push("push");
                }
                Delivery::Ignored { event } => panic!("{flavour:?}: {event}"),
            }
        }
        kinds.sort_unstable();
        assert_eq!(kinds, ["comment", "pull", "push"], "{flavour:?}");
    }
}

#[tokio::test]
async fn a_head_that_has_moved_is_not_believed_before_its_push_is_told() {
    let sim = Sim::start().await.unwrap();
    let pr = furnish(&sim);
    let client = client(&sim);
    let repo = client.repo_by_name("recipes", "app").await.unwrap();
    let comment = sim.comment_as("alice", &pr, "!testme").unwrap();
    let trigger = polled(&client, &repo, pr.number, comment).await;
    let last_push = async || facts(&client, &trigger).await.pull.unwrap().last_push;
    assert!(matches!(last_push().await, LastPush::At(at) if at <= trigger.created), "the opening");
    sim.switch(|switches| switches.late_push_entries = true);
    sim.advance_clock(5);
    let head = sim.push_as("alice", "recipes/app", "upgrade", &[("a", "c")]).unwrap();
    let seen = facts(&client, &trigger).await.pull.unwrap();
    assert_eq!((seen.live_head.as_str(), seen.pull_ref.as_deref()), (head.as_str(), Some(head.as_str())));
    assert_eq!(seen.last_push, LastPush::NotYetTold, "both views agree, and the timeline lags behind");
    sim.release_pull_refs();
    assert!(matches!(last_push().await, LastPush::At(at) if at > trigger.created));
}

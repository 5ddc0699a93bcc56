//! Signed deliveries as they arrive here, and their shape, key by key, against what a real Gitea 1.26 sent.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::HeaderMap;
use cc_ci::bridge::facts::Action;
use cc_ci::bridge::webhook::{Delivery, PullAction, parse, verify};
use cc_ci::forge::HookWanted;
use cc_ci::forge::model::Flavour;
use cc_ci::redact::SecretValue;
use serde_json::Value;
use tokio::sync::mpsc;

use super::world::Stage;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Recorded from Gitea 1.26.0: event, action, body.
const RECORDED: [(&str, &str, &str); 6] = [
    ("pull_request_comment", "created", include_str!("../../../forge-sim/schema/issue_comment-pr-created.json")),
    ("pull_request_comment", "edited", include_str!("../../../forge-sim/schema/issue_comment-pr-edited.json")),
    ("pull_request_comment", "deleted", include_str!("../../../forge-sim/schema/issue_comment-pr-deleted.json")),
    ("pull_request", "opened", include_str!("../../../forge-sim/schema/pull_request-opened.json")),
    ("pull_request_sync", "synchronized", include_str!("../../../forge-sim/schema/pull_request-synchronized.json")),
    ("push", "", include_str!("../../../forge-sim/schema/push.json")),
];
const HEADERS: &str = include_str!("../../../forge-sim/schema/issue_comment-pr-created.headers");

/// What the connection brings, not the forge.
const OF_THE_CONNECTION: [&str; 5] = ["host", "user-agent", "content-length", "accept-encoding", "accept"];

type Arrived = (HeaderMap, Vec<u8>);

/// Listens on loopback and hands on all that comes.
async fn listen() -> (String, mpsc::UnboundedReceiver<Arrived>) {
    let (send, arrived) = mpsc::unbounded_channel();
    let take = move |headers: HeaderMap, body: axum::body::Bytes| {
        let sent = send.send((headers, body.to_vec()));
        async move { if sent.is_ok() { "" } else { "too late" } }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(
        async move { axum::serve(listener, axum::Router::new().route("/hook", axum::routing::post(take))).await },
    );
    (url, arrived)
}

/// All keys, as paths. What is `null` or an empty list has none below it.
fn keys(value: &Value, at: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let path = format!("{at}.{key}");
                keys(inner, &path, out);
                out.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, at, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Keys of the first that the second lacks, without those below something that the second leaves empty.
fn lacking(has: &Value, lacks: &Value) -> Vec<String> {
    let (mut one, mut two) = (BTreeSet::new(), BTreeSet::new());
    keys(has, "", &mut one);
    keys(lacks, "", &mut two);
    let is_leaf = |path: &str| two.contains(path) && !two.iter().any(|other| other.starts_with(&format!("{path}.")));
    let below_leaf = |path: &str| path.match_indices('.').skip(1).any(|(at, _)| is_leaf(&path[..at]));
    one.into_iter().filter(|path| !two.contains(path) && !below_leaf(path)).collect()
}

/// Compares with the recording: nothing may be missing, and only a newer server may tell more.
fn compare(event: &str, body: &Value, exactly: bool) {
    let action = body["action"].as_str().unwrap_or_default();
    let Some((_, _, recorded)) = RECORDED.iter().find(|(e, a, _)| (*e, *a) == (event, action)) else {
        panic!("{event} {action} was not expected");
    };
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    assert_eq!(lacking(&recorded, body), [""; 0], "{event} {action} lacks keys");
    if exactly {
        assert_eq!(lacking(body, &recorded), [""; 0], "{event} {action} has keys that a real one has not");
    }
}

struct Inbox {
    arrived: mpsc::UnboundedReceiver<Arrived>,
    /// Whether bodies and headers must be as recorded, and whether there may be more in them.
    recorded: Option<bool>,
}

impl Inbox {
    /// The next delivery, which must be genuine, of this event.
    async fn next(&mut self, event: &str) -> Delivery {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(30), self.arrived.recv()).await;
            let (headers, body) = next.unwrap_or_else(|_| panic!("no {event} came")).unwrap();
            let secrets = [SecretValue::new("the former secret, still accepted"), SecretValue::new(SECRET)];
            let genuine = verify(&secrets, &headers, &body).unwrap();
            assert_eq!(genuine.secret, 1);
            assert!(verify(&[SecretValue::new("somebody else's secret, long enough")], &headers, &body).is_err());
            if let Some(exactly) = self.recorded {
                compare(&genuine.event_type, &serde_json::from_slice(&body).unwrap(), exactly);
                let names: BTreeSet<String> = headers.keys().map(|name| name.as_str().to_owned()).collect();
                let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
                let sent: BTreeSet<&str> = names.difference(&OF_THE_CONNECTION.into()).copied().collect();
                let lower = HEADERS.to_ascii_lowercase();
                let wanted: BTreeSet<&str> = lower.lines().filter_map(|line| line.split(':').next()).collect();
                assert_eq!(sent, wanted, "headers");
            }
            // Pushes and pull requests come by different ways, in any order.
            if genuine.event_type == event {
                return parse(&genuine.event_type, &genuine.payload).unwrap();
            }
        }
    }

    async fn comment(&mut self) -> cc_ci::bridge::webhook::CommentEvent {
        match self.next("pull_request_comment").await {
            Delivery::Comment(event) => event,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) async fn deliveries_have_the_recorded_shape(stage: &Stage<'_>) {
    if !stage.world.base().contains("//127.0.0.1") {
        println!("{} is not on this machine: nothing can be delivered to this test", stage.world.name());
        return;
    }
    let (url, arrived) = listen().await;
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "admin").await;
    let author = stage.user("author").await;
    stage.collaborator(&repo, &author, "write").await;
    let first = stage.push(&author, &repo, "upgrade", "a: 1\n").await;
    let version = client.version().await.unwrap();
    let is_recorded = version.flavour == Flavour::Gitea && version.gitea >= Some((1, 26));
    let mut inbox = Inbox { arrived, recorded: is_recorded.then_some(version.gitea == Some((1, 26))) };
    client.repair_hook(repo.id, &HookWanted { url, secret: SecretValue::new(SECRET) }).await.unwrap();

    let number = stage.open(&author, &repo, "upgrade").await;
    let Delivery::Pull(opened) = inbox.next("pull_request").await else { panic!() };
    assert_eq!((opened.action, opened.number, opened.repo_id), (PullAction::Opened, number, repo.id.0));
    assert_eq!((opened.head.as_deref(), opened.sender.id), (Some(first.as_str()), author.id));
    stage.agreed(&client, repo.id, number, &first).await;

    let id = stage.comment(&author, &repo, number, "!testme\r\n<b>").await;
    let created = inbox.comment().await;
    assert_eq!((created.action, created.comment_id, created.body.as_str()), (Action::Created, id, "!testme\r\n<b>"));
    assert_eq!((created.repo_id, created.number, created.is_pull), (repo.id.0, number, true));
    assert_eq!((created.author.id, created.sender.id), (author.id, author.id));
    assert_eq!(created.sender_may_push, Some(true));
    if version.gitea >= Some((1, 23)) {
        assert_eq!(created.signed_head.as_deref(), Some(first.as_str()));
    }
    client.edit_comment(repo.id, id, "edited by the robot").await.unwrap();
    let edited = inbox.comment().await;
    assert_eq!((edited.action, edited.body.as_str()), (Action::Edited, "edited by the robot"));
    assert_eq!((edited.author.id, edited.sender.id), (author.id, robot.id), "who edits is not who wrote");
    // The same text again tells nobody: the next delivery is the deletion.
    client.edit_comment(repo.id, id, "edited by the robot").await.unwrap();
    client.delete_comment(repo.id, id).await.unwrap();
    let deleted = inbox.comment().await;
    assert_eq!((deleted.action, deleted.comment_id, deleted.sender.id), (Action::Deleted, id, robot.id));

    let second = stage.push(&author, &repo, "upgrade", "a: 2\n").await;
    let Delivery::Pull(moved) = inbox.next("pull_request_sync").await else { panic!() };
    assert_eq!((moved.action, moved.head.as_deref()), (PullAction::Synchronized, Some(second.as_str())));
    let third = stage.push(&author, &repo, "aside", "a: 3\n").await;
    let Delivery::Push(pushed) = inbox.next("push").await else { panic!() };
    let pushed = if pushed.reference == "refs/heads/aside" {
        pushed
    } else {
        let Delivery::Push(next) = inbox.next("push").await else { panic!() };
        next
    };
    assert_eq!((pushed.reference.as_str(), pushed.after.as_deref()), ("refs/heads/aside", Some(third.as_str())));
    assert_eq!(pushed.sender.id, author.id);
}

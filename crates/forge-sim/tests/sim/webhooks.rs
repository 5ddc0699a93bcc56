//! Deliveries: the same keys in the same order as the recorded samples, the same headers, one
//! attempt, and a signature over exactly the bytes sent.

use std::time::Duration;

use axum::http::StatusCode;
use forge_sim::{Config, DeliveryFault, Fault, Flavour, PullRefs};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;

use crate::support::{Receiver, add_hook, furnish, patch, post, stage, token};

const EVENTS: &[&str] = &["pull_request_comment"];

/// All keys in the order they come, with the kind of their values.
fn shape(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                out.push(format!("{at}.{key}"));
                shape(inner, &format!("{at}.{key}"), out);
            }
        }
        Value::Array(items) => items.iter().for_each(|i| shape(i, &format!("{at}[]"), out)),
        Value::Null => out.push(format!("{at} null")),
        Value::Bool(_) => out.push(format!("{at} bool")),
        Value::Number(_) => out.push(format!("{at} number")),
        Value::String(_) => out.push(format!("{at} text")),
    }
}

fn shape_of(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    shape(&serde_json::from_str(text).unwrap(), "", &mut out);
    out
}

fn hex_hmac(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[tokio::test]
async fn comment_payloads_and_headers_are_those_of_the_samples() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::start().await;
    add_hook(&sim, &receiver.url, EVENTS).await;
    sim.repo("recipes/app").unwrap().collaborator("bob", "write").unwrap();
    let comment = sim.comment_as("alice", &pr, "hello").unwrap();
    sim.edit_comment_as("bob", "recipes/app", comment, "!testme\r\n").unwrap();
    sim.delete_comment_as("alice", "recipes/app", comment).unwrap();
    sim.settle().await;
    let got = receiver.all();
    assert_eq!(got.len(), 3);
    let samples = [
        (
            include_str!("../../schema/issue_comment-pr-created.json"),
            include_str!("../../schema/issue_comment-pr-created.headers"),
        ),
        (
            include_str!("../../schema/issue_comment-pr-edited.json"),
            include_str!("../../schema/issue_comment-pr-edited.headers"),
        ),
        (
            include_str!("../../schema/issue_comment-pr-deleted.json"),
            include_str!("../../schema/issue_comment-pr-deleted.headers"),
        ),
    ];
    for (delivery, (body, headers)) in got.iter().zip(samples) {
        let text = String::from_utf8(delivery.body.clone()).unwrap();
        assert_eq!(shape_of(&text), shape_of(body));
        assert!(text.starts_with("{\n  \"action\": \""), "two spaces, no line end: {text:.20}");
        assert!(text.ends_with('}'));
        let wanted: Vec<String> = headers.lines().map(|l| l.split(':').next().unwrap().to_lowercase()).collect();
        for name in &wanted {
            assert!(delivery.headers.contains_key(name.as_str()), "{name} is missing");
        }
        let sent: Vec<String> = sim.deliveries()[0].headers.iter().map(|(n, _)| n.to_lowercase()).collect();
        assert_eq!(sent, wanted, "same headers in the same order");
        let signature = hex_hmac("s3cret", &delivery.body);
        assert_eq!(delivery.header("x-gitea-signature"), signature);
        assert_eq!(delivery.header("x-hub-signature-256"), format!("sha256={signature}"));
        assert_eq!(delivery.header("x-gitea-event"), "issue_comment");
        assert_eq!(delivery.header("x-gitea-event-type"), "pull_request_comment");
    }
    let [created, edited, deleted] = [got[0].json(), got[1].json(), got[2].json()];
    assert_eq!(created["issue"]["comments"], 1);
    assert_eq!(created["sender"]["email"], "alice@noreply.127.0.0.1");
    assert_eq!(created["issue"]["user"]["active"], true, "the poster is shown as the sender sees him");
    assert_eq!(edited["changes"]["body"]["from"], "hello");
    assert_eq!(edited["comment"]["body"], "!testme\r\n", "line ends are kept");
    assert_eq!(edited["sender"]["login"], "bob");
    assert_eq!(edited["comment"]["user"]["login"], "alice");
    assert_eq!(deleted["issue"]["comments"], 0, "already lowered");
}

/// The recorded samples themselves are signed as the simulator signs.
#[test]
fn the_samples_verify() {
    let body = include_str!("../../schema/issue_comment-pr-created.json");
    let headers = include_str!("../../schema/issue_comment-pr-created.headers");
    let signature = headers.lines().find_map(|l| l.strip_prefix("X-Gitea-Signature: ")).unwrap();
    assert_eq!(hex_hmac("s3cret", body.as_bytes()), signature);
}

#[tokio::test]
async fn html_is_escaped_and_can_be_left_alone() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::start().await;
    add_hook(&sim, &receiver.url, EVENTS).await;
    sim.comment_as("alice", &pr, "<b>&").unwrap();
    sim.settle().await;
    sim.switch(|s| s.html_escape = false);
    sim.comment_as("alice", &pr, "<b>&").unwrap();
    sim.settle().await;
    let texts: Vec<String> = receiver.all().iter().map(|d| String::from_utf8(d.body.clone()).unwrap()).collect();
    assert!(texts[0].contains(r#""body": "\u003cb\u003e\u0026""#));
    assert!(texts[1].contains(r#""body": "<b>&""#));
}

#[tokio::test]
async fn form_mode_signs_the_json_and_not_the_body() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::start().await;
    let hook = add_hook(&sim, &receiver.url, EVENTS).await;
    let body = serde_json::json!({ "events": EVENTS, "config": { "content_type": "form" } });
    let admin = token(&sim, sim.admin());
    assert_eq!(patch(&sim, &admin, &format!("repos/recipes/app/hooks/{}", hook["id"]), body).await.status, 200);
    sim.comment_as("alice", &pr, "a b&c").unwrap();
    sim.settle().await;
    let got = &receiver.all()[0];
    assert_eq!(got.header("content-type"), "application/x-www-form-urlencoded");
    let (_, json) = url::form_urlencoded::parse(&got.body).next().unwrap();
    assert_eq!(got.header("x-gitea-signature"), hex_hmac("s3cret", json.as_bytes()));
    assert_ne!(got.header("x-gitea-signature"), hex_hmac("s3cret", &got.body));
}

#[tokio::test]
async fn without_a_secret_the_signature_is_empty() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::start().await;
    sim.hook("recipes/app", &receiver.url, "", EVENTS).unwrap();
    sim.comment_as("alice", &pr, "x").unwrap();
    sim.settle().await;
    let got = &receiver.all()[0];
    assert!(got.headers.contains_key("x-gitea-signature"));
    assert_eq!(got.header("x-gitea-signature"), "");
    assert_eq!(got.header("x-hub-signature-256"), "sha256=");
}

#[tokio::test]
async fn one_attempt_only_and_redelivery_by_hand_has_a_new_id() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::answering(StatusCode::INTERNAL_SERVER_ERROR, Duration::ZERO).await;
    add_hook(&sim, &receiver.url, EVENTS).await;
    sim.comment_as("alice", &pr, "x").unwrap();
    sim.settle().await;
    assert_eq!(receiver.all().len(), 1);
    let first = sim.deliveries()[0].clone();
    assert_eq!((first.status, first.sent), (Some(500), 1));
    let second = sim.redeliver(&first.uuid).unwrap();
    sim.settle().await;
    let got = receiver.all();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].body, got[1].body);
    assert_eq!(got[1].header("x-gitea-delivery"), second);
    assert_ne!(got[0].header("x-gitea-delivery"), second);
}

#[tokio::test]
async fn a_slow_receiver_is_given_up() {
    let (sim, pr) = stage().await;
    sim.switch(|s| s.deliver_timeout_ms = 100);
    let receiver = Receiver::answering(StatusCode::OK, Duration::from_secs(30)).await;
    add_hook(&sim, &receiver.url, EVENTS).await;
    sim.comment_as("alice", &pr, "x").unwrap();
    sim.settle().await;
    let log = &sim.deliveries()[0];
    assert_eq!(log.status, None);
    assert!(log.error.is_some());
}

#[tokio::test]
async fn deliveries_are_lost_doubled_reordered_and_late() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::start().await;
    add_hook(&sim, &receiver.url, EVENTS).await;
    for fault in [DeliveryFault::Lost, DeliveryFault::Doubled, DeliveryFault::Reordered] {
        sim.fault(Fault::delivery(1, fault));
    }
    for text in ["lost", "doubled", "reordered", "next"] {
        sim.comment_as("alice", &pr, text).unwrap();
    }
    sim.settle().await;
    let texts = |r: &Receiver| -> Vec<String> {
        r.all().iter().map(|d| d.json()["comment"]["body"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&receiver), ["doubled", "doubled", "next", "reordered"]);
    sim.fault(Fault::delivery(1, DeliveryFault::Late { millis: 300 }));
    sim.comment_as("alice", &pr, "late").unwrap();
    sim.comment_as("alice", &pr, "last").unwrap();
    sim.settle().await;
    assert_eq!(texts(&receiver)[4..], ["last", "late"]);
}

#[tokio::test]
async fn older_servers_and_the_switch_leave_out_the_pull_request() {
    for (flavour, omit, present) in [
        (Flavour::Gitea, false, true),
        (Flavour::Gitea, true, false),
        (Flavour::OldGitea, false, false),
        (Flavour::Forgejo, false, true),
    ] {
        let sim = forge_sim::serve(Config { flavour, ..Config::default() }).await.unwrap();
        sim.switch(|s| s.omit_pull_request = omit);
        let pr = furnish(&sim);
        let receiver = Receiver::start().await;
        sim.hook("recipes/app", &receiver.url, "s", EVENTS).unwrap();
        sim.comment_as("alice", &pr, "x").unwrap();
        sim.settle().await;
        let got = &receiver.all()[0];
        assert_eq!(got.json().get("pull_request").is_some(), present, "{flavour:?} {omit}");
        assert_eq!(got.json()["is_pull"], true);
        assert_eq!(got.headers.contains_key("x-forgejo-signature"), flavour == Flavour::Forgejo);
        let target = got.headers.contains_key("x-gitea-hook-installation-target-type");
        assert_eq!(target, flavour == Flavour::Gitea);
    }
}

#[tokio::test]
async fn which_event_fires_what() {
    let (sim, pr) = stage().await;
    let receiver = Receiver::start().await;
    let all = ["push", "create", "delete", "pull_request", "issues", "status", "fork"];
    add_hook(&sim, &receiver.url, &all).await;
    let alice = token(&sim, "alice");
    let seen = async |receiver: &Receiver, from: usize| -> Vec<(String, String)> {
        sim.settle().await;
        receiver.all()[from..]
            .iter()
            .map(|d| {
                (d.header("x-gitea-event-type").to_owned(), d.json()["action"].as_str().unwrap_or_default().to_owned())
            })
            .collect()
    };
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    let mut from = 0;
    sim.push_as("alice", "recipes/app", "upgrade", &[("a", "1")]).unwrap();
    assert_eq!(seen(&receiver, from).await, pairs(&[("push", ""), ("pull_request_sync", "synchronized")]));
    from = receiver.all().len();
    patch(&sim, &alice, "repos/recipes/app/pulls/1", serde_json::json!({ "title": "T", "state": "closed" })).await;
    assert_eq!(seen(&receiver, from).await, pairs(&[("pull_request", "edited"), ("pull_request", "closed")]));
    from = receiver.all().len();
    patch(&sim, &alice, "repos/recipes/app/pulls/1", serde_json::json!({ "state": "closed" })).await;
    patch(&sim, &alice, "repos/recipes/app/issues/1", serde_json::json!({ "state": "open" })).await;
    assert_eq!(seen(&receiver, from).await, pairs(&[("pull_request", "reopened")]), "closing twice tells nobody");
    from = receiver.all().len();
    let status = serde_json::json!({ "state": "success", "context": "c", "target_url": "/runs/1" });
    post(&sim, &alice, "repos/recipes/app/statuses/upgrade", status).await;
    assert_eq!(seen(&receiver, from).await, pairs(&[("status", "")]));
    assert!(receiver.all()[from].json()["target_url"].as_str().unwrap().starts_with("http://"));
    from = receiver.all().len();
    let comment = sim.comment_as("alice", &pr, "same").unwrap();
    sim.edit_comment_as("alice", "recipes/app", comment, "same").unwrap();
    let one = seen(&receiver, from).await;
    assert_eq!(one, pairs(&[("pull_request_comment", "created")]), "an unchanged edit tells nobody");
    from = receiver.all().len();
    let deleted =
        crate::support::call(&sim, &alice, reqwest::Method::DELETE, "repos/recipes/app/branches/upgrade", Value::Null)
            .await;
    assert_eq!(deleted.status, 204);
    assert_eq!(seen(&receiver, from).await, pairs(&[("delete", ""), ("pull_request", "closed")]));
    assert_eq!(receiver.all()[from].json()["ref"], "upgrade", "the short name");
}

#[tokio::test]
async fn pull_refs_follow_late_when_asked_to() {
    let (sim, _) = stage().await;
    let alice = token(&sim, "alice");
    let stored = async || {
        let refs = crate::support::get(&sim, &alice, "repos/recipes/app/git/refs/pull/1/head").await.json();
        refs[0]["object"]["sha"].as_str().unwrap().to_owned()
    };
    let old = stored().await;
    sim.switch(|s| s.pull_refs = PullRefs::Held);
    let new = sim.push_as("alice", "recipes/app", "upgrade", &[("a", "2")]).unwrap();
    assert_eq!(stored().await, old);
    let single = crate::support::get(&sim, &alice, "repos/recipes/app/pulls/1").await.json();
    let list = crate::support::get(&sim, &alice, "repos/recipes/app/pulls").await.json();
    assert_eq!(single["head"]["sha"], new.as_str(), "read live");
    assert_eq!(list[0]["head"]["sha"], old.as_str(), "read from the base repository");
    assert_eq!(sim.release_pull_refs(), 1);
    assert_eq!(stored().await, new);
    sim.switch(|s| s.pull_refs = PullRefs::AfterMillis(20));
    let newer = sim.push_as("alice", "recipes/app", "upgrade", &[("a", "3")]).unwrap();
    sim.settle().await;
    assert_eq!(stored().await, newer);
}

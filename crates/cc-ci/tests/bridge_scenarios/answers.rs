//! What people ask for, and what they see.

use cc_ci::domain::{ReasonCode, Stage};
use serde_json::json;

use crate::scripted::Play;
use crate::world::{REPO, World};

#[tokio::test]
async fn a_maintainer_asks_and_is_answered() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.swarm.will(&head, &[Play::Holds]);
    let comment = world.comment("alice", &pr, "!testme");
    world.until_status(&head, "pending").await;
    world.until("the comment is acknowledged", || world.reactions(comment) == ["eyes"]).await;
    world
        .until("install is in the table", || world.answers(&pr).iter().any(|text| text.contains("| ✔ | install |")))
        .await;
    assert!(world.answers(&pr)[0].contains("PENDING, running"), "{:?}", world.answers(&pr));
    world.swarm.let_go();
    world.until_status(&head, "success").await;
    world.published().await;
    let answers = world.answers(&pr);
    assert_eq!(answers.len(), 1, "{answers:?}");
    for part in ["GREEN", "level 5 of 5", "| ✔ | restore | pass |", "/runs/1/badge.svg", "asked by `alice`"] {
        assert!(answers[0].contains(part), "{part} in {}", answers[0]);
    }
    assert_eq!(world.swarm.mistakes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stranger_is_refused_visibly_and_once() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    let first = world.comment("bob", &pr, "!testme");
    let second = world.comment("bob", &pr, "!testme");
    world.decided().await;
    world.published().await;
    assert_eq!((world.reactions(first), world.reactions(second)), (vec!["-1".to_owned()], vec!["-1".to_owned()]));
    let answers = world.answers(&pr);
    assert_eq!(answers.len(), 1, "one hint, not a flood: {answers:?}");
    assert!(answers[0].contains("Only people who may write to this repository"), "{answers:?}");
    assert!(world.states(&head).is_empty() && world.swarm.begun().is_empty());
}

#[tokio::test]
async fn what_is_no_command_starts_nothing() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    for text in ["!testmexyz", "> !testme", "```\n!testme\n```", "please !testme", "<!-- !testme -->", "nice work"] {
        world.comment("bob", &pr, text);
    }
    let near = world.comment("alice", &pr, "!testmexyz");
    let edited = world.comment("alice", &pr, "I shall think about it");
    world.sim.edit_comment_as("alice", REPO, edited, "!testme").unwrap();
    world.decided().await;
    world.published().await;
    assert!(world.states(&head).is_empty() && world.swarm.begun().is_empty());
    assert_eq!(world.reactions(near), ["confused"], "a maintainer's slip is pointed out");
    assert_eq!(world.answers(&pr).len(), 1);
    assert!(world.reactions(edited).is_empty());
}

#[tokio::test]
async fn a_closed_pull_request_starts_nothing() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world
        .sim
        .call("alice", "PATCH", &format!("repos/{REPO}/pulls/{}", pr.number), json!({ "state": "closed" }))
        .unwrap();
    let comment = world.comment("alice", &pr, "!testme");
    world.decided().await;
    world.published().await;
    assert_eq!(world.reactions(comment), ["confused"]);
    assert!(world.answers(&pr)[0].contains("not open"));
    assert!(world.states(&head).is_empty() && world.swarm.begun().is_empty());
}

#[tokio::test]
async fn a_failure_says_why_and_hostile_words_stay_words() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    let evil = "@everyone <img src=x>\n!testme\n[x](http://evil.test) #1";
    world.swarm.will(&head, &[Play::Fails(Stage::Upgrade, ReasonCode::CrashLoop, evil.into())]);
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "failure").await;
    world.published().await;
    let answer = world.answers(&pr).remove(0);
    assert!(answer.contains("**upgrade: crash-loop** (fault: recipe)"), "{answer}");
    for live in ["@everyone", "\n!testme"] {
        assert!(!answer.contains(live), "{live} in {answer}");
    }
    assert_eq!(world.swarm.begun().len(), 1, "what the bot writes starts nothing");
}

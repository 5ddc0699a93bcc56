//! Who goes before whom: newer commits, cancelling, asking again.

use cc_ci::domain::{ReasonCode, Stage};

use crate::scripted::Play;
use crate::world::World;

#[tokio::test]
async fn a_newer_commit_supersedes_the_queued_older_one() {
    let world = World::with("slots = 1\n").await;
    let (busy, busy_head) = world.pull_request("busy");
    world.swarm.will(&busy_head, &[Play::Holds]);
    world.comment("alice", &busy, "!testme");
    world.until("the slot is taken", || world.swarm.begun().len() == 1).await;
    let (pr, old) = world.pull_request("upgrade");
    world.comment("alice", &pr, "!testme");
    world.until_status(&old, "pending").await;
    let new = world.push("upgrade", "services: {} # again\n");
    world.comment("alice", &pr, "!testme");
    world.until_status(&old, "error").await;
    world.until_status(&new, "pending").await;
    world.swarm.let_go();
    world.until_status(&new, "success").await;
    world.published().await;
    assert_eq!(world.swarm.begun(), [busy_head, new]);
    let answers = world.answers(&pr);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(answers[0].contains("GREEN") && answers[0].contains("superseded"), "{}", answers[0]);
}

#[tokio::test]
async fn a_running_test_is_cancelled_and_torn_down() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.swarm.will(&head, &[Play::Holds]);
    world.comment("alice", &pr, "!testme");
    world.until("it runs", || !world.swarm.deployed().is_empty()).await;
    let stranger = world.comment("bob", &pr, "!cancel");
    world.decided().await;
    world.until("the stranger is refused", || world.reactions(stranger) == ["-1"]).await;
    assert_eq!(world.swarm.deployed().len(), 1);
    let cancel = world.comment("alice", &pr, "!cancel");
    world.until_status(&head, "error").await;
    world.published().await;
    assert_eq!(world.reactions(cancel), ["eyes"]);
    assert!(world.swarm.deployed().is_empty());
    assert!(world.answers(&pr)[0].contains("cancelled by alice"), "{:?}", world.answers(&pr));
}

#[tokio::test]
async fn asking_twice_while_it_waits_is_one_run_and_two_answers() {
    let world = World::with("slots = 1\n").await;
    let (busy, busy_head) = world.pull_request("busy");
    world.swarm.will(&busy_head, &[Play::Holds]);
    world.comment("alice", &busy, "!testme");
    world.until("the slot is taken", || world.swarm.begun().len() == 1).await;
    let (pr, head) = world.pull_request("upgrade");
    let first = world.comment("alice", &pr, "!testme");
    let second = world.comment("alice", &pr, "!testme");
    world.decided().await;
    world.swarm.let_go();
    world.until_status(&head, "success").await;
    world.published().await;
    assert_eq!(world.swarm.begun().len(), 2);
    let answer = world.answers(&pr).remove(0);
    for comment in [first, second] {
        assert!(answer.contains(&format!("comment={comment} commit={head} run=2 verdict=GREEN")), "{answer}");
    }
}

#[tokio::test]
async fn retest_runs_the_same_commit_again_and_infrastructure_is_never_red() {
    let world = World::with("retries = 0\n").await;
    let (pr, head) = world.pull_request("upgrade");
    let down = Play::Fails(Stage::Install, ReasonCode::RegistryUnreachable, "no route to registry".into());
    world.swarm.will(&head, &[down, Play::Green]);
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "error").await;
    world.comment("alice", &pr, "!retest");
    world.until_status(&head, "success").await;
    world.published().await;
    assert_eq!(world.swarm.begun(), [head.clone(), head.clone()]);
    assert!(!world.states(&head).contains(&"failure".to_owned()));
    assert_eq!(world.answers(&pr).len(), 1);
}

#[tokio::test]
async fn what_cannot_even_begin_is_tried_again_and_says_so() {
    let world = World::with("retries = 0\n").await;
    let (pr, head) = world.pull_request("upgrade");
    world.swarm.will(&head, &[Play::Breaks("the engine does not answer".into())]);
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "error").await;
    world.published().await;
    assert!(world.answers(&pr)[0].contains("`the engine does not answer`"), "{:?}", world.answers(&pr));
}

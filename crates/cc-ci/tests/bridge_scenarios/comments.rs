//! Which comments count, whichever way and in whichever order they come.

use forge_sim::{DeliveryFault, Fault, PullRefs};

use crate::scripted::Play;
use crate::world::{REPO, World};

#[tokio::test]
async fn a_bare_command_through_the_bots_own_account_counts_and_nothing_echoes() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.comment("ccci", &pr, "The new version is out.\n\n!testme");
    world.comment("ccci", &pr, "!testmexyz");
    world.decided().await;
    assert!(world.swarm.begun().is_empty());
    let asked = world.comment("ccci", &pr, "!testme");
    world.until_status(&head, "success").await;
    world.decided().await;
    world.published().await;
    assert_eq!(world.reactions(asked), ["eyes"]);
    assert_eq!(world.swarm.begun(), [head], "what the bot writes about the run starts nothing");
    let answers = world.answers(&pr);
    assert_eq!(answers.iter().filter(|text| text.contains("verdict=GREEN")).count(), 1, "{answers:?}");
    assert_eq!(answers.len(), 4, "three were written through its account, one by it: {answers:?}");
}

#[tokio::test]
async fn the_bots_own_command_is_found_by_the_poll_too() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Lost));
    world.comment("ccci", &pr, "!testme");
    world.sim.settle().await;
    world.app().bridge().signals.poll.wake();
    world.until_status(&head, "success").await;
}

#[tokio::test]
async fn a_cancel_never_overtakes_a_test_that_waits_for_its_head() {
    let world = World::new().await;
    let (pr, _) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.switch(|switches| switches.pull_refs = PullRefs::Held);
    let head = world.push("upgrade", "services: {} # again\n");
    world.swarm.will(&head, &[Play::Holds]);
    world.comment("alice", &pr, "!testme");
    world.sim.settle().await;
    world.passes("decide", 1).await;
    let cancel = world.comment("alice", &pr, "!cancel");
    world.sim.settle().await;
    world.passes("decide", 2).await;
    assert_eq!(world.undecided().await, 2, "the one waits for its head, the other for the one");
    world.sim.release_pull_refs();
    world.decided().await;
    world.until_status(&head, "error").await;
    world.published().await;
    assert!(world.answers(&pr)[0].contains("cancelled by alice"), "{:?}", world.answers(&pr));
    assert_eq!(world.reactions(cancel), ["eyes"]);
    assert!(world.swarm.deployed().is_empty());
}

#[tokio::test]
async fn a_comment_that_comes_late_does_not_undo_a_later_cancel() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Lost));
    let test = world.comment("alice", &pr, "!testme");
    world.sim.settle().await;
    world.comment("alice", &pr, "!cancel");
    world.decided().await;
    world.app().bridge().signals.poll.wake();
    world.until("it is refused", || world.reactions(test) == ["confused"]).await;
    world.published().await;
    assert!(world.answers(&pr)[0].contains("A later comment asked to cancel"), "{:?}", world.answers(&pr));
    assert!(world.states(&head).is_empty() && world.swarm.begun().is_empty());
}

#[tokio::test]
async fn what_the_poll_is_quicker_to_find_waits_for_the_delivery_that_knows_the_rights() {
    let mut world = World::without_server("").await;
    // Not told about others' rights, only by signed deliveries.
    let path = format!("repos/{REPO}/collaborators/ccci");
    world.sim.call(world.sim.admin(), "PUT", &path, serde_json::json!({ "permission": "write" })).unwrap();
    world.start().await;
    let url = format!("http://{}/hooks/gitea", world.app().address());
    world.sim.hook(REPO, &url, &world.secret(), &["pull_request_comment"]).unwrap();
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Reordered));
    let comment = world.comment("alice", &pr, "!testme");
    world.app().bridge().signals.poll.wake();
    world.until_undecided(1).await;
    world.passes("decide", 1).await;
    assert_eq!(world.undecided().await, 1, "found, and not refused at once");
    world.sim.release_deliveries();
    world.until_status(&head, "success").await;
    world.published().await;
    assert_eq!(world.reactions(comment), ["eyes"]);
}

#[tokio::test]
async fn an_edit_within_the_second_is_an_edit_if_the_forge_told_of_it() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Lost));
    let comment = world.comment("alice", &pr, "I shall think about it");
    world.sim.edit_comment_as("alice", REPO, comment, "!testme").unwrap();
    world.decided().await;
    world.app().bridge().signals.poll.wake();
    world.until("it is refused", || world.reactions(comment) == ["confused"]).await;
    assert!(world.states(&head).is_empty() && world.swarm.begun().is_empty());
}

#[tokio::test]
async fn a_forge_whose_clock_was_wrong_hides_no_later_comment() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.advance_clock(3_600);
    world.comment("alice", &pr, "from the future");
    world.sim.advance_clock(-3_600);
    world.sim.settle().await;
    world.app().bridge().signals.poll.wake();
    world.passes("poll", 1).await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Lost));
    world.comment("alice", &pr, "!testme");
    world.sim.settle().await;
    world.app().bridge().signals.poll.wake();
    world.until_status(&head, "success").await;
}

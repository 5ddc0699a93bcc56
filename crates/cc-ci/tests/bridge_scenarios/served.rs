//! Who is served, and at what price: other repositories' troubles and sheer number must not matter to anybody.

use std::collections::BTreeSet;

use forge_sim::{ApiFault, Fault};

use crate::world::{REPO, World};

/// A world whose server serves all recipes of the organisation.
async fn all_recipes(names: &[String]) -> World {
    let mut world = World::without_server("").await;
    world.forge = "organisations = [\"recipes\"]\n".to_owned();
    for name in names {
        recipe(&world, name);
    }
    world.start().await;
    world
}

/// One more recipe of the organisation; gives its repository.
fn recipe(world: &World, name: &str) -> String {
    let full_name = format!("recipes/{name}");
    let repo = world.sim.repo(&full_name).unwrap();
    repo.collaborator("alice", "write").unwrap().collaborator("ccci", "admin").unwrap();
    world.sim.advance_clock(-600);
    world.sim.push_as("alice", &full_name, "main", &[("compose.yml", "services: {}\n")]).unwrap();
    world.sim.push_as("alice", &full_name, "upgrade", &[("compose.yml", "services: {} # newer\n")]).unwrap();
    world.sim.advance_clock(600);
    full_name
}

fn open(world: &World, repo: &str) -> forge_sim::PrRef {
    world.sim.advance_clock(-600);
    let pr = world.sim.open_pr("alice", repo, "upgrade", "Upgrade").unwrap();
    world.sim.advance_clock(600);
    pr
}

/// The bot's calls so far.
fn calls(world: &World) -> Vec<String> {
    let ours = world.sim.requests().into_iter().filter(|request| request.actor.as_deref() == Some("ccci"));
    ours.map(|request| format!("{} {}", request.method, request.path)).collect()
}

#[tokio::test]
async fn a_pull_request_costs_one_call_however_many_repositories_there_are() {
    let names: Vec<String> = (0..12).map(|n| format!("app-{n}")).collect();
    let world = all_recipes(&names).await;
    assert_eq!(world.app().bridge().enrolled().unwrap().repositories.len(), 13);
    world.sim.settle().await;
    let before = calls(&world).len();
    open(&world, "recipes/app-7");
    world.sim.settle().await;
    world
        .until("the pull request is listed", || {
            let made = calls(&world).split_off(before);
            made.iter().any(|call| call.ends_with("/pulls"))
        })
        .await;
    let made = calls(&world).split_off(before);
    let looks: Vec<&String> = made.iter().filter(|call| !call.ends_with("/issues/comments")).collect();
    assert_eq!(looks.len(), 1, "{made:#?}");
}

#[tokio::test]
async fn a_repository_that_the_forge_stumbles_over_is_its_own_trouble() {
    let mut world = World::without_server("").await;
    world.forge = "organisations = [\"recipes\"]\n".to_owned();
    let broken = recipe(&world, "broken");
    world.sim.fault(Fault::request(
        "GET",
        "/repos/recipes/broken/pulls",
        9_999,
        ApiFault::Status { code: 500, retry_after: None },
    ));
    world.start().await;
    let enrolled = world.app().bridge().enrolled().unwrap();
    let troubled: BTreeSet<&str> = enrolled
        .repositories
        .values()
        .filter(|served| served.trouble.is_some())
        .map(|served| served.full_name.as_str())
        .collect();
    assert_eq!((enrolled.repositories.len(), troubled), (2, BTreeSet::from([broken.as_str()])));
    let (pr, head) = world.pull_request("upgrade");
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "success").await;
}

#[tokio::test]
async fn a_comment_that_the_forge_stumbles_over_holds_up_nobody_else() {
    let world = World::new().await;
    let (poisoned, _) = world.pull_request("poisoned");
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    let path = format!("/issues/{}/timeline", poisoned.number);
    world.sim.fault(Fault::request("GET", &path, 9_999, ApiFault::Status { code: 500, retry_after: None }));
    world.comment("alice", &poisoned, "!testme");
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "success").await;
    world.until_undecided(1).await;
}

#[tokio::test]
async fn a_call_that_never_ends_holds_up_nobody_else_for_long() {
    let mut world = World::without_server("").await;
    world.forge = "timeout = \"1s\"\n".to_owned();
    world.start().await;
    let (poisoned, _) = world.pull_request("poisoned");
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    let path = format!("/issues/{}/timeline", poisoned.number);
    world.sim.fault(Fault::request("GET", &path, 9_999, ApiFault::Hang { millis: 60_000 }));
    world.comment("alice", &poisoned, "!testme");
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "success").await;
}

#[tokio::test]
async fn what_was_asked_just_before_a_repository_was_served_is_answered() {
    let world = all_recipes(&[]).await;
    let new = recipe(&world, "new");
    let url = format!("http://{}/hooks/gitea", world.app().address());
    world.sim.hook(&new, &url, &world.secret(), &["pull_request_comment"]).unwrap();
    let pr = open(&world, &new);
    let comment = world.comment("alice", &pr, "!testme");
    world.decided().await;
    assert!(world.swarm.begun().is_empty(), "{REPO} alone is served");
    world.app().bridge().signals.enrol.wake();
    world.until("it begins", || world.swarm.begun().len() == 1).await;
    world.published().await;
    assert_eq!(world.answers(&pr).len(), 1, "comment {comment} is answered");
}

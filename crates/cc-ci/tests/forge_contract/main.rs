//! What the client relies on, played against the simulator in three guises and, if one is named, against a real Gitea or
//! Forgejo: the same scenarios, so that the simulator cannot be kinder than the truth.
//!
//! For the real one set `CC_CI_TEST_GITEA_URL` and `CC_CI_TEST_GITEA_TOKEN` (a site administrator's, with all scopes).

#![allow(clippy::unwrap_used)]

mod answers;
mod deliveries;
mod faults;
mod people;
mod stories;
mod world;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use forge_sim::Flavour;
use futures_util::FutureExt as _;

use world::{Real, Simulated, Stage, World};

type Scenario = for<'s> fn(&'s Stage<'s>) -> Pin<Box<dyn Future<Output = ()> + 's>>;

macro_rules! scenarios {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((stringify!($name), |stage| Box::pin($module::$name(stage)))),+]
    };
}

const SCENARIOS: &[(&str, Scenario)] = scenarios![
    stories::the_server_and_what_the_token_may_do,
    stories::a_repository_keeps_its_id_when_it_is_renamed,
    stories::pull_requests_from_branch_and_fork,
    stories::a_pushed_head_is_seen_both_ways,
    stories::statuses_newest_per_context,
    stories::comments_live_and_die,
    stories::lists_longer_than_a_page,
    stories::branches_files_and_tags,
    stories::hooks_are_made_and_repaired,
    stories::an_archived_repository_takes_nothing,
    people::who_may_write,
    people::what_the_forge_does_not_tell,
    people::the_gate_gets_its_facts,
    people::publishing_never_doubles,
    answers::every_answer_has_its_status,
    answers::scopes_are_enough_and_no_fewer_are,
    answers::lists_of_people_and_single_hooks,
    deliveries::deliveries_have_the_recorded_shape,
];

async fn play(world: &dyn World) {
    let mut failed = Vec::new();
    for (name, scenario) in SCENARIOS {
        let stage = Stage::set(world).await;
        let outcome = AssertUnwindSafe(scenario(&stage)).catch_unwind().await;
        if world.is_kept() {
            stage.clear().await;
        }
        println!("{}  {}: {name}", if outcome.is_ok() { "ok    " } else { "FAILED" }, world.name());
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    println!("{}: {} scenarios ran, {} failed", world.name(), SCENARIOS.len(), failed.len());
    assert!(failed.is_empty(), "{}: {failed:?}", world.name());
}

/// `docs/contract.md` lists what is played, one scenario a line.
#[test]
fn the_document_names_every_scenario() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/contract.md");
    let text = std::fs::read_to_string(path).unwrap();
    let line =
        |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split_once('`')).map(|(name, _)| name.to_owned());
    let listed: Vec<String> = text.lines().filter_map(line).collect();
    let played: Vec<&str> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, played, "the table in docs/contract.md, in the order in which they are played");
}

#[tokio::test]
async fn simulated_gitea() {
    play(&Simulated::start(Flavour::Gitea).await).await;
}

#[tokio::test]
async fn simulated_old_gitea() {
    play(&Simulated::start(Flavour::OldGitea).await).await;
}

#[tokio::test]
async fn simulated_forgejo() {
    play(&Simulated::start(Flavour::Forgejo).await).await;
}

#[tokio::test]
async fn real_forge() {
    match Real::named() {
        Ok(world) => play(&world).await,
        Err(why) => println!("real forge: did not run, {why}"),
    }
}

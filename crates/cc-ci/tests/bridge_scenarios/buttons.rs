//! What people can ask for on the pages: who may, and what comes of it. Everything is pressed as a plain form, as a
//! browser without JavaScript would.

use cc_ci::store::runs::{self, Outcome, RunState};
use reqwest::StatusCode;
use serde_json::json;

use crate::login::{logged_in, world_with_login};
use crate::scripted::Play;
use crate::world::{REPO, World};

async fn until_run(world: &World, number: i64, what: &str, met: impl Fn(&runs::RunRow) -> bool) {
    let mut news = world.app().bridge().news.listen();
    let waiting = async {
        loop {
            let run = runs::get(&mut world.store().read().await.unwrap(), number).await.unwrap();
            if run.as_ref().is_some_and(&met) {
                return;
            }
            news.changed().await.unwrap();
        }
    };
    tokio::time::timeout(crate::world::BOUND, waiting).await.unwrap_or_else(|_| panic!("run {number}: {what}"));
}

#[tokio::test]
async fn whoever_may_write_cancels_repeats_and_starts() {
    let world = world_with_login().await;
    let (pr, head) = world.pull_request("upgrade");
    world.swarm.will(&head, &[Play::Holds]);
    world.comment("alice", &pr, "!testme");
    until_run(&world, 1, "runs", |run| run.state == RunState::Running).await;

    let mut alice = logged_in(&world, "alice").await;
    let gone = alice.press("/runs/1", "/runs/1/cancel", &[]).await;
    assert_eq!((gone.status, gone.header("location")), (StatusCode::SEE_OTHER, "/runs/1"));
    until_run(&world, 1, "is cancelled", |run| run.outcome == Some(Outcome::Cancelled)).await;
    world.until_status(&head, "error").await;
    world.published().await;
    assert!(world.swarm.deployed().is_empty(), "nothing is left of it");
    let page = alice.get("/runs/1").await;
    assert!(page.text.contains("cancelled") && page.form("/runs/1/cancel").is_none(), "{}", page.text);
    assert!(world.answers(&pr)[0].contains("cancelled"), "{:?}", world.answers(&pr));
    // A page that was opened before still has the button.
    let form = page.form("/runs/1/rerun").unwrap()[0].1.clone();
    assert_eq!(alice.post("/runs/1/cancel", &[("form", &form)]).await.status, StatusCode::CONFLICT);

    let again = alice.press("/runs/1", "/runs/1/rerun", &[]).await;
    assert_eq!((again.status, again.header("location")), (StatusCode::SEE_OTHER, "/runs/2"));
    until_run(&world, 2, "is judged", |run| run.outcome == Some(Outcome::Judged)).await;
    world.until_status(&head, "success").await;
    let page = alice.get("/runs/2").await;
    assert!(page.text.contains("alice") && page.text.contains("GREEN"), "{}", page.text);

    let recipe = "/recipes/custom-html-tiny";
    let wish = alice.press(recipe, "/runs", &[("reference", "main")]).await;
    assert_eq!((wish.status, wish.header("location")), (StatusCode::SEE_OTHER, "/runs/3"));
    until_run(&world, 3, "is judged", |run| run.outcome == Some(Outcome::Judged)).await;
    let run = runs::get(&mut world.store().read().await.unwrap(), 3).await.unwrap().unwrap();
    assert_eq!((run.what.pull, run.what.person_login.as_str()), (None, "alice"));
    assert_ne!(run.what.commit, head, "main, not the pull request");
    let missing = alice.press(recipe, "/runs", &[("reference", "no/such")]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let unknown = alice.press(recipe, "/runs", &[("recipe", "no-such-recipe")]).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(world.swarm.mistakes(), Vec::<String>::new());
}

#[tokio::test]
async fn whoever_may_not_write_is_refused_and_nothing_happens() {
    let world = world_with_login().await;
    let (pr, head) = world.pull_request("upgrade");
    world.swarm.will(&head, &[Play::Holds]);
    world.comment("alice", &pr, "!testme");
    until_run(&world, 1, "runs", |run| run.state == RunState::Running).await;

    // A stranger has an account, and so sees the buttons; the forge says that he may not.
    let mut bob = logged_in(&world, "bob").await;
    for (page, action) in
        [("/runs/1", "/runs/1/cancel"), ("/runs/1", "/runs/1/rerun"), ("/recipes/custom-html-tiny", "/runs")]
    {
        let seen = bob.press(page, action, &[]).await;
        assert_eq!(seen.status, StatusCode::FORBIDDEN, "{action}: {}", seen.text);
        assert!(seen.text.contains("Only people who may write to the repository"), "{}", seen.text);
    }
    // Her session is as old as before; the forge is asked each time.
    let mut alice = logged_in(&world, "alice").await;
    let before = alice.get("/runs/1").await.form("/runs/1/cancel").unwrap()[0].1.clone();
    let path = format!("repos/{REPO}/collaborators/alice");
    assert_eq!(world.sim.call(world.sim.admin(), "DELETE", &path, json!({})).unwrap().0, 204);
    assert_eq!(alice.post("/runs/1/cancel", &[("form", &before)]).await.status, StatusCode::FORBIDDEN);
    // Without the form's token, with another session's, and without a session.
    let of_bob = bob.get("/runs/1").await.form("/runs/1/cancel").unwrap()[0].1.clone();
    for form in [vec![], vec![("form", "")], vec![("form", of_bob.as_str())]] {
        let seen = alice.post("/runs/1/cancel", &form).await;
        assert!(seen.text.contains("form has expired"), "{}", seen.text);
        assert_eq!(seen.status, StatusCode::FORBIDDEN);
    }
    let mut nobody = crate::browser::Browser::at(world.app());
    assert!(nobody.get("/runs/1").await.form("/runs/1/cancel").is_none(), "no button without a login");
    assert_eq!(nobody.post("/runs/1/cancel", &[("form", &before)]).await.status, StatusCode::UNAUTHORIZED);

    let run = runs::get(&mut world.store().read().await.unwrap(), 1).await.unwrap().unwrap();
    assert_eq!((run.state, run.cancel.is_none()), (RunState::Running, true));
    assert!(runs::get(&mut world.store().read().await.unwrap(), 2).await.unwrap().is_none());
    world.swarm.let_go();
    world.until_status(&head, "success").await;
}

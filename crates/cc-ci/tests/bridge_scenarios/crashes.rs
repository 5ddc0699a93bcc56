//! What goes wrong between us and the forge, and what is left when the server dies.

use cc_ci::app::{Ground, StartError};
use cc_ci::clock::SystemClock;
use forge_sim::{ApiFault, DeliveryFault, Fault};

use crate::scripted::Play;
use crate::world::World;

#[tokio::test]
async fn a_doubled_delivery_is_one_run() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Doubled));
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "success").await;
    world.decided().await;
    let comment = world.sim.deliveries().into_iter().find(|d| d.event_type == "pull_request_comment").unwrap();
    assert_eq!(comment.sent, 2);
    assert!(world.sim.redeliver(&comment.uuid).is_some());
    world.decided().await;
    world.published().await;
    assert_eq!((world.swarm.begun().len(), world.answers(&pr).len()), (1, 1));
}

#[tokio::test]
async fn a_lost_delivery_is_found_by_the_poll() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.sim.fault(Fault::delivery(1, DeliveryFault::Lost));
    let comment = world.comment("alice", &pr, "!testme");
    world.sim.settle().await;
    world.decided().await;
    assert!(world.swarm.begun().is_empty());
    world.app().bridge().signals.poll.wake();
    world.until_status(&head, "success").await;
    world.published().await;
    assert_eq!(world.reactions(comment), ["eyes"]);
    assert_eq!((world.swarm.begun().len(), world.answers(&pr).len()), (1, 1));
}

#[tokio::test]
async fn what_was_written_while_the_server_was_away_is_answered() {
    let mut world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.sim.settle().await;
    world.stop().await;
    world.comment("alice", &pr, "!testme");
    world.sim.settle().await;
    world.start().await;
    world.until_status(&head, "success").await;
    world.published().await;
    assert_eq!((world.swarm.begun().len(), world.answers(&pr).len()), (1, 1));
}

#[tokio::test]
async fn a_comment_that_was_made_although_the_forge_said_502_is_not_made_twice() {
    let world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    let commit_then_502 = ApiFault::CommitThenStatus { code: 502 };
    world.sim.fault(Fault::request("POST", "/issues/1/comments", 1, commit_then_502.clone()));
    world.sim.fault(Fault::request("POST", "/statuses/", 1, commit_then_502));
    world.comment("alice", &pr, "!testme");
    world.until_status(&head, "success").await;
    world.published().await;
    assert_eq!(world.answers(&pr).len(), 1, "{:?}", world.answers(&pr));
    let states = world.states(&head);
    assert_eq!(states.iter().filter(|state| *state == "success").count(), 1, "{states:?}");
    assert!(world.sim.faults().is_empty(), "the faults were met");
}

#[tokio::test]
async fn unsigned_and_oversized_deliveries_are_turned_away() {
    let world = World::new().await;
    let url = format!("http://{}/hooks/gitea", world.app().address());
    let client = cc_ci::http::builder().build().unwrap();
    let send =
        async |body: String| client.post(&url).header("content-type", "application/json").body(body).send().await;
    assert_eq!(send("{}".to_owned()).await.unwrap().status(), 401);
    assert_eq!(send("x".repeat(1024 * 1024 + 1)).await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let world = World::new().await;
    let second = Ground::open(world.config(), SystemClock::shared()).await;
    assert!(matches!(second, Err(StartError::Running(_))), "{second:?}");
}

#[tokio::test]
async fn a_server_that_is_stopped_gives_its_runs_back() {
    let mut world = World::new().await;
    let (pr, head) = world.pull_request("upgrade");
    world.swarm.will(&head, &[Play::Holds, Play::Green]);
    world.comment("alice", &pr, "!testme");
    world.until("it runs", || !world.swarm.deployed().is_empty()).await;
    world.stop().await;
    assert!(world.swarm.deployed().is_empty(), "torn down, not left");
    assert_ne!(world.states(&head).last().map(String::as_str), Some("success"));
    world.start().await;
    world.until_status(&head, "success").await;
    world.published().await;
    assert!(world.swarm.reaped().is_empty(), "there was nothing to reap");
    assert_eq!((world.swarm.begun().len(), world.answers(&pr).len()), (2, 1));
}

/// Where the server dies, by what can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The comment is in the journal.
    Journalled,
    /// A run begins.
    Begun,
    /// The forge shows the first status.
    Pending,
    /// The first stage is over.
    Install,
    /// The last stage is over, the end perhaps written.
    Over,
    /// The forge shows the final status, perhaps not the comment.
    Shown,
}

#[tokio::test]
async fn killed_anywhere_there_is_one_verdict_one_comment_and_nothing_left() {
    use Death::{Begun, Install, Journalled, Over, Pending, Shown};
    for death in [Journalled, Begun, Pending, Install, Over, Shown] {
        let mut world = World::new().await;
        let (pr, head) = world.pull_request("upgrade");
        world.swarm.will(&head, &[Play::Holds]);
        let comment = world.comment("alice", &pr, "!testme");
        match death {
            Journalled => world.sim.settle().await,
            Begun => world.until("it begins", || !world.swarm.begun().is_empty()).await,
            Pending => world.until_status(&head, "pending").await,
            Install => {
                world.until("install", || world.answers(&pr).iter().any(|a| a.contains("| ✔ | install |"))).await;
            }
            Over => {
                world.until("it runs", || !world.swarm.deployed().is_empty()).await;
                world.swarm.let_go();
                world.until("it is over", || world.swarm.deployed().is_empty()).await;
            }
            Shown => {
                world.swarm.let_go();
                world.until_status(&head, "success").await;
            }
        }
        world.kill();
        let left = world.swarm.deployed();
        world.start().await;
        // Where the first attempt had yet to begin, it is the one that holds.
        world.swarm.let_go();
        world.until_status(&head, "success").await;
        world.published().await;
        let (answers, states) = (world.answers(&pr), world.states(&head));
        assert_eq!(answers.len(), 1, "{death:?}: {answers:?}");
        assert!(answers[0].contains(&format!("comment={comment} commit={head} run=1 verdict=GREEN")), "{death:?}");
        let finals = states.iter().filter(|state| *state != "pending").count();
        assert_eq!(finals, 1, "{death:?}: {states:?}");
        assert!(world.swarm.deployed().is_empty(), "{death:?}");
        assert!(left.iter().all(|run| world.swarm.reaped().contains(run)), "{death:?}");
        assert_eq!(world.swarm.mistakes(), Vec::<String>::new(), "{death:?}");
    }
}

/// The same, without choosing the moments: after each of the things that the server does, and again soon after it is back.
/// A run that took the server down with it twice is parked for a person; that is its one verdict then.
#[tokio::test]
async fn killed_after_every_step_and_again_after_the_next_one() {
    let mut parked = 0;
    for step in 1..=16 {
        let mut world = World::new().await;
        let (pr, head) = world.pull_request("upgrade");
        world.sim.settle().await;
        let comment = world.comment("alice", &pr, "!testme");
        world.steps(step).await;
        world.kill();
        world.start().await;
        world.steps(step % 5).await;
        world.kill();
        world.start().await;
        world.until("there is a verdict", || world.states(&head).last().is_some_and(|last| *last != "pending")).await;
        world.published().await;
        let (answers, states) = (world.answers(&pr), world.states(&head));
        assert_eq!(answers.len(), 1, "step {step}: {answers:?}");
        let verdict = if answers[0].contains("parked for a person") { "ERROR" } else { "GREEN" };
        parked += usize::from(verdict == "ERROR");
        let answer = format!("comment={comment} commit={head} run=1 verdict={verdict}");
        assert!(answers[0].contains(&answer), "step {step}: {answers:?}");
        assert_eq!(states.iter().filter(|state| *state != "pending").count(), 1, "step {step}: {states:?}");
        assert_eq!((world.swarm.deployed().len(), world.swarm.mistakes().len()), (0, 0), "step {step}");
    }
    assert!(parked < 16, "not every story is one of two crashes in mid-run");
}

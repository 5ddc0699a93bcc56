//! What every story must come to, and the two stories that end otherwise: parked after two crashes, and stopped in order.

use std::ops::RangeInclusive;

use crate::common::{inventory, wait_until};
use crate::story::Story;

/// Waits for the verdict on a run and checks everything that must hold, with the server running and after it has been
/// stopped. Gives it in a few words.
pub(crate) fn answered(story: &mut Story, number: i64, verdict: &str, attempts: RangeInclusive<usize>) -> String {
    answer_is_there(story, number, verdict);
    let watch = story.watch();
    let made = watch.attempts(number);
    assert!(attempts.contains(&made.len()), "{} attempts, not {attempts:?}: {made:#?}", made.len());
    let answers = story.answers();
    assert_eq!(answers.len(), 1, "one comment: {answers:#?}");
    let of_run = format!("commit={} run={number} verdict={verdict}", story.head);
    assert!(answers[0].contains(&of_run), "{of_run}: {}", answers[0]);
    for earlier in 1..made.len() {
        let line = format!("Attempt {earlier} gave no verdict");
        assert!(answers[0].contains(&line), "{line}: {}", answers[0]);
    }
    let shown: serde_json::Value = serde_json::from_str(&story.get(&format!("/api/v1/runs/{number}"))).unwrap();
    assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(made.len()), "{shown:#}");
    let (page, shown) = (story.get(&format!("/runs/{number}")), format!("Attempts ({})", made.len()));
    assert!(made.len() < 2 || page.contains(&shown), "the page does not say: {shown}");
    nothing_left(story, number);
    assert_eq!(story.terminate(), 0, "{}", story.journal());
    assert_eq!(watch.wrong(), Vec::<String>::new());
    let states = story.states();
    let finals = states.iter().filter(|state| *state != "pending").count();
    let runs = usize::try_from(number).unwrap();
    assert_eq!(finals, runs, "one final status for each run: {states:?}");
    format!("{verdict}, attempts {}, comments 1, final statuses {finals}, left 0, database sound", made.len())
}

fn answer_is_there(story: &Story, number: i64, verdict: &str) {
    let watch = story.watch();
    let wanted = format!("run={number} verdict={verdict}");
    let is_there = || {
        watch.run(number).is_some_and(|run| run.state == "finished")
            && watch.told()
            && story.states().last().is_some_and(|last| last != "pending")
    };
    if !crate::common::came(is_there) {
        panic!("{wanted} is not there: {:?} {:?}\n{}", watch.run(number), story.states(), story.journal());
    }
    assert_eq!(watch.run(number).and_then(|run| run.verdict).as_deref(), Some(verdict), "{}", story.journal());
}

/// No attempt has anything on the swarm or in the work folders, nor a lock or a child that lives.
fn nothing_left(story: &Story, number: i64) {
    for attempt in story.watch().attempts(number) {
        let left = inventory(None, &attempt.id);
        assert!(left.is_empty(), "left over of {}: {left:#?}", attempt.id);
    }
    for folder in ["work", "locks"] {
        let entries = std::fs::read_dir(story.state().join(folder)).into_iter().flatten().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        assert!(names.is_empty(), "{folder}: {names:?}");
    }
}

/// Killed twice in the same run: it is parked, the doctor says so and what to do, and `!retest` releases it.
pub(crate) fn parked(story: &mut Story) -> String {
    story.start();
    story.comment("!testme");
    let deployed = |story: &Story, attempt: i64| {
        let watch = story.watch();
        wait_until("something is deployed", || {
            let run = watch.run(1).filter(|run| run.attempt == attempt);
            run.and_then(|run| run.live).is_some_and(|id| !inventory(None, &id).is_empty())
        });
    };
    deployed(story, 1);
    story.kill();
    story.start();
    deployed(story, 2);
    story.kill();
    story.start();
    answer_is_there(story, 1, "ERROR");
    let run = story.watch().run(1).unwrap();
    assert_eq!(run.outcome.as_deref(), Some("parked"));
    let answers = story.answers();
    assert!(answers.len() == 1 && answers[0].contains("parked for a person"), "{answers:#?}");
    assert_eq!(story.states().last().map(String::as_str), Some("error"));
    nothing_left(story, 1);
    let found = story.doctor("parked");
    let [check] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(check["health"], "warning", "{check}");
    assert!(check["found"].as_str().is_some_and(|found| found.contains("run 1")), "{check}");
    assert!(check["remedy"].as_str().is_some_and(|remedy| remedy.contains("!retest")), "{check}");

    story.comment("!retest");
    answer_is_there(story, 2, "GREEN");
    assert_eq!(story.doctor("parked"), Vec::<serde_json::Value>::new());
    let seen = answered(story, 2, "GREEN", 1..=1);
    format!("killed twice, parked, told by the doctor, released by !retest | {seen}")
}

/// SIGTERM in mid-run: removed, given back without counting as a crash, and run again. Meanwhile a second server is refused.
pub(crate) fn stopped(story: &mut Story) -> String {
    story.start();
    story.comment("!testme");
    let watch = story.watch();
    wait_until("install is over", || watch.stages(1).iter().any(|stage| stage == "install"));
    let (exit, said) = story.second_server();
    assert_eq!(exit, 3, "{said}");
    let state = story.state().display().to_string();
    assert!(said.contains(&format!("another cc-ci serve uses {state}")), "{said}");
    assert_eq!(story.get("/healthz"), "ok\n", "the first one goes on");

    let id = watch.live(1).expect("it runs");
    let left = inventory(None, &id).len();
    assert!(left > 0, "nothing was there: the test shows nothing");
    assert_eq!(story.terminate(), 0, "{}", story.journal());
    assert_eq!(inventory(None, &id), Vec::new(), "removed before it ended");
    let run = watch.run(1).unwrap();
    assert_eq!((run.state.as_str(), run.crashes), ("queued", 0), "{run:?}");
    assert_eq!(watch.attempts(1)[0].ending.as_deref(), Some("released"));
    assert_eq!(story.states().last().map(String::as_str), Some("pending"));
    story.start();
    let seen = answered(story, 1, "GREEN", 2..=2);
    format!("SIGTERM with {left} objects, second server refused | {seen}")
}

//! Publishing: from the outbox to the forge, however the forge behaves.

use cc_ci::publish::deliver::{Line, Pass, deliver};
use cc_ci::publish::forge::Failure;
use cc_ci::publish::refresh::refresh;
use cc_ci::publish::{CONTEXT, StatusState, Version, Wanted, hint_marker, pull_marker};
use cc_ci::queue::QueueConfig;
use cc_ci::queue::accept::accept;
use cc_ci::store::Store;
use cc_ci::store::outbox::{self, OutboxState};
use jiff::{SignedDuration, Timestamp};

use crate::at;
use crate::support::{Dice, FakeForge, Fate, PlainText, commit, new_run, new_trigger};

async fn want(store: &Store, wanted: &Wanted, version: Version, now: Timestamp) {
    let mut write = store.begin_immediate().await.unwrap();
    outbox::want(&mut write, 1, "coop-cloud/gitea", wanted, version, now).await.unwrap();
    write.commit().await.unwrap();
}

fn status(state: StatusState, run: i64) -> Wanted {
    Wanted::Status {
        commit: commit(1),
        context: CONTEXT.into(),
        state,
        description: format!("run {run}"),
        target_url: format!("https://ci.test/runs/{run}"),
    }
}

fn comment(text: &str) -> Wanted {
    let marker = pull_marker(1, 4);
    Wanted::Comment { pull: 4, body: format!("{marker}\n{text}"), marker }
}

fn version(run: i64, seq: i64) -> Version {
    Version { run, attempt: 1, seq }
}

async fn pass(store: &Store, forge: &FakeForge, line: &mut Line, now: Timestamp) -> Pass {
    deliver(store, forge, line, now, &mut || 0.0).await.unwrap()
}

async fn state(store: &Store, wanted: &Wanted) -> OutboxState {
    outbox::get(&mut store.read().await.unwrap(), &wanted.target(1)).await.unwrap().unwrap().state
}

#[tokio::test]
async fn the_comments_of_others_are_read_only_until_ours_is_known() {
    let (store, forge) = (Store::in_memory().await.unwrap(), FakeForge::default());
    let calls = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = calls.clone();
    forge.set_fate(move |what| {
        seen.lock().unwrap().push(what);
        Fate::Works
    });
    let mut line = Line::default();
    let mut edit = async |seq: i64| {
        want(&store, &comment(&format!("change {seq}")), version(1, seq), at(seq)).await;
        pass(&store, &forge, &mut line, at(seq)).await;
        std::mem::take(&mut *calls.lock().unwrap())
    };
    assert_eq!(edit(1).await, ["comments", "create comment"]);
    assert_eq!(edit(2).await, ["comment", "edit comment"]);
    forge.state().comments.clear();
    assert_eq!(edit(3).await, ["comment", "comments", "create comment"], "somebody deleted it");
    for comment in forge.state().comments.values_mut().flatten() {
        comment.body = "somebody took the marker away".into();
    }
    assert_eq!(edit(4).await, ["comment", "comments", "create comment"]);
    assert_eq!(edit(5).await, ["comment", "edit comment"]);
}

#[tokio::test]
async fn a_call_that_worked_but_said_otherwise_is_not_repeated() {
    for seed in 0..200 {
        let store = Store::in_memory().await.unwrap();
        let forge = FakeForge::default();
        let mut dice = Dice::new(seed);
        forge.set_fate(move |_| match dice.below(4) {
            0 => Fate::FailsBefore(Failure::Unreachable),
            1 => Fate::FailsAfter(Failure::Unreachable),
            2 => Fate::FailsAfter(Failure::Internal),
            _ => Fate::Works,
        });
        let (mut line, mut now) = (Line::default(), at(0));
        let last = comment("GREEN");
        for (seq, (state, text)) in
            [(StatusState::Pending, "queued"), (StatusState::Pending, "running"), (StatusState::Success, "GREEN")]
                .into_iter()
                .enumerate()
        {
            let seq = i64::try_from(seq).unwrap();
            let Wanted::Status { commit, context, target_url, .. } = status(state, 1) else { unreachable!() };
            let wanted = Wanted::Status { commit, context, state, description: text.into(), target_url };
            want(&store, &wanted, version(1, seq), now).await;
            want(&store, &comment(text), version(1, seq), now).await;
            for _ in 0..seed % 4 {
                pass(&store, &forge, &mut line, now).await;
                now += SignedDuration::from_secs(200);
            }
        }
        let mut passes = 0;
        while state(&store, &last).await == OutboxState::Due
            || state(&store, &status(StatusState::Success, 1)).await == OutboxState::Due
        {
            now += SignedDuration::from_secs(200);
            pass(&store, &forge, &mut line, now).await;
            passes += 1;
            assert!(passes < 200, "seed {seed}");
        }
        let shown = forge.state();
        let comments = &shown.comments[&(1, 4)];
        assert_eq!(comments.len(), 1, "seed {seed}");
        assert!(comments[0].body.ends_with("GREEN"), "seed {seed}: {}", comments[0].body);
        let texts: Vec<&str> = shown.statuses[&commit(1)].iter().map(|status| status.description.as_str()).collect();
        let mut once = texts.clone();
        once.dedup();
        assert_eq!(texts, once, "seed {seed}: nothing is posted twice");
        assert_eq!(texts.last(), Some(&"GREEN"), "seed {seed}");
    }
}

#[tokio::test]
async fn an_outage_costs_one_call_a_second_at_most_and_ends_by_itself() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    forge.set_fate(|_| Fate::FailsBefore(Failure::Unreachable));
    for pull in 0..50 {
        let marker = pull_marker(1, pull);
        let wanted = Wanted::Comment { pull, body: format!("{marker}\nx"), marker };
        want(&store, &wanted, version(1, 1), at(0)).await;
    }
    let mut line = Line::default();
    let six_hours = 6 * 3600;
    for second in 0..six_hours {
        pass(&store, &forge, &mut line, at(second)).await;
    }
    let calls = forge.state().calls;
    assert!((360..500).contains(&calls), "{calls} calls in six hours");
    forge.heal();
    let mut second = six_hours;
    while outbox::next_due(&mut store.read().await.unwrap()).await.unwrap().is_some() {
        pass(&store, &forge, &mut line, at(second)).await;
        second += 1;
        assert!(second < six_hours + 300, "five minutes after the forge is back");
    }
    assert_eq!(forge.state().comments.len(), 50);
}

#[tokio::test]
async fn one_row_that_the_forge_chokes_on_does_not_stop_the_others() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    forge.set_fate(|call| if call == "comments" { Fate::FailsBefore(Failure::Unreachable) } else { Fate::Works });
    want(&store, &comment("x"), version(1, 1), at(0)).await;
    want(&store, &status(StatusState::Success, 1), version(1, 1), at(1)).await;
    let mut line = Line::default();
    for second in 0..10 {
        pass(&store, &forge, &mut line, at(second)).await;
    }
    assert_eq!(state(&store, &status(StatusState::Success, 1)).await, OutboxState::Settled);
    assert_eq!(state(&store, &comment("x")).await, OutboxState::Due);
}

#[tokio::test]
async fn retry_after_is_kept_to() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    let asked = SignedDuration::from_secs(77);
    forge.set_fate(move |_| Fate::FailsBefore(Failure::Throttled(Some(asked))));
    want(&store, &comment("x"), version(1, 1), at(0)).await;
    let mut line = Line::default();
    assert!(pass(&store, &forge, &mut line, at(0)).await.down);
    assert_eq!(line.paused_until(), Some(at(77)));
    forge.heal();
    assert_eq!(pass(&store, &forge, &mut line, at(76)).await, Pass { down: true, ..Pass::default() });
    assert_eq!(pass(&store, &forge, &mut line, at(77)).await, Pass { settled: 1, ..Pass::default() });
}

#[tokio::test]
async fn a_commit_that_the_forge_does_not_have_yet_is_tried_again() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    let mut calls = 0;
    forge.set_fate(move |call| {
        calls += usize::from(call == "post status");
        if call == "post status" && calls < 4 { Fate::FailsBefore(Failure::Internal) } else { Fate::Works }
    });
    let wanted = status(StatusState::Pending, 1);
    want(&store, &wanted, version(1, 1), at(0)).await;
    let mut line = Line::default();
    for (second, settled) in [(0, 0), (5, 0), (15, 0), (34, 0), (35, 1)] {
        assert_eq!(pass(&store, &forge, &mut line, at(second)).await.settled, settled, "at {second} s");
    }
    assert_eq!(forge.state().statuses[&commit(1)].len(), 1);
}

#[tokio::test]
async fn a_locked_pull_request_gets_its_status_but_no_comment() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    forge.set_fate(|call| if call == "create comment" { Fate::FailsBefore(Failure::Forbidden) } else { Fate::Works });
    want(&store, &comment("x"), version(1, 1), at(0)).await;
    want(&store, &status(StatusState::Success, 1), version(1, 1), at(0)).await;
    let done = pass(&store, &forge, &mut Line::default(), at(0)).await;
    assert_eq!((done.settled, done.abandoned), (1, 1));
    assert_eq!(state(&store, &comment("x")).await, OutboxState::Abandoned);
    // A new state is a new chance.
    want(&store, &comment("y"), version(1, 2), at(1)).await;
    assert_eq!(state(&store, &comment("y")).await, OutboxState::Due);
}

#[tokio::test]
async fn a_comment_that_somebody_deleted_is_written_again_with_the_next_news() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    let mut line = Line::default();
    want(&store, &comment("queued"), version(1, 1), at(0)).await;
    pass(&store, &forge, &mut line, at(0)).await;
    forge.state().comments.clear();
    want(&store, &comment("GREEN"), version(1, 2), at(1)).await;
    pass(&store, &forge, &mut line, at(1)).await;
    assert_eq!(forge.state().comments[&(1, 4)].len(), 1);
}

#[tokio::test]
async fn hints_and_reactions_are_given_once() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    let marker = hint_marker(501);
    let hint = Wanted::Comment { pull: 4, body: format!("{marker}\nno"), marker };
    let eyes = Wanted::Reaction { comment_id: 501, content: "eyes".into() };
    let mut line = Line::default();
    for second in 0..3 {
        for wanted in [&hint, &eyes] {
            want(&store, wanted, Version { run: 0, attempt: 0, seq: 0 }, at(second)).await;
        }
        pass(&store, &forge, &mut line, at(second)).await;
    }
    assert_eq!(forge.state().comments[&(1, 4)].len(), 1);
    assert_eq!(forge.state().reactions, [(501, "eyes".to_owned())]);
}

#[tokio::test]
async fn queued_runs_are_published_with_their_place_in_the_line() {
    let store = Store::in_memory().await.unwrap();
    let forge = FakeForge::default();
    let mut write = store.begin_immediate().await.unwrap();
    for pull in 1..=3 {
        let run = new_run(1, Some(pull), &commit(pull.unsigned_abs()), 7);
        accept(&mut write, &new_trigger(&run, Some(pull)), &run, &QueueConfig::default(), at(0)).await.unwrap();
    }
    write.commit().await.unwrap();
    assert_eq!(refresh(&store, &PlainText, 1, at(0)).await.unwrap(), 3);
    assert_eq!(refresh(&store, &PlainText, 1, at(0)).await.unwrap(), 0, "nothing changed since");
    let done = pass(&store, &forge, &mut Line::default(), at(0)).await;
    assert_eq!(done.settled, 6);
    let shown = forge.state();
    let third = &shown.statuses[&commit(3)][0];
    assert_eq!(third.description, "queued, number 3 in line, verdict in about 31 min");
    assert_eq!((third.state, third.target_url.as_str()), (StatusState::Pending, "https://ci.test/runs/3"));
    assert_eq!(shown.comments.len(), 3);
}

//! The database: upgrades from every earlier schema, the journal's promise, and what survives a crash.

use cc_ci::domain::Verdict;
use cc_ci::store::deliveries::{self, Action, Appended, Arrival, NewDelivery};
use cc_ci::store::hints::{self, HintKind};
use cc_ci::store::journal::Journal;
use cc_ci::store::outbox::{self, OutboxState, StatusState, Version, Wanted};
use cc_ci::store::{Store, StoreError, attempts, cursors, events, results, runs, schema, stage_rows, triggers, views};
use sqlx::{Connection, SqliteConnection};

use crate::at;

/// Everything that reads, on a database that holds the sample rows of the first `steps` schemas.
async fn read_all(store: &Store, steps: usize) {
    let mut c = store.read().await.unwrap();
    assert_eq!(deliveries::due(&mut c, at(999_999), 10).await.unwrap().len(), 1);
    assert_eq!(deliveries::backlog(&mut c).await.unwrap(), 1);
    assert_eq!(cursors::get(&mut c, "comments 11").await.unwrap().as_deref(), Some("2026-11-18T10:00:00Z"));
    let of_pull = triggers::of_pull(&mut c, 11, 4, 10).await.unwrap();
    assert_eq!(of_pull.len(), 2);
    assert_eq!(of_pull[1].verdict, Some(Verdict::Green));
    assert!(hints::history(&mut c, 11, 4, 8, at(60)).await.unwrap().last_to_person.is_some());
    if steps < 2 {
        assert!(runs::open(&mut c).await.unwrap().is_empty());
        return;
    }
    assert_eq!(runs::open(&mut c).await.unwrap().len(), 2);
    let run = runs::get(&mut c, 2).await.unwrap().unwrap();
    assert_eq!(run.lease.unwrap().token, "token-2");
    assert_eq!(runs::of_pull(&mut c, 11, 4, 9).await.unwrap()[0].level, Some(5));
    assert_eq!(runs::newest_of_each_recipe(&mut c).await.unwrap().len(), 2);
    assert_eq!(runs::of_recipe(&mut c, "gitea", i64::MAX, 9).await.unwrap().len(), 2);
    let recipes = views::recipes(&mut c, 9).await.unwrap();
    assert_eq!(recipes.iter().map(|recipe| recipe.judged.len()).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(views::recipe(&mut c, "gitea", 9).await.unwrap().as_ref(), recipes.first());
    assert_eq!(views::ends(&mut c).await.unwrap().len(), 1);
    assert_eq!(runs::past_durations(&mut c, "gitea", 9).await.unwrap(), [500_000]);
    assert_eq!(runs::unpublished(&mut c, 9).await.unwrap().len(), 2);
    assert_eq!(attempts::of_run(&mut c, 1).await.unwrap().len(), 2);
    assert!(attempts::is_live(&mut c, &"r9q7kk500001".parse().unwrap()).await.unwrap());
    assert_eq!(attempts::run_of(&mut c, &"r9q7kk100001".parse().unwrap()).await.unwrap(), Some(1));
    assert_eq!(stage_rows::of_attempt(&mut c, 1, 2).await.unwrap().len(), 1);
    assert!(results::get(&mut c, 1).await.unwrap().is_none());
    if steps < 3 {
        assert!(outbox::due(&mut c, at(999_999), 9).await.unwrap().is_empty());
        return;
    }
    assert_eq!(outbox::due(&mut c, at(999_999), 9).await.unwrap().len(), 1);
    assert_eq!(events::after(&mut c, 1, 0, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_filled_database_of_every_earlier_schema_upgrades() {
    let folder = tempfile::tempdir().unwrap();
    for steps in 1..=schema::STEPS.len() {
        let path = folder.path().join(format!("{steps}.db"));
        let mut old = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
        for at in 1..=steps {
            schema::upgrade(&mut old, &schema::STEPS[..at]).await.unwrap();
            sqlx::raw_sql(schema::STEPS[at - 1].sample).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();
        let store = Store::open(&path).await.unwrap();
        assert!(store.is_sound().await.unwrap());
        read_all(&store, steps).await;
        // Writing works too: a row of each table that has unique keys.
        let mut write = store.begin_immediate().await.unwrap();
        assert_eq!(deliveries::append(&mut write, &delivery(501)).await.unwrap(), Appended::Known(1));
        assert!(matches!(deliveries::append(&mut write, &delivery(900)).await.unwrap(), Appended::New(_)));
        write.commit().await.unwrap();
        store.close().await;
        Store::open(&path).await.unwrap().close().await;
    }
}

#[tokio::test]
async fn a_database_of_a_newer_cc_ci_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer.db");
    let mut newer = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 999").execute(&mut newer).await.unwrap();
    newer.close().await.unwrap();
    match Store::open(&path).await {
        Err(StoreError::Newer { found: 999, known }) => assert_eq!(known, i64::try_from(schema::STEPS.len()).unwrap()),
        other => panic!("{other:?}"),
    }
}

fn delivery(comment_id: i64) -> NewDelivery {
    NewDelivery {
        repo_id: 11,
        pull: 4,
        comment_id,
        action: Action::Created,
        arrival: Arrival::Webhook,
        delivery: format!("uuid-{comment_id}"),
        // About what a real delivery has.
        payload: "x".repeat(12_000),
        received: at(0),
    }
}

#[tokio::test]
async fn a_write_that_sqlite_gave_up_by_itself_does_not_end_all_writing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("full.db")).await.unwrap();
    let (journal, _writer) = Journal::start(store.clone());
    for (comment, dropped) in [(1, true), (2, false)] {
        let mut write = store.begin_immediate().await.unwrap();
        assert_eq!(deliveries::append(&mut write, &delivery(900)).await.unwrap(), Appended::New(comment));
        // What SQLite does on a full disk, behind the back of whoever began it.
        sqlx::query("ROLLBACK").execute(&mut *write).await.unwrap();
        if dropped {
            drop(write);
        } else {
            write.commit().await.unwrap_err();
        }
        assert_eq!(journal.append(delivery(comment)).await.unwrap(), Appended::New(comment));
    }
    assert_eq!(deliveries::backlog(&mut store.read().await.unwrap()).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_two_thousand_is_journalled_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("journal.db")).await.unwrap();
    let (journal, writer) = Journal::start(store.clone());
    // Each delivery comes twice, and all at the same time.
    let all: Vec<_> = (0..4_000_i64)
        .map(|n| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(delivery(n % 2_000)).await })
        })
        .collect();
    let (mut new, mut known) = (0, 0);
    for one in all {
        match one.await.unwrap().unwrap() {
            Appended::New(_) => new += 1,
            Appended::Known(_) => known += 1,
            Appended::Signed(_) => panic!("nothing was polled"),
        }
    }
    assert_eq!((new, known), (2_000, 2_000));
    assert_eq!(deliveries::backlog(&mut store.read().await.unwrap()).await.unwrap(), 2_000);
    drop(journal);
    writer.await.unwrap();
}

#[tokio::test]
async fn an_acknowledged_delivery_survives_the_loss_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let store = Store::open(&path).await.unwrap();
    let (journal, _writer) = Journal::start(store.clone());
    for comment in 0..20 {
        journal.append(delivery(comment)).await.unwrap();
        // What a killed process leaves: the files as they are at this moment, nothing closed.
        let crashed = folder.path().join(format!("crashed-{comment}.db"));
        std::fs::copy(&path, &crashed).unwrap();
        std::fs::copy(path.with_extension("db-wal"), crashed.with_extension("db-wal")).unwrap();
        let after = Store::open(&crashed).await.unwrap();
        assert_eq!(deliveries::backlog(&mut after.read().await.unwrap()).await.unwrap(), comment + 1);
        assert!(after.is_sound().await.unwrap());
        after.close().await;
    }
}

#[tokio::test]
async fn a_journal_that_cannot_write_acknowledges_nothing() {
    let store = Store::in_memory().await.unwrap();
    let (journal, _writer) = Journal::start(store.clone());
    store.close().await;
    assert!(matches!(journal.append(delivery(1)).await, Err(StoreError::Journal(_))));
}

#[tokio::test]
async fn readers_cannot_write_and_dropped_writes_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("x.db")).await.unwrap();
    let mut reader = store.read().await.unwrap();
    assert!(sqlx::raw_sql("DELETE FROM runs").execute(&mut *reader).await.is_err());
    let mut write = store.begin_immediate().await.unwrap();
    cursors::set(&mut write, "a", "1", at(0)).await.unwrap();
    drop(write);
    assert_eq!(cursors::get(&mut reader, "a").await.unwrap(), None);
}

#[tokio::test]
async fn many_writers_never_find_the_database_locked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("x.db")).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let mut write = store.begin_immediate().await.unwrap();
                    let old = cursors::get(&mut write, "n").await.unwrap().map_or(0, |n| n.parse::<i64>().unwrap());
                    cursors::set(&mut write, "n", &(old + 1).to_string(), at(0)).await.unwrap();
                    write.commit().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(cursors::get(&mut store.read().await.unwrap(), "n").await.unwrap().as_deref(), Some("80"));
}

#[tokio::test]
async fn hints_are_counted_by_person_and_by_pull_request() {
    let store = Store::in_memory().await.unwrap();
    let mut write = store.begin_immediate().await.unwrap();
    for (pull, person, kind, when) in [
        (4, 8, HintKind::Hint, 0),
        (4, 9, HintKind::Hint, 100),
        (4, 8, HintKind::Reaction, 200),
        (5, 8, HintKind::Reaction, 300),
    ] {
        hints::note(&mut write, 11, pull, person, kind, at(when)).await.unwrap();
    }
    let history = hints::history(&mut write, 11, 4, 8, at(3_650)).await.unwrap();
    assert_eq!((history.last_to_person, history.on_pull_last_hour, history.reactions_last_hour), (Some(at(0)), 1, 2));
}

#[tokio::test]
async fn an_older_wish_never_replaces_a_newer_one() {
    let store = Store::in_memory().await.unwrap();
    let status = |state| Wanted::Status {
        commit: "c".into(),
        context: "cc-ci/testme".into(),
        state,
        description: String::new(),
        target_url: String::new(),
    };
    let version = |run, attempt, seq| Version { run, attempt, seq };
    let mut write = store.begin_immediate().await.unwrap();
    let (green, pending) = (status(StatusState::Success), status(StatusState::Pending));
    assert!(outbox::want(&mut write, 1, "a/b", &green, version(5, 2, 7), at(0)).await.unwrap());
    for older in [version(5, 2, 7), version(5, 2, 6), version(5, 1, 9), version(4, 9, 99)] {
        assert!(!outbox::want(&mut write, 1, "a/b", &pending, older, at(1)).await.unwrap(), "{older:?}");
    }
    let target = green.target(1);
    let row = outbox::get(&mut write, &target).await.unwrap().unwrap();
    assert_eq!(row.wanted, green);
    // A newer wish while the older one is being delivered: settling the older one must not settle the newer.
    assert!(outbox::want(&mut write, 1, "a/b", &pending, version(6, 0, 1), at(2)).await.unwrap());
    outbox::settle(&mut write, &row, None, at(3)).await.unwrap();
    assert_eq!(outbox::get(&mut write, &target).await.unwrap().unwrap().state, OutboxState::Due);
    // The same wish again, once settled, needs no call.
    let row = outbox::get(&mut write, &target).await.unwrap().unwrap();
    outbox::settle(&mut write, &row, None, at(4)).await.unwrap();
    assert!(outbox::want(&mut write, 1, "a/b", &pending, version(6, 0, 2), at(5)).await.unwrap());
    assert_eq!(outbox::get(&mut write, &target).await.unwrap().unwrap().state, OutboxState::Settled);
}

#[tokio::test]
async fn comments_of_a_pull_request_are_due_in_their_order() {
    let store = Store::in_memory().await.unwrap();
    let mut write = store.begin_immediate().await.unwrap();
    // Deliveries may overtake each other on their way.
    for (comment_id, pull) in [(12, 4), (10, 4), (11, 5)] {
        deliveries::append(&mut write, &NewDelivery { pull, ..delivery(comment_id) }).await.unwrap();
    }
    write.commit().await.unwrap();
    let due = async |seconds| -> Vec<i64> {
        let due = deliveries::due(&mut store.read().await.unwrap(), at(seconds), 10).await.unwrap();
        due.iter().map(|delivery| delivery.what.comment_id).collect()
    };
    assert_eq!(due(0).await, [10, 11, 12]);
    let mut write = store.begin_immediate().await.unwrap();
    let first = deliveries::due(&mut write, at(0), 1).await.unwrap().remove(0);
    deliveries::postpone(&mut write, first.id, at(5), "the head settles").await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(due(1).await, [11], "12 must not overtake 10, which waits");
    assert_eq!(deliveries::next_due(&mut store.read().await.unwrap(), at(1)).await.unwrap(), Some(at(5)));
    assert_eq!(due(5).await, [10, 11, 12]);
    let mut write = store.begin_immediate().await.unwrap();
    deliveries::postpone(&mut write, first.id, at(9_999), "it cannot be decided").await.unwrap();
    write.commit().await.unwrap();
    assert_eq!((due(899).await, due(900).await), (vec![11], vec![11, 12]), "but not for ever");
}

#[tokio::test]
async fn a_delivery_takes_the_place_of_what_the_poll_found_until_that_is_decided() {
    let store = Store::in_memory().await.unwrap();
    let polled = NewDelivery { arrival: Arrival::Poll, payload: "polled".into(), received: at(0), ..delivery(1) };
    let signed = NewDelivery { payload: "signed".into(), received: at(1), ..delivery(1) };
    let mut write = store.begin_immediate().await.unwrap();
    assert_eq!(deliveries::append(&mut write, &polled).await.unwrap(), Appended::New(1));
    deliveries::postpone(&mut write, 1, at(60), "waits for the delivery").await.unwrap();
    assert_eq!(deliveries::append(&mut write, &signed).await.unwrap(), Appended::Signed(1));
    let due = deliveries::due(&mut write, at(2), 9).await.unwrap();
    let what = &due[0].what;
    assert_eq!((what.arrival, what.payload.as_str(), what.received), (Arrival::Webhook, "signed", at(0)));
    assert_eq!(deliveries::append(&mut write, &signed).await.unwrap(), Appended::Known(1));
    assert_eq!(deliveries::append(&mut write, &polled).await.unwrap(), Appended::Known(1), "never the other way round");
    assert_eq!(deliveries::due(&mut write, at(2), 9).await.unwrap()[0].what.payload, "signed");
    let late = NewDelivery { comment_id: 2, ..polled };
    assert_eq!(deliveries::append(&mut write, &late).await.unwrap(), Appended::New(2));
    deliveries::settle(&mut write, 2, deliveries::DeliveryState::Done, "").await.unwrap();
    assert_eq!(deliveries::append(&mut write, &delivery(2)).await.unwrap(), Appended::Known(2), "decided is decided");
}

#[tokio::test]
async fn what_was_passed_over_for_one_reason_is_opened_again() {
    let store = Store::in_memory().await.unwrap();
    let mut write = store.begin_immediate().await.unwrap();
    let note = "\"other_repository\"";
    for (id, repo_id, why) in [(1, 11, note), (2, 11, "\"no_command\""), (3, 12, note), (4, 11, note)] {
        let received = at(if id == 4 { -100 } else { 0 });
        deliveries::append(&mut write, &NewDelivery { repo_id, received, ..delivery(id) }).await.unwrap();
        deliveries::settle(&mut write, id, deliveries::DeliveryState::Done, why).await.unwrap();
    }
    assert_eq!(deliveries::reopen(&mut write, 11, note, at(-50)).await.unwrap(), 1);
    let due = deliveries::due(&mut write, at(1), 9).await.unwrap();
    assert_eq!(due.iter().map(|delivery| delivery.what.comment_id).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn an_edit_that_the_forge_told_of_is_known() {
    let store = Store::in_memory().await.unwrap();
    let mut write = store.begin_immediate().await.unwrap();
    deliveries::append(&mut write, &delivery(1)).await.unwrap();
    assert!(!deliveries::was_edited(&mut write, 11, 1).await.unwrap());
    deliveries::append(&mut write, &NewDelivery { action: Action::Edited, ..delivery(1) }).await.unwrap();
    assert!(deliveries::was_edited(&mut write, 11, 1).await.unwrap());
    assert!(!deliveries::was_edited(&mut write, 12, 1).await.unwrap());
}

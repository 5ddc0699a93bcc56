//! Nothing that cc-ci publishes can start anything: commands of its own account count, so an echo would never end.

use std::collections::BTreeMap;

use cc_ci::bridge::commands::{Understood, understand};
use cc_ci::bridge::facts::{Action, Arrival, Enrolled, GateConfig, Person, Trigger};
use cc_ci::bridge::gate::{Ignored, passed_over};
use cc_ci::domain::{ReasonCode, Verdict};
use cc_ci::publish::refresh::refresh;
use cc_ci::publish::render::Pages;
use cc_ci::publish::{Wanted, hint};
use cc_ci::queue::QueueConfig;
use cc_ci::queue::accept::accept;
use cc_ci::queue::claim::{Claim, claim};
use cc_ci::queue::lease::{Report, finish};
use cc_ci::store::{Store, outbox};
use proptest::prelude::*;

use crate::at;
use crate::comments::pieces;
use crate::support::{OWN_ID, ROOM, claimant, commit, new_run, new_trigger, record};

/// What the gate makes of a comment of our own account, before it asks anybody.
fn of_our_own(body: &str) -> Option<Ignored> {
    let enrolled = Enrolled { recipe: "recipe".into(), suite: "recipe".into() };
    let person = Person { id: OWN_ID, login: "ccci".into() };
    let trigger = Trigger {
        arrival: Arrival::Webhook,
        action: Action::Created,
        repo_id: 1,
        number: 4,
        is_pull: true,
        comment_id: 9,
        body: body.into(),
        author: person.clone(),
        sender: person,
        created: at(0),
        updated: at(0),
        received: at(0),
        signed_head: None,
    };
    passed_over(&trigger, &GateConfig::new(OWN_ID, BTreeMap::from([(1, enrolled)])))
}

/// The text as somebody might copy it, without the hidden lines.
fn without_markers(body: &str) -> String {
    body.lines().filter(|line| !line.starts_with("<!-- cc-ci:")).map(|line| format!("{line}\n")).collect()
}

/// Every comment that the outbox holds in the course of a run in which all foreign texts are this one.
async fn published(text: &str, report: &Report) -> Vec<String> {
    let (store, config) = (Store::in_memory().await.unwrap(), QueueConfig::default());
    let render = Pages::at(&"https://ci.test/".parse().unwrap());
    let mut seen = Vec::new();
    let mut look = async |seconds| {
        refresh(&store, &render, 2, at(seconds)).await.unwrap();
        let due = outbox::due(&mut store.read().await.unwrap(), at(seconds), 99).await.unwrap();
        seen.extend(due.into_iter().filter_map(|row| match row.wanted {
            Wanted::Comment { body, .. } => Some(body),
            Wanted::Status { .. } | Wanted::Reaction { .. } => None,
        }));
    };
    let mut run = new_run(1, Some(4), &commit(1), 7);
    (run.recipe, run.person_login, run.repo_name) = (text.into(), text.into(), text.into());
    let mut write = store.begin_immediate().await.unwrap();
    accept(&mut write, &new_trigger(&run, Some(501)), &run, &config, at(0)).await.unwrap();
    write.commit().await.unwrap();
    look(1).await;
    let Claim::Run(claimed) = claim(&store, &claimant(1, 1), &ROOM, &config, at(2)).await.unwrap() else { panic!() };
    look(3).await;
    let report = match report {
        Report::Record(run) => {
            let mut run = run.clone();
            run.recipe.name = text.into();
            run.recipe.version = Some(text.into());
            for stage in &mut run.stages {
                if let Some(reason) = &mut stage.reason {
                    reason.message = text.into();
                    reason.evidence = text.lines().map(str::to_owned).collect();
                }
            }
            Report::Record(run)
        }
        Report::Broken { .. } => Report::Broken { why: text.into() },
        other => other.clone(),
    };
    assert!(finish(&store, &claimed.lease, &report, &config, at(4)).await.unwrap());
    look(5).await;
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_hint_is_a_command(login in pieces(), comment: u32) {
        let body = hint(i64::from(comment), &login, "Only people who may write can give commands here.");
        prop_assert_eq!(of_our_own(&body), Some(Ignored::Own));
        prop_assert!(!matches!(understand(&without_markers(&body)), Understood::Command(_)));
    }

    #[test]
    fn no_comment_about_a_run_is_a_command(text in pieces(), how in 0..4) {
        let red = Some(ReasonCode::CrashLoop);
        let report = match how {
            0 => Report::Record(Box::new(record(&claimant(1, 1).run_id, Verdict::Red, red))),
            1 => Report::Record(Box::new(record(&claimant(1, 1).run_id, Verdict::Green, None))),
            2 => Report::Broken { why: String::new() },
            _ => Report::Cancelled,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bodies = runtime.block_on(published(&text, &report));
        prop_assert!(bodies.len() >= 3, "queued, running, over");
        for body in bodies {
            prop_assert_eq!(of_our_own(&body), Some(Ignored::Own), "{}", body);
            prop_assert!(!matches!(understand(&without_markers(&body)), Understood::Command(_)), "{}", body);
        }
    }
}

#[test]
fn what_this_is_about_would_start_something() {
    assert_eq!(of_our_own("!testme"), None, "or the tests above could not fail");
}

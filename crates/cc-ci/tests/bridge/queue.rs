//! The queue, one rule at a time.

use std::collections::BTreeSet;

use cc_ci::domain::{ReasonCode, Stage, StageResult, Verdict};
use cc_ci::queue::accept::{Accepted, accept, rerun};
use cc_ci::queue::cancel::{Cancelled, cancel_pull, cancel_run};
use cc_ci::queue::claim::{Claim, Claimed, claim};
use cc_ci::queue::lease::{Report, Standing, finish, progress, stage_ended};
use cc_ci::queue::recover::{Action, Holders, Reaper, StackSeen, execute, plan};
use cc_ci::queue::{QueueConfig, choose::Room};
use cc_ci::store::runs::{self, NewRun, Outcome, RunRow, RunState};
use cc_ci::store::{Store, attempts, stage_rows, triggers};
use jiff::{SignedDuration, Timestamp};

use crate::at;
use crate::support::{ROOM, claimant, commit, new_run, new_trigger, record};

struct Bench {
    store: Store,
    config: QueueConfig,
    claims: u64,
}

impl Bench {
    async fn new() -> Self {
        Self { store: Store::in_memory().await.unwrap(), config: QueueConfig::default(), claims: 0 }
    }

    async fn ask(&self, run: &NewRun, comment_id: i64, now: Timestamp) -> Accepted {
        let mut write = self.store.begin_immediate().await.unwrap();
        let trigger = new_trigger(run, Some(comment_id));
        let accepted = accept(&mut write, &trigger, run, &self.config, now).await.unwrap();
        write.commit().await.unwrap();
        accepted
    }

    async fn claim_in(&mut self, room: &Room, now: Timestamp) -> Claim {
        self.claims += 1;
        claim(&self.store, &claimant(1, self.claims), room, &self.config, now).await.unwrap()
    }

    async fn claim(&mut self, now: Timestamp) -> Claimed {
        match self.claim_in(&ROOM, now).await {
            Claim::Run(claimed) => *claimed,
            other => panic!("{other:?}"),
        }
    }

    async fn finish(&self, claimed: &Claimed, report: Report, now: Timestamp) -> bool {
        finish(&self.store, &claimed.lease, &report, &self.config, now).await.unwrap()
    }

    async fn judge(&self, claimed: &Claimed, verdict: Verdict, now: Timestamp) -> bool {
        let record = record(claimed.lease.run_id(), verdict, None);
        self.finish(claimed, Report::Record(Box::new(record)), now).await
    }

    async fn run(&self, number: i64) -> RunRow {
        runs::get(&mut self.store.read().await.unwrap(), number).await.unwrap().unwrap()
    }

    async fn verdicts(&self, number: i64) -> Vec<Option<Verdict>> {
        let triggers = triggers::of_run(&mut self.store.read().await.unwrap(), number).await.unwrap();
        triggers.iter().map(|trigger| trigger.verdict).collect()
    }

    async fn recover(&self, holders: &Holders, stacks: &[StackSeen], now: Timestamp) -> Vec<Action> {
        let rows = runs::open(&mut self.store.read().await.unwrap()).await.unwrap();
        let actions = plan(&rows, stacks, holders, &[], &self.config, now);
        execute(&self.store, &actions, &NoStacks, now).await.unwrap();
        actions
    }
}

struct NoStacks;

impl Reaper for NoStacks {
    async fn reap(&self, _: &StackSeen) -> Result<(), String> {
        Ok(())
    }
}

fn life(n: u64, alive: &[&str]) -> Holders {
    Holders {
        this: format!("embedded:host:{n}"),
        embedded_prefix: "embedded:host:".into(),
        alive: alive.iter().map(|token| (*token).to_owned()).collect::<BTreeSet<_>>(),
    }
}

#[tokio::test]
async fn a_run_goes_from_the_comment_to_its_verdict() {
    let mut bench = Bench::new().await;
    let accepted = bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    assert_eq!(accepted, Accepted::Queued { number: 1, superseded: vec![] });
    assert_eq!(bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(1)).await, Accepted::Known);
    let claimed = bench.claim(at(2)).await;
    assert_eq!((claimed.run.number, claimed.run.attempt, claimed.run.state), (1, 1, RunState::Running));
    assert_eq!(bench.claim_in(&ROOM, at(2)).await, Claim::Empty);
    let standing = progress(&bench.store, &claimed.lease, "install: deploy", &bench.config, at(3)).await.unwrap();
    assert_eq!(standing, Standing::Held);
    let stage = StageResult::not_run(Stage::Install, "");
    assert!(stage_ended(&bench.store, &claimed.lease, &stage, at(4)).await.unwrap());
    assert!(bench.judge(&claimed, Verdict::Green, at(5)).await);
    let run = bench.run(1).await;
    assert_eq!(
        (run.state, run.outcome, run.verdict),
        (RunState::Finished, Some(Outcome::Judged), Some(Verdict::Green))
    );
    assert_eq!((run.level, run.lease), (Some(5), None));
    assert_eq!(bench.verdicts(1).await, [Some(Verdict::Green)]);
    // The lease is used up.
    assert!(!bench.judge(&claimed, Verdict::Red, at(6)).await);
    assert!(!stage_ended(&bench.store, &claimed.lease, &stage, at(6)).await.unwrap());
    let standing = progress(&bench.store, &claimed.lease, "x", &bench.config, at(6)).await.unwrap();
    assert_eq!(standing, Standing::Lost);
    let mut c = bench.store.read().await.unwrap();
    assert_eq!(stage_rows::of_attempt(&mut c, 1, 1).await.unwrap(), [stage]);
    assert_eq!(attempts::of_run(&mut c, 1).await.unwrap()[0].ending, Some(attempts::AttemptEnding::Judged));
}

#[tokio::test]
async fn a_cancel_that_comes_late_spares_what_was_asked_for_later() {
    let mut bench = Bench::new().await;
    let run = new_run(1, Some(4), &commit(1), 7);
    bench.ask(&run, 501, at(0)).await;
    let earlier = bench.claim(at(1)).await;
    bench.ask(&run, 503, at(2)).await;
    let mut write = bench.store.begin_immediate().await.unwrap();
    let cancelled = cancel_pull(&mut write, 1, 4, 502, "anna", at(3)).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(cancelled, Cancelled { ended: vec![], asked: vec![earlier.run.number] });
    assert_eq!(bench.run(2).await.state, RunState::Queued);
}

#[tokio::test]
async fn two_pull_requests_with_the_same_head_have_runs_of_their_own() {
    let mut bench = Bench::new().await;
    let (one, two) = (new_run(1, Some(4), &commit(1), 7), new_run(1, Some(5), &commit(1), 7));
    bench.ask(&one, 501, at(0)).await;
    assert_eq!(bench.ask(&two, 502, at(0)).await, Accepted::Queued { number: 2, superseded: vec![] });
    let branch = NewRun { pull: None, ..one.clone() };
    assert_eq!(bench.ask(&branch, 503, at(0)).await, Accepted::Queued { number: 3, superseded: vec![] });
    assert_eq!(bench.ask(&branch, 504, at(0)).await, Accepted::Joined { number: 3 });
    let first = bench.claim(at(1)).await;
    assert_eq!(bench.claim_in(&ROOM, at(1)).await, Claim::Empty, "one run per commit and suite at a time");
    let mut write = bench.store.begin_immediate().await.unwrap();
    cancel_pull(&mut write, 1, 5, 505, "anna", at(2)).await.unwrap();
    write.commit().await.unwrap();
    bench.judge(&first, Verdict::Green, at(3)).await;
    assert_eq!(bench.verdicts(1).await, [Some(Verdict::Green)], "somebody else's !cancel does not matter");
    assert_eq!(bench.verdicts(2).await, [Some(Verdict::Error)]);
}

#[tokio::test]
async fn a_second_request_joins_what_waits_but_not_what_runs() {
    let mut bench = Bench::new().await;
    let run = new_run(1, Some(4), &commit(1), 7);
    bench.ask(&run, 501, at(0)).await;
    assert_eq!(bench.ask(&run, 502, at(1)).await, Accepted::Joined { number: 1 });
    let first = bench.claim(at(2)).await;
    assert_eq!(bench.ask(&run, 503, at(3)).await, Accepted::Queued { number: 2, superseded: vec![] });
    assert_eq!(bench.claim_in(&ROOM, at(4)).await, Claim::Empty, "one run per commit and suite at a time");
    bench.judge(&first, Verdict::Red, at(5)).await;
    assert_eq!(bench.verdicts(1).await, [Some(Verdict::Red); 2]);
    assert_eq!(bench.verdicts(2).await, [None], "a newer request never inherits an older verdict");
    let second = bench.claim(at(6)).await;
    bench.judge(&second, Verdict::Green, at(7)).await;
    assert_eq!(bench.verdicts(2).await, [Some(Verdict::Green)]);
}

#[tokio::test]
async fn a_newer_commit_supersedes_what_waits_but_not_what_runs() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    let first = bench.claim(at(1)).await;
    bench.ask(&new_run(1, Some(4), &commit(2), 7), 502, at(2)).await;
    bench.ask(&new_run(1, Some(5), &commit(9), 7), 503, at(2)).await;
    let accepted = bench.ask(&new_run(1, Some(4), &commit(3), 8), 504, at(3)).await;
    assert_eq!(accepted, Accepted::Queued { number: 4, superseded: vec![2] });
    assert_eq!(bench.run(2).await.outcome, Some(Outcome::Superseded));
    assert_eq!(bench.verdicts(2).await, [Some(Verdict::Error)]);
    assert_eq!(bench.run(3).await.state, RunState::Queued, "another pull request");
    // What runs goes on; but if it has to be queued again, it has been overtaken.
    let report = Report::Broken { why: "the engine is gone".into() };
    assert!(bench.finish(&first, report, at(4)).await);
    assert_eq!(bench.run(1).await.outcome, Some(Outcome::Superseded));
    assert_eq!(bench.verdicts(1).await, [Some(Verdict::Error)]);
}

#[tokio::test]
async fn runs_without_a_pull_request_supersede_nothing() {
    let bench = Bench::new().await;
    bench.ask(&new_run(1, None, &commit(1), 7), 1, at(0)).await;
    let accepted = bench.ask(&new_run(1, None, &commit(2), 7), 2, at(0)).await;
    assert_eq!(accepted, Accepted::Queued { number: 2, superseded: vec![] });
}

#[tokio::test]
async fn infrastructure_is_retried_twice_and_then_an_error() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    let mut now = at(1);
    for (retries, pause) in [(1, 30), (2, 120)] {
        let claimed = bench.claim(now).await;
        let record = record(claimed.lease.run_id(), Verdict::Error, Some(ReasonCode::RegistryUnreachable));
        assert!(bench.finish(&claimed, Report::Record(Box::new(record)), now).await);
        let run = bench.run(1).await;
        assert_eq!((run.state, run.retries, run.verdict), (RunState::Queued, retries, None));
        assert_eq!(run.not_before, now + SignedDuration::from_secs(pause));
        assert_eq!(bench.claim_in(&ROOM, now).await, Claim::Empty);
        now = run.not_before;
    }
    let claimed = bench.claim(now).await;
    let record = record(claimed.lease.run_id(), Verdict::Error, Some(ReasonCode::RegistryUnreachable));
    bench.finish(&claimed, Report::Record(Box::new(record)), now).await;
    let run = bench.run(1).await;
    assert_eq!((run.outcome, run.verdict, run.attempt), (Some(Outcome::Judged), Some(Verdict::Error), 3));
    assert!(run.why.contains("registry-unreachable"), "{}", run.why);
}

#[tokio::test]
async fn only_infrastructure_is_retried() {
    for (verdict, code, want) in [
        (Verdict::Red, ReasonCode::CrashLoop, Verdict::Red),
        (Verdict::Red, ReasonCode::TestFailed, Verdict::Red),
        (Verdict::Error, ReasonCode::BaseBroken, Verdict::Error),
        (Verdict::Error, ReasonCode::Bug, Verdict::Error),
    ] {
        let mut bench = Bench::new().await;
        bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
        let claimed = bench.claim(at(1)).await;
        let record = record(claimed.lease.run_id(), verdict, Some(code));
        bench.finish(&claimed, Report::Record(Box::new(record)), at(2)).await;
        assert_eq!(bench.verdicts(1).await, [Some(want)], "{code}");
    }
}

#[tokio::test]
async fn cancelling_ends_what_waits_and_asks_what_runs() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    let claimed = bench.claim(at(1)).await;
    bench.ask(&new_run(1, Some(4), &commit(2), 7), 502, at(2)).await;
    bench.ask(&new_run(1, Some(5), &commit(3), 7), 503, at(2)).await;
    let mut write = bench.store.begin_immediate().await.unwrap();
    let cancelled = cancel_pull(&mut write, 1, 4, 504, "anna", at(3)).await.unwrap();
    assert_eq!(cancelled, Cancelled { ended: vec![2], asked: vec![1] });
    assert_eq!(cancel_run(&mut write, 1, "anna", at(3)).await.unwrap(), Cancelled::default(), "asked already");
    write.commit().await.unwrap();
    let standing = progress(&bench.store, &claimed.lease, "x", &bench.config, at(4)).await.unwrap();
    assert_eq!(standing, Standing::CancelWanted { by: "anna".into() });
    bench.finish(&claimed, Report::Cancelled, at(5)).await;
    for number in [1, 2] {
        let run = bench.run(number).await;
        assert_eq!((run.outcome, run.why.as_str()), (Some(Outcome::Cancelled), "cancelled by anna"));
        assert_eq!(bench.verdicts(number).await, [Some(Verdict::Error)]);
    }
    assert_eq!(bench.run(3).await.state, RunState::Queued);
}

#[tokio::test]
async fn a_cancelled_run_is_not_tried_again_but_its_judgement_stands() {
    for (report, want) in [(None, Outcome::Judged), (Some(Report::Broken { why: "x".into() }), Outcome::Cancelled)] {
        let mut bench = Bench::new().await;
        bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
        let claimed = bench.claim(at(1)).await;
        let mut write = bench.store.begin_immediate().await.unwrap();
        cancel_run(&mut write, 1, "anna", at(2)).await.unwrap();
        write.commit().await.unwrap();
        match report {
            Some(report) => bench.finish(&claimed, report, at(3)).await,
            None => bench.judge(&claimed, Verdict::Green, at(3)).await,
        };
        assert_eq!(bench.run(1).await.outcome, Some(want));
    }
}

#[tokio::test]
async fn a_lapsed_lease_is_queued_again_and_the_second_crash_parks() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    let first = bench.claim(at(0)).await;
    assert!(bench.recover(&life(1, &[]), &[], at(299)).await.is_empty(), "five minutes");
    assert_eq!(bench.recover(&life(1, &[]), &[], at(300)).await.len(), 1);
    let run = bench.run(1).await;
    assert_eq!((run.state, run.crashes, run.retries), (RunState::Queued, 1, 0));
    assert!(!bench.judge(&first, Verdict::Green, at(301)).await, "the old holder is fenced off");
    assert_eq!(bench.verdicts(1).await, [None]);
    bench.claim(at(302)).await;
    bench.recover(&life(2, &[]), &[], at(303)).await;
    let run = bench.run(1).await;
    assert_eq!((run.outcome, run.verdict, run.attempt), (Some(Outcome::Parked), Some(Verdict::Error), 2));
    assert_eq!(bench.verdicts(1).await, [Some(Verdict::Error)]);
    // A person releases it by asking again.
    let mut write = bench.store.begin_immediate().await.unwrap();
    let again = rerun(&mut write, 1, (8, "bert"), &bench.config, at(400)).await.unwrap();
    assert_eq!(again, Some(Accepted::Queued { number: 2, superseded: vec![] }));
    assert_eq!(rerun(&mut write, 77, (8, "bert"), &bench.config, at(400)).await.unwrap(), None);
}

#[tokio::test]
async fn an_earlier_life_has_lapsed_at_once_and_a_living_one_never() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    let claimed = bench.claim(at(0)).await;
    let week_later = at(7 * 86_400);
    assert!(bench.recover(&life(1, &[claimed.lease.token()]), &[], week_later).await.is_empty(), "the clock jumped");
    assert_eq!(bench.recover(&life(2, &[]), &[], at(1)).await.len(), 1, "the server started again");
    assert_eq!(bench.run(1).await.state, RunState::Queued);
}

#[tokio::test]
async fn what_was_cancelled_or_overdue_when_its_holder_died_ends() {
    for (cancel, now, want) in [(true, at(10), Outcome::Cancelled), (false, at(3_600), Outcome::Overdue)] {
        let mut bench = Bench::new().await;
        bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
        bench.claim(at(0)).await;
        if cancel {
            let mut write = bench.store.begin_immediate().await.unwrap();
            cancel_run(&mut write, 1, "anna", at(1)).await.unwrap();
            write.commit().await.unwrap();
        }
        bench.recover(&life(2, &[]), &[], now).await;
        assert_eq!(bench.run(1).await.outcome, Some(want));
        assert_eq!(bench.verdicts(1).await, [Some(Verdict::Error)]);
    }
}

#[tokio::test]
async fn an_orderly_stop_costs_no_attempt() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    for _ in 0..5 {
        let claimed = bench.claim(at(1)).await;
        assert!(bench.finish(&claimed, Report::Released, at(1)).await);
    }
    let run = bench.run(1).await;
    assert_eq!((run.state, run.retries, run.crashes, run.attempt), (RunState::Queued, 0, 0, 5));
}

#[tokio::test]
async fn what_returns_to_a_queue_that_holds_its_twin_hands_its_triggers_over() {
    let mut bench = Bench::new().await;
    let run = new_run(1, Some(4), &commit(1), 7);
    bench.ask(&run, 501, at(0)).await;
    bench.claim(at(0)).await;
    bench.ask(&run, 502, at(1)).await;
    bench.recover(&life(2, &[]), &[], at(2)).await;
    assert_eq!(bench.run(1).await.outcome, Some(Outcome::Superseded));
    assert_eq!(bench.verdicts(1).await, []);
    assert_eq!(bench.verdicts(2).await, [None, None]);
    let claimed = bench.claim(at(3)).await;
    bench.judge(&claimed, Verdict::Green, at(4)).await;
    assert_eq!(bench.verdicts(2).await, [Some(Verdict::Green); 2]);
}

#[tokio::test]
async fn only_stacks_of_ours_without_a_live_lease_are_reaped() {
    let mut bench = Bench::new().await;
    bench.ask(&new_run(1, Some(4), &commit(1), 7), 501, at(0)).await;
    let live = bench.claim(at(0)).await;
    let stack = |run_id, run_number| StackSeen { name: format!("{run_id}"), run_id, run_number };
    let ours_live = stack(live.lease.run_id().clone(), Some(1));
    let ours_dead = stack(claimant(1, 50).run_id, Some(1));
    let foreign = stack(claimant(1, 51).run_id, None);
    let stacks = [ours_live.clone(), ours_dead.clone(), foreign];
    let holders = life(1, &[live.lease.token()]);
    assert_eq!(bench.recover(&holders, &stacks, at(1)).await, [Action::Reap(ours_dead.clone())]);
    let actions = bench.recover(&life(2, &[]), &stacks, at(2)).await;
    assert_eq!(actions[..2], [Action::Reap(ours_live), Action::Reap(ours_dead)], "stacks go first");
    assert!(matches!(actions[2..], [Action::Requeue { number: 1, .. }]));
}

#[tokio::test]
async fn the_queue_is_bounded_in_all_and_for_each_person() {
    let mut bench = Bench::new().await;
    bench.config.longest_queue = 5;
    bench.config.longest_of_person = 3;
    for n in 0..3 {
        bench.ask(&new_run(1, Some(n), &commit(1), 7), n, at(0)).await;
        bench.ask(&new_run(1, Some(n), &commit(10 + n.unsigned_abs()), 7), 100 + n, at(0)).await;
    }
    assert!(matches!(bench.ask(&new_run(1, Some(4), &commit(4), 7), 201, at(0)).await, Accepted::Full { .. }));
    for n in 0..2 {
        assert!(matches!(
            bench.ask(&new_run(2, Some(n), &commit(20 + n.unsigned_abs()), 8), 300 + n, at(0)).await,
            Accepted::Queued { .. }
        ));
    }
    assert!(matches!(bench.ask(&new_run(2, Some(9), &commit(29), 9), 400, at(0)).await, Accepted::Full { .. }));
    let refused = triggers::of_pull(&mut bench.store.read().await.unwrap(), 2, 9, 9).await.unwrap();
    assert_eq!((refused[0].decided, refused[0].run_number), (triggers::Decided::Refused, None));
    // Asking for a newer commit of one's own pull request needs no more room.
    let accepted = bench.ask(&new_run(2, Some(0), &commit(40), 8), 401, at(0)).await;
    assert!(matches!(accepted, Accepted::Queued { ref superseded, .. } if superseded.len() == 1), "{accepted:?}");
}

#[tokio::test]
async fn people_and_repositories_take_turns() {
    let mut bench = Bench::new().await;
    for n in 0..6 {
        bench.ask(&new_run(1, Some(n), &commit(n.unsigned_abs()), 7), n, at(0)).await;
    }
    bench.ask(&new_run(1, Some(10), &commit(10), 8), 10, at(1)).await;
    bench.ask(&new_run(2, Some(11), &commit(11), 9), 11, at(2)).await;
    let mut order = Vec::new();
    for second in 10..18 {
        let claimed = bench.claim(at(second)).await;
        order.push(claimed.run.what.person_id);
        bench.judge(&claimed, Verdict::Green, at(second)).await;
    }
    assert_eq!(order, [7, 9, 8, 7, 7, 7, 7, 7]);
}

//! The table of everything that looks like success and is not, and of everything that looks like failure and is not.

use super::*;
use crate::swarm::{UpdateStatus, history::History};

const SETTLE: Duration = Duration::from_secs(3);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).expect("a time")
}

fn task(id: &str, state: TaskPhase) -> TaskState {
    TaskState {
        id: id.into(),
        slot: Some(1),
        desired: if state.is_dead() { TaskPhase::Shutdown } else { TaskPhase::Running },
        state,
        message: String::new(),
        err: String::new(),
        exit_code: None,
        container_id: Some(format!("c-{id}")),
        image: "app:1@sha256:aa".into(),
        node_id: Some("n".into()),
        created: None,
        updated: None,
        current: true,
        oom_killed: false,
    }
}

fn dead(id: &str, state: TaskPhase, err: &str, code: i64) -> TaskState {
    TaskState { err: err.into(), exit_code: Some(code), ..task(id, state) }
}

fn exited(id: &str) -> TaskState {
    dead(id, TaskPhase::Failed, "task: non-zero exit (3)", 3)
}

fn service(name: &str, tasks: Vec<TaskState>) -> ServiceState {
    ServiceState {
        id: name.into(),
        name: name.into(),
        image: "app:1@sha256:aa".into(),
        labels: Default::default(),
        mode: ServiceMode::Replicated(1),
        version: 1,
        has_healthcheck: false,
        update: None,
        tasks,
    }
}

fn updated(mut service: ServiceState, state: UpdateState, started: i64) -> ServiceState {
    service.update = Some(UpdateStatus { state, message: "m".into(), started: Some(at(started)), completed: None });
    service
}

fn expectation(names: &[&str]) -> Expectation {
    let services =
        names.iter().map(|name| Expected { name: (*name).into(), image: Some("app:1".into()), replicas: Some(1) });
    Expectation::new(services.collect(), at(0), SETTLE, Duration::from_secs(60))
}

/// Shows the looks one after the other and returns the judgements.
fn play(expectation: &Expectation, looks: &[(i64, Vec<ServiceState>)]) -> Vec<Judgement> {
    let mut history = History::default();
    let judge_at = |history: &mut History, seconds: i64, services: &Vec<ServiceState>| {
        let snapshot = Snapshot { services: services.clone(), at: at(seconds) };
        history.observe(expectation, &snapshot);
        judge(expectation, history, &snapshot, at(seconds))
    };
    looks.iter().map(|(seconds, services)| judge_at(&mut history, *seconds, services)).collect()
}

fn last(expectation: &Expectation, looks: &[(i64, Vec<ServiceState>)]) -> Judgement {
    play(expectation, looks).pop().expect("a look")
}

fn cause(judgement: Judgement) -> Cause {
    match judgement {
        Judgement::Failed(Signal::Tasks { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

fn is_waiting(judgement: &Judgement) -> bool {
    matches!(judgement, Judgement::Waiting(_))
}

#[test]
fn up_counts_only_after_it_has_stayed_so() {
    let up = || vec![service("app", vec![task("a", TaskPhase::Running)])];
    let seen = play(&expectation(&["app"]), &[(1, up()), (3, up()), (4, up())]);
    assert!(is_waiting(&seen[0]) && is_waiting(&seen[1]), "{seen:?}");
    assert_eq!(seen[2], Judgement::Converged);
}

#[test]
fn a_change_of_tasks_starts_the_settle_time_again() {
    let look = |id: &str| vec![service("app", vec![task(id, TaskPhase::Running)])];
    let seen = play(&expectation(&["app"]), &[(1, look("a")), (3, look("b")), (5, look("b")), (6, look("b"))]);
    assert!(is_waiting(&seen[2]), "{seen:?}");
    assert_eq!(seen[3], Judgement::Converged);
}

#[test]
fn completed_is_not_success() {
    // failure_action: continue ends as `completed` while the app goes on exiting.
    let look = |n: usize| {
        let tasks = (0..n).rev().map(|i| exited(&format!("t{i}"))).collect();
        vec![updated(service("app", tasks), UpdateState::Completed, 1)]
    };
    let seen = play(&expectation(&["app"]), &[(5, look(1)), (10, look(2)), (11, look(3))]);
    assert!(is_waiting(&seen[0]) && is_waiting(&seen[1]), "{seen:?}");
    assert_eq!(cause(seen[2].clone()), Cause::CrashLoop { exits: 3, code: Some(3) });
}

#[test]
fn a_rollback_is_a_failure_although_everything_runs() {
    for state in [UpdateState::RollbackStarted, UpdateState::RollbackCompleted] {
        let look = vec![updated(service("app", vec![task("a", TaskPhase::Running), exited("b")]), state, 1)];
        let judgement = last(&expectation(&["app"]), &[(9, look)]);
        let cause = Some(Cause::CrashLoop { exits: 1, code: Some(3) });
        let signal = Signal::UpdateRolledBack { service: "app".into(), message: "m".into(), cause };
        assert_eq!(judgement, Judgement::Failed(signal));
    }
    let look = vec![updated(service("app", vec![]), UpdateState::RollbackPaused, 1)];
    let judgement = last(&expectation(&["app"]), &[(9, look)]);
    assert!(matches!(judgement, Judgement::Failed(Signal::RollbackPaused { cause: None, .. })), "{judgement:?}");
}

#[test]
fn the_old_version_does_not_count() {
    // After a rollback that was missed, the service itself has the old image.
    let mut old = service("app", vec![task("a", TaskPhase::Running)]);
    old.image = "app:0@sha256:bb".into();
    let judgement = last(&expectation(&["app"]), &[(9, vec![old])]);
    assert!(matches!(judgement, Judgement::Failed(Signal::WrongImage { .. })), "{judgement:?}");
    // Stop-first: the old task still runs right after the update was noted.
    let before = TaskState { current: false, ..task("a", TaskPhase::Running) };
    let mut expectation = expectation(&["app"]);
    let snapshot = Snapshot { services: vec![service("app", vec![task("a", TaskPhase::Running)])], at: at(-5) };
    expectation = expectation.after(&snapshot);
    let look = |s: i64| (s, vec![service("app", vec![before.clone()])]);
    assert!(is_waiting(&last(&expectation, &[look(1), look(5), look(9)])));
    // Start-first: both run; the old one has to end first.
    let both = vec![service("app", vec![task("b", TaskPhase::Running), before])];
    assert!(is_waiting(&last(&expectation, &[(1, both.clone()), (9, both)])));
}

#[test]
fn a_redeploy_without_a_change_needs_no_update_state() {
    let same = || vec![service("app", vec![task("a", TaskPhase::Running)])];
    let expectation = expectation(&["app"]).after(&Snapshot { services: same(), at: at(-5) });
    assert_eq!(last(&expectation, &[(1, same()), (4, same())]), Judgement::Converged);
}

#[test]
fn the_update_state_of_before_is_stale() {
    let stale = || vec![updated(service("app", vec![task("a", TaskPhase::Running)]), UpdateState::Paused, -100)];
    let expectation = expectation(&["app"]).after(&Snapshot { services: stale(), at: at(-5) });
    assert_eq!(last(&expectation, &[(1, stale()), (4, stale())]), Judgement::Converged);
    let fresh = vec![updated(service("app", vec![task("a", TaskPhase::Running)]), UpdateState::Paused, 2)];
    assert!(matches!(last(&expectation, &[(4, fresh)]), Judgement::Failed(Signal::UpdatePaused { .. })));
}

#[test]
fn an_update_under_way_is_waited_for() {
    let look = || vec![updated(service("app", vec![task("b", TaskPhase::Running)]), UpdateState::Updating, 1)];
    assert!(is_waiting(&last(&expectation(&["app"]), &[(2, look()), (9, look())])));
}

#[test]
fn what_tasks_say_by_itself() {
    let twice = |err: &str, state| vec![dead("b", state, err, 137), dead("a", state, err, 137)];
    let failed = TaskPhase::Failed;
    let rejected = TaskPhase::Rejected;
    let oom = |id: &str| TaskState { oom_killed: true, ..dead(id, failed, "task: non-zero exit (137)", 137) };
    let unhealthy = "task: non-zero exit (137): dockerexec: unhealthy container";
    let start = "starting container failed: exec: \"/nope\": no such file";
    let no_image = "No such image: localhost:5000/app:nope";
    let cpus = "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available";
    let full = "node is missing network attachments, ip addresses may be exhausted";
    for (tasks, want) in [
        (twice(no_image, rejected), Cause::ImageRejected { message: no_image.into() }),
        (twice(cpus, rejected), Cause::Rejected { message: cpus.into() }),
        (twice(start, failed), Cause::StartFailed { message: start.into() }),
        (twice(unhealthy, failed), Cause::Unhealthy { kills: 2 }),
        (vec![oom("c"), oom("b"), oom("a")], Cause::OutOfMemory { exits: 3 }),
        (vec![dead("a", rejected, full, 0)], Cause::MissingAttachments { message: full.into() }),
    ] {
        let judgement = last(&expectation(&["app"]), &[(2, vec![service("app", tasks)])]);
        assert_eq!(cause(judgement), want);
    }
    for once in [twice(no_image, rejected), twice(start, failed), twice(unhealthy, failed)] {
        let look = vec![service("app", once[..1].to_vec())];
        assert!(is_waiting(&last(&expectation(&["app"]), &[(2, look)])), "once is not enough");
    }
}

#[test]
fn replicas_do_not_add_up_to_a_loop() {
    let slots = (1..=3).map(|slot| TaskState { slot: Some(slot), ..exited(&format!("t{slot}")) }).collect();
    assert!(is_waiting(&last(&expectation(&["app"]), &[(2, vec![service("app", slots)])])));
}

#[test]
fn exits_are_forgiven_while_a_database_is_starting_but_not_for_ever() {
    let app = |n: usize| service("app", (0..n).rev().map(|i| exited(&format!("t{i}"))).collect());
    let db = |state| service("db", vec![task("d", state)]);
    let both = expectation(&["app", "db"]);
    assert!(is_waiting(&last(&both, &[(9, vec![app(5), db(TaskPhase::Starting)])])));
    let loops = last(&both, &[(9, vec![app(3), db(TaskPhase::Running)])]);
    assert_eq!(cause(loops), Cause::CrashLoop { exits: 3, code: Some(3) });
    let both_fail = vec![app(3), service("db", vec![exited("d")])];
    let later = vec![app(6), service("db", vec![exited("d")])];
    assert!(matches!(cause(last(&both, &[(5, both_fail), (9, later)])), Cause::CrashLoop { .. }));
    let long = last(&both, &[(9, vec![app(30), db(TaskPhase::Starting)])]);
    assert_eq!(cause(long), Cause::CrashLoop { exits: 30, code: Some(3) });
}

#[test]
fn an_end_without_a_successor_is_final() {
    let gone = || vec![service("app", vec![exited("a")])];
    let seen = play(&expectation(&["app"]), &[(1, gone()), (2, gone()), (4, gone())]);
    assert!(is_waiting(&seen[1]), "{seen:?}");
    assert_eq!(cause(seen[2].clone()), Cause::ExitedForGood { code: Some(3) });
    let one_shot = || vec![service("app", vec![dead("a", TaskPhase::Complete, "", 0)])];
    let judgement = last(&expectation(&["app"]), &[(1, one_shot()), (4, one_shot())]);
    assert_eq!(cause(judgement), Cause::ExitedForGood { code: Some(0) });
    // A task that waits for its delay is a successor.
    let next = || vec![service("app", vec![task("b", TaskPhase::Ready), exited("a")])];
    assert!(is_waiting(&last(&expectation(&["app"]), &[(1, next()), (9, next())])));
}

#[test]
fn a_task_that_swarm_stops_did_not_exit() {
    let stopping = TaskState { desired: TaskPhase::Shutdown, ..task("a", TaskPhase::Running) };
    let stopped = dead("a", TaskPhase::Failed, "task: non-zero exit (143)", 143);
    let looks = [
        (1, vec![service("app", vec![task("b", TaskPhase::Running), stopping])]),
        (2, vec![service("app", vec![task("b", TaskPhase::Running), stopped.clone()])]),
        (5, vec![service("app", vec![task("b", TaskPhase::Running), stopped])]),
    ];
    assert_eq!(last(&expectation(&["app"]), &looks), Judgement::Converged);
}

#[test]
fn tasks_that_never_start_are_told_apart() {
    let look = |state, err: &str| {
        let task = TaskState { err: err.into(), container_id: None, ..task("a", state) };
        vec![service("app", vec![task])]
    };
    let new = play(
        &expectation(&["app"]),
        &[(1, look(TaskPhase::New, "")), (4, look(TaskPhase::New, "")), (6, look(TaskPhase::New, ""))],
    );
    assert!(is_waiting(&new[1]), "{new:?}");
    assert_eq!(cause(new[2].clone()), Cause::TasksStayNew { tasks: 1 });
    let words = "no suitable node (insufficient resources on 1 node)";
    let pending = || look(TaskPhase::Pending, words);
    assert_eq!(
        cause(last(&expectation(&["app"]), &[(1, pending()), (11, pending())])),
        Cause::NoNodeFits { message: words.into() }
    );
    let pulling = || look(TaskPhase::Preparing, "");
    assert!(is_waiting(&last(&expectation(&["app"]), &[(1, pulling()), (50, pulling())])), "a pull takes its time");
}

#[test]
fn time_and_absence() {
    let starting = || vec![service("app", vec![task("a", TaskPhase::Starting)])];
    let judgement = last(&expectation(&["app"]), &[(1, starting()), (60, starting())]);
    let waiting_for = "app: 0 of 1 tasks running (starting)".to_owned();
    assert_eq!(judgement, Judgement::Failed(Signal::Timeout { waiting_for, after_s: 60 }));
    let up = || vec![service("app", vec![task("a", TaskPhase::Running)])];
    let late = last(&expectation(&["app"]), &[(59, up()), (61, up())]);
    assert!(is_waiting(&late), "what is up at the limit may settle: {late:?}");
    let gone = last(&expectation(&["app"]), &[(1, up()), (2, vec![])]);
    assert_eq!(gone, Judgement::Failed(Signal::Vanished { service: "app".into() }));
    assert!(is_waiting(&last(&expectation(&["app"]), &[(1, vec![])])), "not created yet");
    // A service that the new version dropped stays and is nobody's business.
    let orphan = || vec![service("app", vec![task("a", TaskPhase::Running)]), service("old", vec![exited("x")])];
    assert_eq!(last(&expectation(&["app"]), &[(1, orphan()), (4, orphan())]), Judgement::Converged);
    // A clock that was set back judges nothing.
    assert!(is_waiting(&last(&expectation(&["app"]), &[(1, up()), (-500, up())])));
}

#[test]
fn modes() {
    let with = |mode, tasks| vec![ServiceState { mode, ..service("app", tasks) }];
    let slot = |n: u64, state| TaskState { slot: Some(n), ..task(&format!("t{n}"), state) };
    let two = || with(ServiceMode::Replicated(2), vec![slot(1, TaskPhase::Running), slot(2, TaskPhase::Running)]);
    assert_eq!(last(&expectation(&["app"]), &[(1, two()), (4, two())]), Judgement::Converged);
    let one = || with(ServiceMode::Replicated(2), vec![slot(1, TaskPhase::Running)]);
    assert!(is_waiting(&last(&expectation(&["app"]), &[(1, one()), (9, one())])));
    let none = || with(ServiceMode::Replicated(0), vec![]);
    assert_eq!(last(&expectation(&["app"]), &[(1, none()), (4, none())]), Judgement::Converged);
    let global = |state| with(ServiceMode::Global, vec![TaskState { slot: None, ..task("g", state) }]);
    assert!(is_waiting(&last(
        &expectation(&["app"]),
        &[(1, global(TaskPhase::Starting)), (9, global(TaskPhase::Starting))]
    )));
    let up = || global(TaskPhase::Running);
    assert_eq!(last(&expectation(&["app"]), &[(1, up()), (4, up())]), Judgement::Converged);
    let job = |code| with(ServiceMode::Job(1), vec![dead("j", TaskPhase::Complete, "", code)]);
    assert_eq!(last(&expectation(&["app"]), &[(1, job(0)), (4, job(0))]), Judgement::Converged);
}

#[test]
fn images_are_compared_as_the_engine_reads_them() {
    for (wanted, found, same) in [
        ("nginx:1.2", "nginx:1.2@sha256:aa", true),
        ("nginx", "docker.io/library/nginx:latest", true),
        ("u/a:1", "docker.io/u/a:1", true),
        ("index.docker.io/u/a:1", "u/a:1", true),
        ("localhost:5055/a", "localhost:5055/a:latest@sha256:aa", true),
        ("a:1@sha256:aa", "a:1@sha256:aa", true),
        ("a@sha256:aa", "a:1@sha256:aa", true),
        ("a:1@sha256:aa", "a:1@sha256:bb", false),
        ("nginx:1.2", "nginx:1.3@sha256:aa", false),
        ("nginx:1.2", "mirror/nginx:1.2", false),
        ("localhost:5055/a:1", "a:1", false),
    ] {
        assert_eq!(same_image(wanted, found), same, "{wanted} {found}");
    }
}

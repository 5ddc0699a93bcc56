//! Every signal and the reason it comes to, with and without a loaded host, for the head and for the base.

use super::*;
use crate::domain::Pressure;
use crate::swarm::{CliError, ServiceMode, TaskPhase, UpdateState, UpdateStatus};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).expect("a time")
}

fn snapshot(state: TaskPhase, err: &str) -> Snapshot {
    let task = TaskState {
        id: "t".into(),
        slot: Some(1),
        desired: if state.is_dead() { TaskPhase::Shutdown } else { TaskPhase::Running },
        state,
        message: "started".into(),
        err: err.into(),
        exit_code: Some(3),
        container_id: None,
        image: "app:1".into(),
        node_id: None,
        created: None,
        updated: Some(at(-3)),
        current: true,
        oom_killed: false,
    };
    let update =
        UpdateStatus { state: UpdateState::Paused, message: "update paused".into(), started: None, completed: None };
    let service = ServiceState {
        id: "s".into(),
        name: "app".into(),
        image: "app:1".into(),
        labels: BTreeMap::new(),
        mode: ServiceMode::Replicated(1),
        version: 1,
        has_healthcheck: true,
        update: Some(update),
        tasks: vec![task],
    };
    Snapshot { services: vec![service], at: at(0) }
}

fn failed() -> Snapshot {
    snapshot(TaskPhase::Failed, "task: non-zero exit (3)")
}

fn tasks(cause: Cause) -> Signal {
    Signal::Tasks { service: "app".into(), cause }
}

fn paused(cause: Option<Cause>) -> Signal {
    Signal::UpdatePaused { service: "app".into(), message: "m".into(), cause }
}

fn busy() -> Evidence {
    let load = HostLoad { cpu: Some(Pressure { mean: 95.0, max: 99.0 }), load_max: 14.0, cpus: 2, ..quiet_load() };
    Evidence { load: Some(load), ..Default::default() }
}

#[test]
fn a_busy_cpu_alone_is_no_excuse() {
    let cpu = Some(Pressure { mean: 95.0, max: 99.0 });
    use ReasonCode as C;
    let sick = Signal::Tasks { service: "app".into(), cause: Cause::Unhealthy { kills: 2 } };
    for (load_max, cpus, want) in [
        (3.0, 2, C::NeverHealthy),
        (11.0, 2, C::NeverHealthy),
        (12.0, 2, C::HostOverloaded),
        (12.0, 4, C::NeverHealthy),
        (24.0, 4, C::HostOverloaded),
    ] {
        let load = HostLoad { cpu, load_max, cpus, ..quiet_load() };
        let evidence = Evidence { load: Some(load), ..Default::default() };
        assert_eq!(explain(&sick, &failed(), &evidence).code, want, "load {load_max} on {cpus} CPUs");
    }
}

fn quiet_load() -> HostLoad {
    HostLoad { load_max: 1.0, memory_available_min: 1 << 32, disk_free: Some(1 << 32), ..Default::default() }
}

#[test]
fn every_signal_has_its_reason_and_only_slowness_is_excused() {
    use ReasonCode as C;
    let text = || "words".to_owned();
    let crash = || Cause::CrashLoop { exits: 3, code: Some(3) };
    let sick = || Cause::Unhealthy { kills: 2 };
    let rolled = |cause| Signal::UpdateRolledBack { service: "app".into(), message: text(), cause };
    let both = |cause| Signal::RollbackPaused { service: "app".into(), message: text(), cause };
    for (signal, quiet, loaded) in [
        (tasks(Cause::ImageRejected { message: text() }), C::ImageMissing, C::ImageMissing),
        (tasks(Cause::Rejected { message: text() }), C::StartFailed, C::StartFailed),
        (tasks(Cause::StartFailed { message: text() }), C::StartFailed, C::StartFailed),
        (tasks(crash()), C::CrashLoop, C::CrashLoop),
        (tasks(Cause::ExitedForGood { code: Some(0) }), C::CrashLoop, C::CrashLoop),
        (tasks(Cause::OutOfMemory { exits: 3 }), C::OutOfMemory, C::OutOfMemory),
        (tasks(sick()), C::NeverHealthy, C::HostOverloaded),
        (tasks(Cause::NoNodeFits { message: text() }), C::NoNodeFits, C::NoNodeFits),
        (tasks(Cause::TasksStayNew { tasks: 1 }), C::AddressesExhausted, C::AddressesExhausted),
        (tasks(Cause::MissingAttachments { message: text() }), C::AddressesExhausted, C::AddressesExhausted),
        (paused(None), C::UpdatePaused, C::HostOverloaded),
        (paused(Some(sick())), C::UpdatePaused, C::HostOverloaded),
        (paused(Some(crash())), C::UpdatePaused, C::UpdatePaused),
        (paused(Some(Cause::ImageRejected { message: text() })), C::ImageMissing, C::ImageMissing),
        (rolled(None), C::UpdateRolledBack, C::HostOverloaded),
        (rolled(Some(crash())), C::UpdateRolledBack, C::UpdateRolledBack),
        (rolled(Some(Cause::OutOfMemory { exits: 1 })), C::OutOfMemory, C::OutOfMemory),
        (both(None), C::UpdateRolledBack, C::HostOverloaded),
        (Signal::WrongImage { service: "app".into(), wanted: text(), found: text() }, C::WrongVersion, C::WrongVersion),
        (Signal::Vanished { service: "app".into() }, C::EngineError, C::EngineError),
        (Signal::EngineGone { message: text() }, C::EngineError, C::EngineError),
        (Signal::EngineRestarted, C::EngineRestarted, C::EngineRestarted),
        (Signal::Timeout { waiting_for: "app: 0 of 1".into(), after_s: 9 }, C::NotConverged, C::HostOverloaded),
        (Signal::Cancelled, C::Interrupted, C::Interrupted),
    ] {
        let calm = Evidence { load: Some(quiet_load()), ..Default::default() };
        assert_eq!(explain(&signal, &failed(), &calm).code, quiet, "{signal:?}");
        assert_eq!(explain(&signal, &failed(), &Evidence::default()).code, quiet, "unknown load: {signal:?}");
        assert_eq!(explain(&signal, &failed(), &busy()).code, loaded, "{signal:?}");
        let base = explain(&signal, &failed(), &Evidence { role: Role::Base, ..Default::default() });
        let want = if quiet.fault() == Fault::Recipe { C::BaseBroken } else { quiet };
        assert_eq!(base.code, want, "{signal:?}");
    }
}

#[test]
fn the_host_is_to_blame_for_what_it_lacks() {
    let late = Signal::Timeout { waiting_for: "app: 0 of 1 tasks running".into(), after_s: 9 };
    let of = |signal: &Signal, snapshot: &Snapshot| explain(signal, snapshot, &Evidence::default()).code;
    assert_eq!(of(&late, &snapshot(TaskPhase::New, "")), ReasonCode::AddressesExhausted);
    assert_eq!(of(&late, &snapshot(TaskPhase::Pending, "no suitable node (x)")), ReasonCode::NoNodeFits);
    assert_eq!(of(&late, &snapshot(TaskPhase::Starting, "")), ReasonCode::NotConverged);
    let killed = "task: non-zero exit (143): dockerexec: unhealthy container";
    assert_eq!(of(&late, &snapshot(TaskPhase::Failed, killed)), ReasonCode::NeverHealthy);
    let full = "starting container failed: write x: no space left on device";
    let start = tasks(Cause::StartFailed { message: full.into() });
    assert_eq!(of(&start, &snapshot(TaskPhase::Failed, full)), ReasonCode::DiskFull);
    let load = HostLoad { disk_free: Some(1), ..quiet_load() };
    let evidence = Evidence { load: Some(load), ..Default::default() };
    assert_eq!(explain(&paused(None), &failed(), &evidence).code, ReasonCode::DiskFull);
}

#[test]
fn evidence_is_what_a_person_would_look_up() {
    let logs = BTreeMap::from([("app".to_owned(), (0..50).map(|n| format!("line {n}")).collect())]);
    let evidence = Evidence { logs, load: Some(quiet_load()), role: Role::Head };
    let reason = explain(&tasks(Cause::CrashLoop { exits: 3, code: Some(3) }), &failed(), &evidence);
    assert_eq!(reason.service.as_deref(), Some("app"));
    assert_eq!(reason.message, "app exited 3 times, last with exit code 3");
    assert_eq!(reason.evidence[0], "app.1 failed 3s ago: task: non-zero exit (3)");
    assert_eq!(reason.evidence[1], "app: update paused");
    assert_eq!(reason.evidence[2], "app | line 20");
    assert_eq!(reason.evidence.len(), 2 + LOG_LINES + 1);
    assert!(reason.evidence.last().is_some_and(|line| line.starts_with("host:")), "{:?}", reason.evidence);
    let long = snapshot(TaskPhase::Failed, &"é".repeat(2 * LINE_CHARS));
    let line = task_line("app", &long.services[0].tasks[0], at(0));
    assert_eq!(line.chars().count(), LINE_CHARS + 1, "cut, and on a character");
}

#[test]
fn refusals_and_pulls() {
    use ReasonCode as C;
    let name = || "x".to_owned();
    let refused = |cause| DeployError::Refused { cause, message: "words".into() };
    for (error, want) in [
        (refused(Refusal::SecretMissing { name: name() }), C::SecretMissing),
        (refused(Refusal::ConfigMissing { name: name() }), C::DeployRefused),
        (refused(Refusal::Immutable { kind: "config", name: name() }), C::ConfigConflict),
        (refused(Refusal::Immutable { kind: "secret", name: name() }), C::DeployRefused),
        (refused(Refusal::Network { name: name() }), C::DeployRefused),
        (refused(Refusal::NetworkVanished), C::EngineError),
        (refused(Refusal::FileMissing { path: name() }), C::InvalidRecipe),
        (refused(Refusal::InvalidCompose), C::InvalidRecipe),
        (refused(Refusal::Ports), C::DeployRefused),
        (refused(Refusal::AddressPoolExhausted), C::AddressesExhausted),
        (refused(Refusal::OutOfSequence), C::EngineError),
        (refused(Refusal::Other), C::DeployRefused),
        (DeployError::Refused { cause: Refusal::Other, message: "no space left on device".into() }, C::DiskFull),
        (DeployError::EngineGone { message: name() }, C::EngineError),
        (DeployError::Cli(CliError::NotInstalled), C::EngineError),
    ] {
        assert_eq!(explain_deploy(&error, Role::Head).code, want, "{error:?}");
    }
    let (image, message) = (name, name);
    for (error, want) in [
        (PullError::Missing { image: image(), message: message() }, C::ImageMissing),
        (PullError::Invalid { image: image(), message: message() }, C::ImageMissing),
        (PullError::Denied { image: image(), message: "repository does not exist or".into() }, C::ImageMissing),
        (PullError::Denied { image: image(), message: message() }, C::RegistryUnreachable),
        (PullError::Unreachable { image: image(), message: message() }, C::RegistryUnreachable),
        (PullError::RateLimited { image: image(), message: message() }, C::RegistryUnreachable),
        (PullError::NoSpace { image: image(), message: message() }, C::DiskFull),
        (PullError::Other { image: image(), message: message() }, C::EngineError),
        (PullError::Engine(EngineError::Denied { address: name() }), C::EngineError),
    ] {
        assert_eq!(explain_pull(&error, Role::Head).code, want, "{error:?}");
        let base = explain_pull(&error, Role::Base).code;
        assert_eq!(base == C::BaseBroken, want == C::ImageMissing, "{error:?}");
    }
}

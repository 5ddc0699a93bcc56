//! The table from signals to reasons, and the evidence lines.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::{Fault, HostLoad, Reason, ReasonCode};
use crate::swarm::{Cause, DeployError, EngineError, PullError, Refusal, ServiceState, Signal, Snapshot, TaskState};

/// How many task lines a service shows.
const TASK_LINES: usize = 5;

/// How many lines of a log are shown.
const LOG_LINES: usize = 30;

/// Longest evidence line, in characters.
const LINE_CHARS: usize = 400;

/// Least free memory with which a host still works, in bytes.
const MEMORY_FLOOR: u64 = 96 * 1024 * 1024;

/// Load average per CPU above which a host is crowded.
const LOAD_PER_CPU: f64 = 6.0;

/// Least free disk with which an engine still works, in bytes.
const DISK_FLOOR: u64 = 64 * 1024 * 1024;

/// Whose version was being deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// The commit under test.
    #[default]
    Head,
    /// What the upgrade starts from.
    Base,
}

/// What else is known at the time of a failure.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Ends of the logs, by service, oldest line first, masked.
    pub logs: BTreeMap<String, Vec<String>>,
    /// Pressure on the host while it was waited; `None` if the engine is on another host.
    pub load: Option<HostLoad>,
    /// Whose version was being deployed.
    pub role: Role,
}

/// Why a stack did not converge, in a form a person can use.
#[must_use]
pub fn explain(signal: &Signal, snapshot: &Snapshot, evidence: &Evidence) -> Reason {
    let (code, service, message) = classify(signal);
    let code = environment(code, signal, snapshot, evidence);
    let message = match code {
        ReasonCode::HostOverloaded => format!("{message}, while the host was overloaded"),
        _ => message,
    };
    let mut reason = Reason::new(code, message);
    if let Some(service) = service {
        reason = reason.service(service);
    }
    let lines = evidence_lines(service, snapshot, evidence);
    blame(reason.evidence(lines), evidence.role)
}

/// Why the engine refused a stack.
#[must_use]
pub fn explain_deploy(error: &DeployError, role: Role) -> Reason {
    let code = match error {
        DeployError::EngineGone { .. } | DeployError::Cli(_) => ReasonCode::EngineError,
        DeployError::Refused { cause, .. } => match cause {
            Refusal::SecretMissing { .. } => ReasonCode::SecretMissing,
            Refusal::Immutable { kind: "config", .. } => ReasonCode::ConfigConflict,
            Refusal::FileMissing { .. } | Refusal::InvalidCompose => ReasonCode::InvalidRecipe,
            Refusal::AddressPoolExhausted => ReasonCode::AddressesExhausted,
            Refusal::OutOfSequence | Refusal::NetworkVanished => ReasonCode::EngineError,
            Refusal::Immutable { .. }
            | Refusal::ConfigMissing { .. }
            | Refusal::Network { .. }
            | Refusal::Ports
            | Refusal::Other => ReasonCode::DeployRefused,
        },
    };
    let text = error.to_string();
    let code = if no_space(&text) { ReasonCode::DiskFull } else { code };
    blame(Reason::new(code, text), role)
}

/// Why an image could not be pulled.
#[must_use]
pub fn explain_pull(error: &PullError, role: Role) -> Reason {
    let code = match error {
        PullError::Missing { .. } | PullError::Invalid { .. } => ReasonCode::ImageMissing,
        // Docker Hub answers "denied" for an image that does not exist; a registry of one's own, for a missing login.
        PullError::Denied { message, .. } if message.contains("does not exist") => ReasonCode::ImageMissing,
        PullError::Denied { .. } | PullError::Unreachable { .. } | PullError::RateLimited { .. } => {
            ReasonCode::RegistryUnreachable
        }
        PullError::NoSpace { .. } => ReasonCode::DiskFull,
        PullError::Other { .. } | PullError::Cli(_) => ReasonCode::EngineError,
        PullError::Engine(error) => return explain_engine(error),
    };
    blame(Reason::new(code, error.to_string()), role)
}

/// Why a call of the engine failed.
#[must_use]
pub fn explain_engine(error: &EngineError) -> Reason {
    let text = error.to_string();
    let code = if no_space(&text) { ReasonCode::DiskFull } else { ReasonCode::EngineError };
    Reason::new(code, text)
}

/// One line about a task: `app.1 failed 3s ago: task: non-zero exit (3)`.
#[must_use]
pub fn task_line(service: &str, task: &TaskState, now: Timestamp) -> String {
    let slot = task.slot.map_or_else(|| task.place().chars().take(12).collect(), |slot| slot.to_string());
    let ago = task.updated.map(|at| now.duration_since(at).as_secs().max(0));
    let ago = ago.map(|seconds| format!(" {seconds}s ago")).unwrap_or_default();
    let words = if task.err.is_empty() { &task.message } else { &task.err };
    let oom = if task.oom_killed { " (out of memory)" } else { "" };
    let old = if task.current { "" } else { " [old version]" };
    cut(&format!("{service}.{slot} {}{ago}: {words}{oom}{old}", task.state.as_str()))
}

/// The reason before anything is known of the host.
fn classify(signal: &Signal) -> (ReasonCode, Option<&str>, String) {
    match signal {
        Signal::Tasks { service, cause } => (of_cause(cause), Some(service), cause_words(service, cause)),
        Signal::UpdatePaused { service, message, cause } => {
            // What stands in the way of any deploy says more than that the update was paused.
            let code = cause.as_ref().map(of_cause).filter(|code| outranks_update(*code));
            (
                code.unwrap_or(ReasonCode::UpdatePaused),
                Some(service),
                update_words("paused", message, service, cause.as_ref()),
            )
        }
        Signal::UpdateRolledBack { service, message, cause } => {
            let code = cause.as_ref().map(of_cause).filter(|code| outranks_update(*code));
            let words = update_words("rolled back", message, service, cause.as_ref());
            (code.unwrap_or(ReasonCode::UpdateRolledBack), Some(service), words)
        }
        Signal::RollbackPaused { service, message, cause } => {
            let code = cause.as_ref().map(of_cause).filter(|code| outranks_update(*code));
            let words = update_words("rolled back, which failed too", message, service, cause.as_ref());
            (code.unwrap_or(ReasonCode::UpdateRolledBack), Some(service), words)
        }
        Signal::WrongImage { service, wanted, found } => {
            (ReasonCode::WrongVersion, Some(service), format!("{service} was deployed as {wanted} and is now {found}"))
        }
        Signal::Vanished { service } => {
            (ReasonCode::EngineError, Some(service), format!("service {service} is not there although it was deployed"))
        }
        Signal::EngineGone { message } => (ReasonCode::EngineError, None, message.clone()),
        Signal::EngineRestarted => {
            (ReasonCode::EngineRestarted, None, "the connection to the Docker engine was lost in mid-run".to_owned())
        }
        Signal::Timeout { waiting_for, after_s } => {
            let service = waiting_for.split_once(':').map(|(service, _)| service).filter(|s| !s.contains(' '));
            (ReasonCode::NotConverged, service, format!("after {after_s} s still waiting: {waiting_for}"))
        }
        Signal::Cancelled => {
            (ReasonCode::Interrupted, None, "the run was stopped while it waited for the stack".to_owned())
        }
    }
}

fn of_cause(cause: &Cause) -> ReasonCode {
    match cause {
        Cause::ImageRejected { .. } => ReasonCode::ImageMissing,
        Cause::Rejected { .. } | Cause::StartFailed { .. } => ReasonCode::StartFailed,
        Cause::CrashLoop { .. } | Cause::ExitedForGood { .. } => ReasonCode::CrashLoop,
        Cause::OutOfMemory { .. } => ReasonCode::OutOfMemory,
        Cause::Unhealthy { .. } => ReasonCode::NeverHealthy,
        Cause::NoNodeFits { .. } => ReasonCode::NoNodeFits,
        Cause::TasksStayNew { .. } | Cause::MissingAttachments { .. } => ReasonCode::AddressesExhausted,
    }
}

fn cause_words(service: &str, cause: &Cause) -> String {
    let exit =
        |code: &Option<i64>| code.map_or_else(|| "an unknown exit code".to_owned(), |code| format!("exit code {code}"));
    match cause {
        Cause::ImageRejected { message } => format!("the node cannot get the image of {service}: {message}"),
        Cause::Rejected { message } => format!("the node refuses {service}: {message}"),
        Cause::StartFailed { message } => format!("{service} cannot be started: {message}"),
        Cause::CrashLoop { exits, code } => format!("{service} exited {exits} times, last with {}", exit(code)),
        Cause::OutOfMemory { exits } => {
            format!("{service} was killed at its memory limit; it exited {exits} times")
        }
        Cause::Unhealthy { kills } => {
            format!("the health check of {service} never passed; Swarm killed it {kills} times")
        }
        Cause::ExitedForGood { code } => {
            format!("{service} ended with {} and its restart policy starts no other task", exit(code))
        }
        Cause::NoNodeFits { message } => format!("{service} finds no node: {message}"),
        Cause::TasksStayNew { tasks } => {
            format!("{tasks} tasks of {service} stay `new` without an error: a network has no free address left")
        }
        Cause::MissingAttachments { message } => format!("{service} got no address: {message}"),
    }
}

fn update_words(what: &str, message: &str, service: &str, cause: Option<&Cause>) -> String {
    match cause {
        Some(cause) => format!("Swarm {what} the update of {service}: {}", cause_words(service, cause)),
        None => format!("Swarm {what} the update of {service}: {message}"),
    }
}

/// Causes that have to be named even if they showed as a failed update.
fn outranks_update(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::ImageMissing
            | ReasonCode::StartFailed
            | ReasonCode::OutOfMemory
            | ReasonCode::NoNodeFits
            | ReasonCode::AddressesExhausted
    )
}

/// Corrects the code by what is known of the host: a full disk, a stack that hangs for want of addresses or a node, overload.
fn environment(code: ReasonCode, signal: &Signal, snapshot: &Snapshot, evidence: &Evidence) -> ReasonCode {
    if code.fault() != Fault::Recipe {
        return code;
    }
    let tasks = || snapshot.services.iter().flat_map(|service| &service.tasks).filter(|task| task.current);
    let disk_full = evidence.load.as_ref().and_then(|load| load.disk_free).is_some_and(|free| free < DISK_FLOOR);
    if disk_full || tasks().any(|task| no_space(&task.err)) && code == ReasonCode::StartFailed {
        return ReasonCode::DiskFull;
    }
    if matches!(signal, Signal::Timeout { .. }) {
        let waiting = || tasks().filter(|task| task.is_live());
        if waiting().any(|task| task.err.contains("no suitable node")) {
            return ReasonCode::NoNodeFits;
        }
        if waiting().any(|task| task.state == crate::swarm::TaskPhase::New && task.err.is_empty()) {
            return ReasonCode::AddressesExhausted;
        }
    }
    let overloaded = evidence.load.as_ref().is_some_and(is_overloaded);
    if overloaded && depends_on_time(signal) {
        return ReasonCode::HostOverloaded;
    }
    // The time was up before Swarm had killed it often enough to be sure; that it killed it says why all the same.
    let unhealthy = || tasks().any(|task| task.err.contains("unhealthy container"));
    if code == ReasonCode::NotConverged && unhealthy() { ReasonCode::NeverHealthy } else { code }
}

/// Whether a slower host alone can bring this about. A process that ended with a code of its own is not slowness.
fn depends_on_time(signal: &Signal) -> bool {
    match signal {
        Signal::Timeout { .. } => true,
        Signal::Tasks { cause, .. } => matches!(cause, Cause::Unhealthy { .. }),
        Signal::UpdatePaused { cause, .. }
        | Signal::UpdateRolledBack { cause, .. }
        | Signal::RollbackPaused { cause, .. } => matches!(cause, None | Some(Cause::Unhealthy { .. })),
        Signal::WrongImage { .. }
        | Signal::Vanished { .. }
        | Signal::EngineGone { .. }
        | Signal::EngineRestarted
        | Signal::Cancelled => false,
    }
}

/// Whether time-outs mean nothing on such a host: somebody waited for it nearly all of the time, or memory was all but gone.
///
/// Pressure on the CPU alone says little (three busy loops on two CPUs are 100 %), so many must be waiting as well: more than
/// twice the load per CPU at which Zuul takes no more work.
fn is_overloaded(load: &HostLoad) -> bool {
    let crowded = load.load_max >= LOAD_PER_CPU * f64::from(u32::try_from(load.cpus.max(1)).unwrap_or(u32::MAX));
    let over = |figure: Option<crate::domain::Pressure>, mean: f64, max: f64| {
        figure.is_some_and(|pressure| pressure.mean >= mean || pressure.max >= max)
    };
    (crowded && over(load.cpu, 90.0, 98.0))
        || over(load.io, 50.0, 90.0)
        || over(load.memory, 20.0, 50.0)
        || (load.memory_available_min > 0 && load.memory_available_min < MEMORY_FLOOR)
}

/// A fault of the recipe is not the commit's if it was the base that was deployed.
fn blame(reason: Reason, role: Role) -> Reason {
    match (role, reason.fault) {
        (Role::Base, Fault::Recipe) => {
            let mut base = Reason::new(ReasonCode::BaseBroken, format!("{}: {}", reason.code, reason.message));
            base.service = reason.service;
            base.evidence = reason.evidence;
            base
        }
        (Role::Base | Role::Head, _) => reason,
    }
}

/// Task states of the service (or of all that are not up), then the end of its log, then the pressure.
fn evidence_lines(service: Option<&str>, snapshot: &Snapshot, evidence: &Evidence) -> Vec<String> {
    let about = |candidate: &&ServiceState| match service {
        Some(name) => candidate.name == name,
        None => candidate.tasks.iter().all(|task| !task.is_up()),
    };
    let mut lines = Vec::new();
    for found in snapshot.services.iter().filter(about) {
        lines.extend(found.tasks.iter().take(TASK_LINES).map(|task| task_line(&found.name, task, snapshot.at)));
        if let Some(update) = found.update.as_ref().filter(|update| !update.message.is_empty()) {
            lines.push(cut(&format!("{}: {}", found.name, update.message)));
        }
        let log = evidence.logs.get(&found.name).map_or(&[][..], Vec::as_slice);
        let tail = &log[log.len().saturating_sub(LOG_LINES)..];
        lines.extend(tail.iter().map(|line| cut(&format!("{} | {line}", found.name))));
    }
    // Whoever waited for somebody else is named with it.
    if let Some(name) = service {
        let others =
            snapshot.services.iter().filter(|other| other.name != name && !other.tasks.iter().any(TaskState::is_up));
        lines.extend(others.filter_map(|other| Some(task_line(&other.name, other.tasks.first()?, snapshot.at))));
    }
    lines.extend(evidence.load.as_ref().map(load_line));
    lines
}

fn load_line(load: &HostLoad) -> String {
    let figure = |name: &str, pressure: Option<crate::domain::Pressure>| {
        pressure.map(|p| format!(" {name} {:.0} % (worst {:.0} %),", p.mean, p.max)).unwrap_or_default()
    };
    format!(
        "host: stalled on{}{}{} load {:.1}, {} MiB memory left",
        figure("cpu", load.cpu),
        figure("io", load.io),
        figure("memory", load.memory),
        load.load_max,
        load.memory_available_min / (1024 * 1024)
    )
}

fn no_space(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.contains("no space left on device") || lower.contains("disk quota exceeded")
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(LINE_CHARS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

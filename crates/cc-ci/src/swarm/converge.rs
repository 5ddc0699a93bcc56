//! Whether a deployed stack has converged, is on its way, or has failed: one plain function over snapshots.
//!
//! Never trusts an update state alone: `completed` comes while an app crash-loops, `rollback_completed` comes with
//! everything running (on the old version), a no-op redeploy has none at all, and after a redeploy the old one may still be there.
//! What counts: current tasks with the wanted image, all running, and no change for the settle time.
//!
//! The rule to know: an app that exits because its database has no name yet is normal, so exits count only when no other service
//! of the stack can be blamed ([`History`](super::History)).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::history::{Exit, History};
use super::state::{Baseline, ServiceMode, ServiceState, Snapshot, TaskPhase, TaskState, UpdateState};

/// What a deploy should come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Services of the compose file. Others in the stack are ignored: a removed service stays after a redeploy.
    pub services: Vec<Expected>,
    /// What was there before the deploy; [`Baseline::default`] for a fresh stack.
    pub baseline: Baseline,
    /// When the deploy was made, by this host's clock.
    pub deployed_at: Timestamp,
    /// How long nothing may change before it counts as converged.
    pub settle: Duration,
    /// How long it may take, from `deployed_at`, the settle time not counted.
    pub timeout: Duration,
    /// When to give up early.
    pub limits: Limits,
}

/// What is wanted of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Name in the compose file.
    pub name: String,
    /// Image as the compose file has it; with a digest, the digest must match too. `None` accepts any.
    pub image: Option<String>,
    /// Replicas as the compose file has them; `None` takes what the engine says.
    pub replicas: Option<u64>,
}

/// When to give up early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Exits of one slot that make a crash loop.
    pub exits: usize,
    /// Exits of one slot that are forgiven while another service is not up yet.
    pub excused_exits: usize,
    /// Kills of one slot for ill health.
    pub unhealthy: usize,
    /// Refused or failed starts of one slot.
    pub starts: usize,
    /// How long a task may stay `new` without a word.
    pub stay_new: Duration,
    /// How long a task may wait for a node.
    pub no_node: Duration,
    /// How long a slot may be without a living task before it counts as given up. Swarm makes the next task at once and
    /// delays only its start.
    pub no_successor: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exits: 3,
            excused_exits: 30,
            unhealthy: 2,
            starts: 2,
            stay_new: Duration::from_secs(5),
            no_node: Duration::from_secs(10),
            no_successor: Duration::from_secs(3),
        }
    }
}

impl Expectation {
    /// A fresh deploy with the usual limits.
    #[must_use]
    pub fn new(services: Vec<Expected>, deployed_at: Timestamp, settle: Duration, timeout: Duration) -> Self {
        Self { services, baseline: Baseline::default(), deployed_at, settle, timeout, limits: Limits::default() }
    }

    /// An update of what the snapshot shows.
    #[must_use]
    pub fn after(mut self, before: &Snapshot) -> Self {
        self.baseline = Baseline::of(before);
        self
    }
}

/// What a look at the stack says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Not yet; the words say what is missing.
    Waiting(String),
    /// It is up and has stayed so.
    Converged,
    /// It will not come up.
    Failed(Signal),
}

/// Why a stack did not converge. Says what was seen, not whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "signal", rename_all = "snake_case")]
pub enum Signal {
    /// What happened to tasks of a service.
    Tasks {
        /// The service.
        service: String,
        /// What happened.
        cause: Cause,
    },
    /// Swarm paused the update because a new task failed.
    UpdatePaused {
        /// The service.
        service: String,
        /// Swarm's sentence.
        message: String,
        /// What happened to its tasks, as far as it was seen.
        cause: Option<Cause>,
    },
    /// Swarm went back, or is going back, to the old version.
    UpdateRolledBack {
        /// The service.
        service: String,
        /// Swarm's sentence.
        message: String,
        /// What happened to the new tasks, as far as it was seen.
        cause: Option<Cause>,
    },
    /// Going back failed too.
    RollbackPaused {
        /// The service.
        service: String,
        /// Swarm's sentence.
        message: String,
        /// What happened to the tasks, as far as it was seen.
        cause: Option<Cause>,
    },
    /// Something else than what was deployed runs.
    WrongImage {
        /// The service.
        service: String,
        /// What was deployed.
        wanted: String,
        /// What runs.
        found: String,
    },
    /// A service that was there is gone, or never came.
    Vanished {
        /// The service.
        service: String,
    },
    /// The engine does not answer.
    EngineGone {
        /// What it was last heard to say.
        message: String,
    },
    /// The engine went away and came back while the stack was waited for.
    EngineRestarted,
    /// The time for convergence is up.
    Timeout {
        /// What was still missing.
        waiting_for: String,
        /// The limit, in seconds.
        after_s: u64,
    },
    /// The run was cancelled.
    Cancelled,
}

/// What happened to the tasks of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// The node could not get the image.
    ImageRejected {
        /// The engine's words.
        message: String,
    },
    /// The node refused the task before it made a container: limits, mounts.
    Rejected {
        /// The engine's words.
        message: String,
    },
    /// The container could not be started.
    StartFailed {
        /// The engine's words.
        message: String,
    },
    /// One slot keeps exiting.
    CrashLoop {
        /// How often it was seen to exit.
        exits: usize,
        /// Last exit code.
        code: Option<i64>,
    },
    /// The kernel killed it at its memory limit.
    OutOfMemory {
        /// How often it was seen to exit.
        exits: usize,
    },
    /// Swarm killed it because its health check does not pass.
    Unhealthy {
        /// How often.
        kills: usize,
    },
    /// It ended, and Swarm starts no other.
    ExitedForGood {
        /// Exit code.
        code: Option<i64>,
    },
    /// No node fits.
    NoNodeFits {
        /// Swarm's words.
        message: String,
    },
    /// Tasks stay `new` without an error: no address is left in a network, or the manager is stuck.
    TasksStayNew {
        /// How many.
        tasks: usize,
    },
    /// The node has no addresses left for the task's networks.
    MissingAttachments {
        /// The engine's words.
        message: String,
    },
}

/// Judges the stack. `history` must have seen the snapshot ([`History::observe`]).
#[must_use]
pub fn judge(expectation: &Expectation, history: &History, snapshot: &Snapshot, now: Timestamp) -> Judgement {
    let waited = since(expectation.deployed_at, now);
    let mut waiting: Option<String> = None;
    for expected in &expectation.services {
        match judge_service(expectation, expected, history, snapshot, now) {
            Judgement::Converged => {}
            Judgement::Waiting(what) => waiting = waiting.or(Some(what)),
            failed @ Judgement::Failed(_) => return failed,
        }
    }
    let Some(waiting_for) = waiting else {
        let stable = since(history.last_change().unwrap_or(expectation.deployed_at), now);
        return if stable >= expectation.settle {
            Judgement::Converged
        } else {
            // The clock of the time-out does not run against a stack that is up and only has to stay so, unless it flaps.
            if waited >= expectation.timeout.saturating_mul(2).saturating_add(expectation.settle) {
                return timeout(expectation, "the tasks to stay up".to_owned());
            }
            Judgement::Waiting("the tasks to stay up for the settle time".to_owned())
        };
    };
    if waited >= expectation.timeout { timeout(expectation, waiting_for) } else { Judgement::Waiting(waiting_for) }
}

fn timeout(expectation: &Expectation, waiting_for: String) -> Judgement {
    Judgement::Failed(Signal::Timeout { waiting_for, after_s: expectation.timeout.as_secs() })
}

fn judge_service(
    expectation: &Expectation,
    expected: &Expected,
    history: &History,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Judgement {
    let name = &expected.name;
    let Some(service) = snapshot.service(name) else {
        let vanished = history.has_seen(name) || since(expectation.deployed_at, now) >= expectation.limits.stay_new;
        return if vanished {
            Judgement::Failed(Signal::Vanished { service: name.clone() })
        } else {
            Judgement::Waiting(format!("service {name} to be created"))
        };
    };
    let update = expectation.baseline.fresh_update(service);
    if let Some(update) = update {
        let (service, message) = (name.clone(), update.message.clone());
        // One failed task is enough for Swarm, so one is enough to name the cause.
        let cause = || find_cause(expectation, history, snapshot, expected, now, Patience::None);
        match update.state {
            UpdateState::Paused => {
                return Judgement::Failed(Signal::UpdatePaused { service, message, cause: cause() });
            }
            UpdateState::RollbackStarted | UpdateState::RollbackCompleted => {
                return Judgement::Failed(Signal::UpdateRolledBack { service, message, cause: cause() });
            }
            UpdateState::RollbackPaused => {
                return Judgement::Failed(Signal::RollbackPaused { service, message, cause: cause() });
            }
            UpdateState::Updating | UpdateState::Completed => {}
        }
    }
    if let Some(cause) = find_cause(expectation, history, snapshot, expected, now, Patience::Usual) {
        return Judgement::Failed(Signal::Tasks { service: name.clone(), cause });
    }
    if let Some(found) = wrong_image(expected, service) {
        let wanted = expected.image.clone().unwrap_or_default();
        return Judgement::Failed(Signal::WrongImage { service: name.clone(), wanted, found });
    }
    if let Some(what) = missing(expected, service) {
        return Judgement::Waiting(what);
    }
    if update.is_some_and(|update| update.state == UpdateState::Updating) {
        return Judgement::Waiting(format!("the update of {name} to be completed"));
    }
    Judgement::Converged
}

/// The service's own template has another image than the compose file: rolled back, or changed by somebody else.
fn wrong_image(expected: &Expected, service: &ServiceState) -> Option<String> {
    let wanted = expected.image.as_deref()?;
    (!same_image(wanted, &service.image)).then(|| service.image.clone())
}

/// What is missing for the service to be up.
fn missing(expected: &Expected, service: &ServiceState) -> Option<String> {
    let name = &expected.name;
    let up = service.tasks.iter().filter(|task| task.is_up()).count() as u64;
    let done =
        service.tasks.iter().filter(|t| t.current && t.state == TaskPhase::Complete && t.exit_code == Some(0)).count();
    let old = service.tasks.iter().any(|task| !task.current && !task.state.is_dead());
    let short = match service.mode {
        ServiceMode::Replicated(_) | ServiceMode::Job(_) if expected.replicas == Some(0) => None,
        ServiceMode::Replicated(replicas) => {
            (up < replicas).then(|| format!("{name}: {up} of {replicas} tasks running"))
        }
        ServiceMode::Job(total) => ((done as u64) < total).then(|| format!("{name}: {done} of {total} tasks complete")),
        ServiceMode::Global => {
            let live = service.tasks.iter().filter(|task| task.is_live()).count() as u64;
            (up == 0 || up < live).then(|| format!("{name}: {up} of {live} tasks running"))
        }
    };
    let stage = || service.tasks.iter().find(|t| t.current && t.is_live() && t.state < TaskPhase::Running);
    match short {
        Some(words) => Some(match stage() {
            Some(task) => format!("{words} ({})", task.state.as_str()),
            None => words,
        }),
        None if old => Some(format!("{name}: the old task to end")),
        None => None,
    }
}

/// How much has to be seen before a cause is believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Usual,
    None,
}

fn find_cause(
    expectation: &Expectation,
    history: &History,
    snapshot: &Snapshot,
    expected: &Expected,
    now: Timestamp,
    patience: Patience,
) -> Option<Cause> {
    let limits = match patience {
        Patience::Usual => expectation.limits,
        Patience::None => Limits { exits: 1, excused_exits: 1, unhealthy: 1, starts: 1, ..expectation.limits },
    };
    let service = snapshot.service(&expected.name)?;
    let exits = history.exits(&expected.name);
    ended_tasks(&limits, exits)
        .or_else(|| living_tasks(&limits, history, service, now))
        .or_else(|| given_up(&limits, history, service, exits, now))
}

/// Causes that dead tasks show. The exits are those of one slot, so that many replicas do not add up to a loop.
fn ended_tasks(limits: &Limits, exits: &[Exit]) -> Option<Cause> {
    let newest_first = || exits.iter().rev();
    let mut slots: Vec<&str> = exits.iter().map(|exit| exit.place.as_str()).collect();
    slots.sort_unstable();
    slots.dedup();
    if let Some(exit) = newest_first().find(|exit| is_missing_attachments(&exit.err)) {
        return Some(Cause::MissingAttachments { message: exit.err.clone() });
    }
    for slot in slots {
        let of = |want: fn(&Exit) -> bool| newest_first().filter(move |e| e.place == slot && want(e));
        let refused = of(|e| e.state == TaskPhase::Rejected);
        if let (count, Some(last)) = (refused.clone().count(), refused.clone().next())
            && count >= limits.starts
        {
            let message = last.err.clone();
            return Some(if is_image_error(&message) {
                Cause::ImageRejected { message }
            } else {
                Cause::Rejected { message }
            });
        }
        let unstarted = of(Exit::is_start_failure);
        if let (count, Some(last)) = (unstarted.clone().count(), unstarted.clone().next())
            && count >= limits.starts
        {
            return Some(Cause::StartFailed { message: last.err.clone() });
        }
        let kills = of(Exit::is_unhealthy).count();
        if kills >= limits.unhealthy {
            return Some(Cause::Unhealthy { kills });
        }
        let own = of(Exit::is_process_exit);
        let (all, counted) = (own.clone().count(), own.clone().filter(|exit| !exit.excused).count());
        if counted >= limits.exits || all >= limits.excused_exits {
            let code = own.clone().find_map(|exit| exit.code);
            return Some(if own.clone().any(|exit| exit.oom_killed) {
                Cause::OutOfMemory { exits: all }
            } else {
                Cause::CrashLoop { exits: all, code }
            });
        }
    }
    None
}

/// Causes that tasks show which never came to run.
fn living_tasks(limits: &Limits, history: &History, service: &ServiceState, now: Timestamp) -> Option<Cause> {
    let live = || service.tasks.iter().filter(|task| task.is_live());
    let stuck = |task: &&TaskState, state: TaskPhase, limit: Duration| {
        task.state == state && history.in_state_since(&task.id).is_some_and(|at| since(at, now) >= limit)
    };
    if let Some(task) =
        live().find(|t| t.err.contains("no suitable node") && stuck(t, TaskPhase::Pending, limits.no_node))
    {
        return Some(Cause::NoNodeFits { message: task.err.clone() });
    }
    let tasks = live().filter(|t| t.err.is_empty() && stuck(t, TaskPhase::New, limits.stay_new)).count();
    (tasks > 0).then_some(Cause::TasksStayNew { tasks })
}

/// A slot without a successor: `max_attempts` used up, or a restart policy that wants none.
fn given_up(
    limits: &Limits,
    history: &History,
    service: &ServiceState,
    exits: &[Exit],
    now: Timestamp,
) -> Option<Cause> {
    if matches!(service.mode, ServiceMode::Job(_)) {
        return None;
    }
    let empty =
        |place: &str| history.empty_since(&service.name, place).is_some_and(|at| since(at, now) >= limits.no_successor);
    let last = exits.iter().rev().find(|exit| empty(&exit.place))?;
    Some(match (last.is_unhealthy(), last.is_start_failure(), last.state) {
        (true, ..) => Cause::Unhealthy { kills: exits.iter().filter(|exit| exit.is_unhealthy()).count() },
        (_, true, _) => Cause::StartFailed { message: last.err.clone() },
        (.., TaskPhase::Rejected) if is_image_error(&last.err) => Cause::ImageRejected { message: last.err.clone() },
        (.., TaskPhase::Rejected) => Cause::Rejected { message: last.err.clone() },
        _ if last.oom_killed => Cause::OutOfMemory { exits: exits.len() },
        _ => Cause::ExitedForGood { code: last.code },
    })
}

fn is_image_error(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    ["no such image", "pull access denied", "manifest unknown", "manifest for", "no matching manifest"]
        .iter()
        .any(|words| lower.contains(words))
}

fn is_missing_attachments(message: &str) -> bool {
    message.contains("missing network attachments") || message.contains("could not find an available IP")
}

/// Whether a task's image is the wanted one. A digest that only one side has is not compared.
#[must_use]
pub fn same_image(wanted: &str, found: &str) -> bool {
    let split = |image: &str| {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (image, None),
        };
        (repository(name), tag(name), digest)
    };
    let ((name, tag, digest), (found_name, found_tag, found_digest)) = (split(wanted), split(found));
    if name != found_name {
        return false;
    }
    match (digest, found_digest) {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => tag == found_tag,
    }
}

/// The repository of a reference with Docker Hub's defaults written out.
pub(super) fn repository(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let has_host = name.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost");
    match (has_host, name.contains('/')) {
        (true, _) => name.strip_prefix("index.").unwrap_or(name).to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    }
}

fn tag(name: &str) -> String {
    match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag.to_owned(),
        _ => "latest".to_owned(),
    }
}

/// Time from `from` to `now`; nothing if the clock was set back.
fn since(from: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(from).max(SignedDuration::ZERO).unsigned_abs()
}

#[cfg(test)]
#[path = "converge_tests.rs"]
mod tests;

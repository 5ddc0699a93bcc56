//! What was seen of a stack over time: exits, how long tasks stay in a state, when anything last changed.
//!
//! Swarm forgets dead tasks (five per slot by default), so they are counted here as they are seen. The rule to know: an exit is
//! *excused* while another service of the stack is still on its way and has not failed itself. A database with a health check
//! has no name until its first probe passes, and an app that gives up over that is not at fault.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::converge::Expectation;
use super::state::{ServiceMode, ServiceState, Snapshot, TaskPhase, TaskState, UpdateState};

/// A task that ended by itself, or was not able to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The task.
    pub task: String,
    /// Its slot, or its node in a global service.
    pub place: String,
    /// How it ended.
    pub state: TaskPhase,
    /// Exit code, if a process ran.
    pub code: Option<i64>,
    /// The engine's words.
    pub err: String,
    /// Killed by the kernel for want of memory.
    pub oom_killed: bool,
    /// Another service was not up yet.
    pub excused: bool,
}

impl Exit {
    /// Killed because the health check did not pass.
    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.err.contains("unhealthy container")
    }

    /// The container could not be started.
    #[must_use]
    pub fn is_start_failure(&self) -> bool {
        self.state == TaskPhase::Failed
            && (self.err.contains("starting container failed") || self.err.contains("error while mounting"))
    }

    /// Its main process ended.
    #[must_use]
    pub fn is_process_exit(&self) -> bool {
        matches!(self.state, TaskPhase::Failed | TaskPhase::Complete)
            && !self.is_unhealthy()
            && !self.is_start_failure()
    }
}

/// What was seen so far. Feed it every snapshot, in order.
#[derive(Debug, Clone, Default)]
pub struct History {
    exits: HashMap<String, Vec<Exit>>,
    counted: HashSet<String>,
    /// Tasks that Swarm was seen to stop, so that their end is no exit.
    stopped: HashSet<String>,
    states: HashMap<String, (TaskPhase, Timestamp)>,
    empty: HashMap<(String, String), Timestamp>,
    seen: HashSet<String>,
    signature: Vec<(String, String, TaskPhase)>,
    updates: BTreeMap<String, Option<UpdateState>>,
    last_change: Option<Timestamp>,
}

impl History {
    /// Takes in what a snapshot shows. Tasks of the baseline are not looked at.
    pub fn observe(&mut self, expectation: &Expectation, snapshot: &Snapshot) {
        let now = snapshot.at;
        // Exits first, for all services: an excuse must not depend on the order of the services.
        for service in &snapshot.services {
            self.seen.insert(service.name.clone());
            let tasks = || service.tasks.iter().filter(|task| !expectation.baseline.has_task(&task.id));
            for task in tasks() {
                if !task.state.is_dead() && task.desired > TaskPhase::Running {
                    self.stopped.insert(task.id.clone());
                }
                match self.states.get(&task.id) {
                    Some((state, _)) if *state == task.state => {}
                    _ => {
                        self.states.insert(task.id.clone(), (task.state, now));
                    }
                }
            }
            let mut dead: Vec<&TaskState> = tasks().filter(|task| self.is_new_exit(service, task)).collect();
            dead.reverse();
            for task in dead {
                self.counted.insert(task.id.clone());
                // It had a successor, even if that lived and died between two looks.
                self.empty.remove(&(service.name.clone(), task.place()));
                let excused = others_are_coming(expectation, snapshot, service, &self.exits);
                self.exits.entry(service.name.clone()).or_default().push(exit_of(task, excused));
            }
            for exit in self.exits.get_mut(&service.name).into_iter().flatten() {
                exit.oom_killed |= service.tasks.iter().any(|task| task.id == exit.task && task.oom_killed);
            }
            self.note_empty_places(service, now);
        }
        self.note_change(expectation, snapshot, now);
    }

    /// Exits of a service since the deploy, oldest first.
    #[must_use]
    pub fn exits(&self, service: &str) -> &[Exit] {
        self.exits.get(service).map_or(&[], Vec::as_slice)
    }

    /// When the living tasks or an update state last changed.
    #[must_use]
    pub fn last_change(&self) -> Option<Timestamp> {
        self.last_change
    }

    pub(super) fn has_seen(&self, service: &str) -> bool {
        self.seen.contains(service)
    }

    pub(super) fn in_state_since(&self, task: &str) -> Option<Timestamp> {
        self.states.get(task).map(|(_, at)| *at)
    }

    /// Since when a place that had a task has none that lives.
    pub(super) fn empty_since(&self, service: &str, place: &str) -> Option<Timestamp> {
        self.empty.get(&(service.to_owned(), place.to_owned())).copied()
    }

    fn is_new_exit(&self, service: &ServiceState, task: &TaskState) -> bool {
        if self.counted.contains(&task.id) || self.stopped.contains(&task.id) {
            return false;
        }
        match task.state {
            TaskPhase::Failed | TaskPhase::Rejected | TaskPhase::Orphaned => true,
            TaskPhase::Complete => !matches!(service.mode, ServiceMode::Job(_)),
            _ => false,
        }
    }

    fn note_empty_places(&mut self, service: &ServiceState, now: Timestamp) {
        let live: HashSet<String> = service.tasks.iter().filter(|t| t.is_live()).map(TaskState::place).collect();
        for exit in self.exits.get(&service.name).into_iter().flatten() {
            let key = (service.name.clone(), exit.place.clone());
            if live.contains(&exit.place) {
                self.empty.remove(&key);
            } else {
                self.empty.entry(key).or_insert(now);
            }
        }
    }

    fn note_change(&mut self, expectation: &Expectation, snapshot: &Snapshot, now: Timestamp) {
        let wanted = |service: &&ServiceState| expectation.services.iter().any(|e| e.name == service.name);
        let mut signature: Vec<_> = snapshot
            .services
            .iter()
            .filter(wanted)
            .flat_map(|s| s.tasks.iter().filter(|t| t.is_live()).map(|t| (s.name.clone(), t.id.clone(), t.state)))
            .collect();
        signature.sort_unstable();
        let updates: BTreeMap<_, _> = snapshot
            .services
            .iter()
            .filter(wanted)
            .map(|s| (s.name.clone(), expectation.baseline.fresh_update(s).map(|update| update.state)))
            .collect();
        if self.last_change.is_none() || signature != self.signature || updates != self.updates {
            (self.signature, self.updates, self.last_change) = (signature, updates, Some(now));
        }
    }
}

/// Whether another wanted service is not up yet without having failed itself.
fn others_are_coming(
    expectation: &Expectation,
    snapshot: &Snapshot,
    service: &ServiceState,
    exits: &HashMap<String, Vec<Exit>>,
) -> bool {
    expectation.services.iter().filter(|expected| expected.name != service.name && expected.replicas != Some(0)).any(
        |expected| {
            let failed = exits.get(&expected.name).is_some_and(|exits| !exits.is_empty());
            let up = snapshot.service(&expected.name).is_some_and(|other| {
                let up = other.tasks.iter().filter(|task| task.is_up()).count() as u64;
                match other.mode {
                    ServiceMode::Replicated(replicas) => up >= replicas.min(1),
                    ServiceMode::Global => up > 0,
                    ServiceMode::Job(_) => true,
                }
            });
            !failed && !up
        },
    )
}

fn exit_of(task: &TaskState, excused: bool) -> Exit {
    Exit {
        task: task.id.clone(),
        place: task.place(),
        state: task.state,
        code: task.exit_code,
        err: task.err.clone(),
        oom_killed: task.oom_killed,
        excused,
    }
}

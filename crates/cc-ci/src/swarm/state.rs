//! What the engine says of a stack at one moment: services, tasks, update states.
//!
//! Two API calls make a [`Snapshot`]; everything else here is plain conversion. The rule to know: a task that is `running`
//! is healthy if it has a health check, and a task is *current* only if it was made from the service's present template. An old task
//! that still runs counts for nothing after an update.

use std::collections::{BTreeMap, HashMap, HashSet};

use bollard::models::{Service, ServiceUpdateStatusStateEnum, Task, TaskSpec, TaskState as ApiTaskState, TaskStatus};
use bollard::query_parameters::{ListServicesOptionsBuilder, ListTasksOptionsBuilder};
use jiff::Timestamp;
use serde::Serialize;

use super::{Engine, EngineError, LABEL_NAMESPACE};
use crate::domain::StackName;

/// A stack at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Services, by name.
    pub services: Vec<ServiceState>,
    /// When it was taken, by this host's clock.
    pub at: Timestamp,
}

/// A service and its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceState {
    /// The engine's id.
    pub id: String,
    /// Name in the compose file, without the stack's.
    pub name: String,
    /// Image of the present template, with the digest if the registry gave one.
    pub image: String,
    /// Deploy labels.
    pub labels: BTreeMap<String, String>,
    /// How many tasks it wants.
    pub mode: ServiceMode,
    /// Version index; grows with every change.
    pub version: u64,
    /// Whether a health check is declared in the service. One in the image is not seen here.
    pub has_healthcheck: bool,
    /// The last update, if there was one. Swarm resets it with every change of the service.
    pub update: Option<UpdateStatus>,
    /// Tasks, newest first; dead ones as long as Swarm remembers them.
    pub tasks: Vec<TaskState>,
}

/// How many tasks a service wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceMode {
    /// This many.
    Replicated(u64),
    /// One on every node that fits.
    Global,
    /// This many completed tasks.
    Job(u64),
}

/// State of a service update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpdateStatus {
    /// Where it is.
    pub state: UpdateState,
    /// Swarm's sentence.
    pub message: String,
    /// When it began, by the engine's clock.
    pub started: Option<Timestamp>,
    /// When it ended; a paused one never does.
    pub completed: Option<Timestamp>,
}

/// Where an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Under way, or watching the new tasks.
    Updating,
    /// Stopped because a new task failed; stays so for ever.
    Paused,
    /// Done, which does not mean that it works.
    Completed,
    /// Going back.
    RollbackStarted,
    /// Going back failed too.
    RollbackPaused,
    /// Back at the old specification.
    RollbackCompleted,
}

/// States of a task, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "Swarm's own words")]
pub enum TaskPhase {
    New,
    Allocated,
    Pending,
    Assigned,
    Accepted,
    Preparing,
    Ready,
    Starting,
    Running,
    Complete,
    Shutdown,
    Failed,
    Rejected,
    Remove,
    Orphaned,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskState {
    /// The engine's id.
    pub id: String,
    /// Slot of a replicated service; `None` in a global one.
    pub slot: Option<u64>,
    /// What Swarm wants of it.
    pub desired: TaskPhase,
    /// What it is.
    pub state: TaskPhase,
    /// What the node last did.
    pub message: String,
    /// What went wrong, if anything.
    pub err: String,
    /// Exit code of the container, once it has ended.
    pub exit_code: Option<i64>,
    /// Its container, once there is one.
    pub container_id: Option<String>,
    /// Image of its own template.
    pub image: String,
    /// The node it is on.
    pub node_id: Option<String>,
    /// When it was made, by the engine's clock.
    pub created: Option<Timestamp>,
    /// When its state last changed, by the engine's clock.
    pub updated: Option<Timestamp>,
    /// Whether it was made from the service's present template.
    pub current: bool,
    /// Whether the kernel killed its main process for want of memory; only known after a look at the container.
    pub oom_killed: bool,
}

/// What was there before a deploy, so that nothing old is taken for new. Free of clocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baseline {
    tasks: HashSet<String>,
    updates: HashMap<String, UpdateStatus>,
}

/// A volume of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeInfo {
    /// Name on the engine, such as `<stack>_data`.
    pub name: String,
    /// Name in the compose file.
    pub short: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is on the engine's host.
    pub mountpoint: String,
    /// When it was made, as the engine writes it.
    pub created: Option<String>,
}

impl TaskPhase {
    /// Swarm's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Allocated => "allocated",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Remove => "remove",
            Self::Orphaned => "orphaned",
        }
    }

    /// True once it can no longer run.
    #[must_use]
    pub fn is_dead(self) -> bool {
        self > Self::Running
    }
}

impl TaskState {
    /// True if it runs, is meant to, and was made from the present template.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.current && self.state == TaskPhase::Running && self.desired == TaskPhase::Running
    }

    /// True if it is alive or on its way.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.state.is_dead() && self.desired <= TaskPhase::Running
    }

    /// What it stands in for: its slot, or its node in a global service.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.slot, &self.node_id) {
            (Some(slot), _) => slot.to_string(),
            (None, Some(node)) => node.clone(),
            (None, None) => "?".to_owned(),
        }
    }
}

impl Snapshot {
    /// A service by its compose name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceState> {
        self.services.iter().find(|service| service.name == name)
    }
}

impl Baseline {
    /// Remembers the tasks and updates of a snapshot taken before a deploy. [`Default`] is the baseline of a fresh stack.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            tasks: snapshot.services.iter().flat_map(|s| &s.tasks).map(|task| task.id.clone()).collect(),
            updates: snapshot.services.iter().filter_map(|s| Some((s.name.clone(), s.update.clone()?))).collect(),
        }
    }

    /// True if the task was there before.
    #[must_use]
    pub fn has_task(&self, id: &str) -> bool {
        self.tasks.contains(id)
    }

    /// The service's update, unless it is the one of before. One that went on since then counts as fresh only if it began anew.
    #[must_use]
    pub fn fresh_update<'a>(&self, service: &'a ServiceState) -> Option<&'a UpdateStatus> {
        let update = service.update.as_ref()?;
        match self.updates.get(&service.name) {
            Some(old) if old.started == update.started => None,
            _ => Some(update),
        }
    }
}

impl Engine {
    /// Looks at the stack as it is now.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn snapshot(&self, stack: &StackName) -> Result<Snapshot, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_NAMESPACE}={stack}")])]);
        let services = ListServicesOptionsBuilder::new().filters(&filters).build();
        let tasks = ListTasksOptionsBuilder::new().filters(&filters).build();
        // Services first: a task list that is newer than its service can only show more than is judged.
        let services = self.docker.list_services(Some(services)).await.map_err(self.error("the list of services"))?;
        let tasks = self.docker.list_tasks(Some(tasks)).await.map_err(self.error("the list of tasks"))?;
        Ok(assemble(stack.as_str(), services, tasks, super::now()))
    }
}

fn assemble(stack: &str, services: Vec<Service>, tasks: Vec<Task>, at: Timestamp) -> Snapshot {
    let mut by_service: HashMap<String, Vec<Task>> = HashMap::new();
    for task in tasks {
        by_service.entry(task.service_id.clone().unwrap_or_default()).or_default().push(task);
    }
    let mut services: Vec<ServiceState> = services
        .into_iter()
        .map(|service| {
            let tasks = by_service.remove(service.id.as_deref().unwrap_or_default()).unwrap_or_default();
            service_state(stack, service, tasks)
        })
        .collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    Snapshot { services, at }
}

fn service_state(stack: &str, service: Service, tasks: Vec<Task>) -> ServiceState {
    let spec = service.spec.unwrap_or_default();
    let full = spec.name.unwrap_or_default();
    let template = spec.task_template.unwrap_or_default();
    let container = template.container_spec.as_ref();
    let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    let mode = match spec.mode.unwrap_or_default() {
        mode if mode.global.is_some() => ServiceMode::Global,
        mode if mode.global_job.is_some() => ServiceMode::Job(1),
        mode => match (mode.replicated_job, mode.replicated) {
            (Some(job), _) => ServiceMode::Job(count(job.total_completions).unwrap_or(1)),
            (None, replicated) => ServiceMode::Replicated(replicated.and_then(|r| count(r.replicas)).unwrap_or(1)),
        },
    };
    let health = container.and_then(|c| c.health_check.as_ref()).and_then(|h| h.test.as_ref());
    let mut tasks: Vec<TaskState> = tasks.into_iter().map(|task| task_state(task, &template)).collect();
    tasks.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    ServiceState {
        id: service.id.unwrap_or_default(),
        name: full.strip_prefix(stack).and_then(|n| n.strip_prefix('_')).unwrap_or(&full).to_owned(),
        image: container.and_then(|c| c.image.clone()).unwrap_or_default(),
        labels: spec.labels.unwrap_or_default().into_iter().collect(),
        mode,
        version: service.version.and_then(|v| v.index).unwrap_or(0),
        has_healthcheck: health.is_some_and(|test| test.first().is_some_and(|word| word != "NONE")),
        update: service.update_status.and_then(|update| {
            Some(UpdateStatus {
                state: update_state(update.state?)?,
                message: update.message.unwrap_or_default(),
                started: time(update.started_at),
                completed: time(update.completed_at),
            })
        }),
        tasks,
    }
}

fn task_state(task: Task, template: &TaskSpec) -> TaskState {
    let status: TaskStatus = task.status.unwrap_or_default();
    let container = status.container_status.unwrap_or_default();
    let state = phase(status.state);
    let spec = task.spec.unwrap_or_default();
    TaskState {
        id: task.id.unwrap_or_default(),
        slot: task.slot.and_then(|slot| u64::try_from(slot).ok()).filter(|slot| *slot > 0),
        desired: phase(task.desired_state),
        state,
        message: status.message.unwrap_or_default(),
        err: status.err.unwrap_or_default(),
        exit_code: container.exit_code.filter(|code| state.is_dead() || *code != 0),
        container_id: container.container_id.filter(|id| !id.is_empty()),
        current: same_template(&spec, template),
        image: spec.container_spec.and_then(|c| c.image).unwrap_or_default(),
        node_id: task.node_id.filter(|id| !id.is_empty()),
        created: time(task.created_at),
        updated: time(status.timestamp),
        oom_killed: false,
    }
}

/// Swarm keeps a running task if only its placement rules changed and it still fits, so those are left out.
fn same_template(task: &TaskSpec, service: &TaskSpec) -> bool {
    task.container_spec == service.container_spec
        && task.networks == service.networks
        && task.resources == service.resources
        && task.force_update.unwrap_or(0) == service.force_update.unwrap_or(0)
}

pub(super) fn phase(state: Option<ApiTaskState>) -> TaskPhase {
    match state {
        Some(ApiTaskState::ALLOCATED) => TaskPhase::Allocated,
        Some(ApiTaskState::PENDING) => TaskPhase::Pending,
        Some(ApiTaskState::ASSIGNED) => TaskPhase::Assigned,
        Some(ApiTaskState::ACCEPTED) => TaskPhase::Accepted,
        Some(ApiTaskState::PREPARING) => TaskPhase::Preparing,
        Some(ApiTaskState::READY) => TaskPhase::Ready,
        Some(ApiTaskState::STARTING) => TaskPhase::Starting,
        Some(ApiTaskState::RUNNING) => TaskPhase::Running,
        Some(ApiTaskState::COMPLETE) => TaskPhase::Complete,
        Some(ApiTaskState::SHUTDOWN) => TaskPhase::Shutdown,
        Some(ApiTaskState::FAILED) => TaskPhase::Failed,
        Some(ApiTaskState::REJECTED) => TaskPhase::Rejected,
        Some(ApiTaskState::REMOVE) => TaskPhase::Remove,
        Some(ApiTaskState::ORPHANED) => TaskPhase::Orphaned,
        Some(ApiTaskState::NEW) | None => TaskPhase::New,
    }
}

fn update_state(state: ServiceUpdateStatusStateEnum) -> Option<UpdateState> {
    use ServiceUpdateStatusStateEnum as S;
    Some(match state {
        S::EMPTY => return None,
        S::UPDATING => UpdateState::Updating,
        S::PAUSED => UpdateState::Paused,
        S::COMPLETED => UpdateState::Completed,
        S::ROLLBACK_STARTED => UpdateState::RollbackStarted,
        S::ROLLBACK_PAUSED => UpdateState::RollbackPaused,
        S::ROLLBACK_COMPLETED => UpdateState::RollbackCompleted,
    })
}

fn time(text: Option<String>) -> Option<Timestamp> {
    // The zero time of Go stands for "never".
    text.filter(|text| !text.starts_with("0001-")).and_then(|text| text.parse().ok())
}

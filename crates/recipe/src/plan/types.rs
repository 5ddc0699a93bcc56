//! What a plan needs and what it gives.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::finding::Finding;
use crate::interpolate::Env;
use crate::labels::{BackupPlan, Labels};
use crate::policy::Policy;
use crate::secrets::SecretSpec;
use crate::traefik::Route;
use crate::tree::Tree;

/// Everything that decides how a recipe is deployed.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput<'a> {
    /// The recipe at one commit.
    pub tree: &'a Tree,
    /// Name of the recipe.
    pub recipe: &'a str,
    /// Name of the stack, which every name of the run starts with.
    pub stack: &'a str,
    /// All variables for interpolation, final: see [`crate::app_env`]. `STACK_NAME` is set to `stack` if it is missing.
    pub env: &'a Env,
    /// Compose files laid over the recipe's own, in order; they may not choose another image for a service of the recipe.
    pub overlays: &'a [Overlay],
    /// What the operator allows this recipe.
    pub policy: &'a Policy,
    /// What the run changes in any recipe.
    pub adapt: &'a Adapt,
}

/// A compose file that does not belong to the recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Name for messages, for example `compose.ccci.yml`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// What the run changes in any recipe.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Adapt {
    /// Forces `endpoint_mode: dnsrr` on every service, for hosts without IPVS. Services with published ports keep theirs.
    pub endpoint_mode_dnsrr: bool,
    /// Labels put on every service, container, network, volume and config of the run.
    pub run_labels: Labels,
    /// Labels put on service `app`, for example `coop-cloud.<stack>.recipe`.
    pub deploy_labels: Labels,
    /// CPU limit, in cores, for services that set none.
    pub default_cpus: Option<f64>,
    /// Memory limit, in bytes, for services that set none.
    pub default_memory: Option<u64>,
    /// Variables put on service `app` where it has none of that name (abra puts the whole env file there).
    pub app_env: Env,
}

/// A recipe that may be deployed, and the one file to deploy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The compose file that we wrote. Docker's own interpolation leaves it as it is. Relative paths in it are keys of `files`.
    pub compose_yaml: String,
    /// Files that the compose file refers to: path relative to it → content.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Services, sorted by name.
    pub services: Vec<ServicePlan>,
    /// Named volumes that a service mounts, sorted by key.
    pub volumes: Vec<VolumePlan>,
    /// Networks of the stack that a service joins, sorted by key.
    pub networks: Vec<NetworkPlan>,
    /// Secrets that must exist before the deployment, sorted by key.
    pub secrets: Vec<SecretSpec>,
    /// Configs that the deployment makes, sorted by key.
    pub configs: Vec<ConfigPlan>,
    /// `coop-cloud.<stack>.version` as the recipe says it.
    pub version_label: Option<String>,
    /// `coop-cloud.<stack>.timeout` in seconds.
    pub timeout_s: Option<u64>,
    /// Distinct image references, sorted.
    pub images: Vec<String>,
    /// Notes and warnings; never errors.
    pub findings: Vec<Finding>,
}

/// One service of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Compose key.
    pub name: String,
    /// Name in Swarm: `<stack>_<name>`.
    pub full_name: String,
    /// Image reference as written.
    pub image: String,
    /// Wanted replicas; for a global service, 1.
    pub replicas: u64,
    /// One task on every node.
    pub global: bool,
    /// Named volumes.
    pub mounts: Vec<MountPlan>,
    /// Targets of anonymous volumes.
    pub anonymous: Vec<String>,
    /// Targets of memory-backed mounts.
    pub tmpfs: Vec<String>,
    /// Healthcheck of the compose file; `None` leaves the image's own.
    pub healthcheck: Option<HealthPlan>,
    /// How long a task may take to stop; Docker's default is 10 s.
    pub stop_grace: Duration,
    /// How an update proceeds.
    pub update: UpdatePlan,
    /// When a task that ended is started again.
    pub restart: RestartPlan,
    /// Network key → names under which other services reach this one, the service's own name included.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Routers that its labels ask for.
    pub routes: Vec<Route>,
    /// What its backup labels say.
    pub backup: BackupPlan,
    /// Keys of the secrets it uses.
    pub secrets: Vec<String>,
    /// Keys of the configs it uses.
    pub configs: Vec<String>,
    /// Ports that it publishes on the node, which the policy allowed.
    pub published: Vec<u16>,
}

/// A named volume in a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Compose key of the volume.
    pub volume: String,
    /// Name in the engine.
    pub full_name: String,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A healthcheck, with Docker's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPlan {
    /// Switched off by `disable: true` or `test: NONE`.
    pub disabled: bool,
    /// The test, empty for the image's own.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: Duration,
    /// Longest time for one check.
    pub timeout: Duration,
    /// Failures in a row until unhealthy.
    pub retries: u64,
    /// Time in which failures do not count.
    pub start_period: Duration,
}

/// How an update proceeds, with Swarm's defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdatePlan {
    /// Tasks at a time; 0 means all.
    pub parallelism: u64,
    /// Time between groups of tasks.
    pub delay: Duration,
    /// What happens when it fails.
    pub failure_action: FailureAction,
    /// How long a new task is watched.
    pub monitor: Duration,
    /// Share of tasks that may fail.
    pub max_failure_ratio: f64,
    /// Which of the old and the new task goes first.
    pub order: UpdateOrder,
}

/// What happens when an update fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureAction {
    /// The update stops where it is.
    Pause,
    /// The update goes on.
    Continue,
    /// The service goes back to its previous form.
    Rollback,
}

/// Which of the old and the new task goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOrder {
    /// The old task stops, then the new one starts.
    StopFirst,
    /// The new task starts, then the old one stops.
    StartFirst,
}

/// When a task that ended is started again, with Swarm's defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPlan {
    /// After which end.
    pub condition: RestartCondition,
    /// Time until the start.
    pub delay: Duration,
    /// Starts within `window`; `None` means without end.
    pub max_attempts: Option<u64>,
    /// Time over which attempts are counted; zero means for ever.
    pub window: Duration,
}

/// After which end a task is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// Never.
    None,
    /// After an exit code that is not 0.
    OnFailure,
    /// Always.
    Any,
}

/// A named volume of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumePlan {
    /// Compose key.
    pub key: String,
    /// Name in the engine: `<stack>_<key>`, or the name of an external volume that the policy allowed.
    pub name: String,
    /// Made by somebody else: must be neither filled nor removed.
    pub external: bool,
}

/// A network of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Compose key.
    pub key: String,
    /// Name in the engine: `<stack>_<key>`, or the name of an external network that the policy allowed.
    pub name: String,
    /// Without a way to the outside.
    pub internal: bool,
    /// Made by somebody else.
    pub external: bool,
    /// Takes the place of the shared `proxy` network.
    pub proxy: bool,
}

/// A config of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigPlan {
    /// Compose key.
    pub key: String,
    /// Name in the engine, which starts with `<stack>_`.
    pub name: String,
    /// Path of its source in the recipe.
    pub source: String,
    /// Key of its content in [`Plan::files`].
    pub file: String,
    /// Rendered by Swarm as a Go template.
    pub template: bool,
}

/// Why a recipe is not deployed. Holds at least one error, and the warnings found on the way.
#[derive(Debug, Clone, PartialEq, Error)]
pub struct Refusal {
    /// All findings, errors first.
    pub findings: Vec<Finding>,
}

impl Refusal {
    /// The findings that caused it.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_error())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut errors = self.errors();
        match errors.next() {
            Some(first) => write!(f, "{first}")?,
            None => f.write_str("refused")?,
        }
        match errors.count() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

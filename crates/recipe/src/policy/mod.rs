//! What a recipe under test may ask of the engine. Everything that is not allowed here is refused before anything is deployed.
//!
//! The one rule to know: default deny. A key that nobody thought of is refused, and only what the typed model understood is written out again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod check;
mod reference;
mod routes;
mod rules;

pub(crate) use check::{PROXY, Scope, check};
pub use reference::reference_markdown;
pub use rules::Rule;

/// What an operator allows one recipe. The default allows nothing beyond what any recipe may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Published ports that are allowed, as the number on the node. They are still taken from every other run on the node.
    pub ports: BTreeSet<u16>,
    /// Host paths that may be bound, exactly as the recipe writes them. The engine's socket is never among them.
    pub binds: BTreeSet<String>,
    /// Allows the engine's socket itself (never a folder that holds it), for a proxy or a backup tool. Such a recipe is root on this host.
    pub engine_socket: bool,
    /// Keys that Swarm ignores and that may stand in the recipe, for example `privileged` or `devices`. They are still left out.
    pub ignored_keys: BTreeSet<String>,
    /// Names of external volumes, secrets and configs of other stacks that may be used.
    pub external: BTreeSet<String>,
    /// Capabilities beyond Docker's default set, without `CAP_`.
    pub capabilities: BTreeSet<String>,
    /// Kernel settings (`sysctls`) that are allowed, by name.
    pub sysctls: BTreeSet<String>,
    /// Registries from which images may come (`docker.io` for Docker Hub); empty allows any.
    pub registries: BTreeSet<String>,
    /// External networks beside `proxy` that may be joined, by name.
    pub networks: BTreeSet<String>,
    /// Host names beside the app's own that may be routed.
    pub hosts: BTreeSet<String>,
    /// Allows `deploy.mode: global`.
    pub global_mode: bool,
    /// Allows `extra_hosts`.
    pub extra_hosts: bool,
    /// Allows `dns` and `dns_search`.
    pub dns: bool,
    /// Allows a `${VARIABLE}` in a duration, which abra refuses.
    pub duration_variables: bool,
    /// Most services of a stack.
    pub max_services: u64,
    /// Most replicas of a service.
    pub max_replicas: u64,
    /// Largest CPU limit or reservation of a service, in cores.
    pub max_cpus: f64,
    /// Largest memory limit or reservation of a service, in bytes.
    pub max_memory: u64,
    /// Largest number of processes of a service.
    pub max_pids: u64,
    /// Largest hard `nofile` ulimit; other ulimits have ceilings of their own.
    pub max_nofile: i64,
    /// A longer `stop_grace_period` is cut to this. A database needs minutes to close its files, so this is five minutes and not seconds:
    /// who wants a fast end of a run lets the engine kill the containers.
    #[serde(with = "seconds")]
    pub max_stop_grace: Duration,
    /// A shorter healthcheck interval is raised to this.
    #[serde(with = "seconds")]
    pub min_health_interval: Duration,
    /// A shorter restart delay is raised to this.
    #[serde(with = "seconds")]
    pub min_restart_delay: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ports: BTreeSet::new(),
            binds: BTreeSet::new(),
            engine_socket: false,
            ignored_keys: BTreeSet::new(),
            external: BTreeSet::new(),
            capabilities: BTreeSet::new(),
            sysctls: BTreeSet::new(),
            registries: BTreeSet::new(),
            networks: BTreeSet::new(),
            hosts: BTreeSet::new(),
            global_mode: false,
            extra_hosts: false,
            dns: false,
            duration_variables: false,
            max_services: 32,
            max_replicas: 3,
            max_cpus: 8.0,
            max_memory: 8 << 30,
            max_pids: 4096,
            max_nofile: 1_048_576,
            max_stop_grace: Duration::from_secs(300),
            min_health_interval: Duration::from_secs(1),
            min_restart_delay: Duration::from_secs(1),
        }
    }
}

/// Durations as whole or broken seconds in configuration files.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

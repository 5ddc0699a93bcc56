//! A compose file as Swarm sees it: every key that the engine honours, in one form, with the place of each part.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use indexmap::IndexMap;

use crate::finding::Place;
use crate::labels::Labels;

/// One compose file, or several merged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Compose {
    /// Name of the (first) file.
    pub file: String,
    /// `version` as written.
    pub version: Option<String>,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Networks by key.
    pub networks: BTreeMap<String, Network>,
    /// Volumes by key.
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets by key.
    pub secrets: BTreeMap<String, FileObject>,
    /// Configs by key.
    pub configs: BTreeMap<String, FileObject>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct Service {
    /// Where the service starts.
    pub place: Place,
    /// Where its parts are, by a path like `deploy.replicas` or `volumes /data`.
    pub places: HashMap<String, Place>,
    pub image: Option<String>,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub environment: IndexMap<String, Option<String>>,
    pub labels: Labels,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub stop_signal: Option<String>,
    pub init: Option<bool>,
    pub read_only: bool,
    pub tty: bool,
    pub stdin_open: bool,
    pub stop_grace_period: Option<Duration>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub extra_hosts: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub healthcheck: Option<Healthcheck>,
    pub logging: Option<Logging>,
    pub networks: IndexMap<String, Option<Attachment>>,
    pub volumes: Vec<Mount>,
    pub secrets: Vec<FileRef>,
    pub configs: Vec<FileRef>,
    pub ports: Vec<Port>,
    pub deploy: Deploy,
}

impl Service {
    /// Where a part is; the service itself if that is not known.
    pub fn at(&self, part: &str) -> &Place {
        self.places.get(part).unwrap_or(&self.place)
    }
}

/// The `deploy` section.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct Deploy {
    pub mode: Option<String>,
    pub endpoint_mode: Option<String>,
    pub replicas: Option<u64>,
    pub labels: Labels,
    pub update_config: Option<UpdateConfig>,
    pub rollback_config: Option<UpdateConfig>,
    pub restart_policy: Option<RestartPolicy>,
    pub limits: Resources,
    pub reservations: Resources,
    pub constraints: Vec<String>,
    pub preferences: Vec<String>,
    pub max_replicas_per_node: Option<u64>,
}

/// `update_config` or `rollback_config`.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct UpdateConfig {
    pub parallelism: Option<u64>,
    pub delay: Option<Duration>,
    pub failure_action: Option<String>,
    pub monitor: Option<Duration>,
    pub max_failure_ratio: Option<f64>,
    pub order: Option<String>,
}

/// `restart_policy`.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct RestartPolicy {
    pub condition: Option<String>,
    pub delay: Option<Duration>,
    pub max_attempts: Option<u64>,
    pub window: Option<Duration>,
}

/// Limits or reservations.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// Cores.
    pub cpus: Option<f64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes.
    pub pids: Option<u64>,
}

/// `healthcheck`.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct Healthcheck {
    pub test: Vec<String>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u64>,
    pub start_period: Option<Duration>,
    pub disable: bool,
}

/// `logging`.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}

/// A service's place in a network.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attachment {
    /// Names beside the service's own.
    pub aliases: Vec<String>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Absolute path in the container.
    pub target: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Where it was written.
    pub place: Place,
}

/// What a mount brings in.
#[derive(Debug, Clone, PartialEq)]
pub enum MountKind {
    /// A named volume.
    Volume {
        /// Key among the top-level volumes.
        key: String,
        /// Do not copy the image's files into an empty volume.
        nocopy: bool,
    },
    /// A volume without a name, removed with its task.
    Anonymous,
    /// Memory.
    Tmpfs {
        /// Largest size in bytes.
        size: Option<u64>,
    },
    /// A path of the host.
    Bind {
        /// The path as written.
        source: String,
    },
}

/// A secret or config in a service.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct FileRef {
    pub source: String,
    pub target: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub mode: Option<u32>,
    pub place: Place,
}

/// One published port.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    /// Port in the container.
    pub target: u16,
    /// Port on the node; 0 for one that Docker chooses.
    pub published: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// `ingress` or `host`.
    pub mode: String,
    /// Where it was written.
    pub place: Place,
}

/// A ulimit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ulimit {
    /// Soft limit; -1 is none.
    pub soft: i64,
    /// Hard limit; -1 is none.
    pub hard: i64,
}

/// A top-level network.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct Network {
    pub name: Option<String>,
    pub driver: Option<String>,
    pub driver_opts: bool,
    pub ipam: bool,
    pub external: bool,
    pub internal: bool,
    pub attachable: bool,
    pub labels: Labels,
    pub place: Place,
}

/// A top-level volume.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct Volume {
    pub name: Option<String>,
    pub driver: Option<String>,
    pub driver_opts: bool,
    pub external: bool,
    pub labels: Labels,
    pub place: Place,
}

/// A top-level secret or config.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs, reason = "each field is the compose key of the same name")]
pub struct FileObject {
    pub name: Option<String>,
    /// The name before interpolation, where it differs.
    pub name_raw: Option<String>,
    pub file: Option<String>,
    pub external: bool,
    pub template_driver: Option<String>,
    pub labels: Labels,
    pub place: Place,
    /// Where `name` or `file` was written.
    pub name_place: Option<Place>,
}

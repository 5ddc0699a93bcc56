//! The connection to the engine, and what kind of engine it is.
//!
//! Never reads the environment by itself: the address comes in. The rule to know: facts that cannot be established are
//! told as the safe answer (no IPVS, not local), because the safe answer works everywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{LocalNodeState, SystemInfo};

use super::EngineError;
use crate::domain::EngineInfo;

/// Where the engine listens unless told otherwise.
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";

/// How long one API call may take. Long enough for a loaded host, short enough that a hung engine is noticed.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to one Docker engine. Cheap to clone; every call opens its own connection.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    address: Arc<str>,
    docker_config: Option<PathBuf>,
}

/// What state the engine's swarm is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwarmState {
    /// Not part of a swarm.
    Inactive,
    /// Joining.
    Pending,
    /// Part of a swarm.
    Active,
    /// The swarm reports an error.
    Error,
    /// Waiting for its unlock key.
    Locked,
}

/// What is known about the engine and its host.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineFacts {
    /// For the record of a run.
    pub info: EngineInfo,
    /// State of the swarm.
    pub swarm: SwarmState,
    /// Whether this node can deploy stacks.
    pub manager: bool,
    /// The engine's own id for the node, if it is in a swarm.
    pub node_id: Option<String>,
    /// The engine's id; stays the same over restarts.
    pub engine_id: String,
    /// Data root, as in `/var/lib/docker`.
    pub root_dir: PathBuf,
    /// Whether the engine runs on this very host, so that `/proc` and volume paths are ours to read.
    pub local: bool,
}

impl Engine {
    /// Connects to `docker_host` (`unix://…` or `tcp://…`), or to the default socket. Does not ask the engine anything yet;
    /// [`facts`](Self::facts) does.
    ///
    /// # Errors
    /// If the socket does not exist or the address has an unsupported form.
    pub fn connect(docker_host: Option<&str>) -> Result<Self, EngineError> {
        let address = docker_host.map(str::trim).filter(|host| !host.is_empty()).unwrap_or(DEFAULT_ADDRESS);
        let docker = Docker::connect_with_host(address).map_err(|error| match error {
            bollard::errors::Error::UnsupportedURISchemeError { .. } => {
                EngineError::BadAddress { address: address.to_owned() }
            }
            other => EngineError::of(&other, "connection", address),
        })?;
        Ok(Self { docker: docker.with_timeout(CALL_TIMEOUT), address: address.into(), docker_config: None })
    }

    /// Uses the registry logins in this folder (`DOCKER_CONFIG`) for pulls and deploys.
    #[must_use]
    pub fn with_docker_config(mut self, folder: impl Into<PathBuf>) -> Self {
        self.docker_config = Some(folder.into());
        self
    }

    /// The address the connection was made to, as `DOCKER_HOST` has it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder with registry logins, if one was given.
    #[must_use]
    pub fn docker_config(&self) -> Option<&Path> {
        self.docker_config.as_deref()
    }

    /// Asks the engine what it is.
    ///
    /// # Errors
    /// If it does not answer, or not to this user.
    pub async fn facts(&self) -> Result<EngineFacts, EngineError> {
        let info = self.docker.info().await.map_err(self.error("its facts"))?;
        let version = self.docker.version().await.map_err(self.error("its version"))?;
        let host = HostView::read();
        Ok(facts_of(&info, version.api_version.unwrap_or_default(), &host, &self.address))
    }

    /// The facts, or why stacks cannot be deployed here.
    ///
    /// # Errors
    /// If the engine is not a manager of an active swarm.
    pub async fn require_swarm_manager(&self) -> Result<EngineFacts, EngineError> {
        let facts = self.facts().await?;
        check_manager(facts.swarm, facts.manager)?;
        Ok(facts)
    }

    pub(super) fn error<'a>(
        &'a self,
        what: impl Into<String> + 'a,
    ) -> impl FnOnce(bollard::errors::Error) -> EngineError + 'a {
        move |error| EngineError::of(&error, what, &self.address)
    }
}

fn check_manager(swarm: SwarmState, manager: bool) -> Result<(), EngineError> {
    let (message, remedy) = match (swarm, manager) {
        (SwarmState::Active, true) => return Ok(()),
        (SwarmState::Active, false) => {
            ("the Docker engine is a worker of its swarm", "connect to a manager node, or promote this one")
        }
        (SwarmState::Inactive, _) => ("the Docker engine is not in swarm mode", "run `docker swarm init`"),
        (SwarmState::Pending, _) => {
            ("the Docker engine is still joining its swarm", "wait until `docker info` says active")
        }
        (SwarmState::Error, _) => {
            ("the Docker engine's swarm is in error", "see `docker info` and the engine's journal")
        }
        (SwarmState::Locked, _) => ("the Docker engine's swarm is locked", "run `docker swarm unlock`"),
    };
    Err(EngineError::NotAManager { message: message.to_owned(), remedy: remedy.to_owned() })
}

/// What this host says about itself; read once, judged by plain functions.
#[derive(Debug, Clone, Default)]
struct HostView {
    /// `/proc/sys/kernel/osrelease`.
    kernel: String,
    /// `/proc/sys/kernel/hostname`.
    hostname: String,
    /// `/proc/net/ip_vs` exists: the module is loaded or built in.
    ip_vs_active: bool,
    /// Module lists of the running kernel.
    modules: String,
}

impl HostView {
    fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let kernel = text("/proc/sys/kernel/osrelease");
        let folder = format!("/lib/modules/{kernel}");
        let modules = ["modules.builtin", "modules.dep"].map(|file| text(&format!("{folder}/{file}"))).join("\n");
        Self {
            hostname: text("/proc/sys/kernel/hostname"),
            ip_vs_active: Path::new("/proc/net/ip_vs").exists(),
            modules,
            kernel,
        }
    }

    /// Whether virtual IPs can work: IPVS is active, or the engine can load it.
    fn has_ipvs(&self) -> bool {
        self.ip_vs_active
            || self.modules.lines().any(|line| {
                let file = line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
                file == "ip_vs.ko" || file.starts_with("ip_vs.ko.")
            })
    }
}

fn facts_of(info: &SystemInfo, api: String, host: &HostView, address: &str) -> EngineFacts {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let count = |field: Option<i64>| field.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let local = address.starts_with("unix://")
        && info.kernel_version.as_deref() == Some(host.kernel.as_str())
        && info.name.as_deref() == Some(host.hostname.as_str());
    let swarm = info.swarm.as_ref();
    EngineFacts {
        info: EngineInfo {
            version: text(&info.server_version),
            api,
            os: text(&info.operating_system),
            kernel: text(&info.kernel_version),
            cpus: count(info.ncpu),
            memory: count(info.mem_total),
            nodes: count(swarm.and_then(|s| s.nodes)),
            // Another host's kernel cannot be looked at from here, and services without virtual IPs work on every kernel.
            ipvs: local && host.has_ipvs(),
        },
        swarm: match swarm.and_then(|s| s.local_node_state) {
            Some(LocalNodeState::ACTIVE) => SwarmState::Active,
            Some(LocalNodeState::PENDING) => SwarmState::Pending,
            Some(LocalNodeState::ERROR) => SwarmState::Error,
            Some(LocalNodeState::LOCKED) => SwarmState::Locked,
            Some(LocalNodeState::INACTIVE | LocalNodeState::EMPTY) | None => SwarmState::Inactive,
        },
        manager: swarm.and_then(|s| s.control_available).unwrap_or(false),
        node_id: swarm.and_then(|s| s.node_id.clone()).filter(|id| !id.is_empty()),
        engine_id: text(&info.id),
        root_dir: PathBuf::from(info.docker_root_dir.as_deref().unwrap_or("/var/lib/docker")),
        local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ip_vs_active: bool, modules: &str) -> HostView {
        HostView { kernel: "6.1.0".into(), hostname: "h".into(), ip_vs_active, modules: modules.into() }
    }

    #[test]
    fn ipvs_is_only_told_where_it_is_seen() {
        let dep = "kernel/net/netfilter/ipvs/ip_vs_rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko\n";
        let own = "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/lib/libcrc32c.ko.xz\n";
        for (view, want) in [
            (host(false, ""), false),
            (host(true, ""), true),
            (host(false, own), true),
            (host(false, "kernel/net/netfilter/ipvs/ip_vs.ko"), true),
            (host(false, dep), false),
            (host(false, "kernel/net/x.ko: a\n"), false),
        ] {
            assert_eq!(view.has_ipvs(), want, "{view:?}");
        }
        let info = SystemInfo { kernel_version: Some("6.1.0".into()), name: Some("h".into()), ..Default::default() };
        let of = |address: &str| facts_of(&info, "1.41".into(), &host(true, ""), address);
        assert!(of("unix:///var/run/docker.sock").info.ipvs);
        assert!(!of("tcp://10.0.0.9:2375").info.ipvs, "another host's kernel is unknown");
        let other = SystemInfo { kernel_version: Some("5.10".into()), ..info.clone() };
        assert!(
            !facts_of(&other, String::new(), &host(true, ""), "unix:///s").local,
            "a socket forwarded from elsewhere"
        );
    }

    #[test]
    fn only_an_active_manager_will_do() {
        assert_eq!(check_manager(SwarmState::Active, true), Ok(()));
        for (state, manager, words) in [
            (SwarmState::Active, false, "worker"),
            (SwarmState::Inactive, false, "docker swarm init"),
            (SwarmState::Locked, true, "unlock"),
            (SwarmState::Pending, false, "joining"),
            (SwarmState::Error, true, "journal"),
        ] {
            let error = check_manager(state, manager).map_or_else(|e| e.to_string(), |()| String::new());
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_missing_socket_is_told_with_a_remedy() {
        let error = Engine::connect(Some("unix:///nowhere/docker.sock")).map(|_| ()).expect_err("no socket");
        assert!(error.to_string().contains("DOCKER_HOST"), "{error}");
        assert!(matches!(Engine::connect(Some("ssh://x")), Err(EngineError::BadAddress { .. })));
    }
}

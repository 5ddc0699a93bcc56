//! `cc-ci doctor`: one look at everything a run needs, each finding with a remedy (O4).
//!
//! [`look`] gathers and never changes anything; the judgements are the plain functions below it. What the server needs
//! besides is in [`forge`].

mod database;
pub mod forge;
mod secrets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::process;
use crate::state::State;
use crate::swarm::{Engine, EngineFacts, Object, Pools, Scope, disk_free, plan_reap};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Good,
    /// Works, but something is missing or will be trouble.
    Warning,
    /// Runs cannot work.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What: `engine`, `swarm`, `disk`.
    pub name: &'static str,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, health: Health, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, health, found: found.into(), remedy: remedy.into() }
    }
}

/// Least free disk with which a run should begin, in bytes.
const DISK_LOW: u64 = 5 << 30;
/// Least free disk with which images can be pulled at all, in bytes.
const DISK_OUT: u64 = 1 << 30;

/// Looks at everything. Never fails: what cannot be looked at is a finding.
pub async fn look(docker_host: Option<&str>, state: &State, tools: &[PathBuf]) -> Vec<Check> {
    let mut checks = Vec::new();
    match engine(docker_host).await {
        Ok((engine, facts)) => {
            checks.push(Check::new(
                "engine",
                Health::Good,
                format!(
                    "Docker {} at {}, API {}, {}",
                    facts.info.version,
                    engine.address(),
                    facts.info.api,
                    facts.info.os
                ),
                "",
            ));
            swarm_checks(&engine, &facts, state, &mut checks).await;
        }
        Err(check) => checks.push(check),
    }
    checks.push(folder(state.root()));
    for (program, needed, remedy) in PROGRAMS {
        checks.push(program_check(program, *needed, remedy, tools).await);
    }
    checks
}

/// Programs that are used, whether a run needs them, and how to get them.
const PROGRAMS: &[(&str, bool, &str)] = &[
    ("docker", true, "apt-get install docker.io"),
    ("git", true, "apt-get install git"),
    ("restic", true, "apt-get install restic: backup and restore cannot be tested without it"),
    ("hurl", false, "`scripts/setup hurl`, or a package from hurl.dev: suites with .hurl files need it"),
    ("chromium", false, "apt-get install chromium: there are no screenshots without it"),
    ("tmux", false, "apt-get install tmux: the weekly session needs it"),
    ("crontab", false, "apt-get install cron: a schedule by cron needs it; systemd timers do not"),
];

async fn engine(docker_host: Option<&str>) -> Result<(Engine, EngineFacts), Check> {
    let told = |error: &crate::swarm::EngineError| {
        Check::new("engine", Health::Bad, error.to_string(), "start the engine, or set DOCKER_HOST")
    };
    let engine = Engine::connect(docker_host).map_err(|error| told(&error))?;
    let facts = engine.facts().await.map_err(|error| told(&error))?;
    Ok((engine, facts))
}

async fn swarm_checks(engine: &Engine, facts: &EngineFacts, state: &State, checks: &mut Vec<Check>) {
    match engine.require_swarm_manager().await {
        Ok(_) => checks.push(Check::new("swarm", Health::Good, format!("manager of {} nodes", facts.info.nodes), "")),
        Err(error) => return checks.push(Check::new("swarm", Health::Bad, error.to_string(), "docker swarm init")),
    }
    checks.push(nodes(facts.info.nodes));
    checks.push(ipvs(facts.info.ipvs, facts.local));
    match engine.pools().await {
        Ok(pools) => checks.extend(addresses(&pools)),
        Err(error) => checks.push(Check::new("addresses", Health::Warning, error.to_string(), "")),
    }
    if facts.local {
        checks.push(disk(&facts.root_dir, disk_free(&facts.root_dir)));
    }
    match engine.inventory(&Scope::AllOfCcCi).await {
        Ok(inventory) => {
            let live = state.live_among(inventory.iter().map(Object::claim));
            let plan = plan_reap(&inventory, |run| live.contains(run));
            checks.push(leftovers(plan.dead.len(), plan.dead.values().sum(), plan.live.len()));
        }
        Err(error) => checks.push(Check::new("leftovers", Health::Warning, error.to_string(), "")),
    }
}

/// Whether virtual IPs answer.
fn ipvs(there: bool, local: bool) -> Check {
    match (there, local) {
        (true, _) => Check::new("ipvs", Health::Good, "the kernel balances virtual IPs", ""),
        (false, true) => Check::new(
            "ipvs",
            Health::Warning,
            "the kernel has no IPVS: virtual IPs do not answer; runs use `endpoint_mode: dnsrr` by themselves",
            "`modprobe ip_vs`, if your own apps need virtual IPs; cc-ci does not",
        ),
        (false, false) => {
            Check::new("ipvs", Health::Good, "unknown for an engine elsewhere: runs use `endpoint_mode: dnsrr`", "")
        }
    }
}

/// Probes go to container addresses of this host.
fn nodes(count: u64) -> Check {
    if count <= 1 {
        return Check::new("nodes", Health::Good, "one node", "");
    }
    Check::new(
        "nodes",
        Health::Warning,
        format!("{count} nodes: tasks that land on another node cannot be asked over HTTP from here"),
        "use a swarm of one node for tests, or drain the others",
    )
}

/// Room in the address pools, and a `proxy` network that is too small.
fn addresses(pools: &Pools) -> Vec<Check> {
    let mut checks = Vec::new();
    let (room, used) = (pools.capacity(), pools.taken(|_| true));
    let pool = format!("{} cut into /{}", pools.pools.join(", "), pools.subnet_bits);
    match room.filter(|room| *room > 0) {
        None => checks.push(Check::new(
            "addresses",
            Health::Good,
            format!("{used} overlay networks; the engine does not say its pools"),
            "",
        )),
        Some(room) if used * 5 >= room * 4 => checks.push(Check::new(
            "addresses",
            Health::Bad,
            format!("{used} of {room} networks are taken ({pool})"),
            "remove unused stacks, or `docker swarm init --default-addr-pool` with a larger pool",
        )),
        Some(room) => checks.push(Check::new(
            "addresses",
            Health::Good,
            format!("{used} of {room} networks are taken ({pool})"),
            "",
        )),
    }
    if pools.subnet_bits > 26 {
        checks.push(Check::new(
            "addresses",
            Health::Warning,
            format!(
                "a new network has {} addresses: recipes with several services will not fit",
                hosts(pools.subnet_bits)
            ),
            "`docker swarm init --default-addr-pool-mask-length 24` or less",
        ));
    }
    let proxy = pools.networks.iter().find(|network| network.name == "proxy");
    if let Some((subnet, bits)) =
        proxy.and_then(|proxy| proxy.subnet.as_ref()).and_then(|subnet| Some((subnet, prefix(subnet)?)))
        && bits >= 24
    {
        checks.push(Check::new(
            "proxy",
            Health::Warning,
            format!("network `proxy` is {subnet}: {} addresses for all apps of this server, and some leak with every removal", hosts(bits)),
            "when its apps can be down: `docker network rm proxy && docker network create --driver overlay --attachable --subnet 10.10.0.0/16 proxy` (runs of cc-ci do not use it)",
        ));
    }
    checks
}

fn prefix(cidr: &str) -> Option<u32> {
    cidr.split_once('/')?.1.parse().ok().filter(|bits| *bits <= 32)
}

/// Usable addresses of a network.
fn hosts(bits: u32) -> u64 {
    (1_u64 << 32_u32.saturating_sub(bits)).saturating_sub(2)
}

fn disk(path: &Path, free: Option<u64>) -> Check {
    let place = path.display();
    let remedy = "`docker system df` shows what takes room; `docker image prune` removes what nothing uses";
    match free {
        None => Check::new("disk", Health::Warning, format!("the free space of {place} cannot be read"), ""),
        Some(bytes) => {
            let health = match bytes {
                _ if bytes < DISK_OUT => Health::Bad,
                _ if bytes < DISK_LOW => Health::Warning,
                _ => Health::Good,
            };
            let remedy = if health == Health::Good { "" } else { remedy };
            Check::new("disk", health, format!("{:.1} GiB free at {place}", bytes as f64 / f64::from(1 << 30)), remedy)
        }
    }
}

fn leftovers(runs: usize, objects: usize, live: usize) -> Check {
    if runs == 0 {
        return Check::new("leftovers", Health::Good, format!("nothing of dead runs; {live} runs are going on"), "");
    }
    Check::new("leftovers", Health::Warning, format!("{objects} objects of {runs} dead runs"), "cc-ci reap")
}

fn folder(root: &Path) -> Check {
    let made = std::fs::create_dir_all(root).and_then(|()| tempfile::tempfile_in(root).map(|_| ()));
    match made {
        Ok(()) => Check::new("state", Health::Good, format!("{} can be written", root.display()), ""),
        Err(error) => Check::new(
            "state",
            Health::Bad,
            format!("{}: {error}", root.display()),
            "set CC_CI_STATE to a folder you can write",
        ),
    }
}

async fn program_check(program: &'static str, needed: bool, remedy: &'static str, tools: &[PathBuf]) -> Check {
    let folders: Vec<PathBuf> = tools.iter().cloned().chain(process::path_folders()).collect();
    let Some(path) = process::look_up(program, folders.iter().map(PathBuf::as_path)) else {
        let health = if needed { Health::Bad } else { Health::Warning };
        return Check::new(program, health, "not found", remedy);
    };
    // crontab answers nothing about its version.
    if program == "crontab" {
        return Check::new(program, Health::Good, path.display().to_string(), "");
    }
    let flag = if matches!(program, "tmux") {
        "-V"
    } else if program == "restic" {
        "version"
    } else {
        "--version"
    };
    let output = process::Command::new(&path)
        .arg(flag)
        .inherit("PATH")
        .inherit("HOME")
        .timeout(Duration::from_secs(10))
        .run()
        .await;
    match output {
        Ok(output) if output.success() => {
            let text = output.stdout.text();
            Check::new(
                program,
                Health::Good,
                format!("{} ({})", text.lines().next().unwrap_or_default().trim(), path.display()),
                "",
            )
        }
        Ok(output) => {
            Check::new(program, Health::Warning, format!("{} answers {}", path.display(), output.status), remedy)
        }
        Err(error) => Check::new(program, Health::Warning, error.to_string(), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Overlay;

    fn pools(pool: &str, bits: u32, networks: &[(&str, &str)]) -> Pools {
        let networks = networks
            .iter()
            .map(|(name, subnet)| Overlay { name: (*name).into(), subnet: Some((*subnet).into()), run: None })
            .collect();
        Pools { pools: vec![pool.into()], subnet_bits: bits, networks }
    }

    #[test]
    fn small_pools_and_a_small_proxy_network_are_told() {
        for (given, want) in [
            (pools("10.0.0.0/8", 24, &[("ingress", "10.0.0.0/24")]), vec![("addresses", Health::Good)]),
            (pools("10.99.0.0/24", 29, &[]), vec![("addresses", Health::Good), ("addresses", Health::Warning)]),
            (
                pools("10.99.0.0/23", 24, &[("a", "10.99.0.0/24"), ("b", "10.99.1.0/24")]),
                vec![("addresses", Health::Bad)],
            ),
            (
                pools("10.0.0.0/8", 24, &[("proxy", "10.0.1.0/24")]),
                vec![("addresses", Health::Good), ("proxy", Health::Warning)],
            ),
            (pools("10.0.0.0/8", 24, &[("proxy", "10.10.0.0/16")]), vec![("addresses", Health::Good)]),
            (Pools::default(), vec![("addresses", Health::Good)]),
            (pools("nonsense", 24, &[("proxy", "nonsense")]), vec![("addresses", Health::Good)]),
        ] {
            let got: Vec<_> = addresses(&given).into_iter().map(|check| (check.name, check.health)).collect();
            assert_eq!(got, want, "{given:?}");
        }
    }

    #[test]
    fn disk_leftovers_and_ipvs() {
        let place = Path::new("/var/lib/docker");
        for (free, want) in [
            (None, Health::Warning),
            (Some(0), Health::Bad),
            (Some(2 << 30), Health::Warning),
            (Some(9 << 30), Health::Good),
        ] {
            assert_eq!(disk(place, free).health, want, "{free:?}");
        }
        assert_eq!(leftovers(0, 0, 1).health, Health::Good);
        let dead = leftovers(2, 13, 0);
        assert!(dead.health == Health::Warning && dead.remedy == "cc-ci reap" && dead.found.contains("13"), "{dead:?}");
        assert!(ipvs(false, true).found.contains("dnsrr"));
        assert_eq!(ipvs(true, true).health, Health::Good);
        assert_eq!(nodes(3).health, Health::Warning);
    }
}

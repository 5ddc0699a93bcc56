//! Executes runs in this process, with the harness, on the Docker engine of this host.
//!
//! The commit was pinned when the run was accepted; what git gives must be that very commit, or nothing runs. The forge's
//! token goes into the address that git is asked for and nowhere near the recipe or its tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use recipe::policy::Policy;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Executor, HostRoom, Order};
use crate::clock;
use crate::config::Config;
use crate::domain::{Reason, ReasonCode, RecipeInfo, Run, RunId, Stage, StageResult, StageStatus};
use crate::git::{GitError, Source};
use crate::harness::{self, Host, PrepareError, Prepared, Reporter, Request};
use crate::results;
use crate::state::State;
use crate::store::{Store, runs};
use crate::swarm::{Engine, Scope};

/// How long the removal of one attempt may take.
const REMOVAL: Duration = Duration::from_secs(180);

/// The harness's own limit comes after the queue's, which knows what to say about it.
const MARGIN: Duration = Duration::from_secs(300);

/// The executor of a server that does the work itself.
#[derive(Debug)]
pub struct Embedded {
    engine: Engine,
    state: State,
    store: Store,
    forge: Url,
    config: std::sync::Arc<Config>,
}

/// Why the executor cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The engine's address is of no use.
    #[error(transparent)]
    Engine(#[from] crate::swarm::EngineError),
    /// The forge's address is of no use.
    #[error("forge.url: {0}")]
    Forge(#[from] url::ParseError),
}

impl Embedded {
    /// An executor on the engine that `DOCKER_HOST` names, or the default socket.
    ///
    /// # Errors
    /// If an address cannot be used.
    pub fn new(store: Store, config: std::sync::Arc<Config>) -> Result<Self, EmbeddedError> {
        let mut engine = Engine::connect(crate::env::var("DOCKER_HOST").as_deref())?;
        if let Some(folder) = crate::env::var("DOCKER_CONFIG") {
            engine = engine.with_docker_config(folder);
        }
        let forge = Url::parse(&format!("{}/", config.forge.url.trim_end_matches('/')))?;
        Ok(Self { engine, state: config.state(), store, forge, config })
    }

    /// Where git fetches a repository, with the bot's credentials.
    fn address(&self, repo_name: &str) -> Result<Source, String> {
        let mut url = self.forge.join(&format!("{repo_name}.git")).map_err(|error| error.to_string())?;
        let failed = || "forge.url cannot carry credentials".to_owned();
        url.set_username("cc-ci").map_err(|()| failed())?;
        url.set_password(Some(self.config.forge.token.value().expose())).map_err(|()| failed())?;
        Ok(Source::Remote(url.into()))
    }

    async fn request(&self, order: &Order) -> Result<Request, String> {
        let what = &order.run.what;
        let tests = match &self.config.tests.source {
            Some(text) => Some(Source::parse(text).map_err(|error| format!("tests.source: {error}"))?),
            None => None,
        };
        let mut connection = self.store.read().await.map_err(|error| error.to_string())?;
        let last_green = runs::last_green(&mut connection, what.repo_id).await.map_err(|error| error.to_string())?;
        drop(connection);
        Ok(Request {
            recipe: self.address(&what.repo_name)?,
            name: Some(what.recipe.clone()),
            reference: Some(what.commit.clone()),
            base: None,
            last_green: last_green.filter(|commit| *commit != what.commit),
            tests,
            tests_reference: self.config.tests.reference.clone(),
            stages: Stage::ALL.to_vec(),
            keep: false,
            sequential: false,
            ignore_load: false,
            timeout: self.config.runs.timeout + MARGIN,
            policy: self.policy(&what.recipe)?,
            http_hosts: self.config.forge.http_host().into_iter().collect(),
            out: None,
            screenshot: self.config.runs.screenshot,
            tools: vec![self.state.root().join("tools/bin"), PathBuf::from("/var/lib/cc-ci/tools/bin")],
        })
    }

    /// What the operator allows this recipe.
    fn policy(&self, recipe: &str) -> Result<Policy, String> {
        let plain = !recipe.is_empty() && recipe.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let Some(dir) = self.config.runs.policy_dir.as_ref().filter(|_| plain && !recipe.starts_with('.')) else {
            return Ok(Policy::default());
        };
        let path = dir.join(format!("{recipe}.toml"));
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Policy::default()),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// Reads everything; a recipe that the tests repository has no suite for, or whose last green commit is gone, is
    /// tested without.
    async fn prepare(&self, request: &mut Request, cancel: &CancellationToken) -> Result<Prepared, PrepareError> {
        loop {
            match harness::prepare(request, &self.state.git_cache(), cancel).await {
                Err(PrepareError::NoSuite { .. }) if request.tests.is_some() => {
                    request.tests = None;
                    request.tests_reference = None;
                }
                Err(PrepareError::Git(GitError::UnknownReference { reference, .. }))
                    if request.last_green.as_ref() == Some(&reference) =>
                {
                    request.last_green = None;
                }
                outcome => return outcome,
            }
        }
    }

    /// The record of an attempt that ended before anything was deployed.
    fn refused(&self, order: &Order, started: jiff::Timestamp, reason: Reason) -> Result<Run, String> {
        let what = &order.run.what;
        let mut stages: Vec<StageResult> =
            Stage::ALL.into_iter().map(|stage| StageResult::not_run(stage, "the recipe could not be read")).collect();
        if let Some(install) = stages.first_mut() {
            install.status = StageStatus::Fail;
            install.started = Some(started);
            install.duration_ms =
                Some(clock::now().duration_since(started).unsigned_abs().as_millis().try_into().unwrap_or(0));
            install.skip = None;
            install.reason = Some(reason);
        }
        let duration_ms = stages.first().and_then(|install| install.duration_ms).unwrap_or(0);
        let recipe = RecipeInfo {
            name: what.recipe.clone(),
            source: self.forge.join(&what.repo_name).map(String::from).unwrap_or_default(),
            reference: None,
            commit: what.commit.clone(),
            version: None,
        };
        let run = Run::of_stages(order.run_id.clone(), recipe, started, duration_ms, stages);
        let dir = self.state.run_dir(&order.run_id);
        std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        results::write_all(&run, &dir).map_err(|error| error.to_string())?;
        Ok(run)
    }
}

impl Executor for Embedded {
    async fn execute(&self, order: Order, reporter: Reporter, cancel: CancellationToken) -> Result<Run, String> {
        let started = clock::now();
        let facts = self.engine.require_swarm_manager().await.map_err(|error| error.to_string())?;
        let _lock =
            self.state.lock(&order.run_id).map_err(|error| format!("the lock of the run cannot be taken: {error}"))?;
        let mut request = self.request(&order).await?;
        reporter.tell(harness::Event::Preparing("reading the recipe".to_owned()));
        let prepared = match self.prepare(&mut request, &cancel).await {
            Ok(prepared) => prepared,
            Err(error) => match fault(&error) {
                Some(code) => return self.refused(&order, started, Reason::new(code, error.to_string())),
                None => return Err(error.to_string()),
            },
        };
        if prepared.head.commit != order.run.what.commit {
            return Err(format!("git gave commit {} instead of {}", prepared.head.commit, order.run.what.commit));
        }
        let host = Host {
            id: order.run_id.clone(),
            engine: self.engine.clone(),
            facts,
            state: self.state.clone(),
            reporter,
            cancel,
        };
        harness::run(&request, prepared, host).await.map(|finished| finished.run).map_err(|error| error.to_string())
    }

    async fn room(&self) -> Result<HostRoom, String> {
        let facts = self.engine.facts().await.map_err(|error| error.to_string())?;
        let pools = self.engine.pools().await.map_err(|error| error.to_string())?;
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut networks_of_runs = BTreeMap::new();
        for run in pools.networks.iter().filter_map(|network| network.run.as_ref()) {
            networks_of_runs.insert(run.clone(), count(pools.taken(|network| network.run.as_ref() == Some(run))));
        }
        let memory_total = i64::try_from(facts.info.memory).unwrap_or(i64::MAX);
        let available = if facts.local { memory_available() } else { None };
        Ok(HostRoom {
            memory_total,
            memory_available: available.unwrap_or(memory_total),
            networks_total: pools.capacity().map_or(i64::MAX, count),
            networks_foreign: count(pools.taken(|network| network.run.is_none())),
            networks_of_runs,
        })
    }

    async fn deployed(&self) -> Result<Vec<RunId>, String> {
        let objects = self.engine.inventory(&Scope::AllOfCcCi).await.map_err(|error| error.to_string())?;
        let runs: BTreeSet<RunId> = objects.into_iter().map(|object| object.run).collect();
        Ok(runs.into_iter().collect())
    }

    async fn reap(&self, run: &RunId) -> Result<(), String> {
        let removal = self.engine.remove(&Scope::Run(run.clone()), REMOVAL).await.map_err(|error| error.to_string())?;
        if let Some(left) = removal.leftovers.first() {
            return Err(format!("{} {} is still there: {}", left.kind, left.name, left.why));
        }
        self.state.forget(run);
        Ok(())
    }
}

/// Whose fault it is that a run cannot begin; nothing if it may be different the next time.
fn fault(error: &PrepareError) -> Option<ReasonCode> {
    match error {
        PrepareError::Git(
            GitError::MissingFile { .. } | GitError::TooLarge { .. } | GitError::Hostile { .. } | GitError::Empty(_),
        ) => Some(ReasonCode::InvalidRecipe),
        PrepareError::Suite(_) => Some(ReasonCode::SuiteInvalid),
        PrepareError::Git(_) | PrepareError::NoSuite { .. } | PrepareError::TestsFolder { .. } => None,
    }
}

/// `MemAvailable` of this host, in bytes.
fn memory_available() -> Option<i64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Verdict, verdict};

    #[test]
    fn a_record_of_a_refusal_is_red() {
        let mut stages: Vec<StageResult> =
            Stage::ALL.into_iter().map(|stage| StageResult::not_run(stage, "x")).collect();
        stages[0].status = StageStatus::Fail;
        stages[0].reason = Some(Reason::new(ReasonCode::InvalidRecipe, "no compose.yml"));
        assert_eq!(verdict(&stages, &Stage::ALL, true, true), Verdict::Red);
    }

    #[test]
    fn this_host_has_memory() {
        assert!(memory_available().unwrap() > 1 << 20);
    }
}

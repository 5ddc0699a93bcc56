//! The process under load: `cc-ci serve` as it is, but that runs are never executed; or the floor.
//!
//! It ends when its standard input does, so it cannot outlive the one that measures.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use cc_ci::app::{App, Ground};
use cc_ci::clock::{Clock, SystemClock};
use cc_ci::config::Config;
use cc_ci::domain::{Run, RunId, Stage};
use cc_ci::executor::{Executor, HostRoom, Order};
use cc_ci::harness::Reporter;
use cc_ci::store::{Store, runs};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// First argument of the process under load.
pub(crate) const MODE: &str = "--under-load";

/// What deliveries are signed with.
pub(crate) const SECRET: &str = "load-0123456789abcdef0123456789abcdef";

/// What the process says once it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) address: String,
    pub(crate) running: Option<i64>,
    pub(crate) log: Option<PathBuf>,
}

/// A process under load, ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    pub(crate) base: String,
    /// Number of the made-up run that runs, if a history was made up.
    pub(crate) running: i64,
    /// Its newest log.
    pub(crate) log: PathBuf,
    _forge: Option<forge_sim::Sim>,
}

impl Server {
    /// The whole server, with a forge and, if wanted, so many runs of history.
    pub(crate) async fn start(folder: &Path, history: Option<usize>, files: bool) -> Result<Self> {
        let sim = forge_sim::Sim::start().await?;
        sim.user("cc-ci-bot")?;
        sim.user("ana")?;
        sim.repo("ana/app")?.collaborator("cc-ci-bot", "write")?;
        let token = sim.token("cc-ci-bot", &["write:repository", "write:issue", "read:organization", "read:user"])?;
        std::fs::write(folder.join("token"), token)?;
        std::fs::write(folder.join("secret"), SECRET)?;
        let config = format!(
            "[forge]\nurl = \"{}\"\ntoken_file = \"{dir}/token\"\nwebhook_secret_files = [\"{dir}/secret\"]\n\
             repositories = [\"ana/app\"]\nrepair_hooks = false\npoll_every = \"1h\"\n\
             [server]\nlisten = \"127.0.0.1:0\"\ngrace = \"0s\"\n[runs]\ndir = \"{dir}/state\"\ndisk_floor_mb = 1\n\
             [web]\nviewers = 1000\n",
            sim.url(),
            dir = folder.display()
        );
        std::fs::write(folder.join("cc-ci.toml"), config)?;
        let config = folder.join("cc-ci.toml").display().to_string();
        let history = history.map(|runs| runs.to_string());
        let mut args = vec!["serve", &config];
        if let Some(history) = &history {
            args.extend([history.as_str(), if files { "files" } else { "rows" }]);
        }
        Self::spawn(&args, Some(sim))
    }

    /// The floor.
    pub(crate) fn floor() -> Result<Self> {
        Self::spawn(&["floor"], None)
    }

    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "the process must live as long as the measurement, which the wrapper does not offer"
    )]
    fn spawn(args: &[&str], forge: Option<forge_sim::Sim>) -> Result<Self> {
        let mut child = std::process::Command::new(std::env::current_exe()?)
            .arg(MODE)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let ready: Ready = serde_json::from_str(&line).context("the server did not start; see above")?;
        Ok(Self {
            child,
            base: format!("http://{}", ready.address),
            address: ready.address,
            running: ready.running.unwrap_or(0),
            log: ready.log.unwrap_or_default(),
            _forge: forge,
        })
    }

    /// Memory of the process now and at most, in MiB.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
        };
        Ok((of("VmRSS:"), of("VmHWM:")))
    }

    /// Ends it in order, so that its database is whole.
    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already if it was stopped; otherwise something failed, and that is being told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process's own main.
pub(crate) async fn run(args: &[String]) -> Result<()> {
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["floor"] => super::floor::run().await,
        ["serve", config] => serve(Path::new(config), None).await,
        ["serve", config, runs, files] => serve(Path::new(config), Some((runs.parse()?, *files == "files"))).await,
        other => anyhow::bail!("not understood: {other:?}"),
    }
}

/// Executes nothing, because there is never room.
struct Nobody;

impl Executor for Nobody {
    async fn execute(&self, _: Order, _: Reporter, _: CancellationToken) -> Result<Run, String> {
        Err("nothing is executed here".to_owned())
    }
    async fn room(&self) -> Result<HostRoom, String> {
        Ok(HostRoom {
            memory_total: 0,
            memory_available: 0,
            networks_total: 0,
            networks_foreign: 0,
            networks_of_runs: BTreeMap::new(),
        })
    }
    async fn deployed(&self) -> Result<Vec<RunId>, String> {
        Ok(Vec::new())
    }
    async fn reap(&self, _: &RunId) -> Result<(), String> {
        Ok(())
    }
}

async fn serve(config: &Path, history: Option<(usize, bool)>) -> Result<()> {
    let config = Config::load(Some(config))?;
    std::fs::create_dir_all(&config.runs.dir)?;
    let (mut running, mut log) = (None, None);
    if let Some((runs, files)) = history {
        let store = Store::open(&config.runs.dir.join("cc-ci.db")).await?;
        let folder = config.runs.dir.join("runs");
        let number = cc_ci::web::seed::seed(&store, runs, SystemClock.now(), files.then_some(folder.as_path())).await?;
        let lease = runs::get(&mut *store.read().await?, number).await?.and_then(|run| run.lease);
        running = Some(number);
        log = lease
            .map(|lease| config.state().run_dir(&lease.run_id).join("logs").join(format!("{}.log", Stage::Upgrade)));
        store.close().await;
    }
    let app = App::start(Ground::open(config, Arc::new(SystemClock)).await?, Nobody).await?;
    ready(&Ready { address: app.address().to_string(), running, log })?;
    until_told().await?;
    app.stop().await;
    Ok(())
}

pub(crate) fn ready(ready: &Ready) -> Result<()> {
    println!("{}", serde_json::to_string(ready)?);
    Ok(())
}

/// Waits for the end of standard input.
pub(crate) async fn until_told() -> Result<()> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

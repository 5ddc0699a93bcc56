//! `cc-ci serve`: the bridge, the queue and the pages.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::app::{App, Ground};
use crate::clock::SystemClock;
use crate::config::{Config, Layers};
use crate::doctor::{self, Check, Health};
use crate::executor::Embedded;

use super::{Context, Exit, Failure, Outcome};

#[derive(Debug, Args)]
#[command(
    after_help = "A SIGTERM or Ctrl-C ends it in order: running tests get `server.grace`, then they are torn down and tested \
    again after the next start.\n\n\
    Exit codes: 0 stopped in order, 2 configuration, 3 it cannot start, or --check found something that cannot work."
)]
pub(super) struct ServeArgs {
    /// Configuration; /etc/cc-ci/cc-ci.toml if it is there
    #[arg(long, value_name = "FILE", env = "CC_CI_CONFIG", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Say what is right and wrong with configuration, forge, hooks, folders and engine, and start nothing
    #[arg(long, conflicts_with = "print_config")]
    check: bool,
    /// Print the manual with the settings that are in force
    #[arg(long)]
    print_config: bool,
}

pub(super) async fn run(args: ServeArgs, context: Context) -> Outcome {
    let usage = |error: crate::config::ConfigError| {
        Failure::usage(error.to_string()).remedy("`cc-ci serve --print-config` is the manual")
    };
    let layers = Layers::read(args.config.as_deref()).map_err(usage)?;
    if args.print_config {
        return super::tools::print(layers.manual().as_bytes());
    }
    let config = Config::resolve(&layers).map_err(usage)?;
    if args.check {
        let checks = check(&config).await;
        super::doctor::show(&checks, context)?;
        let bad = checks.iter().any(|check| check.health == Health::Bad);
        return Ok(if bad { Exit::Error } else { Exit::Green });
    }
    let failed = |error: crate::app::StartError| Failure::error(error.to_string());
    crate::app::allow_open_files();
    let ground = Ground::open(config, SystemClock::shared()).await.map_err(failed)?;
    let executor = Embedded::new(ground.store().clone(), ground.config().clone());
    let executor = executor.map_err(|error| Failure::error(error.to_string()))?;
    let stopped = super::stopped().map_err(|error| Failure::error(format!("signals cannot be waited for: {error}")))?;
    let app = App::start(ground, executor).await.map_err(failed)?;
    if !context.quiet {
        eprintln!("cc-ci serves {} on {}", app.bridge().config.server.public_url, app.address());
    }
    stopped.await;
    if !context.quiet {
        eprintln!("stopping: running tests get {} s", app.bridge().config.server.grace.as_secs());
    }
    app.stop().await;
    Ok(Exit::Green)
}

/// Looks at everything that the server needs, and changes nothing.
async fn check(config: &Config) -> Vec<Check> {
    let state = config.state();
    let docker = crate::env::var("DOCKER_HOST");
    let mut checks = doctor::look(docker.as_deref(), &state, &super::doctor::tool_folders(&state)).await;
    checks.extend(doctor::forge::look(config, SystemClock::shared(), false).await);
    checks
}

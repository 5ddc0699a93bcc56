//! `cc-ci doctor`: one look at everything a run needs and, with a configuration, at everything the server needs.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::doctor::{self, Check, Health};
use crate::state::State;

use super::{Context, Exit, Failure, Outcome};

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 runs can work, 3 they cannot.")]
pub(super) struct DoctorArgs {
    /// Configuration of `cc-ci serve`: look at forge, token, hooks, clocks, tests, address and database too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Create missing hooks and repair broken ones, where the bot may
    #[arg(long, requires = "config")]
    fix: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Folders where tools may be that the project's set-up installs.
pub(super) fn tool_folders(state: &State) -> Vec<PathBuf> {
    vec![state.root().join("tools/bin"), PathBuf::from("/var/lib/cc-ci/tools/bin")]
}

pub(super) async fn run(args: DoctorArgs, context: Context) -> Outcome {
    let config = match &args.config {
        Some(path) => Some(Config::load(Some(path)).map_err(|error| {
            Failure::usage(error.to_string())
                .remedy("`cc-ci serve --print-config` shows every setting with its meaning")
        })?),
        None => None,
    };
    let state = config.as_ref().map_or_else(State::locate, Config::state);
    let mut checks = doctor::look(crate::env::var("DOCKER_HOST").as_deref(), &state, &tool_folders(&state)).await;
    if let Some(config) = &config {
        checks.extend(doctor::forge::look(config, Arc::new(SystemClock), args.fix).await);
    }
    let worst = checks.iter().map(|check| check.health).max().unwrap_or(Health::Good);
    if args.json {
        let json = serde_json::json!({ "healthy": worst < Health::Bad, "checks": checks });
        super::tools::print(format!("{json:#}\n").as_bytes())?;
    } else {
        show(&checks, context)?;
    }
    Ok(if worst == Health::Bad { Exit::Error } else { Exit::Green })
}

/// Prints findings with their remedies; only the bad ones if nothing else is to be said.
pub(super) fn show(checks: &[Check], context: Context) -> Result<(), Failure> {
    let mut out = String::new();
    for check in checks {
        let mark = match check.health {
            Health::Good => context.out.green("✔"),
            Health::Warning => context.out.yellow("!"),
            Health::Bad => context.out.red("✘"),
        };
        if context.quiet && check.health == Health::Good {
            continue;
        }
        out.push_str(&format!("{mark} {:<10} {}\n", check.name, check.found));
        if !check.remedy.is_empty() {
            out.push_str(&format!("  {:<10} {} {}\n", "", context.out.dim("try:"), check.remedy));
        }
    }
    super::tools::print(out.as_bytes()).map(drop)
}

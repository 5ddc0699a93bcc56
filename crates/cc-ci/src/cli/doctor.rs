//! `cc-ci doctor`: one look at everything a run needs.

use std::path::PathBuf;

use clap::Args;

use crate::doctor::{self, Health};
use crate::state::State;

use super::{Context, Exit, Outcome};

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 runs can work, 3 they cannot.")]
pub(super) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Folders where tools may be that the project's set-up installs.
pub(super) fn tool_folders(state: &State) -> Vec<PathBuf> {
    vec![state.root().join("tools/bin"), PathBuf::from("/var/lib/cc-ci/tools/bin")]
}

pub(super) async fn run(args: DoctorArgs, context: Context) -> Outcome {
    let state = State::locate();
    let checks = doctor::look(crate::env::var("DOCKER_HOST").as_deref(), &state, &tool_folders(&state)).await;
    let worst = checks.iter().map(|check| check.health).max().unwrap_or(Health::Good);
    if args.json {
        let json = serde_json::json!({ "healthy": worst < Health::Bad, "checks": checks });
        super::tools::print(format!("{json:#}\n").as_bytes())?;
    } else {
        let mut out = String::new();
        for check in &checks {
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
        super::tools::print(out.as_bytes())?;
    }
    Ok(if worst == Health::Bad { Exit::Error } else { Exit::Green })
}
